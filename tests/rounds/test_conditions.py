"""The conditions of the research logs: one-shot pruning, the output layer's own fraction, tickets from another task."""

import pytest
import torch
from planted import a_round

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.models.model import model_of
from lt_ray.pruning import magnitude
from lt_ray.rounds.chain import chain
from lt_ray.rounds.inputs import Datasets
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.agenda import Agenda
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.space import Distribution, Space
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks import registry as tasks

MODEL = Cnn(vocabulary=300, embedding=6, filters=4, widths=(2, 3), dropout=0.3)
BASE = Cycle(
    task=Toy(train=120, validation=40, test=40),
    model=MODEL,
    training=Training(lr=0.01, batch_size=32, epochs=2),
    schedule=(Magnitude(),) * 3,
)
TRANSFER = BASE.model_copy(update={"source": Toy(train=160, validation=40, test=40, data_seed=1), "tickets": "source"})


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data():
    return tasks.load(BASE.task, MODEL.vocabulary)[0]


@pytest.fixture(scope="module")
def both() -> Datasets:
    own = tasks.load(TRANSFER.task, MODEL.vocabulary, source=TRANSFER.source)[0]
    return Datasets(own, tasks.load(TRANSFER.source, MODEL.vocabulary)[0])


def rounds_of(events) -> list[RoundResult]:
    return [event for event in events if isinstance(event, RoundResult)]


def pure(events):
    return [event.model_dump(exclude={*TIMES, "source"}) for event in events]


# One-shot


@pytest.mark.parametrize("rounding", ["percentile", "nearest", "ceil"])
def test_one_cut_leaves_what_many_leave(rounding, data, tmp_path):
    """One shot to 0.488 and three prunings of 0.2 leave the same count in every tensor, ±1 by the rounding rule; their
    masks differ."""
    store = RoundStore(tmp_path)
    kept = {}
    for strategy in ("iterative", "one_shot"):
        cycle = BASE.with_settings({"magnitude.strategy": strategy, "magnitude.rounding": rounding})
        rounds_of(run_cycle(cycle, data, store))
        kept[strategy] = store.masks(chain(cycle, data.digest)[-1].key)
    for name, mask in kept["iterative"].items():
        assert abs(int(mask.sum()) - int(kept["one_shot"][name].sum())) <= 1, name
    assert any(not torch.equal(mask, kept["one_shot"][name]) for name, mask in kept["iterative"].items())


def test_one_shot_prunes_the_dense_weights(data, tmp_path):
    """Every one-shot round starts from round 0, at the sparsity of as many prunings; the first is the iterative one."""
    store = RoundStore(tmp_path)
    iterative, one_shot = (BASE.with_settings({"magnitude.strategy": s}) for s in ("iterative", "one_shot"))
    first, second = chain(iterative, data.digest), chain(one_shot, data.digest)
    assert [round.parent for round in second[1:]] == [second[0].key] * 3
    assert [a.key == b.key for a, b in zip(first, second, strict=True)] == [True, True, False, False]
    rounds_of(run_cycle(one_shot, data, store))
    trained, dense = store.weights(second[0].key), store.masks(second[0].key)
    by_hand = magnitude.prune(trained, dense, 1 - 0.8**3)
    assert all(torch.equal(mask, by_hand[name]) for name, mask in store.masks(second[3].key).items())


def test_a_one_shot_round_is_another_than_that_of_a_single_cut(data):
    """Round 3 at once and round 1 of one cut of 0.488 remove as much, and draw new weights of their own."""
    one_shot = chain(BASE.with_settings({"magnitude.strategy": "one_shot"}), data.digest)[3]
    single = chain(BASE.with_settings({"rounds": 1, "magnitude.fraction": 1 - 0.8**3}), data.digest)[1]
    assert one_shot.pruning.fraction == single.pruning.fraction
    assert one_shot.key != single.key


def test_the_plan_predicts_what_remains(data, tmp_path):
    """`remaining` is what the rounds have, for either strategy, with an output layer pruned at half the rate."""
    space = Space(distributions={"magnitude.strategy": Distribution(kind="grid", values=("iterative", "one_shot"))})
    cycle = BASE.with_settings({"magnitude.output_fraction": 0.1})
    sweep = Sweep(name="s", cycle=cycle, space=space)
    for planned in Planner(sweep, Grounds(data.facts, data.digest)).plan().cycles:
        found = rounds_of(run_cycle(planned.cycle, data, RoundStore(tmp_path)))
        assert [result.remaining for result in found] == [expected.remaining for expected in planned.forecast]


# The output layer


def test_the_output_layer_has_its_own_fraction(data, tmp_path):
    """With `output_fraction` 0.1 the last layer loses a tenth each round, the others a fifth."""
    store = RoundStore(tmp_path)
    cycle = BASE.with_settings({"magnitude.output_fraction": 0.1, "rounds": 1})
    rounds_of(run_cycle(cycle, data, store))
    dense, pruned = (store.masks(round.key) for round in chain(cycle, data.digest))
    model = model_of(cycle.model, data.facts)
    assert model.output_names == ("output.weight", "output.bias")
    for name, mask in pruned.items():
        share = 0.1 if name in model.output_names else 0.2
        before = int(dense[name].sum())
        assert before - int(mask.sum()) == magnitude.removed_count(before, share, "percentile"), name


