"""Rounds of encoders: blocks removed, frozen, rolled back; Wanda; all in any order; pure and resumable."""

import dataclasses
import itertools
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.prunings import Magnitude, Similarity, Wanda
from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import CycleError, DegenerateError
from lt_ray.models import pretrained
from lt_ray.models.model import Model, model_of
from lt_ray.models.pretrained import Base
from lt_ray.pruning.similarity import MinibatchCka, centred_gram
from lt_ray.rounds import bases, calibration
from lt_ray.rounds.chain import chain
from lt_ray.rounds.inputs import Datasets
from lt_ray.rounds.methods.similarity import SimilarityMethod, next_stride
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.retention import Retention
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks import registry as tasks
from lt_ray.tasks import text
from lt_ray.training.measure import measure

TASK = Toy(train=120, validation=40, test=40)
TRAINING = Training(
    optimizer="adamw", lr=0.003, lr_schedule="linear", warmup=0.2, weight_decay=0.05, decayed="matrices",
    gradient_norm=1.0, batch_size=20, accumulation=2, epochs=2, length_batches=True,
)  # fmt: skip
COMPARED = {"calibration": 64, "calibration_batch": 32}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    """Six blocks of 16 features."""
    folder = tmp_path_factory.mktemp("small")
    bases.write_toy(folder)
    config = folder / "config.json"
    small = {"hidden_size": 16, "intermediate_size": 24}
    config.write_text(json.dumps(json.loads(config.read_text()) | small))
    _, found = pretrained.keep(folder, Encoder(path="toy"), tmp_path_factory.mktemp("cache"))
    return found


@pytest.fixture(scope="module")
def data(base) -> text.TextData:
    return tasks.load(TASK, base.directory)[0]


def make_cycle(base: Base, *schedule, **fields) -> Cycle:
    model = Encoder(path="toy", digest=base.digest, dropout=0.1)
    return Cycle(**({"task": TASK, "model": model, "training": TRAINING, "schedule": schedule} | fields))


def run(cycle, data, store, base, **more) -> list[RoundResult]:
    return [event for event in run_cycle(cycle, data, store, base=base, **more) if isinstance(event, RoundResult)]


def model_on(cycle, data, base) -> Model:
    return model_of(cycle.model, data.facts, base)


def keys_of(cycle, data) -> list[str]:
    return [round.key for round in chain(cycle, data.digest)]


def pure(events):
    return [event.model_dump(exclude=set(TIMES)) for event in events]


