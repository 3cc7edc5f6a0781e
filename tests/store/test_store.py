"""The round store: one truth, whole or absent."""

import logging
import multiprocessing
import threading
import time
from pathlib import Path

import pytest
import torch

from lt_ray.cycle.results import Epoch, Measurement
from lt_ray.store.store import RoundStore, StoredRound

KEY = "0123456789abcdef01234567"


def make_stored(test_accuracy: float = 0.75, key: str = KEY) -> StoredRound:
    epoch = Epoch(
        epoch=1,
        train_loss=0.1 + 0.2,
        train_accuracy=0.5,
        val_loss=1 / 3,
        val_accuracy=0.5,
        train_s=1,
        eval_s=1,
        finished_at=2,
    )
    measurement = Measurement(
        round=0, parameters=6, restart_epoch=None, epochs=1, best_epoch=1, train_loss=0.1 + 0.2, train_accuracy=0.5,
        val_loss=1 / 3, val_accuracy=0.5, test_loss=0.7, test_accuracy=test_accuracy, train_s=1, eval_s=1,
        finished_at=time.time(),
    )  # fmt: skip
    return StoredRound(
        key=key,
        inputs={"seed": 0},
        measurement=measurement,
        epochs=(epoch,),
        counts={"w": (2, 3), "b": (3, 3)},
        computed_by="cycle",
        made_with={"device": "cpu"},
    )


WEIGHTS = {"w": torch.tensor([0.1, 0.0, -3.0]), "b": torch.tensor([1.0, 2.0, 3.0])}
ANSWERS = (0, 999, 1)
MASKS = {
    "b": torch.tensor([True, True, True]),
    "w": torch.tensor([True, False, True]),
    "a": torch.tensor([False]),
}


@pytest.fixture
def store(tmp_path) -> RoundStore:
    return RoundStore(tmp_path)


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_round_comes_back_bit_for_bit(store):
    """Measurements, weights and masks are read as they were written, by another store object too."""
    stored = make_stored()
    store.put(stored, WEIGHTS, MASKS, ANSWERS)
    again = RoundStore(store.root)
    assert again.find(KEY, thorough=True) == stored
    assert same(again.weights(KEY), WEIGHTS)
    assert same(again.masks(KEY), MASKS)
    assert list(again.masks(KEY)) == list(MASKS), "their order breaks ties in a global ranking"
    assert tuple(again.answers(KEY).tolist()) == ANSWERS
    store.put(make_stored(key="other"), WEIGHTS, MASKS)
    assert store.answers("other") is None, "of texts they are not kept"
    (store.root / "rounds" / KEY / "answers.safetensors").write_bytes(b"")
    assert store.answers(KEY) is None


def test_the_first_writer_wins_and_a_different_second_is_warned_of(store, caplog):
    """An equal second writer is silent, a different one is warned of; neither changes the store."""
    first = make_stored()
    store.put(first, WEIGHTS, MASKS)
    with caplog.at_level(logging.WARNING, "lt_ray"):
        later = make_stored()  # other times are no difference
        assert store.put(later, WEIGHTS, MASKS) == first
        assert not caplog.records
        assert store.put(make_stored(test_accuracy=0.5), WEIGHTS, MASKS) == first
    assert "computed twice with different results" in caplog.text


FILES = ["manifest.json", "masks.safetensors", "weights.safetensors", "answers.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "one bit", "emptied"])
def test_a_damaged_round_is_set_aside_with_a_warning(store, caplog, name, damage):
    """Whatever is done to any file, the round counts as absent, is kept aside and can be put again."""
    store.put(make_stored(), WEIGHTS, MASKS, ANSWERS)
    path = store.root / "rounds" / KEY / name
    data = bytearray(path.read_bytes())
    if damage == "one bit":
        data[len(data) // 2] ^= 1
    path.write_bytes({"truncated": bytes(data[:-5]), "one bit": bytes(data), "emptied": b""}[damage])
    assert store.find(KEY, thorough=True) is None
    assert "set aside as damaged" in caplog.text
    assert len(list((store.root / "damaged").iterdir())) == 1
    store.put(make_stored(), WEIGHTS, MASKS)
    assert store.find(KEY, thorough=True) is not None


def test_a_missing_mask_is_damage_and_missing_weights_were_dropped(store):
    """Weights may be dropped from a finished round; nothing else may be missing."""
    store.put(make_stored(), WEIGHTS, MASKS)
    store.drop_weights(KEY)
    assert store.find(KEY, thorough=True) is not None
    assert store.weights(KEY) is None
    store.put_weights_back(KEY, WEIGHTS)
    assert same(store.weights(KEY), WEIGHTS)
    (store.root / "rounds" / KEY / "masks.safetensors").unlink()
    assert store.find(KEY) is None


def test_weights_that_are_not_the_rounds_own_are_not_put_back(store, caplog):
    """Weights trained again elsewhere that differ in a bit are refused with a warning."""
    store.put(make_stored(), WEIGHTS, MASKS)
    store.drop_weights(KEY)
    store.put_weights_back(KEY, {**WEIGHTS, "b": WEIGHTS["b"] + 1e-6})
    assert store.weights(KEY) is None
    assert "other weights" in caplog.text


def test_the_furthest_undamaged_partial_state_is_taken(store, caplog):
    """A later state replaces an earlier one; a damaged one counts for nothing; none is left after the round."""
    store.save_partial(KEY, {"w": torch.ones(2)}, "early", (0, 9))
    store.save_partial(KEY, {"w": torch.zeros(2)}, "late", (1, 0))
    assert len(list((store.root / "partial" / KEY).iterdir())) == 1
    tensors, progress = store.load_partial(KEY)
    assert progress == "late"
    assert same(tensors, {"w": torch.zeros(2)})
    path = next((store.root / "partial" / KEY).iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    assert store.load_partial(KEY) is None
    assert "damaged" in caplog.text
    store.put(make_stored(), WEIGHTS, MASKS)
    assert not (store.root / "partial" / KEY).exists()


def test_rewind_weights_come_back_or_count_as_absent(store):
    """Weights of an epoch are read as written, and are absent once damaged."""
    store.put_rewind(KEY, 1, WEIGHTS)
    assert same(store.rewind(KEY, 1), WEIGHTS)
    assert store.rewind(KEY, 2) is None
    path = store.root / "rewind" / f"{KEY}-1" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert store.rewind(KEY, 1) is None


def _hold(root: Path, ready) -> None:
    with RoundStore(root).claim(KEY):
        ready.set()
        time.sleep(3600)


def test_a_claim_is_held_by_one_process_and_freed_by_its_death(store):
    """A second claimant waits while the first lives, and goes on when it is killed."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(store.root, ready), daemon=True)
    process.start()
    assert ready.wait(600)
    timer = threading.Timer(0.5, process.kill)
    timer.start()
    with store.claim(KEY):
        process.join(0)
        assert process.exitcode == -9, "the claim was not held"
    timer.join()


def test_leftovers_of_killed_writers_go(store):
    """A half-written entry is no round, and is cleared once it is old."""
    half = store.root / "rounds" / f".tmp-{KEY}-1"
    half.mkdir(parents=True)
    assert store.find(KEY) is None
    store.clear_leftovers(older_than_s=3600)
    assert half.exists()
    store.clear_leftovers(older_than_s=-1)
    assert not half.exists()
