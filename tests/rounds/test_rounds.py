"""Rounds: pure, resumable at any step, shared between cycles, and equal to a bare loop."""

import dataclasses
import time

import bare_loop
import numpy as np
import pytest
import torch

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import TIMES, EpochResult, RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import DivergedError
from lt_ray.models.model import model_of
from lt_ray.rounds.chain import chain
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.tasks import registry as tasks
from lt_ray.tasks import text
from lt_ray.training.randomness import generators

TASK = Toy(train=120, validation=40, test=40)
MODEL = Cnn(vocabulary=300, embedding=6, filters=4, widths=(2, 3), dropout=0.3)
TRAINING = Training(lr=0.01, batch_size=32, epochs=3)


@pytest.fixture(scope="module")
def data() -> text.TextData:
    return tasks.load(TASK, MODEL.vocabulary)[0]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make_cycle(rounds: int = 2, training: Training = TRAINING, seed: int = 0, **magnitude) -> Cycle:
    schedule = (Magnitude(fraction=0.3, **magnitude),) * rounds
    return Cycle(task=TASK, model=MODEL, training=training, seed=seed, schedule=schedule)


def pure(events):
    return [event.model_dump(exclude=set(TIMES)) for event in events]


def weights_of(store: RoundStore, cycle: Cycle, data: text.TextData):
    return [store.weights(round.key) for round in chain(cycle, data.digest)]


def same(left, right) -> bool:
    return all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(left, right, strict=True)
    )


CYCLES = {
    "rewind to the start": make_cycle(),
    "rewind to epoch 1 and resume there": make_cycle(rewind_epoch=1, rewind_budget="resume"),
    "rewind to the last epoch": make_cycle(rewind_epoch="last"),
    "random, early stopping, length batches": make_cycle(
        training=TRAINING.model_copy(update={"patience": 1, "epochs": 5, "length_batches": True, "lr": 0.05}),
        restart="random",
    ),
    "final, adamw with decay, global": make_cycle(
        training=TRAINING.model_copy(update={"optimizer": "adamw", "weight_decay": 0.1}),
        restart="final",
        scope="global",
    ),
    "random pruning, sgd with momentum": make_cycle(
        training=TRAINING.model_copy(update={"optimizer": "sgd", "momentum": 0.9, "lr": 0.1}), random_pruning=True
    ),
}


@pytest.mark.parametrize("name", CYCLES)
def test_a_cycle_stopped_at_every_event_and_resumed_is_bit_equal(name, data, tmp_path):
    """Stopping after each event in turn, with new objects each time, changes no bit of any event or weight."""
    cycle = CYCLES[name]
    undisturbed = RoundStore(tmp_path / "undisturbed")
    expected = list(run_cycle(cycle, data, undisturbed))
    store = RoundStore(tmp_path / "stopped")
    for count in range(1, len(expected) + 1):
        events = run_cycle(cycle, data, store, partial_every_s=0)
        seen = [next(events) for _ in range(count)]
        events.close()
        assert pure(seen) == pure(expected[:count])
    assert same(weights_of(store, cycle, data), weights_of(undisturbed, cycle, data))


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_gradient_of_kept_weights_is_clipped(accumulation, data, tmp_path):
    """After one clipped step of SGD the kept weights have moved by learning rate × norm, though most are pruned."""
    training = Training(
        optimizer="sgd", lr=1.0, gradient_norm=0.01, batch_size=120, accumulation=accumulation, epochs=1
    )
    schedule = (Magnitude(fraction=0.8),)
    cycle = Cycle(task=TASK, model=MODEL, training=training, seed=0, schedule=schedule)
    store = RoundStore(tmp_path)
    list(run_cycle(cycle, data, store))
    initial = model_of(MODEL, data.facts).initial(generators(0, "init"))
    dense, pruned = chain(cycle, data.digest)
    for round in (dense, pruned):
        trained, masks = store.weights(round.key), store.masks(round.key)
        moved = torch.cat([(trained[name] - initial[name] * mask).flatten() for name, mask in masks.items()])
        assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)


class Stop(Exception):
    """Raised in the middle of an epoch."""


