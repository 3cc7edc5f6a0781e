"""Sweeps that a test runs in processes of their own, kills, and looks at."""

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from lt_ray.board.status import row
from lt_ray.cycle.results import TIMES
from lt_ray.sweep.directory import SweepDirectory

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class KillableSweep:
    """A sweep by its command line."""

    words: list[str]
    """A script and its options, without storage"""
    name: str

    def command(self, storage: Path, *more: str) -> list[str]:
        return [sys.executable, *self.words, "--storage", str(storage), *more]

    def run(self, storage: Path, *more: str) -> str:
        done = subprocess.run(self.command(storage, *more), cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run_here(self, storage: Path) -> None:
        """The same command with `--local`, without a process of its own: what it imports takes longer than what it
        does."""
        words = self.command(storage, "--local")[1:]
        before = sys.argv, Path.cwd(), torch.get_num_threads()
        sys.argv = words
        os.chdir(ROOT)
        try:
            with pytest.raises(SystemExit) as ended:
                runpy.run_path(words[0], run_name="__main__")
            assert ended.value.code == 0
        finally:
            sys.argv = before[0]
            os.chdir(before[1])
            torch.set_num_threads(before[2])

    def start(self, storage: Path, *more: str) -> subprocess.Popen:
        with (storage / "killed.log").open("w") as log:
            return subprocess.Popen(
                self.command(storage, *more),
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a signal to its group reaches no test
                # As from a terminal: a test run that was started in the background ignores SIGINT, and so would its
                # child.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

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


def wait_for(condition, storage: Path, process: subprocess.Popen, delay: float) -> None:
    """Wait until a condition on the storage holds, and a seeded moment more."""
    deadline = time.monotonic() + 120
    while not condition(storage):
        assert process.poll() is None, (storage / "killed.log").read_text()
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)
    time.sleep(random.Random(str(storage.name)).uniform(0, delay))


def workers(driver: int) -> list[int]:
    """Processes of the trials below a driver; Ray has others, some of which take the whole node with them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
                if words.startswith(b"ray::CycleTrainable") and _below(int(entry.name), driver):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def tree(driver: int) -> list[int]:
    """A driver and all processes below it, wherever their groups are."""
    return [int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit() and _is_below(int(e.name), driver)]


def _is_below(pid: int, ancestor: int) -> bool:
    try:
        return _below(pid, ancestor)
    except OSError:
        return False


def _below(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False
