"""Laws of every method of pruning, whichever it is: a new one is tested by being registered."""

import dataclasses
import json

import pytest
import torch

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn, Encoder
from lt_ray.cycle.prunings import PRUNINGS, Restarting
from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.models import pretrained
from lt_ray.rounds import bases
from lt_ray.rounds.chain import chain
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks import registry as tasks

TASK = Toy(train=60, validation=20, test=20)
MODEL = Cnn(vocabulary=300, embedding=4, filters=3, widths=(2, 3), dropout=0.3)
SMALL = {"calibration": 32, "calibration_batch": 16, "threshold": 0.5, "fraction": 0.6}
every_method = pytest.mark.parametrize("method", PRUNINGS)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Six blocks of 8 features."""
    folder = tmp_path_factory.mktemp("small")
    bases.write_toy(folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_size": 8, "intermediate_size": 12}))
    return pretrained.keep(folder, Encoder(path="toy"), tmp_path_factory.mktemp("cache"))[1]


@pytest.fixture(scope="module")
def data(base):
    """Method → what its cycle trains on, the cycle, and what its model is made of."""
    texts = {True: tasks.load(TASK, base.directory)[0], False: tasks.load(TASK, MODEL.vocabulary)[0]}

    def made(method, rounds=2):
        kind = PRUNINGS[method]
        pruning = kind(**{name: value for name, value in SMALL.items() if name in kind.model_fields})
        model = Encoder(path="toy", digest=base.digest) if kind.needs_blocks else MODEL
        training = Training(optimizer="adamw", weight_decay=0.1, lr=0.01, batch_size=20, epochs=1)
        cycle = Cycle(task=TASK, model=model, training=training, schedule=(pruning,) * rounds)
        return texts[kind.needs_blocks], cycle, base if kind.needs_blocks else None

    return made


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
        for name, count in vars(expected).items():
            assert count is None or count == getattr(result, name), (name, result.round)
    before = None
    for round, weights, masks in stored(store, cycle, texts):
        assert all(not weights[name][~mask].any() for name, mask in masks.items())
        assert before is None or all(kept <= before[name][0] for name, (kept, _) in round.counts.items())
        before = round.counts
    assert results[1].remaining < results[0].remaining


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
def test_other_test_data_change_no_decision(method, data, tmp_path):
    """With other labels of test, masks, blocks and weights are bit-equal."""
    texts, cycle, base = data(method, rounds=1)
    flipped = dataclasses.replace(texts.test, labels=1 - texts.test.labels)
    other = dataclasses.replace(texts, test=flipped)
    stores = [RoundStore(tmp_path / name) for name in "ab"]
    for store, each in zip(stores, (texts, other), strict=True):
        list(run_cycle(cycle, each, store, base=base))
    for (one, *left), (two, *right) in zip(*(stored(store, cycle, texts) for store in stores), strict=True):
        assert (one.blocks, one.frozen, one.decision) == (two.blocks, two.frozen, two.decision)
        for mine, its in zip(left, right, strict=True):
            assert all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize("method", [name for name, kind in PRUNINGS.items() if issubclass(kind, Restarting)])
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
    from lt_ray.models.model import model_of
    from lt_ray.rounds.methods.method import calibrating
    from lt_ray.training.randomness import generators

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
