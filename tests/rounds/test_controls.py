"""Controls: new weights under the ticket's masks, and as many weights as the ticket has at random positions."""

import pytest
import torch
from pydantic import ValidationError

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn, Encoder
from lt_ray.cycle.prunings import Magnitude, Wanda
from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import CycleError
from lt_ray.rounds.chain import chain
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.retention import Retention
from lt_ray.sweep.space import Distribution, Space
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks import registry as tasks

MODEL = Cnn(vocabulary=300, embedding=6, filters=4, widths=(2, 3), dropout=0.3)
TICKET = Cycle(
    task=Toy(train=120, validation=40, test=40),
    model=MODEL,
    training=Training(lr=0.01, batch_size=32, epochs=2),
    schedule=(Magnitude(fraction=0.4),) * 3,
)
SETTINGS = [
    {},
    {"magnitude.scope": "global"},
    {"magnitude.strategy": "one_shot"},
    {"magnitude.rewind_epoch": 1, "magnitude.parameters": "weights"},
]
REINIT = {"magnitude.restart": "random"}
OWN = {"magnitude.restart": "random", "magnitude.masks": "own"}
AT_RANDOM = {"magnitude.random_pruning": True}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data():
    return tasks.load(TICKET.task, MODEL.vocabulary)[0]


def run(cycle, data, store):
    return [event for event in run_cycle(cycle, data, store) if isinstance(event, RoundResult)]


def masks_of(cycle, data, store):
    return [store.masks(round.key) for round in chain(cycle, data.digest)]


def pure(events):
    return [event.model_dump(exclude={*TIMES, "source"}) for event in events]


def differing(one, two):
    return sum(int((mask != two[name]).sum()) for name, mask in one.items())


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_control_has_the_tickets_masks_and_new_weights(settings, data, tmp_path):
    """In every round the re-initialised network has the ticket's masks, bit for bit, and none of its weights."""
    ticket, store = TICKET.with_settings(settings), RoundStore(tmp_path)
    control = ticket.with_settings(REINIT)
    run(control, data, store)
    assert control.origin == ticket
    for index, (mine, its) in enumerate(
        zip(masks_of(control, data, store), masks_of(ticket, data, store), strict=True)
    ):
        assert differing(mine, its) == 0, index
    keys = [(a.key, b.key) for a, b in zip(chain(control, data.digest), chain(ticket, data.digest), strict=True)]
    assert [a == b for a, b in keys] == [True, False, False, False]
    mine, its = (store.weights(key) for key in keys[-1])
    kept = masks_of(ticket, data, store)[-1]["output.weight"]
    assert not bool((mine["output.weight"][kept] == its["output.weight"][kept]).any())


def test_a_network_that_prunes_itself_is_no_control(data, tmp_path):
    """With `masks: own` round 1 has the ticket's masks, for both prune round 0, and later rounds have others."""
    store, own = RoundStore(tmp_path), TICKET.with_settings(OWN)
    run(own, data, store)
    run(TICKET, data, store)
    bits = [differing(a, b) for a, b in zip(masks_of(own, data, store), masks_of(TICKET, data, store), strict=True)]
    assert bits[:2] == [0, 0]
    assert min(bits[2:]) > 100
    assert not own.takes_tickets


