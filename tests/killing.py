"""Sweeps that a test runs in processes of their own, kills, and looks at."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forking import ROOT, Moment, Process
from mlflow import MlflowClient

from lt_ray.board.status import row
from lt_ray.cycle.results import TIMES
from lt_ray.sweep.directory import SweepDirectory


@dataclass(frozen=True)
class KillableSweep:
    """A sweep by its command line."""

    words: list[str]
    """A script and its options, without storage"""
    name: str

    def command(self, storage: Path, *more: str) -> list[str]:
        return [*self.words, "--storage", str(storage), *more]

    def run(self, storage: Path, *more: str) -> str:
        """Run the command to its end; return what it printed."""
        process = self.start(storage, *more)
        assert process.wait() == 0, process.told
        return process.told

    def run_alone(self, storage: Path, *more: str) -> str:
        """The same in a process that imports everything itself, as from a shell."""
        command = [sys.executable, *self.command(storage, *more)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, storage: Path, *more: str, at: Sequence[Moment] = ()) -> Process:
        storage.mkdir(exist_ok=True)
        return Process(self.command(storage, *more), storage / "told.log", at)

    def killed(self, storage: Path, *more: str, at: Moment) -> None:
        """Run the command until it kills itself with -9 at a moment."""
        process = self.start(storage, *more, at=[at])
        assert process.wait() == -signal.SIGKILL, f"{at} did not come: {process.told}"

    def rows(self, storage: Path) -> list[dict]:
        """What `lt-ray status --json` prints, without what may differ between two runs."""
        directory, known = SweepDirectory(storage / self.name), {}
        found = [
            row(self.name, cycle, result) for cycle in directory.cycles() for result in directory.results(cycle, known)
        ]
        # Which of two cycles was first to a shared round, and how long it took, are not results.
        kept = [{k: v for k, v in row.items() if k not in TIMES and k != "source"} for row in found]
        return sorted(kept, key=lambda row: (row["cycle"], row["round"]))

    def digests(self, storage: Path) -> dict[str, dict]:
        manifests = (storage / self.name / "rounds").glob("[!.]*/manifest.json")
        return {path.parent.name: json.loads(path.read_text())["files"] for path in manifests}

    def written(self, storage: Path) -> dict[str, int]:
        """When each finished round was written [ns]."""
        manifests = (storage / self.name / "rounds").glob("[!.]*/manifest.json")
        return {path.parent.name: path.stat().st_mtime_ns for path in manifests}

    def finished(self, storage: Path) -> int:
        return len(self.written(storage))

    def partials(self, storage: Path) -> list[Path]:
        return list((storage / self.name / "partial").glob("*/*.safetensors"))


def assert_recorded_once(storage: Path, *, cycles: int, rounds: int, epochs: int) -> None:
    """MLflow has one run for the sweep and each of its cycles, all finished, and each value once."""
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    experiments = client.search_experiments()
    runs = client.search_runs([experiment.experiment_id for experiment in experiments])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert len(children) == cycles
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    for child in children:
        for key in child.data.metrics:
            steps = [metric.step for metric in client.get_metric_history(child.info.run_id, key)]
            assert len(steps) == len(set(steps)), f"{key} was recorded twice at one step"
            expected = {"training": rounds * epochs, "summary": 1}.get(key.partition("/")[0], rounds)
            assert len(steps) == expected, key


def workers(driver: int) -> list[int]:
    """Processes of the trials below a driver; Ray has others, some of which take the whole node with them."""
    return [pid for pid in tree(driver) if _words(pid).startswith(b"ray::CycleTrainable")]


def of_ray(driver: int, program: bytes) -> list[int]:
    """Ray's own processes of a program below a driver."""
    return [pid for pid in tree(driver) if program in _words(pid)[:300]]


def tree(driver: int) -> list[int]:
    """A driver and all processes below it, wherever their groups are."""
    return [int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit() and _is_below(int(e.name), driver)]


def living(pids: Sequence[int]) -> list[int]:
    """Those of some processes that have not ended."""
    return [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_below(pid: int, ancestor: int) -> bool:
    try:
        while pid > 1:
            if pid == ancestor:
                return True
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        pass
    return False
