"""What cycles do, told to listeners: each thing once and in order, however often it arrives."""

import pytest
import torch

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.driver.relay import Relay
from lt_ray.rounds.inputs import Datasets
from lt_ray.rounds.run import run_cycle
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks import registry as tasks

CYCLE = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=1, batch_size=30),
    schedule=(Magnitude(),),
)


class Heard(Listener):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    def planned(self, planned) -> None:
        self.events.append(("planned", planned.id))

    def found(self, planned, rounds) -> None:
        self.events.append(("found", planned.id, [result.round for result, _ in rounds]))

    def started(self, cycle) -> None:
        self.events.append(("started", cycle))

    def epoch(self, epoch) -> None:
        self.events.append(("epoch", epoch.cycle, epoch.round))

    def finished(self, result, epochs=()) -> None:
        self.events.append(("finished", result.cycle, result.round, len(epochs)))

    def ended(self, cycle, state, reason="", detail="") -> None:
        self.events.append(("ended", cycle, state))

    def fell(self, cycle, what, then, detail) -> None:
        self.events.append(("fell", cycle))

    def closed(self, outcome) -> None:
        self.events.append(("closed", outcome.computed, outcome.reused, outcome.interrupted))


@pytest.fixture
def relay(tmp_path):
    """A function that begins a run of one sweep: → (its relay, what a listener heard, its cycle's events)."""
    data, _ = tasks.load(CYCLE.task, CYCLE.model.vocabulary)
    planner = Planner(Sweep(name="s", cycle=CYCLE), Grounds.of(Datasets(data)))
    directory, plan = SweepDirectory(tmp_path / "s"), planner.plan()
    torch.set_num_threads(1)

    def begun():
        directory.define(plan, plan.sweep.definition(data.digest))
        heard = Heard()
        return Relay(directory, planner, plan, [directory, heard], retry_errored=False), heard.events

    return begun, lambda: run_cycle(CYCLE, data, directory.store)


def test_each_event_is_told_once_and_in_order(relay):
    """Every event arrives twice, as from a trial that was handed out again, and a listener hears it once."""
    begun, events = relay
    telling, heard = begun()
    assert telling.agenda.next().id == CYCLE.id
    for event in events():
        assert not telling.event(event)
        assert not telling.event(event)
    telling.close()
    rounds = [told for r in (0, 1) for told in (("epoch", CYCLE.id, r), ("finished", CYCLE.id, r, 1))]
    end = [("ended", CYCLE.id, "finished"), ("closed", 2, 0, False)]
    assert heard == [("planned", CYCLE.id), ("started", CYCLE.id), *rounds, *end]


def test_a_later_run_tells_what_it_found(relay):
    """Rounds of an earlier run are told together when the run begins; their cycle has ended and does not start."""
    begun, events = relay
    list(events())
    telling, heard = begun()
    assert telling.over
    telling.close()
    found = [("found", CYCLE.id, [0, 1]), ("ended", CYCLE.id, "finished")]
    assert heard == [("planned", CYCLE.id), *found, ("closed", 0, 2, False)]


def test_a_cycle_that_fell_starts_again(relay):
    """After a fault of the machines, a listener hears that the cycle fell and, once it has a place again, its start."""
    begun, _ = relay
    telling, heard = begun()
    telling.agenda.next()
    telling.started(CYCLE.id)
    telling.started(CYCLE.id)
    telling.broke(CYCLE.id, OSError("the disk is away"))
    telling.started(CYCLE.id)
    assert [told[0] for told in heard] == ["planned", "started", "fell", "started"]
