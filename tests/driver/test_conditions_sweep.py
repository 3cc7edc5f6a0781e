"""Purity across conditions: how a cycle was run changes no bit of it."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tasks import registry

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CYCLES = 30
SPACE = """
magnitude.restart: {choice: [rewind, random, final]}
magnitude.rewind_epoch: {choice: [0, 1, last], when: {magnitude.restart: rewind}}
magnitude.rewind_budget: {choice: [full, resume], when: {magnitude.rewind_epoch: [0, 1]}}
magnitude.strategy: {choice: [iterative, one_shot]}
magnitude.scope: {choice: [local, global]}
magnitude.output_fraction: {choice: [null, 0.1], when: {magnitude.scope: local}}
magnitude.random_pruning: {choice: [false, true]}
magnitude.masks: {choice: [ticket, own], when: {magnitude.restart: random, magnitude.random_pruning: [false]}}
magnitude.rounding: {choice: [percentile, nearest, ceil]}
magnitude.exclude: {choice: [[], [embedding.weight]]}
training.patience: {choice: [null, 1]}
training.optimizer: {choice: [adam, adamw, sgd]}
training.length_batches: {choice: [false, true]}
training.lr: {log_uniform: [0.003, 0.03]}
model.dropout: {uniform: [0.0, 0.6]}
"""
NAME = "imdb_lt-toy"


def command(storage: Path, *more: str) -> list[str]:
    (storage / "space.yaml").write_text(SPACE)
    words = [sys.executable, "sweeps/imdb_lt.py", "--toy", "--rounds", "2", "--samples", str(CYCLES)]
    words += ["--set", "training.epochs=2", "--set", "task.train=300", "--set", "task.test=200"]
    words += ["--space", str(storage / "space.yaml"), "--storage", str(storage), "--tracking-uri", "none"]
    return [*words, "--partial-every", "1", *more]


def run(storage: Path, *more: str) -> None:
    done = subprocess.run(command(storage, *more), cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr


def kill_after(storage: Path, rounds: int) -> None:
    with (storage / "killed.log").open("a") as log:
        process = subprocess.Popen(command(storage), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 200
    while len(list((storage / NAME).glob("rounds/*/manifest.json"))) < rounds:
        assert process.poll() is None, (storage / "killed.log").read_text()
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)
    process.kill()
    process.wait()


def bits(store: RoundStore, results: list[RoundResult]) -> list[dict]:
    """What rounds are, to the bit: their rows, and the digests of their files."""
    found = []
    for result in results:
        files = json.loads((store.root / "rounds" / result.key / "manifest.json").read_text())["files"]
        masks = {name: digest for name, digest in files.items() if name.startswith("masks")}
        assert masks
        found.append({**result.model_dump(exclude={*TIMES, "source"}), **masks})
    return found


def of_sweep(storage: Path) -> dict[str, list[dict]]:
    directory, known = SweepDirectory(storage / NAME), {}
    return {
        recorded.cycle.id: bits(directory.store, list(directory.results(recorded, known)))
        for recorded in directory.cycles()
    }


def test_how_a_cycle_is_run_changes_no_bit_of_it(tmp_path):
    """30 cycles of random conditions: equal alone, with `--local`, and in a Ray sweep killed -9 and resumed."""
    storages = {name: tmp_path / name for name in ("local", "killed")}
    for storage in storages.values():
        storage.mkdir()
    run(storages["local"], "--local")
    expected = of_sweep(storages["local"])
    recorded = list(SweepDirectory(storages["local"] / NAME).cycles())
    assert sum(one.point >= 0 for one in recorded) == CYCLES, "the others find tickets for controls"
    assert len(expected) == len(recorded)
    kill_after(storages["killed"], random.Random(4).randrange(10, 60))
    run(storages["killed"])
    assert of_sweep(storages["killed"]) == expected

    torch.set_num_threads(1)
    data = registry.load(recorded[0].cycle.task, recorded[0].cycle.model.vocabulary)[0]
    for one in recorded:
        store = RoundStore(tmp_path / "alone" / one.cycle.id)
        events = run_cycle(one.cycle, data, store)
        alone = [event for event in events if isinstance(event, RoundResult)]
        assert bits(store, alone) == expected[one.cycle.id]
    arms = {(p.restart, p.strategy, p.scope, p.random_pruning) for one in recorded for p in one.cycle.schedule[:1]}
    assert len(arms) >= 10, "the draws must meet many conditions to show anything"


def test_a_transfer_killed_and_resumed_is_the_local_one(tmp_path):
    """A sweep that transfers tickets, killed -9 while they are found or trained, ends with the local one's bits."""

    def transfer(storage: Path, *more: str) -> list[str]:
        words = [sys.executable, "sweeps/transfer_lt.py", "--toy", "--rounds", "2", "--set", "training.epochs=2"]
        return [*words, "--storage", str(storage), "--tracking-uri", "none", "--partial-every", "1", *more]

    def rounds(storage: Path) -> dict[str, list[dict]]:
        directory, known = SweepDirectory(storage / "transfer_lt-toy"), {}
        found = {
            recorded.cycle.id: bits(directory.store, list(directory.results(recorded, known)))
            for recorded in directory.cycles()
        }
        assert {len(results) for results in found.values()} == {2, 3}
        return found

    local, killed = tmp_path / "local", tmp_path / "killed"
    done = subprocess.run(transfer(local, "--local"), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    process = subprocess.Popen(transfer(killed), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(list(killed.glob("*/rounds/*/manifest.json"))) < 4 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = subprocess.run(transfer(killed), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rounds(killed) == rounds(local)
