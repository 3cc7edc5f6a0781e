"""Laws of every method of pruning, README's own among them: a new one is tested by being registered."""

import dataclasses

import pytest
import torch
from dying import run_dying
from modelling import a_small_encoder
from readme import PRUNING_NAMES, plugged_in

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import MODELS, Cnn, Encoder
from lt_ray.cycle.prunings import PRUNINGS, Restarting
from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.cycle.tasks import TASKS, Toy
from lt_ray.cycle.training import Training
from lt_ray.models import pretrained
from lt_ray.models.model import model_of
from lt_ray.rounds.chain import chain
from lt_ray.rounds.methods.method import calibrating
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks import registry as tasks
from lt_ray.tasks.arrays import ArrayData
from lt_ray.tasks.task import Data
from lt_ray.training.randomness import generators

TASK = Toy(train=60, validation=20, test=20)
MODEL = Cnn(vocabulary=300, embedding=4, filters=3, widths=(2, 3), dropout=0.3)
SMALL = {"calibration": 32, "calibration_batch": 16, "threshold": 0.999, "fraction": 0.6, "freeze": True}
"""What every method gets of these, where it has such fields; the last blocks alone are as alike as the threshold"""
with plugged_in():
    RESTARTING = [name for name, kind in PRUNINGS.items() if issubclass(kind, Restarting)]
every_method = pytest.mark.parametrize("method", PRUNING_NAMES)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def plugins():
    with plugged_in() as digests:
        yield digests


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Six blocks of 8 features."""
    folder = a_small_encoder(tmp_path_factory.mktemp("small"))
    return pretrained.keep(folder, Encoder(path="toy"), tmp_path_factory.mktemp("cache"))[1]


@pytest.fixture(scope="module")
def data(base, plugins):
    """Method → what its cycle trains on, the cycle, and what its model is made of: an encoder for blocks, README's own
    task and model for README's own method, a small CNN for the others."""
    rings = TASKS["rings"](points=60)
    blocks = tasks.load(TASK, base.directory)[0], TASK, Encoder(path="toy", digest=base.digest), (), base
    words = tasks.load(TASK, MODEL.vocabulary)[0], TASK, MODEL, (), None
    points = tasks.load(rings, 1)[0], rings, MODELS["mlp"](hidden=6), plugins, None

    def made(method, rounds=2):
        kind = PRUNINGS[method]
        pruning = kind(**{name: value for name, value in SMALL.items() if name in kind.model_fields})
        theirs = isinstance(kind.implementation, str)
        texts, task, model, digests, files = blocks if kind.needs_blocks else words if theirs else points
        training = Training(optimizer="adamw", weight_decay=0.1, lr=0.01, batch_size=20, epochs=1)
        cycle = Cycle(task=task, model=model, training=training, schedule=(pruning,) * rounds, plugins=digests)
        return texts, cycle, files

    return made


def other_test(data: Data) -> Data:
    """Data with other classes of its test examples, under the digest, and so the rounds' keys, of these."""
    name = "test.targets" if isinstance(data, ArrayData) else "test.labels"
    other = dataclasses.replace(data, arrays=data.arrays | {name: 1 - data.arrays[name]})
    vars(other)["digest"] = data.digest
    return other


def pure(events):
    return [event.model_dump(exclude=set(TIMES)) for event in events]


def stored(store, cycle, data):
    keys = [round.key for round in chain(cycle, data.digest)]
    return [(store.read(key), store.weights(key), store.masks(key)) for key in keys]


@every_method
def test_what_is_predicted_is_what_is_measured_and_what_is_pruned_stays_0(method, data, tmp_path):
    """Counts of the plan, where it knows them, are those of the rounds; in each, weights under the masks are exactly 0
    after training with decay, and the dense model keeps ever fewer of each tensor."""
    texts, cycle, base = data(method)
    store = RoundStore(tmp_path)
    (planned,) = Planner(Sweep(name="s", cycle=cycle), Grounds(texts.facts, texts.digest, base=base)).plan().cycles
    results = [e for e in run_cycle(cycle, texts, store, base=base) if isinstance(e, RoundResult)]
    for expected, result in zip(planned.forecast, results, strict=True):
        for name in ("remaining", "parameters", "nonzero"):
            count = getattr(expected, name)
            assert count is None or count == getattr(result, name), (name, result.round)
    before = None
    for round, weights, masks in stored(store, cycle, texts):
        assert all(not weights[name][~mask].any() for name, mask in masks.items())
        assert before is None or all(kept <= before[name][0] for name, (kept, _) in round.counts.items())
        before = round.counts
    assert results[1].remaining < results[0].remaining


