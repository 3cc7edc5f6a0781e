"""Ray's own processes and threads: they outlive a signal that is meant for the driver, and write into a log."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from lt_ray.board import terminal
from lt_ray.driver.interruption import INTERRUPTED

_LOOK_S = 1.0
"""How often it is seen whether the head answers [s]"""
_GONE_S = 5.0
"""After so long without an answer the head is lost [s]"""
_HANGS_S = 2.5
"""So long the main thread may take to hear of it [s]"""
_CLOSES_S = 4.0
"""So long the sweep may then take to be closed, its report included [s]"""
_LAST_S = 3.0
"""Given to processes that are to die [s]"""
_HEAD_LOST = signal.SIGUSR2


class HeadLost(BaseException):
    """The cluster's head answers no longer; no `Exception`, which Ray's own loop would take for one of a trial."""


class Apart:
    """Ray's processes that this one starts, in sessions of their own."""

    def __init__(self) -> None:
        self._leaders: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Within, what Ray starts is out of reach of SIGTERM.

        A signal to the whole process group or job (`timeout`, `scancel`, `systemctl stop`) would end Ray before the
        driver can end the trials. They still die with the driver, since the kernel kills them then.
        """
        from ray._private import services

        leaders, ordinary = self._leaders, services.ConsolePopen

        class Started(ordinary):  # type: ignore[misc, valid-type] # ray is untyped
            def __init__(self, *words: Any, **options: Any) -> None:
                before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # inherited, by workers as well
                try:
                    super().__init__(*words, start_new_session=True, **options)
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
                leaders.append(self)

            def terminate(self) -> None:
                self.kill()  # SIGTERM would not be heard

        services.ConsolePopen = Started
        try:
            yield
        finally:
            services.ConsolePopen = ordinary

    def end(self) -> None:
        """Kill what is left of the processes and of all that they started, and wait until it is gone."""
        for leader in self._leaders:
            leader.kill()
        sessions = {leader.pid for leader in self._leaders}
        deadline = time.monotonic() + _LAST_S
        while (left := _of_sessions(sessions)) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            for leader in self._leaders:
                leader.poll()
            time.sleep(0.02)


def _of_sessions(sessions: set[int]) -> list[int]:
    """Living processes of these sessions."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*") if sessions else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) in sessions and state not in "ZX":
                pids.append(int(entry.name))
    return pids


def answers(address: str) -> bool:
    """Return whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_GONE_S / 2).close()
    except (OSError, ValueError):
        return False
    return True


@contextlib.contextmanager
def watched(head: str) -> Iterator[None]:
    """Within, `HeadLost` is raised in this thread, the main one, once the cluster's head is lost.

    Ray itself would try for a minute and then abort the process. Where this thread hangs in Ray, then or
    while the sweep is closed, the process is left with a sentence and `INTERRUPTED`.

    - `head`: HOST:PORT
    """
    over = threading.Event()

    def raised(number: int, frame: FrameType | None) -> None:
        if not over.is_set():
            raise HeadLost

    def watch() -> None:
        seen = time.monotonic()
        while not over.wait(_LOOK_S):
            if answers(head):
                seen = time.monotonic()
            elif time.monotonic() - seen > _GONE_S:
                break
        if over.is_set():
            return
        signal.pthread_kill(main, _HEAD_LOST)
        # Ray may swallow the exception, or hang while the sweep is closed: then it would abort the process.
        if over.wait(_HANGS_S):
            time.sleep(_CLOSES_S)
        kept = "what is finished is kept; the same command goes on"
        terminal.say_at_once(f"the Ray cluster's head at {head} answers no longer: {kept}")
        os._exit(INTERRUPTED)

    main = threading.get_ident()
    before = signal.signal(_HEAD_LOST, raised)
    threading.Thread(target=watch, name="head", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.signal(_HEAD_LOST, before)


@contextlib.contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Within, what libraries write to stderr goes to the end of a file; what is said by `terminal` is seen as before.

    - `path`: the file; what cannot be written there is lost
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("a", buffering=1, errors="backslashreplace"))
        except OSError:
            file = stack.enter_context(open(os.devnull, "a"))
        stack.enter_context(_lost_workers_told_in(file))
        before = stack.enter_context(_stderr_into(file))
        stack.enter_context(terminal.errors_to(before if _is_standard(sys.stderr) else None))
        stack.enter_context(contextlib.redirect_stderr(file))
        yield
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()


@contextlib.contextmanager
def _stderr_into(file: IO[Any]) -> Iterator[int]:
    """Within, the process's stderr is a file; yields a descriptor of what it was."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield before
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextlib.contextmanager
def _lost_workers_told_in(file: IO[str]) -> Iterator[None]:
    """Within, what Ray's own thread tells of lost workers, on stdout otherwise, goes to a file."""
    from ray._private import worker

    ordinary = worker.print_worker_logs
    worker.print_worker_logs = lambda batch, _, *more: ordinary(batch, file, *more)
    try:
        yield
    finally:
        worker.print_worker_logs = ordinary


def _is_standard(stream: Any) -> bool:
    try:
        return bool(stream.fileno() == 2)
    except (OSError, ValueError, AttributeError):
        return False


@contextlib.contextmanager
def overheard(said: list[str]) -> Iterator[None]:
    """Within, what Ray's own threads write to stderr goes to `said` instead, each line once, however often it comes."""
    with tempfile.TemporaryFile() as file:
        try:
            with _stderr_into(file):
                yield
        finally:
            file.seek(0)
            said += dict.fromkeys(file.read().decode(errors="replace").splitlines())
