"""A sweep that removes blocks, killed with -9 in the middle of a pruned round, ends as if nothing had happened."""

import pytest
from forking import Moment
from killing import KillableSweep

ROUNDS = 5
"""Distinct ones: the dense one, and for each arm a removal and Wanda [count]"""
STEPS = 125
"""Of an epoch [count]"""
A_STEP = "lt_ray.training.loop:_step"
SWEEP = KillableSweep(
    [
        "sweeps/emotion_deeparc.py", "--toy", "--set", "schedule=similarity wanda",
        "--set", "similarity.threshold=0.99", "--set", "similarity.cka=minibatch",
        "--set", "similarity.epochs=2", "--set", "wanda.sparsity=0.5", "--set", "wanda.epochs=2",
        "--set", "training.epochs=2", "--set", "training.batch_size=8", "--set", f"task.train={8 * STEPS}",
        "--set", "task.validation=60", "--set", "task.test=40",
        "--partial-every", "0.2", "--tracking-uri", "none",
    ],
    "emotion_deeparc-toy",
)  # fmt: skip

pytestmark = pytest.mark.slow


def test_a_killed_driver_changes_nothing(tmp_path):
    """kill -9 while a removal is retrained, and again while Wanda's round is: the same command, at last on Ray,
    computes no finished round again and ends with an undisturbed one's bits."""
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    SWEEP.run(undisturbed, "--local")
    rows = SWEEP.rows(undisturbed)
    removals = [row for row in rows if row["round"] == 1]
    assert {row["frozen_blocks"] > 0 for row in removals} == {True, False}, "one arm must freeze blocks"
    assert all(row["blocks"] < 6 for row in removals), "the example must remove blocks"
    assert SWEEP.finished(undisturbed) == ROUNDS

    written: dict[str, int] = {}
    # Two epochs of the dense round and one of a removal; then what is left of that, an epoch at most, and a part of
    # Wanda's first one.
    for done, step in ((1, 3 * STEPS + 20), (2, STEPS + 80)):
        SWEEP.killed(killed, "--local", at=Moment(A_STEP, step))
        assert SWEEP.finished(killed) == done, "it was to be killed in a pruned round"
        assert SWEEP.partials(killed)
        assert SWEEP.written(killed) == SWEEP.written(killed) | written, "a finished round was computed again"
        written = SWEEP.written(killed)
    SWEEP.run(killed)
    assert SWEEP.written(killed) == SWEEP.written(killed) | written, "a finished round was computed again"
    assert SWEEP.rows(killed) == rows
    assert SWEEP.digests(killed) == SWEEP.digests(undisturbed)
    assert not SWEEP.partials(killed)
