"""Purity across conditions: how a cycle was run changes no bit of it."""

import json
import random

import pytest
import torch
from forking import AN_EPOCH, Moment
from killing import KillableSweep

from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tasks import registry

pytestmark = pytest.mark.slow

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
TWO_EPOCHS = ["--rounds", "2", "--set", "training.epochs=2", "--tracking-uri", "none", "--partial-every", "0"]


def small(part: str) -> list[str]:
    """Options that make a cycle's data small."""
    sizes = {"train": 300, "validation": 200, "test": 100}
    return [word for split, size in sizes.items() for word in ("--set", f"{part}.{split}={size}")]


def of_sweep(directory: SweepDirectory) -> dict[str, list[dict]]:
    known: dict = {}
    return {
        recorded.cycle.id: bits(directory.store, list(directory.results(recorded, known)))
        for recorded in directory.cycles()
    }


def bits(store: RoundStore, results: list[RoundResult]) -> list[dict]:
    """What rounds are, to the bit: their rows, and the digests of their files."""
    found = []
    for result in results:
        files = json.loads((store.root / "rounds" / result.key / "manifest.json").read_text())["files"]
        masks = {name: digest for name, digest in files.items() if name.startswith("masks")}
        assert masks
        found.append({**result.model_dump(exclude={*TIMES, "source"}), **masks})
    return found


def test_how_a_cycle_is_run_changes_no_bit_of_it(tmp_path):
    """30 cycles of random conditions: equal alone, with `--local`, and in a Ray sweep killed -9 and resumed."""
    (tmp_path / "space.yaml").write_text(SPACE)
    words = ["sweeps/imdb_lt.py", "--toy", "--samples", str(CYCLES), "--space", str(tmp_path / "space.yaml")]
    sweep = KillableSweep([*words, *small("task"), *TWO_EPOCHS], "imdb_lt-toy")
    local, killed = tmp_path / "local", tmp_path / "killed"
    sweep.run(local, "--local")
    directory = SweepDirectory(local / sweep.name)
    expected = of_sweep(directory)
    recorded = list(directory.cycles())
    assert sum(one.point >= 0 for one in recorded) == CYCLES, "the others find tickets for controls"
    assert len(expected) == len(recorded)
    sweep.killed(killed, at=Moment(AN_EPOCH, random.Random(4).randrange(20, 120)))
    assert 0 < sweep.finished(killed) < sweep.finished(local)
    assert sweep.partials(killed), "a round must be resumed"
    sweep.run(killed)
    assert of_sweep(SweepDirectory(killed / sweep.name)) == expected

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
    words = ["sweeps/transfer_lt.py", "--toy", *small("task"), *small("source")]
    sweep = KillableSweep([*words, *TWO_EPOCHS], "transfer_lt-toy")
    local, killed = tmp_path / "local", tmp_path / "killed"
    sweep.run(local, "--local")
    sweep.killed(killed, at=Moment(AN_EPOCH, 2 * 4 + 1))
    assert 0 < sweep.finished(killed) < sweep.finished(local)
    assert sweep.partials(killed), "a round must be resumed"
    sweep.run(killed)
    expected, found = (of_sweep(SweepDirectory(storage / sweep.name)) for storage in (local, killed))
    assert {len(results) for results in expected.values()} == {2, 3}
    assert found == expected