SCHEDULES = {
    "similarity, wanda, magnitude": (
        Similarity(threshold=0.5, stride=2, freeze=True, **COMPARED),
        Wanda(sparsity=0.5, calibration=32),
        Magnitude(fraction=0.3, restart="final", parameters="weights"),
    ),
    "magnitude, wanda, similarity": (
        Magnitude(fraction=0.3, restart="rewind", rewind_epoch=1),
        Wanda(sparsity=0.5, pattern="2:4", mode="one_pass", calibration=32, epochs=0),
        Similarity(threshold=0.5, cka="tokens", clusters="chain", epochs=1, **COMPARED),
    ),
    "similarity rolled back": (
        Similarity(threshold=0.01, max_drop=0.0, **COMPARED),
        Similarity(threshold=0.01, max_drop=0.0, **COMPARED),
        Wanda(sparsity=0.3, calibration=32, epochs=1),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_cycle_stopped_at_every_event_and_resumed_is_bit_equal(name, data, base, tmp_path):
    """Stopping after each event in turn, with new objects each time, changes no bit of any event, weight or mask."""
    cycle = make_cycle(base, *SCHEDULES[name])
    undisturbed = RoundStore(tmp_path / "undisturbed")
    expected = list(run_cycle(cycle, data, undisturbed, base=base))
    store = RoundStore(tmp_path / "stopped")
    for count in range(1, len(expected) + 1):
        events = run_cycle(cycle, data, store, base=base, partial_every_s=0)
        seen = [next(events) for _ in range(count)]
        events.close()
        assert pure(seen) == pure(expected[:count])
    for key in keys_of(cycle, data):
        one, two = undisturbed.read(key), store.read(key)
        assert one is not None
        assert two is not None
        assert one.pure() == two.pure()
        for kind in (RoundStore.weights, RoundStore.masks):
            left, right = kind(undisturbed, key), kind(store, key)
            assert left.keys() == right.keys()
            assert all(torch.equal(left[name], right[name]) for name in left)


class Stop(Exception):
    """Raised in the middle of an epoch."""


def test_a_round_stopped_in_mid_epoch_measures_nothing_again(data, base, tmp_path, monkeypatch):
    """A pruned round that goes on from its saved state neither compares blocks nor measures its start anew."""
    cycle = make_cycle(base, Similarity(threshold=0.5, freeze=True, **COMPARED))
    expected = run(cycle, data, RoundStore(tmp_path / "undisturbed"), base)
    store = RoundStore(tmp_path / "stopped")
    saves, save = [], RoundStore.save_partial

    def save_and_stop(self, key, tensors, progress, position):
        save(self, key, tensors, progress, position)
        saves.append(key)
        if len(saves) == 16:  # round 0 has two epochs of six steps, and each epoch's end
            raise Stop

    monkeypatch.setattr(RoundStore, "save_partial", save_and_stop)
    with pytest.raises(Stop):
        run(cycle, data, store, base, partial_every_s=0)
    assert saves[-1] == keys_of(cycle, data)[1]
    monkeypatch.undo()
    monkeypatch.setattr(SimilarityMethod, "prune", lambda *_: pytest.fail("pruned again"))
    assert pure(run(cycle, data, store, base)) == pure(expected)


def planted(*alike: tuple[int, int]) -> torch.Tensor:
    """CKA of six blocks: 0.99 of the pairs that are named, 0.1 of the others."""
    cka = torch.full((6, 6), 0.1, dtype=torch.float64).fill_diagonal_(1.0)
    for one, two in alike:
        cka[one, two] = cka[two, one] = 0.99
    return cka


def test_frozen_blocks_keep_every_bit_and_the_others_do_not(data, base, tmp_path, monkeypatch):
    """«Part»: frozen blocks end as they began, also in later rounds; neighbours, embeddings and head are trained."""
    monkeypatch.setattr(SimilarityMethod, "_compared", lambda *_: planted((1, 2)))
    cycle = make_cycle(base, Similarity(freeze=True, **COMPARED), Wanda(sparsity=0.5, calibration=32, epochs=2))
    store = RoundStore(tmp_path)
    results = run(cycle, data, store, base)
    of = model_on(cycle, data, base)
    stored = [store.read(key) for key in keys_of(cycle, data)]
    weights = [store.weights(key) for key in keys_of(cycle, data)]
    assert stored[1].blocks == (0, 1, 3, 4, 5)
    assert stored[1].frozen == stored[2].frozen == (0, 4, 5)
    assert [result.frozen_blocks for result in results] == [0, 3, 3]
    before = of.cut(weights[0], stored[1].blocks)
    frozen = {place for place, block in enumerate(stored[1].blocks) if block in stored[1].frozen}
    masks = store.masks(keys_of(cycle, data)[2])
    for name, weight in weights[1].items():
        place = int(name.split(".")[3]) if ".layer." in name else None
        assert torch.equal(weight, before[name]) is (place in frozen), name
        pruned = torch.where(masks[name], weight, torch.zeros(()))
        assert torch.equal(weights[2][name], pruned) is (place in frozen), name


def test_frozen_blocks_are_named_as_in_the_dense_model_and_survive_a_stop(data, base, tmp_path, monkeypatch):
    """Of blocks 0 1 3 4 5 the last goes: its neighbour 4 is trained, 0 1 3 are frozen, also where the round was taken
    up again from its saved state."""
    monkeypatch.setattr(
        SimilarityMethod,
        "_compared",
        lambda _, parent, __: planted((1, 2)) if len(parent.blocks) == 6 else planted((3, 4))[:5, :5],
    )
    cycle = make_cycle(base, *[Similarity(freeze=True, **COMPARED)] * 2)
    store = RoundStore(tmp_path)
    for count in range(1, 10):
        events = run_cycle(cycle, data, store, base=base, partial_every_s=0)
        seen = list(itertools.islice(events, count))
        events.close()
    assert len(seen) == 9, "three rounds of two epochs"
    keys = keys_of(cycle, data)
    first, second = store.weights(keys[1]), store.weights(keys[2])
    assert [store.read(key).blocks for key in keys[1:]] == [(0, 1, 3, 4, 5), (0, 1, 3, 4)]
    assert [store.read(key).frozen for key in keys[1:]] == [(0, 4, 5), (0, 1, 3)]
    same = {int(n.split(".")[3]) for n, w in second.items() if ".layer." in n and torch.equal(w, first[n])}
    moved = {int(n.split(".")[3]) for n, w in second.items() if ".layer." in n and not torch.equal(w, first[n])}
    assert (same, moved) == ({0, 1, 2}, {3})


@pytest.mark.parametrize("mode", ["sequential", "one_pass"])
def test_what_wanda_prunes_stays_exactly_zero(mode, data, base, tmp_path):
    """Under AdamW with decay and dropout, pruned weights are 0 after retraining, and masks only shrink."""
    cycle = make_cycle(
        base,
        Wanda(sparsity=0.25, mode=mode, calibration=32),
        Wanda(sparsity=0.5, mode=mode, calibration=32),
        Wanda(sparsity=0.25, mode=mode, calibration=32),
    )
    store = RoundStore(tmp_path)
    results = run(cycle, data, store, base)
    of = model_on(cycle, data, base)
    masks = [store.masks(key) for key in keys_of(cycle, data)]
    linear = [name for name in masks[0] if ".layer." in name and masks[0][name].dim() == 2]
    for earlier, later in itertools.pairwise(masks):
        assert all(bool((later[name] <= earlier[name]).all()) for name in later)
    for key, mask, share in zip(keys_of(cycle, data)[1:], masks[1:], (0.25, 0.5, 0.5), strict=True):
        weights = store.weights(key)
        assert all(not weights[name][~mask[name]].any() for name in mask)
        for name in linear:
            inputs = mask[name].shape[1]
            assert (mask[name].sum(1) == inputs - int(inputs * share)).all(), name
        assert all(bool(mask[name].all()) for name in mask if name not in linear)
    assert results[1].nonzero == results[0].nonzero - sum(
        of.sizes[name] // masks[0][name].shape[1] * int(masks[0][name].shape[1] * 0.25) for name in linear
    )


@pytest.fixture(scope="module")
def trained(base) -> tuple[Cycle, text.TextData]:
    """A cycle that learns enough for a removal to hurt, and its data."""
    training = TRAINING.model_copy(update={"epochs": 8, "lr": 0.004, "accumulation": 1, "batch_size": 10})
    cycle = make_cycle(base, task=Toy(train=1000, validation=300), training=training, seed=1)
    return cycle, tasks.load(cycle.task, base.directory)[0]


def test_a_model_is_measured_as_it_was_pruned(data, base, tmp_path):
    """Without retraining, pruned weights are 0 too, and what is recorded is the loss of the very model that is kept."""
    for pruning in (Wanda(sparsity=0.7, calibration=32, epochs=0), Magnitude(fraction=0.7, restart="final", epochs=0)):
        cycle = make_cycle(base, pruning)
        store = RoundStore(tmp_path / pruning.method)
        dense, pruned = run(cycle, data, store, base)
        key = keys_of(cycle, data)[1]
        weights, masks = store.weights(key), store.masks(key)
        assert all(not weights[name][~masks[name]].any() for name in masks)
        of = model_on(cycle, data, base)
        module = of.live(weights, of.blocks, torch.device("cpu"))
        batches, meter = data.measuring("test"), data.meter(cycle.task.metrics)
        measured = measure(module, batches, torch.device("cpu"), partial(of.forward, module), data, meter)
        assert measured.loss == pruned.test_loss
        assert pruned.test_loss != dense.test_loss


def test_a_round_that_lost_too_much_is_rolled_back_exactly(trained, base, tmp_path):
    """After a rejected removal the next round starts from the accepted model, bit for bit, with the next stride."""
    harsh = {"threshold": 0.01, "max_drop": 0.0, "epochs": 0, **COMPARED}
    dense, data = trained
    schedule = (*[Similarity(**harsh)] * 4, Wanda(sparsity=0.5, calibration=32, epochs=0))
    cycle = dense.model_copy(update={"schedule": schedule})
    store = RoundStore(tmp_path)
    results = run(cycle, data, store, base)
    assert results[0].train_accuracy > 0.55, "the example must learn something"
    dense_val = results[0].val_accuracy
    rejected = [result for result in results if result.accepted is False]
    assert rejected, "the example must lose accuracy once"
    for result in results[1:5]:
        assert result.accepted is (dense_val - result.val_accuracy <= 1e-12)
    last, stride = 0, 1
    keys = keys_of(cycle, data)
    for result in results[1:]:
        assert result.start_round == last
        if result.stride is None:
            continue
        assert result.stride == stride
        if result.accepted:
            last = result.round
        else:
            stride += 1
    start = results[5].start_round
    kept = store.read(keys[start])
    assert store.read(keys[5]).blocks == kept.blocks
    masks = store.masks(keys[5])
    for name, weight in store.weights(keys[start]).items():
        assert torch.equal(store.weights(keys[5])[name], torch.where(masks[name], weight, torch.zeros(())))


def test_strides_rise_to_the_last_and_then_nothing_is_removed(data, base, tmp_path, monkeypatch):
    """Three rejected strides end the loop: the rounds after them are the accepted model, and say why."""
    monkeypatch.setattr("lt_ray.rounds.run._Run._accepted", lambda _, round, __: False if round.index else None)
    cycle = make_cycle(base, *[Similarity(threshold=0.01, max_drop=0.0, epochs=0, **COMPARED)] * 5)
    store = RoundStore(tmp_path)
    results = run(cycle, data, store, base)
    assert [result.stride for result in results] == [None, 1, 2, 3, 4, 5]
    assert [result.start_round for result in results] == [None, 0, 0, 0, 0, 0]
    assert [result.blocks for result in results][4:] == [6, 6]
    reasons = [store.read(key).decision.reason for key in keys_of(cycle, data)[1:]]
    assert "stride 2 removes" in reasons[1]
    assert reasons[3] == "no stride is left after 3"
    assert results[4].val_loss == results[0].val_loss


@pytest.mark.parametrize(
    ("earlier", "stride", "over"),
    [
        ([], 1, ""),
        ([(1, True)], 1, ""),
        ([(1, False)], 2, ""),
        ([(2, True), (1, False)], 2, ""),
        ([(None, None), (2, False)], 3, ""),
        ([(3, False), (2, False)], 4, "no stride is left after 3"),
        ([(4, True)], 4, "no stride is left after 3"),
    ],
)
def test_the_next_stride(earlier, stride, over):
    """One more than a rejected one, the same after an accepted one, whatever stands between; 3 is the last."""
    assert next_stride(Similarity(max_drop=0.1), earlier) == (stride, over)
    assert next_stride(Similarity(stride=2), earlier) == (2, "")


def test_nothing_similar_nothing_retrained(data, base, tmp_path):
    """Where no two blocks are alike the round is its parent's model, untrained, and the record says so."""
    cycle = make_cycle(base, Similarity(threshold=1.0, freeze=True, **COMPARED))
    store = RoundStore(tmp_path)
    dense, same = run(cycle, data, store, base)
    first, second = (store.weights(key) for key in keys_of(cycle, data))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (same.epochs, same.blocks, same.frozen_blocks, same.val_loss) == (0, 6, 0, dense.val_loss)
    assert (same.train_loss, same.train_accuracy) == (None, None)
    decision = store.read(keys_of(cycle, data)[1]).decision
    assert decision.clusters == ((0,), (1,), (2,), (3,), (4,), (5,))
    assert "none is removed" in decision.reason


def test_before_retraining_is_what_an_untrained_round_measures(data, base, tmp_path):
    """The `before_*` of a retrained round are the results of the same round with 0 epochs; round 0 has none."""
    store = RoundStore(tmp_path)
    for pruning in (
        Similarity(threshold=0.5, **COMPARED),
        Wanda(calibration=32),
        Magnitude(restart="final", parameters="weights"),
    ):
        results = {}
        for epochs in (0, 1):
            cycle = make_cycle(base, pruning.model_copy(update={"epochs": epochs}))
            results[epochs] = run(cycle, data, store, base)
        (dense, untrained), (_, trained) = results[0], results[1]
        assert dense.before_val_loss is None
        for name in ("val_loss", "val_accuracy", "test_loss", "test_accuracy"):
            before = getattr(trained, f"before_{name}")
            assert before == getattr(untrained, name) == getattr(untrained, f"before_{name}")
        assert trained.epochs == 1
        assert trained.test_loss != trained.before_test_loss
    rewound = make_cycle(base, Magnitude())
    assert run(rewound, data, store, base)[1].before_val_loss is None


def altered(split: text.Split) -> text.Split:
    """The same documents with other labels, in reverse."""
    n = len(split)
    order = np.arange(n)[::-1]
    tokens = np.concatenate([split.tokens[split.offsets[i] : split.offsets[i + 1]] for i in order])
    lengths = split.lengths[order]
    return text.Split(tokens, np.concatenate([[0], np.cumsum(lengths)]), 1 - split.labels[order])


def with_split(data: text.TextData, split: str, given: text.Split) -> text.TextData:
    """The data with one split exchanged."""
    changed = {f"{split}.{part}": getattr(given, part) for part in text.TextData.PARTS}
    return dataclasses.replace(data, arrays={**data.arrays, **changed})


@pytest.mark.parametrize("split", ["test", "validation"])
def test_calibration_sees_train_alone(split, data, base, tmp_path):
    """Other test or validation data change no mask, no block and no weight, only what is measured on them."""
    cycle = make_cycle(base, Similarity(threshold=0.5, **COMPARED), Wanda(calibration=32, epochs=1))
    other = with_split(data, split, altered(data.split(split)))
    left, right = RoundStore(tmp_path / "1"), RoundStore(tmp_path / "2")
    one, two = run(cycle, data, left, base), run(cycle, other, right, base)
    assert [r.test_loss for r in one] != [r.test_loss for r in two] or split == "validation"
    for key, changed in zip(keys_of(cycle, data), keys_of(cycle, other), strict=True):
        assert left.read(key).decision == right.read(changed).decision
        assert left.read(key).blocks == right.read(changed).blocks
        masks, others = left.masks(key), right.masks(changed)
        assert all(torch.equal(masks[name], others[name]) for name in masks)
        weights, others = left.weights(key), right.weights(changed)
        assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_calibration_reads_no_document_of_test(data, base, tmp_path, monkeypatch):
    """Whatever calibrates asks for documents of the train split: a trap on every other one stays silent."""
    asked, some = [], text.TextData.some

    def watched(data, split, *args):
        asked.append(split)
        return some(data, split, *args)

    monkeypatch.setattr("lt_ray.tasks.text.TextData.some", watched)
    monkeypatch.setattr("lt_ray.rounds.measuring.Measuring.latency", lambda *_: None)
    cycle = make_cycle(base, Similarity(threshold=0.5, **COMPARED), Wanda(calibration=32, epochs=0))
    run(cycle, data, RoundStore(tmp_path), base)
    assert len(asked) >= 2
    assert set(asked) == {"train"}


def test_prunings_of_one_model_measure_it_once(data, base, tmp_path, monkeypatch):
    """Thresholds, strides and freezing share one comparison, one-pass sparsities one calibration."""
    calls = {"blocks": 0, "norms": 0}
    outputs, norms = calibration.block_outputs, calibration.input_norms

    def counted(name, function):
        def call(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(calibration, "block_outputs", counted("blocks", outputs))
    monkeypatch.setattr(calibration, "input_norms", counted("norms", norms))
    store = RoundStore(tmp_path / "shared")
    cells = [
        Similarity(threshold=threshold, stride=stride, freeze=freeze, epochs=0, **COMPARED)
        for threshold in (0.5, 0.9)
        for stride in (1, 2)
        for freeze in (False, True)
    ]
    cells += [Wanda(sparsity=share, mode="one_pass", calibration=32, epochs=0) for share in (0.1, 0.3, 0.5)]
    shared = [run(make_cycle(base, cell), data, store, base) for cell in cells]
    assert calls == {"blocks": 1, "norms": 1}
    dense = keys_of(make_cycle(base), data)[0]
    for place, cell in enumerate(cells):
        lonely = tmp_path / str(place)
        shutil.copytree(store.root / "rounds" / dense, lonely / "rounds" / dense)
        alone = run(make_cycle(base, cell), data, RoundStore(lonely), base)
        ignored = {*TIMES, "source"}
        assert [r.model_dump(exclude=ignored) for r in alone] == [r.model_dump(exclude=ignored) for r in shared[place]]


def test_a_degenerate_block_fails_its_cycle_with_its_name(data, base, tmp_path):
    """A model whose block gives the same for all examples cannot be compared: a clear error, no NaN."""
    cycle = make_cycle(
        base,
        Similarity(threshold=0.5, **COMPARED),
        training=TRAINING.model_copy(update={"lr": 1e-9, "epochs": 1, "warmup": 0.0, "lr_schedule": "constant"}),
    )
    weights = {}
    original = SimilarityMethod.prune

    def flattened(self, parent, context):
        weights.update(parent.weights)
        for name in weights:
            if ".layer.3." in name:
                weights[name] = torch.zeros_like(weights[name])
        return original(self, dataclasses.replace(parent, weights=weights), context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimilarityMethod, "prune", flattened)
        with pytest.raises(DegenerateError, match=r"blocks? 3"):
            run(cycle, data, RoundStore(tmp_path), base)


def test_accumulation_is_the_same_step(data, base, tmp_path):
    """Without dropout, a batch in three unequal parts trains as the whole batch does, to float32's rounding, and counts
    each example once; plain SGD hides no wrong factor."""
    model = Encoder(path="toy", digest=base.digest, dropout=0.0)
    found, losses = [], []
    for parts in (1, 3):
        changes = {"accumulation": parts, "epochs": 1, "optimizer": "sgd", "lr": 0.1, "gradient_norm": None}
        cycle = make_cycle(base, model=model, training=TRAINING.model_copy(update=changes))
        store = RoundStore(tmp_path / str(parts))
        (dense,) = run(cycle, data, store, base)
        found.append(store.weights(keys_of(cycle, data)[0]))
        losses.append(dense.train_loss)
    largest = max(float((found[0][name] - found[1][name]).abs().max()) for name in found[0])
    assert 0 < largest < 1e-5
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_plan_says_what_is_known(data, base, tmp_path):
    """Counts after Wanda and local magnitudes are predicted exactly; after a comparison of blocks nothing is."""
    schedules = (
        (Wanda(sparsity=0.3, calibration=32, epochs=0), Magnitude(restart="final", epochs=0, parameters="weights")),
        (Wanda(pattern="2:4", calibration=32, epochs=0),),
        (Magnitude(restart="final", epochs=0), Similarity(threshold=0.5, epochs=0, **COMPARED), Wanda(epochs=0)),
    )
    known = []
    for place, schedule in enumerate(schedules):
        cycle = make_cycle(base, *schedule)
        planner = Planner(Sweep(name="x", cycle=cycle), Grounds(data.facts, data.digest, base=base))
        (planned,) = planner.plan().cycles
        results = run(cycle, data, RoundStore(tmp_path / str(place)), base)
        for expected, result in zip(planned.forecast, results, strict=True):
            if expected.remaining is not None:
                assert expected.remaining == result.remaining
            if expected.parameters is not None:
                assert expected.parameters == result.parameters
            if expected.nonzero is not None:
                assert expected.nonzero == result.nonzero
        known.append([expected.nonzero is not None for expected in planned.forecast])
    assert known == [[True, True, True], [True, True], [True, True, False, False]]


def test_a_plan_has_enough_to_calibrate_on(data, base, tmp_path):
    """Where the examples of train do not reach for comparing blocks, the plan is refused; one fewer short of it, the
    estimator itself refuses, and with enough neither does. Wanda takes one example."""

    def planned(pruning, train: text.Split):
        cycle = make_cycle(base, pruning)
        few = Datasets(with_split(data, "train", train), base=base)
        return Planner(Sweep(name="x", cycle=cycle), Grounds(data.facts, data.digest, base=base, data=few)).plan()

    def first(count: int, tokens: int | None = None) -> text.Split:
        """The first documents of train, each cut."""
        lengths = np.minimum(data.split("train").lengths[:count], tokens or data.rows)
        parts = [
            data.split("train").tokens[at : at + n] for at, n in zip(data.split("train").offsets, lengths, strict=False)
        ]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return text.Split(np.concatenate(parts), offsets, data.split("train").labels[:count])

    with pytest.raises(CycleError, match=r"at least 4 texts of train, but train has 3: give more texts, or take"):
        planned(Similarity(**COMPARED), first(3))
    with pytest.raises(ValueError, match="must have at least 4 examples, but got 3"):
        MinibatchCka(2).add([centred_gram(torch.ones(3, 2))] * 2)
    with pytest.raises(CycleError, match=r"at least 2 tokens, but the 64 texts .* have one each: give longer ones"):
        planned(Similarity(cka="tokens", **COMPARED), first(120, tokens=1))
    assert planned(Similarity(**COMPARED), first(4, tokens=1))
    assert planned(Similarity(cka="tokens", **COMPARED), first(1, tokens=2))
    wanda = Wanda(sparsity=0.5, calibration=32, epochs=0)
    assert planned(wanda, first(1, tokens=1))
    one = with_split(data, "train", first(1, tokens=1))
    assert run(make_cycle(base, wanda), one, RoundStore(tmp_path), base)[-1].sparsity == pytest.approx(0.5)


def test_sparsity_counts_removed_blocks(data, base, tmp_path):
    """Weights of removed blocks are pruned ones: of the dense model's prunable weights, what is not left."""
    cycle = make_cycle(base, Similarity(threshold=0.5, epochs=0, **COMPARED), Wanda(calibration=32, epochs=0))
    dense, shorter, sparse = run(cycle, data, RoundStore(tmp_path), base)
    block = (dense.parameters - shorter.parameters) // (dense.blocks - shorter.blocks)
    assert (dense.sparsity, dense.prunable) == (0.0, 6 * block)
    assert shorter.remaining == shorter.blocks * block
    assert shorter.sparsity == pytest.approx(1 - shorter.blocks / 6)
    assert sparse.remaining == shorter.remaining - (shorter.nonzero - sparse.nonzero)


def test_weights_that_a_roll_back_may_need_are_kept(data, base, tmp_path, monkeypatch):
    """The last accepted model keeps its weights, however many were rejected after it; those lose theirs."""
    monkeypatch.setattr(
        "lt_ray.rounds.run._Run._accepted", lambda _, round, __: round.index == 1 if round.index else None
    )
    harsh = Similarity(threshold=0.01, max_drop=0.0, epochs=0, **COMPARED)
    cycle = make_cycle(base, *[harsh] * 5)
    plan = Planner(Sweep(name="x", cycle=cycle, tolerance=0.0), Grounds(data.facts, data.digest, base=base)).plan()
    store = RoundStore(tmp_path)
    retention = Retention(store, plan.sweep.tolerance)
    retention.begun(plan)
    keys = keys_of(cycle, data)
    for result in run_cycle(cycle, data, store, base=base):
        if isinstance(result, RoundResult):
            loses = {"test_accuracy": 0.0} if result.round else {}  # a winning ticket keeps its weights anyway
            retention.finished(result.model_copy(update=loses))
            assert store.has_weights(keys[min(result.round, 1)])
    assert [store.has_weights(key) for key in keys[1:]] == [True, False, False, False, True]


def test_a_published_model_of_two_classes_has_two_logits(data, base):
    """Hugging Face's classifiers have a logit a class: an exported one means what `from_pretrained` takes it for."""
    cycle = make_cycle(base)
    assert model_on(cycle, data, base).dense.get_parameter("classifier.weight").shape[0] == 2


def test_paths_are_no_part_of_a_round(data, base):
    """A model found elsewhere gives the same keys; another digest gives others."""
    cycle = make_cycle(base, Wanda(calibration=32))
    moved = cycle.with_settings({"model.path": str(Path("some") / "where")})
    assert keys_of(moved, data) == keys_of(cycle, data)
    assert keys_of(cycle.with_settings({"model.digest": "other"}), data) != keys_of(cycle, data)
