"""A sweep that removes blocks, killed with -9 in the middle of a pruned round, ends as if nothing had happened."""

import time
from pathlib import Path

import pytest
from killing import KillableSweep, wait_for

ROUNDS = 5
"""Distinct ones: the dense one, and for each arm a removal and Wanda [count]"""
INTERVAL_S = 1.0
SLACK_S = 4.0
"""For a machine that runs two trials and this test on two cores"""
SWEEP = KillableSweep(
    [
        "sweeps/emotion_deeparc.py", "--toy", "--set", "schedule=similarity wanda",
        "--set", "similarity.threshold=0.99", "--set", "similarity.cka=minibatch",
        "--set", "similarity.epochs=3", "--set", "wanda.sparsity=0.5", "--set", "wanda.epochs=3",
        "--set", "training.epochs=2", "--set", "training.batch_size=8", "--set", "task.train=1000",
        "--partial-every", f"{INTERVAL_S:g}",
    ],
    "emotion_deeparc-toy",
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    storage = tmp_path_factory.mktemp("undisturbed")
    SWEEP.run_here(storage)
    rows = SWEEP.rows(storage)
    removals = [row for row in rows if row["round"] == 1]
    assert {row["frozen_blocks"] > 0 for row in removals} == {True, False}, "one arm must freeze blocks"
    assert all(row["blocks"] < 6 for row in removals), "the example must remove blocks"
    assert SWEEP.finished(storage) == ROUNDS
    return rows, SWEEP.digests(storage)


def in_a_pruned_round(storage: Path) -> bool:
    """A round after the dense one has saved a state."""
    return SWEEP.finished(storage) >= 1 and bool(SWEEP.partials(storage))


def in_a_second_pruned_round(storage: Path) -> bool:
    return SWEEP.finished(storage) >= 3 and bool(SWEEP.partials(storage))


@pytest.mark.parametrize(("moment", "more"), [(in_a_pruned_round, ()), (in_a_second_pruned_round, ("--local",))])
def test_a_killed_driver_changes_nothing(moment, more, undisturbed, tmp_path):
    """kill -9 of the driver in mid-round, the same command again: equal bits, one interval of work lost at most."""
    process = SWEEP.start(tmp_path, *more)
    wait_for(moment, tmp_path, process, 0.5)
    process.kill()
    process.wait()
    killed_at = time.time()
    there = SWEEP.finished(tmp_path)
    assert there < ROUNDS
    saved = [path.stat().st_mtime for path in SWEEP.partials(tmp_path)]
    finished = [path.stat().st_mtime for path in (tmp_path / SWEEP.name / "rounds").glob("*/manifest.json")]
    assert killed_at - max(saved + finished) < INTERVAL_S + SLACK_S
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / SWEEP.name).glob("rounds/*/manifest.json")}
    if more:
        SWEEP.run_here(tmp_path)
    else:
        SWEEP.run(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a finished round was computed again"
    assert SWEEP.rows(tmp_path) == undisturbed[0]
    assert SWEEP.digests(tmp_path) == undisturbed[1]
    assert not SWEEP.partials(tmp_path)
