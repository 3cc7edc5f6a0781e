"""Lost workers, a lost head, signals to more than the driver, a full disk: the same command ends undisturbed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from killing import KillableSweep, tree, wait_for, workers

from lt_ray.driver.faults import PATIENCE

NAME = "imdb_lt-toy"
WORDS = [
    "sweeps/imdb_lt.py", "--toy", "--rounds", "1", "--set", "training.lr=0.005", "--set", "model.dropout=0.3",
    "--set", "magnitude.rewind_epoch=1", "--set", "training.batch_size=6", "--set", "task.train=1000",
    "--partial-every", "1", "--tracking-uri", "none",
]  # fmt: skip
ROUNDS = 3
"""Distinct ones [count]"""
SWEEP = KillableSweep(WORDS, NAME)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    storage = tmp_path_factory.mktemp("undisturbed")
    SWEEP.run_here(storage)
    return SWEEP.rows(storage), SWEEP.digests(storage)


def under_way(storage: Path) -> bool:
    return bool(SWEEP.partials(storage))


def ended(process: subprocess.Popen, within_s: float) -> tuple[int, float]:
    """A process's exit code and the seconds until it came."""
    began = time.monotonic()
    return process.wait(timeout=within_s), time.monotonic() - began


def assert_goes_on(storage: Path, undisturbed) -> None:
    assert not list((storage / NAME).glob("failures/*")), "a fault was written down as a failure"
    SWEEP.run_here(storage)
    assert SWEEP.rows(storage) == undisturbed[0]
    assert SWEEP.digests(storage) == undisturbed[1]


def assert_told_in_lines(storage: Path) -> None:
    told = (storage / "killed.log").read_text()
    assert "Traceback" not in told
    assert "(raylet" not in told
    assert "ray::" not in told


def test_a_worker_killed_five_times_changes_nothing(undisturbed, tmp_path):
    """One round loses its worker five times: one line each, Ray's text in the log named there, 0 and equal bits."""
    process = SWEEP.start(tmp_path)
    wait_for(under_way, tmp_path, process, 0.2)
    killed: set[int] = set()
    while len(killed) < PATIENCE - 1:
        assert process.poll() is None, (tmp_path / "killed.log").read_text()
        for victim in set(workers(process.pid)) - killed:
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
            break
        time.sleep(0.1)
    assert process.wait(timeout=200) == 0, (tmp_path / "killed.log").read_text()
    told = (tmp_path / "killed.log").read_text()
    assert told.count("its worker was lost") == len(killed)
    assert told.count("warning") == len(killed)
    assert "more in " in told
    assert_told_in_lines(tmp_path)
    assert SWEEP.rows(tmp_path) == undisturbed[0]
    assert SWEEP.digests(tmp_path) == undisturbed[1]


def test_a_signal_to_the_whole_job_ends_in_order(undisturbed, tmp_path):
    """SIGTERM to the driver and all processes below it: 75, the resuming command, in seconds, no orphan."""
    process = SWEEP.start(tmp_path)
    wait_for(under_way, tmp_path, process, 0.2)
    members = tree(process.pid)
    assert len(members) > 3, "the driver and Ray's processes"
    for pid in members:  # a job's processes, the driver's group among them
        os.kill(pid, signal.SIGTERM)
    code, seconds = ended(process, 60)
    told = (tmp_path / "killed.log").read_text()
    assert code == 75, told
    assert seconds < 15, told
    assert "stopping; again ends at once" in told
    assert "Interrupted" in told
    assert "resume  python sweeps/imdb_lt.py" in told
    assert_told_in_lines(tmp_path)
    assert not [pid for pid in members if Path(f"/proc/{pid}/exe").exists()], "an orphan"
    assert_goes_on(tmp_path, undisturbed)


def test_a_killed_driver_leaves_no_orphan(tmp_path):
    """kill -9 of the driver: workers, raylet and head, though in sessions of their own, die with it."""
    process = SWEEP.start(tmp_path)
    wait_for(under_way, tmp_path, process, 0.2)
    # Ray's two agents look for their raylet only now and then, and hold nothing.
    members = [pid for pid in tree(process.pid) if b"Agent" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while [pid for pid in members if Path(f"/proc/{pid}/exe").exists()]:
        assert time.monotonic() < deadline, "an orphan"
        time.sleep(0.1)


def test_a_lost_head_ends_with_one_sentence(undisturbed, tmp_path):
    """kill -9 of the head's process: 75 and one sentence within 15 s; the same command goes on."""
    process = SWEEP.start(tmp_path)
    wait_for(under_way, tmp_path, process, 0.2)
    (head,) = [pid for pid in tree(process.pid) if b"gcs_server" in Path(f"/proc/{pid}/cmdline").read_bytes()[:300]]
    os.kill(head, signal.SIGKILL)
    code, seconds = ended(process, 90)
    told = (tmp_path / "killed.log").read_text()
    assert code == 75, told
    assert seconds < 15, told
    assert told.count("answers no longer") == 1
    assert "the same command goes on" in told
    assert_told_in_lines(tmp_path)
    assert_goes_on(tmp_path, undisturbed)