@pytest.mark.parametrize("stop_at", range(1, 25, 3))
def test_a_cycle_stopped_in_mid_epoch_is_bit_equal(stop_at, data, tmp_path, monkeypatch):
    """Stopping at any step, in the middle of an epoch of either round, changes no bit; only the step is lost."""
    cycle = make_cycle(rounds=1)
    undisturbed = RoundStore(tmp_path / "undisturbed")
    expected = list(run_cycle(cycle, data, undisturbed))
    saves = []
    save = RoundStore.save_partial

    def save_and_stop(self, key, tensors, progress, position):
        save(self, key, tensors, progress, position)
        saves.append(position)
        if len(saves) == stop_at:
            raise Stop

    monkeypatch.setattr(RoundStore, "save_partial", save_and_stop)
    store = RoundStore(tmp_path / "stopped")
    with pytest.raises(Stop):
        list(run_cycle(cycle, data, store, partial_every_s=0))
    assert any(position[1] > 0 for position in saves)
    seen = list(run_cycle(cycle, data, store, partial_every_s=0))
    assert pure(seen) == pure(expected)
    assert same(weights_of(store, cycle, data), weights_of(undisturbed, cycle, data))
    steps = 2 * 3 * (4 + 1)  # two rounds of three epochs of four steps, and each epoch's end
    assert len(saves) == steps, "a step was trained twice"