@pytest.mark.parametrize("restart", ["rewind", "random", "final"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_random_pruning_has_the_tickets_count_in_every_tensor(settings, restart, data, tmp_path):
    """In every round each tensor keeps as many weights as the ticket's, elsewhere, and its masks only shrink."""
    ticket, store = TICKET.with_settings(settings | {"magnitude.restart": restart}), RoundStore(tmp_path)
    control = ticket.with_settings(AT_RANDOM)
    run(control, data, store)
    mine, its = masks_of(control, data, store), masks_of(control.origin, data, store)
    for index, (one, two) in enumerate(zip(mine, its, strict=True)):
        assert {n: int(m.sum()) for n, m in one.items()} == {n: int(m.sum()) for n, m in two.items()}, index
        assert index == 0 or differing(one, two) > 0
        before = mine[0 if ticket.schedule[0].strategy == "one_shot" else max(index - 1, 0)]
        assert all(bool((mask <= before[name]).all()) for name, mask in one.items())


@pytest.mark.parametrize("control", [REINIT, AT_RANDOM, AT_RANDOM | REINIT])
def test_a_control_alone_is_the_one_that_finds_its_ticket(control, data, tmp_path):
    """Run in an empty store, a control computes its ticket's rounds without telling them, and yields the same bits; its
    ticket's own cycle then computes nothing."""
    cycle = TICKET.with_settings(control)
    alone, after = RoundStore(tmp_path / "alone"), RoundStore(tmp_path / "after")
    run(TICKET, data, after)
    expected = list(run_cycle(cycle, data, after))
    assert pure(run_cycle(cycle, data, alone)) == pure(expected)
    assert {result.source for result in run(TICKET, data, alone)} == {"reused", "computed"}
    assert len(list((tmp_path / "alone" / "rounds").iterdir())) == len(list((tmp_path / "after" / "rounds").iterdir()))


@pytest.mark.parametrize("control", [REINIT, AT_RANDOM])
def test_a_control_stopped_at_every_event_is_bit_equal(control, data, tmp_path):
    """Stopping after each event in turn, while its ticket is found or it trains, changes no bit."""
    cycle = TICKET.with_settings({**control, "rounds": 2, "magnitude.rewind_epoch": 1})
    expected = list(run_cycle(cycle, data, RoundStore(tmp_path / "1")))
    store = RoundStore(tmp_path / "2")
    for count in range(1, len(expected) + 1):
        events = run_cycle(cycle, data, store, partial_every_s=0)
        seen = [next(events) for _ in range(count)]
        events.close()
        assert pure(seen) == pure(expected[:count])


def a_plan(data, *, cycle=TICKET, seeds=2, **grid):
    space = Space(distributions={f"magnitude.{k}": Distribution(kind="grid", values=v) for k, v in grid.items()})
    return Planner(Sweep(name="s", cycle=cycle, space=space, seeds=seeds), Grounds(data.facts, data.digest)).plan()


def test_a_plan_has_each_ticket_once_and_before_its_controls(data):
    """A ticket that is an arm of its own is planned once, and every control after it, at what the ticket has left."""
    plan = a_plan(data, restart=("random", "rewind"))
    assert len(plan.cycles) == 4
    assert [planned.cycle.takes_tickets for planned in plan.cycles] == [False, False, True, True]
    assert not any(planned.finds_tickets for planned in plan.cycles)
    tickets = {planned.id: planned for planned in plan.cycles if not planned.cycle.takes_tickets}
    for control in plan.cycles[2:]:
        ticket = tickets[control.cycle.origin.id]
        assert control.ticket_rounds == ticket.rounds
        assert control.forecast == ticket.forecast


def test_a_plan_adds_the_ticket_of_a_control(data):
    """A sweep of controls alone plans their tickets too, one for each seed, as no points of the search."""
    plan = a_plan(data, cycle=TICKET.with_settings(REINIT), exclude=([], ["output.bias"]))
    finders = [planned for planned in plan.cycles if planned.finds_tickets]
    assert [planned.cycle.schedule[0].restart for planned in finders] == ["rewind"] * 4
    assert plan.points == 2
    assert len(plan.cycles) == 8


def test_a_control_keeps_no_weights_of_its_ticket(data, tmp_path):
    """Only a ticket's masks are needed by its control, so its trained weights go as they would without one."""
    plan = a_plan(data, seeds=1, restart=("rewind", "random"))
    store = RoundStore(tmp_path)
    retention = Retention(store, plan.sweep.tolerance)
    retention.begun(plan)
    ticket, control = plan.cycles
    for result in run(ticket.cycle, data, store):
        retention.finished(result)
    kept = [store.weights(round.key) is not None for round in ticket.rounds]
    assert kept[1:] == [False, False, True]
    for result in run(control.cycle, data, store):
        retention.finished(result)
    assert kept[1:] == [store.weights(round.key) is not None for round in ticket.rounds[1:]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (OWN | AT_RANDOM, "takes its counts from the ticket"),
        (AT_RANDOM | {"source.name": "imdb", "tickets": "source"}, "has nothing to transfer"),
    ],
)
def test_a_control_without_a_ticket_is_refused(settings, said):
    """A control that could not have its ticket's masks is an error that says the way out."""
    with pytest.raises(CycleError, match=said):
        TICKET.with_settings(settings)


def test_nothing_follows_a_control():
    """What is pruned after a control would not have the ticket's masks, so it is refused; before it, it has them."""
    with pytest.raises(ValidationError, match="nothing else may be pruned after it"):
        Cycle(model=Encoder(), schedule=(Magnitude(restart="random"), Wanda()))
    Cycle(model=Encoder(), schedule=(Wanda(), Magnitude(restart="random")))


def test_what_a_control_does_not_look_at_makes_no_other_cycle():
    """`masks` has a meaning for new weights alone; with the ticket's, so has the ticket's rewind epoch."""
    own, reinit = TICKET.with_settings(OWN), TICKET.with_settings(REINIT)
    assert TICKET.with_settings({"magnitude.masks": "own"}).id == TICKET.id
    assert len({TICKET.id, own.id, reinit.id, TICKET.with_settings(AT_RANDOM).id}) == 4
    assert own.with_settings({"magnitude.rewind_epoch": 1}).id == own.id
    assert reinit.with_settings({"magnitude.rewind_epoch": 1}).id != reinit.id
