"""An adaptive sweep through Ray Tune: killed in between, it asks what an undisturbed one asks, and finds the same."""

import random
from pathlib import Path

import pytest
from forking import TOLD, Moment
from killing import KillableSweep
from optuna.trial import TrialState

from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.search import study
from lt_ray.sweep.space import read
from lt_ray.sweep.sweep import Cycle
from lt_ray.tracking.records import Record

pytestmark = pytest.mark.slow

POINTS, ROUNDS = 30, 2
"""Asked, and of each of them [count]"""
EVENTS = 2
"""Of a round: its epoch and its end [count]"""
SPACE = """
training.lr: {log_uniform: [0.001, 0.03]}
model.dropout: {uniform: [0.1, 0.6]}
magnitude.rewind_epoch: {integer: [0, 1]}
"""
RANDOM_ARM = """
training.lr: {log_uniform: [0.003, 0.03]}
model.dropout: {uniform: [0.1, 0.6]}
magnitude.restart: random
"""


def searching(folder: Path, space: str, *more: str) -> KillableSweep:
    path = folder / "space.yaml"
    path.write_text(space)
    words = ["sweeps/imdb_lt.py", "--toy", "--set", "training.epochs=1", "--space", str(path), "--search", "optuna"]
    words += ["--set", "task.train=600", "--set", "task.validation=200", "--set", "task.test=100"]
    return KillableSweep([*words, "--tracking-uri", "none", *more], "imdb_lt-toy")


def directory(storage: Path) -> SweepDirectory:
    return SweepDirectory(storage / "imdb_lt-toy")


def best_line(told: str) -> str:
    lines = told.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("Best point")) + 2]


def test_a_search_killed_twice_asks_the_points_of_an_undisturbed_one(tmp_path):
    """30 trials, kill -9 twice, resumed: 30 distinct points, each told once in its state, and the same best."""
    sweep = searching(tmp_path, SPACE, "--rounds", str(ROUNDS - 1), "--samples", str(POINTS))
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    expected = sweep.run(undisturbed, "--local")
    moments = random.Random(20)
    for rounds in (moments.randrange(5, 20), moments.randrange(25, 45)):
        left = rounds - (sweep.finished(killed) if killed.exists() else 0)
        sweep.killed(killed, at=Moment(TOLD, EVENTS * left + moments.randrange(EVENTS)))
        assert 0 < len(directory(killed).points()) < POINTS
        assert 0 < sweep.finished(killed) < POINTS * ROUNDS
    told = sweep.run(killed)
    assert directory(killed).points() == directory(undisturbed).points()
    asked = Record(directory(killed)).asked
    assert len(asked) == POINTS
    assert len({tuple(item.settings.items()) for item in asked}) == POINTS
    space, _ = read(tmp_path / "space.yaml", Cycle())
    trials = study(space, asked, objectives=1).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * POINTS
    assert [item.result for item in asked] == [item.result for item in Record(directory(undisturbed)).asked]
    assert best_line(told) == best_line(expected)
    assert f"{max(trial.value for trial in trials):.4f}" in best_line(told)


def test_a_killed_search_with_rules_keeps_what_they_ended(tmp_path):
    """With a stopper, killed and resumed: stopped cycles stay stopped and are told as pruned, as undisturbed."""
    rule = ("--rounds", "2", "--max-drop", "0.02", "--drop-rounds", "1", "--samples", "12")
    sweep = searching(tmp_path, RANDOM_ARM, *rule)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    expected = sweep.run(undisturbed, "--local")
    sweep.killed(killed, at=Moment("lt_ray.driver.relay:Relay._stopped", 2))
    assert len(list(directory(killed).path.glob("stopped/*.json"))) == 1, "one is written, another only decided"
    sweep.run(killed)
    asked = Record(directory(killed)).asked
    assert [item.result for item in asked] == [item.result for item in Record(directory(undisturbed)).asked]
    assert {item.result.state for item in asked} == {"finished", "stopped"}
    assert "ended early (max-drop" in expected
    stopped = sum(item.result.state == "stopped" for item in asked)
    assert len(list(directory(killed).path.glob("stopped/*.json"))) == stopped