def test_work_that_was_lost_is_billed(data, tmp_path, monkeypatch):
    """A round's `redone_s` is what its interrupted attempts did after their last saved state, and no result of it."""
    monkeypatch.setattr("lt_ray.rounds.run._SIGN_OF_LIFE_S", 0.0)
    cycle = make_cycle(rounds=0, training=Training(lr=0.01, batch_size=1, epochs=3))
    store = RoundStore(tmp_path / "stopped")
    started = time.monotonic()
    events = run_cycle(cycle, data, store, partial_every_s=0.2)
    next(events)
    monkeypatch.setattr(RoundStore, "save_partial", lambda *_: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        list(events)
    lived_s = time.monotonic() - started
    monkeypatch.undo()
    *_, result = run_cycle(cycle, data, store)
    assert 0 < result.redone_s <= lived_s
    *_, undisturbed = run_cycle(cycle, data, RoundStore(tmp_path / "undisturbed"))
    assert undisturbed.redone_s == 0
    assert pure([result]) == pure([undisturbed])


def test_nothing_else_changes_a_round(data, tmp_path):
    """Other generators' states, other cycles before it in the process and another partial interval change no bit."""
    cycle = make_cycle()
    first = list(run_cycle(cycle, data, RoundStore(tmp_path / "1")))
    list(run_cycle(make_cycle(seed=5), data, RoundStore(tmp_path / "2")))
    torch.manual_seed(123)
    np.random.seed(3)
    again = list(run_cycle(cycle, data, RoundStore(tmp_path / "3"), partial_every_s=0.01))
    assert pure(again) == pure(first)


def test_arms_of_one_seed_share_round_0_and_different_seeds_do_not(data, tmp_path):
    """Two arms have one round 0, bit for bit, computed once; the second finds it and says so."""
    store = RoundStore(tmp_path)
    rewind = list(run_cycle(make_cycle(restart="rewind"), data, store))
    random = list(run_cycle(make_cycle(restart="random"), data, store))
    dense = [next(e for e in events if isinstance(e, RoundResult)) for events in (rewind, random)]
    assert dense[0].key == dense[1].key
    assert [result.source for result in dense] == ["computed", "reused"]
    assert dense[0].model_dump(exclude={"cycle", "source"}) == dense[1].model_dump(exclude={"cycle", "source"})
    assert len(list((tmp_path / "rounds").iterdir())) == 2 * 3 - 1
    assert chain(make_cycle(seed=1), data.digest)[0].key != dense[0].key


def test_an_arm_alone_equals_the_arm_that_found_its_rounds(data, tmp_path):
    """A cycle's results are the same whether it computes its rounds or finds them."""
    shared = RoundStore(tmp_path / "shared")
    list(run_cycle(make_cycle(restart="random"), data, shared))
    beside = pure(run_cycle(make_cycle(rewind_epoch="last"), data, shared))
    alone = pure(run_cycle(make_cycle(rewind_epoch="last"), data, RoundStore(tmp_path / "alone")))
    assert [{**e, "source": None} for e in beside] == [{**e, "source": None} for e in alone]


def test_a_finished_cycle_computes_nothing(data, tmp_path):
    """Running a finished cycle again yields equal events and writes nothing."""
    store = RoundStore(tmp_path)
    first = list(run_cycle(make_cycle(), data, store))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert list(run_cycle(make_cycle(), data, store)) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before


@pytest.mark.parametrize("name", CYCLES)
def test_masks_only_shrink_and_pruned_weights_are_exactly_zero(name, data, tmp_path):
    """Under every optimizer, a pruned weight never returns and is exactly 0 after the round, decay and all."""
    store = RoundStore(tmp_path)
    cycle = CYCLES[name]
    list(run_cycle(cycle, data, store))
    rounds = chain(cycle, data.digest)
    before = None
    for round in rounds:
        masks, weights = store.masks(round.key), store.weights(round.key)
        for parameter, mask in masks.items():
            assert bool((weights[parameter][~mask] == 0).all())
            if before is not None:
                assert not bool((mask & ~before[parameter]).any())
        before = masks
    assert sum(int(mask.sum()) for mask in before.values()) < sum(mask.numel() for mask in before.values()) * 0.6


def test_pruned_weights_are_zero_after_every_step(data, tmp_path, monkeypatch):
    """Not only at the end: every saved state of a running round has zeros wherever its mask says pruned."""
    cycle = CYCLES["final, adamw with decay, global"]
    store = RoundStore(tmp_path)
    states = []
    save = RoundStore.save_partial

    def look(self, key, tensors, progress, position):
        states.append((key, {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}))
        save(self, key, tensors, progress, position)

    monkeypatch.setattr(RoundStore, "save_partial", look)
    list(run_cycle(cycle, data, store, partial_every_s=0))
    assert len(states) == 3 * 3 * (4 + 1)
    for key, weights in states:
        for name, mask in store.masks(key).items():
            assert bool((weights[name][~mask] == 0).all())


def test_test_data_decides_nothing(data, tmp_path):
    """With another test split everything but the test figures is bit-equal: masks, weights, stopping, best epoch."""
    cycle = CYCLES["random, early stopping, length batches"]
    other = dataclasses.replace(data, arrays=data.arrays | {"test.labels": 1 - data.arrays["test.labels"]})
    vars(other)["digest"] = data.digest  # and so the rounds' keys
    stores = [RoundStore(tmp_path / "a"), RoundStore(tmp_path / "b")]
    events = [list(run_cycle(cycle, d, s)) for d, s in zip((data, other), stores, strict=True)]
    untested = [[{k: v for k, v in e.items() if "test" not in k} for e in pure(es)] for es in events]
    assert untested[0] == untested[1]
    assert same(weights_of(stores[0], cycle, data), weights_of(stores[1], cycle, data))
    tested = [[e.test_accuracy for e in es if isinstance(e, RoundResult)] for es in events]
    assert tested[0] == pytest.approx([1 - accuracy for accuracy in tested[1]])
    assert tested[0] != tested[1]


def test_the_key_is_of_every_input():
    """Other data, model, seed or training makes another round 0; another pruning makes another round 1 alone."""
    cycle = make_cycle(training=TRAINING.model_copy(update={"optimizer": "sgd", "weight_decay": 0.01}))
    dense, pruned, _ = chain(cycle, "data")
    assert chain(cycle, "other data")[0].key != dense.key
    of_round_0 = {
        "seed": 1, "model.vocabulary": 7, "model.embedding": 7, "model.filters": 7, "model.widths": [3],
        "model.dropout": 0.1, "training.optimizer": "adam", "training.lr": 0.1, "training.weight_decay": 0.1,
        "training.momentum": 0.1, "training.batch_size": 7, "training.epochs": 7, "training.patience": 1,
        "training.length_batches": True, "training.precision": "bfloat16", "training.lr_schedule": "linear",
        "training.warmup": 0.1, "training.decayed": "matrices", "training.gradient_norm": 1, "training.accumulation": 2,
        "training.milestones": [1], "training.channels_last": True,
    }  # fmt: skip
    of_round_1 = {
        "magnitude.fraction": 0.1, "magnitude.scope": "global", "magnitude.rounding": "ceil",
        "magnitude.parameters": "weights", "magnitude.exclude": ["a"], "magnitude.random_pruning": True,
        "magnitude.restart": "random", "magnitude.rewind_epoch": 1, "magnitude.rewind_budget": "resume",
        "magnitude.output_fraction": 0.1, "magnitude.epochs": 2,
    }  # fmt: skip
    fields = {*(f"model.{n}" for n in Cnn.model_fields), *(f"training.{n}" for n in Training.model_fields), "seed"}
    fields -= {"model.name", "training.gamma"}  # gamma has no meaning without milestones: tests/cycle
    assert fields == set(of_round_0), "a new field needs its line here"
    fields = {f"magnitude.{name}" for name in Magnitude.model_fields}
    fields -= {"magnitude.method", "magnitude.shared_start", "magnitude.masks", "magnitude.strategy"}  # elsewhere
    assert fields == set(of_round_1), "a new field needs its line here"
    for key, value in of_round_0.items():
        changed = chain(cycle.with_settings({key: value}), "data")
        assert changed[0].key != dense.key, key
        assert changed[1].key != pruned.key, key
    for key, value in of_round_1.items():
        changed = chain(cycle.with_settings({key: value}), "data")
        assert changed[0].key == dense.key, key
        assert changed[1].key != pruned.key, key
    task = chain(cycle.with_settings({"task.name": "imdb"}), "data")
    assert task[0].key == dense.key, "two tasks with the same data share their rounds"


def test_device_and_threads_are_recorded_and_not_in_the_key(data, tmp_path):
    """The store says on what a round was computed; another thread count finds the same key."""
    cycle = make_cycle(rounds=0)
    (result,) = (e for e in run_cycle(cycle, data, RoundStore(tmp_path / "1")) if isinstance(e, RoundResult))
    stored = RoundStore(tmp_path / "1").find(result.key)
    assert stored.made_with["device"] == "cpu"
    assert stored.made_with["threads"] == 1
    torch.set_num_threads(2)
    assert chain(cycle, data.digest)[0].key == result.key
    list(run_cycle(cycle, data, RoundStore(tmp_path / "2")))
    assert RoundStore(tmp_path / "2").find(result.key).made_with["threads"] == 2


def test_validation_chooses_the_weights(data, tmp_path):
    """With patience the round ends with the epoch of the lowest validation loss, and stops that many epochs later."""
    cycle = make_cycle(rounds=0, training=Training(lr=0.1, batch_size=16, epochs=12, patience=2))
    *epochs, result = run_cycle(cycle, data, RoundStore(tmp_path))
    losses = [epoch.val_loss for epoch in epochs]
    best = int(np.argmin(losses))
    assert result.best_epoch == best + 1
    assert result.val_loss == losses[best]
    assert len(epochs) == min(best + 1 + 2, 12)
    assert len(epochs) < 12, "the case must stop early to show anything"


def test_dropped_weights_are_trained_again(data, tmp_path, caplog):
    """A later round whose start was dropped is the same as ever, and the dropped weights come back bit for bit."""
    whole, holed = RoundStore(tmp_path / "whole"), RoundStore(tmp_path / "holed")
    long = make_cycle(rounds=3, rewind_epoch=1)
    expected = list(run_cycle(long, data, whole))
    short = make_cycle(rounds=2, rewind_epoch=1)
    list(run_cycle(short, data, holed))
    for round in chain(short, data.digest):
        holed.drop_weights(round.key)
        holed.drop_rewinds(round.key)
    got = list(run_cycle(long, data, holed))
    assert "trained again" in caplog.text
    assert [{**e, "source": None} for e in pure(got) if e["round"] == 3] == [
        {**e, "source": None} for e in pure(expected) if e["round"] == 3
    ]


def test_a_training_that_diverges_is_one_clear_error(data, tmp_path):
    """A loss that leaves the finite numbers ends the cycle with where and what to do."""
    cycle = make_cycle(training=Training(optimizer="sgd", lr=1e30, batch_size=32, epochs=2))
    with pytest.raises(DivergedError, match=r"epoch 1, step \d: lower `training.lr`"):
        list(run_cycle(cycle, data, RoundStore(tmp_path)))


# Against the bare loop


def test_round_0_is_the_bare_loops(data, tmp_path):
    """A loop written without lt_ray gives the same losses every epoch and the same test accuracy, from equal draws."""
    *epochs, result = run_cycle(make_cycle(rounds=0), data, RoundStore(tmp_path))
    model = bare_loop.BareCnn(data.rows, MODEL.embedding, MODEL.filters, MODEL.widths, MODEL.dropout)
    bare_loop.initialise(model, 0, "init")
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=TRAINING.lr)
    losses, _ = bare_loop.train_bare(model, masks, data, 0, optimizer, range(3), TRAINING.batch_size)
    for epoch, (train_loss, val_loss, val_accuracy) in zip(epochs, losses, strict=True):
        assert epoch.train_loss == pytest.approx(train_loss, rel=1e-5)
        assert epoch.val_loss == pytest.approx(val_loss, rel=1e-5)
        assert epoch.val_accuracy == val_accuracy
    test_loss, test_accuracy = bare_loop.mean_loss(model, data.split("test"))
    assert result.test_loss == pytest.approx(test_loss, rel=1e-5)
    assert result.test_accuracy == test_accuracy