# Transfer


@pytest.mark.parametrize(
    "restart", [{"restart": "rewind"}, {"rewind_epoch": 1}, {"restart": "random"}, {"restart": "final"}]
)
def test_a_transferred_ticket_is_the_origins(restart, both, tmp_path):
    """Round r trains, on the target, the masks of the source's round r; round 0 is the target's own dense one."""
    settings = {f"magnitude.{key}": value for key, value in restart.items()}
    cycle = TRANSFER.with_settings({**settings, "ticket_every": 2})
    store = RoundStore(tmp_path)
    found = rounds_of(run_cycle(cycle, both.task, store, source=both.source))
    assert [result.round for result in found] == [0, 2]
    origin = chain(cycle.origin, both.source.digest)
    own = chain(cycle.with_settings({"tickets": "own"}), both.task.digest)
    rounds = chain(cycle, both.task.digest, both.source.digest)
    assert rounds[0].key == own[0].key
    assert rounds[1].key != own[2].key
    masks = store.masks(rounds[1].key)
    assert all(torch.equal(mask, masks[name]) for name, mask in store.masks(origin[2].key).items())
    weights = store.weights(rounds[1].key)
    assert all(bool((weights[name][~mask] == 0).all()) for name, mask in masks.items())
    assert found[1].restart_epoch == {"rewind": restart.get("rewind_epoch", 0)}.get(cycle.schedule[0].restart)


def test_an_ordinary_cycle_and_a_transfer_find_each_others_rounds(both, tmp_path):
    """Tickets found before, by the origin's own cycle, are taken; a transfer alone gives bit-equal results."""
    alone = RoundStore(tmp_path / "alone")
    expected = pure(run_cycle(TRANSFER, both.task, alone, source=both.source))
    store = RoundStore(tmp_path / "after")
    list(run_cycle(TRANSFER.origin, both.source, store))
    found_before = len(list((tmp_path / "after" / "rounds").iterdir()))
    events = list(run_cycle(TRANSFER, both.task, store, source=both.source))
    assert pure(events) == expected
    assert len(list((tmp_path / "after" / "rounds").iterdir())) == found_before + 4


def test_a_transfer_stopped_at_every_event_is_bit_equal(both, tmp_path):
    """Stopping after each event in turn, while tickets are found or trained, changes no bit."""
    cycle = TRANSFER.with_settings({"rounds": 1, "magnitude.rewind_epoch": 1})
    expected = list(run_cycle(cycle, both.task, RoundStore(tmp_path / "1"), source=both.source))
    store = RoundStore(tmp_path / "2")
    for count in range(1, len(expected) + 1):
        events = run_cycle(cycle, both.task, store, source=both.source, partial_every_s=0)
        seen = [next(events) for _ in range(count)]
        events.close()
        assert pure(seen) == pure(expected[:count])


def test_a_plan_finds_tickets_first(both):
    """A sweep plans a cycle on the source for each seed, before those that take them, and no point for it."""
    space = Space(
        distributions={
            "tickets": Distribution(kind="grid", values=("own", "source")),
            "magnitude.random_pruning": Distribution(kind="grid", values=(False, True), when={"tickets": ("own",)}),
        }
    )
    sweep = Sweep(name="s", cycle=TRANSFER.with_settings({"tickets": "own"}), space=space, seeds=2)
    plan = Planner(sweep, Grounds.of(both)).plan()
    origins = [planned for planned in plan.cycles if planned.finds_tickets]
    assert [planned.cycle.task for planned in origins] == [TRANSFER.source] * 2
    assert list(plan.cycles[:2]) == origins
    assert plan.points == 3
    assert len(plan.cycles) == 2 + 3 * 2
    taking = [planned for planned in plan.cycles if planned.cycle.tickets == "source"]
    assert [planned.ticket_rounds for planned in taking] == [planned.rounds for planned in origins]
    assert taking[0].forecast == origins[0].forecast


def test_a_ticket_is_waited_for_without_a_slot(both):
    """While a running cycle finds tickets, the one that takes them is not handed out; once they are there, it is."""
    space = Space(distributions={"tickets": Distribution(kind="grid", values=("source",))})
    sweep = Sweep(name="s", cycle=TRANSFER, space=space)
    planner = Planner(sweep, Grounds.of(both))
    plan = planner.plan()
    finder, taker = plan.cycles
    agenda = Agenda(planner, plan, lambda new: None)
    for planned in plan.cycles:
        agenda.queue(planned)
    assert agenda.next() is finder
    for index, round in enumerate(finder.rounds):
        assert agenda.next() is None
        agenda.finished(a_round(finder.id, index, val=0.5, key=round.key))
    assert agenda.next() is taker