@every_method
def test_what_is_frozen_stays(method, data, tmp_path):
    """Where a round freezes blocks, their weights are bit for bit those of the round before, whatever the decay."""
    texts, cycle, base = data(method, rounds=1)
    store = RoundStore(tmp_path)
    list(run_cycle(cycle, texts, store, base=base))
    (dense, before, _), (round, after, _) = stored(store, cycle, texts)
    assert bool(round.frozen) is getattr(cycle.schedule[0], "freeze", False)
    model = model_of(cycle.model, texts.facts, base)
    kept = model.cut(before, round.blocks, dense.blocks)
    for place in map(list(round.blocks or ()).index, round.frozen):
        names = [name for name in kept if name.startswith(f"{model.stacks[0].name}.{place}.")]
        assert names
        assert all(torch.equal(kept[name], after[name]) for name in names)
    assert any(not torch.equal(kept[name], after[name]) for name in kept)


@every_method
def test_a_cycle_stopped_at_every_event_is_bit_equal(method, data, tmp_path):
    """Stopping after each event in turn, with new objects each time, changes no bit."""
    texts, cycle, base = data(method, rounds=1)
    expected = list(run_cycle(cycle, texts, RoundStore(tmp_path / "1"), base=base))
    store = RoundStore(tmp_path / "2")
    for count in range(1, len(expected) + 1):
        events = run_cycle(cycle, texts, store, base=base, partial_every_s=0)
        seen = [next(events) for _ in range(count)]
        events.close()
        assert pure(seen) == pure(expected[:count])


@every_method
def test_a_cycle_that_dies_after_every_step_is_bit_equal(method, data, tmp_path):
    """A process that dies once it has saved one more state, again and again, leaves the bits of one that does not,
    whatever was drawn before."""
    texts, cycle, base = data(method, rounds=1)
    stores = [RoundStore(tmp_path / name) for name in ("whole", "dying")]
    for _ in run_cycle(cycle, texts, stores[0], base=base):
        torch.manual_seed(7)
    assert run_dying(cycle, texts, stores[1].root, base=base) >= 6
    for (one, *left), (two, *right) in zip(*(stored(store, cycle, texts) for store in stores), strict=True):
        assert one.pure() == two.pure()
        for mine, its in zip(left, right, strict=True):
            assert mine.keys() == its.keys()
            assert all(torch.equal(mine[name], its[name]) for name in mine)


@every_method
def test_other_test_data_change_no_decision(method, data, tmp_path):
    """With other labels of test, masks, blocks and weights are bit-equal."""
    texts, cycle, base = data(method, rounds=1)
    stores = [RoundStore(tmp_path / name) for name in "ab"]
    for store, each in zip(stores, (texts, other_test(texts)), strict=True):
        list(run_cycle(cycle, each, store, base=base))
    for (one, *left), (two, *right) in zip(*(stored(store, cycle, texts) for store in stores), strict=True):
        assert (one.blocks, one.frozen, one.decision) == (two.blocks, two.frozen, two.decision)
        for mine, its in zip(left, right, strict=True):
            assert all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize("method", RESTARTING)
def test_whatever_restarts_has_its_controls(method, data, tmp_path):
    """Re-initialised weights get the ticket's masks, random pruning its counts; both find the ticket by themselves."""
    texts, cycle, _ = data(method, rounds=1)
    store = RoundStore(tmp_path)
    masks = {}
    for name, settings in {"ticket": {}, "new": {"restart": "random"}, "random": {"random_pruning": True}}.items():
        arm = cycle.with_settings({f"{method}.{key}": value for key, value in settings.items()})
        list(run_cycle(arm, texts, store))
        masks[name] = stored(store, arm, texts)[1][2]
    assert all(torch.equal(mask, masks["new"][name]) for name, mask in masks["ticket"].items())
    assert all(int(mask.sum()) == int(masks["random"][name].sum()) for name, mask in masks["ticket"].items())
    assert not all(torch.equal(mask, masks["random"][name]) for name, mask in masks["ticket"].items())


def test_snip_ranks_by_the_gradient_at_the_initial_weights(data, tmp_path):
    """The kept weights are those of the largest |weight · gradient| of the mean loss, by plain autograd on the whole
    calibration at once."""
    texts, cycle, _ = data("snip", rounds=1)
    store = RoundStore(tmp_path)
    list(run_cycle(cycle, texts, store))
    masks = stored(store, cycle, texts)[1][2]
    model = model_of(cycle.model, texts.facts)
    module = model.live(model.initial(generators(0, "init")), None, torch.device("cpu")).eval()
    (batch,) = texts.some("train", calibrating(texts, 0, 32), 32)
    texts.loss(module(batch.inputs), batch).backward()
    scores = {name: (p.detach() * p.grad).abs() for name, p in module.named_parameters()}
    dense = model.initial_masks()
    kept = torch.cat([scores[name][masks[name]] for name in masks])
    gone = torch.cat([scores[name][dense[name] & ~masks[name]] for name in masks])
    assert len(gone) == round(0.6 * (len(kept) + len(gone)))
    largest_of_tensors = sum(int(mask.sum()) == 1 for mask in masks.values())
    assert int((kept < gone.max()).sum()) <= largest_of_tensors
