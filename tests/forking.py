"""Commands that a test runs in processes of their own, and that signal themselves.

A process is forked from one that has imported everything, since imports take longer than what a small sweep does;
and it is signalled at an exact call, so that no test depends on how fast a machine is.
"""

import atexit
import multiprocessing
import os
import pkgutil
import runpy
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lt_ray.board import terminal

ROOT = Path(__file__).parents[1]
IMPORTER = multiprocessing.get_context("forkserver")
"""Forks processes that have these modules"""
IMPORTER.set_forkserver_preload(
    [
        "lt_ray.cli.sweep_command", "lt_ray.cli.commands", "lt_ray.driver.tuner", "lt_ray.report.pages.html", "optuna",
        "transformers", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.db.utils", "mlflow.cli", "uvicorn",
        "torch._dynamo", "torch._inductor", "tokenizers", "alembic.command", "matplotlib.backends.backend_agg",
    ]
)  # fmt: skip


@atexit.register
def _none_outlives_the_tests() -> None:
    for child in multiprocessing.active_children():
        child.kill()  # else one that hangs, or is stopped, would be waited for


@dataclass(frozen=True)
class Moment:
    """Right before a call of a function, at which a process sends itself a signal."""

    function: str
    """As module:name or module:Class.name"""
    count: int = 1
    """Of its calls, from 1 on"""
    sends: signal.Signals = signal.SIGKILL

    def arm(self) -> None:
        owner, _, name = self.function.replace(":", ".").rpartition(".")
        holder, calls = pkgutil.resolve_name(owner), 0
        ordinary = getattr(holder, name)

        def called(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == self.count:
                os.kill(os.getpid(), self.sends)
            return ordinary(*args, **options)

        setattr(holder, name, called)


SAVED = "lt_ray.store.store:RoundStore.save_partial"
AN_EPOCH = "lt_ray.board.live:LiveBoard.epoch"
"""The driver hears of an epoch: until then, the trial goes no further, and its state is saved"""
TOLD = "lt_ray.driver.relay:Relay.event"
"""The driver hears of an epoch or a round; on Ray, its trial goes on no further than to its next event until then"""


class Process:
    """A command's process; its output goes to a file.

    - `environment`: None = this process's
    - `folder`: in which it runs
    """

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        moments: Sequence[Moment] = (),
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:
        self.log = log
        self._process = IMPORTER.Process(
            target=_command, args=(list(words), log, list(moments), dict(environment or os.environ), folder)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def wait(self, timeout: float = 900) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"not at an end after {timeout:g} s: {self.told}"
        return code

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        self.wait()

    def wait_until_stopped(self) -> None:
        """Wait until the process has stopped itself (`Moment` with SIGSTOP)."""
        self.wait_until(lambda: Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 900
        while not condition():
            assert self._process.exitcode is None, self.told
            assert time.monotonic() < deadline, f"the moment never came: {self.told}"
            time.sleep(0.02)

    @property
    def told(self) -> str:
        return self.log.read_text()


def _command(words: list[str], log: Path, moments: list[Moment], environment: dict[str, str], folder: Path) -> None:
    os.setsid()  # a signal to its group reaches no test
    # As from a terminal: a test run that was started in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(written, 1)
    os.dup2(written, 2)
    terminal.console.width = terminal._PIPED_WIDTH  # the tests may have begun in a terminal
    for moment in moments:
        moment.arm()
    sys.argv = words if words[0] != "-m" else words[1:]
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")