@pytest.mark.parametrize(
    "restart",
    [
        {"restart": "rewind", "rewind_epoch": 0},
        {"restart": "rewind", "rewind_epoch": 1, "rewind_budget": "resume"},
        {"restart": "rewind", "rewind_epoch": 2, "rewind_budget": "full"},
        {"restart": "rewind", "rewind_epoch": "last"},
        {"restart": "random"},
        {"restart": "random", "shared_start": ("embedding.*",)},
        {"restart": "final"},
    ],
    ids=lambda fields: " ".join(str(value) for value in fields.values()),
)
def test_round_1_is_the_bare_loops(restart, data, tmp_path):
    """Pruned by hand and restarted as the words say, the bare loop has the engine's masks and losses in round 1."""
    store = RoundStore(tmp_path)
    cycle = make_cycle(rounds=1, **restart)
    events = [e for e in run_cycle(cycle, data, store) if e.round == 1]
    dense, pruned = chain(cycle, data.digest)
    before, trained = store.masks(dense.key), store.weights(dense.key)
    masks = bare_loop.prune_by_hand(trained, before, 0.3)
    assert all(torch.equal(mask, store.masks(pruned.key)[name]) for name, mask in masks.items())

    model = bare_loop.BareCnn(data.rows, MODEL.embedding, MODEL.filters, MODEL.widths, MODEL.dropout)
    bare_loop.initialise(model, 0, "init")
    initial = bare_loop.snapshot(model)
    first = 0
    if restart["restart"] == "rewind":
        optimizer = torch.optim.Adam(model.parameters(), lr=TRAINING.lr)
        _, after = bare_loop.train_bare(model, before, data, 0, optimizer, range(3), TRAINING.batch_size)
        epoch = 3 if restart["rewind_epoch"] == "last" else restart["rewind_epoch"]
        start = after[epoch - 1] if epoch else initial
        first = epoch if restart.get("rewind_budget") == "resume" else 0
        assert events[-1].restart_epoch == epoch
    elif restart["restart"] == "random":
        bare_loop.initialise(model, 0, "reinit", 1)
        start = bare_loop.snapshot(model)
        if "shared_start" in restart:
            start["embedding.weight"] = initial["embedding.weight"]
    else:
        start = trained
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(start[name] * masks[name])
    optimizer = torch.optim.Adam(model.parameters(), lr=TRAINING.lr)
    losses, _ = bare_loop.train_bare(model, masks, data, 0, optimizer, range(first, 3), TRAINING.batch_size)
    epochs = [event for event in events if isinstance(event, EpochResult)]
    assert [epoch.epoch for epoch in epochs] == list(range(first + 1, 4))
    for epoch, (train_loss, val_loss, val_accuracy) in zip(epochs, losses, strict=True):
        assert epoch.train_loss == pytest.approx(train_loss, rel=1e-4)
        assert epoch.val_loss == pytest.approx(val_loss, rel=1e-4)
        assert epoch.val_accuracy == pytest.approx(val_accuracy, abs=1e-9)
