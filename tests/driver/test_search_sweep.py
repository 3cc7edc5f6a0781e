"""An adaptive sweep through Ray Tune: killed in between, it asks what an undisturbed one asks, and finds the same."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.search import study
from lt_ray.sweep.space import read
from lt_ray.sweep.sweep import Cycle

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
POINTS, ROUNDS = 30, 1
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


def command(storage: Path, *more: str, space: str = SPACE) -> list[str]:
    (storage / "space.yaml").write_text(space)
    words = [sys.executable, "sweeps/imdb_lt.py", "--toy", "--rounds", str(ROUNDS), "--set", "training.epochs=1"]
    words += ["--space", str(storage / "space.yaml"), "--storage", str(storage), "--tracking-uri", "none"]
    return [*words, "--search", "optuna", "--samples", str(POINTS), *more]


def run(storage: Path, *more: str, space: str = SPACE) -> str:
    done = subprocess.run(command(storage, *more, space=space), cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def directory(storage: Path) -> SweepDirectory:
    return SweepDirectory(storage / "imdb_lt-toy")


def finished(storage: Path) -> int:
    return len(list(directory(storage).path.glob("rounds/*/manifest.json")))


def kill_after(storage: Path, rounds: int, delay_s: float) -> None:
    """Start the sweep and kill its driver with -9 a moment after so many rounds are in the store."""
    with (storage / "killed.log").open("a") as log:
        process = subprocess.Popen(command(storage), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 200
    while finished(storage) < rounds:
        assert process.poll() is None, (storage / "killed.log").read_text()
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)
    time.sleep(delay_s)
    process.kill()
    process.wait()


def best_line(told: str) -> str:
    lines = told.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("Best point")) + 2]


def test_a_search_killed_twice_asks_the_points_of_an_undisturbed_one(tmp_path):
    """30 trials, kill -9 twice, resumed: 30 distinct points, each told once in its state, and the same best."""
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    expected = run(undisturbed, "--local")
    moments = random.Random(20)
    kill_after(killed, moments.randrange(5, 20), moments.uniform(0, 1))
    assert 0 < len(directory(killed).points()) < POINTS
    kill_after(killed, moments.randrange(25, 45), moments.uniform(0, 1))
    assert 0 < len(directory(killed).points()) < POINTS
    told = run(killed)
    assert directory(killed).points() == directory(undisturbed).points()
    asked = directory(killed).asked()
    assert len(asked) == POINTS
    assert len({tuple(item.settings.items()) for item in asked}) == POINTS
    space, _ = read(killed / "space.yaml", Cycle())
    trials = study(space, asked, objectives=1).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * POINTS
    assert [item.result for item in asked] == [item.result for item in directory(undisturbed).asked()]
    assert best_line(told) == best_line(expected)
    assert f"{max(trial.value for trial in trials):.4f}" in best_line(told)


def test_a_killed_search_with_rules_keeps_what_they_ended(tmp_path):
    """With a stopper, killed and resumed: stopped cycles stay stopped and are told as pruned, as undisturbed."""
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    rule = ("--rounds", "2", "--max-drop", "0.02", "--drop-rounds", "1", "--samples", "12")
    expected = run(undisturbed, "--local", *rule, space=RANDOM_ARM)
    with (killed / "killed.log").open("a") as log:
        process = subprocess.Popen(
            command(killed, *rule, space=RANDOM_ARM), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    deadline = time.monotonic() + 200
    while finished(killed) < 8 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    run(killed, *rule, space=RANDOM_ARM)
    asked = directory(killed).asked()
    assert [item.result for item in asked] == [item.result for item in directory(undisturbed).asked()]
    assert {item.result.state for item in asked} == {"complete", "pruned"}
    assert "ended early (max-drop" in expected
    pruned = sum(item.result.state == "pruned" for item in asked)
    assert len(list(directory(killed).path.glob("stopped/*.json"))) == pruned
