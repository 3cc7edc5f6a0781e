"""The agenda: each cycle once, no trial waits for a trial, and points do not depend on who was faster."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import a_round

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import SpaceError
from lt_ray.sweep.agenda import Agenda
from lt_ray.sweep.plan import Grounds, PlannedCycle, Planner
from lt_ray.sweep.space import Distribution, Space
from lt_ray.sweep.sweep import Sweep

BASE = Cycle(
    task=Toy(train=100, validation=40, test=40),
    model=Cnn(vocabulary=200, embedding=4, filters=3, widths=(2,), dropout=0.1),
    training=Training(epochs=2, batch_size=100, lr=0.02),
    schedule=(Magnitude(),) * 2,
)
ADAPTIVE = {
    "training.lr": Distribution(kind="log_uniform", values=(1e-4, 1e-1)),
    "magnitude.rewind_epoch": Distribution(kind="integer", values=(0, 2)),
}


def planner(distributions, **options) -> Planner:
    sweep = Sweep(name="s", cycle=BASE, space=Space(distributions=distributions), **options)
    return Planner(sweep, Grounds(Facts(rows=202), "0" * 64))


class World:
    """Trials that take planted time and reach planted accuracies, on so many slots; nothing is trained."""

    def __init__(self, planner: Planner, *, slots: int, seed: int, state: dict | None = None, asked=()) -> None:
        self.random = random.Random(seed)
        self.slots = slots
        self.results = {} if state is None else state
        """Cycle → its rounds that are in the store"""
        plan = planner.plan()
        if state is not None and plan.sweep.search == "optuna":
            plan = planner.plan(asked)
        self.agenda = Agenda(planner, plan, self.take_in)
        self.running: list[PlannedCycle] = []
        self.handed: list[str] = []
        self.take_in(plan.cycles)

    def take_in(self, cycles) -> None:
        for planned in cycles:
            for result in self.results.get(planned.id, ()):
                self.agenda.finished(result)
            if len(self.results.get(planned.id, ())) == len(planned.rounds):
                self.agenda.ended(planned.id, "finished")
            else:
                self.agenda.queue(planned)

    def fill(self) -> None:
        while len(self.running) < self.slots and (planned := self.agenda.next()) is not None:
            self.running.append(planned)
            self.handed.append(planned.id)

    def step(self) -> None:
        """One of the running trials, whichever, finishes a round."""
        planned = self.random.choice(self.running)
        done = self.results.setdefault(planned.id, [])
        round = planned.rounds[len(done)]
        accuracy = 0.9 - 0.05 * round.index - abs(planned.cycle.training.lr - 0.01)
        done.append(a_round(planned.id, round.index, val=accuracy, key=round.key))
        self.agenda.finished(done[-1])
        if len(done) == len(planned.rounds):
            self.running.remove(planned)
            self.agenda.ended(planned.id, "finished")

    def run(self, steps: int | None = None) -> list[dict]:
        while steps is None or steps > 0:
            self.fill()
            if not self.running:
                break
            self.step()
            steps = None if steps is None else steps - 1
        return [dict(point.cycles[0].asked) for point in self.agenda.points()]


@given(slots=st.integers(1, 6), seed=st.integers(0, 99), kills=st.lists(st.integers(0, 12), max_size=3))
@settings(max_examples=20)
def test_an_adaptive_search_asks_the_same_points_however_it_ran(slots, seed, kills):
    """Slots, who is faster and kills in mid-sweep change neither points nor the best one."""
    made = planner(ADAPTIVE, search="optuna", samples=16, delay=4)
    undisturbed = World(made, slots=1, seed=0)
    expected = undisturbed.run()
    assert len(expected) == 16
    assert len({tuple(point.items()) for point in expected}) == 16
    state: dict = {}
    asked: list = []
    for steps in [*kills, None]:
        world = World(made, slots=slots, seed=seed, state=state, asked=asked)
        asked = world.run(steps)
    assert asked == expected
    assert [s.cycles[0].point for s in world.agenda.best()] == [s.cycles[0].point for s in undisturbed.agenda.best()]
    assert world.agenda.exhausted


@given(slots=st.integers(1, 8), seed=st.integers(0, 99), seeds=st.integers(1, 3))
@settings(max_examples=20)
def test_no_two_running_cycles_compute_one_round(slots, seed, seeds):
    """Whatever runs at once, each computes another round; and every cycle is handed out once."""
    arms = {
        "magnitude.restart": Distribution(kind="grid", values=("rewind", "random")),
        "training.lr": Distribution(kind="grid", values=(0.01, 0.02)),
    }
    world = World(planner(arms, seeds=seeds), slots=slots, seed=seed)
    finished: set[str] = set()
    while True:
        world.fill()
        if not world.running:
            break
        computing = [
            next(r.key for r in p.rounds[len(world.results.get(p.id, ())) :])
            for p in world.running
            if p.rounds[len(world.results.get(p.id, ()))].key not in finished
        ]
        assert len(computing) == len(set(computing))
        world.step()
        finished = {result.key for results in world.results.values() for result in results}
    assert sorted(world.handed) == sorted(p.id for p in world.agenda.plan.cycles)
    assert world.agenda.exhausted


def test_a_failed_leader_lets_the_next_one_compute_the_round():
    """A cycle held back by one that failed in round 0 is handed out then."""
    arms = {"magnitude.restart": Distribution(kind="grid", values=("rewind", "random"))}
    world = World(planner(arms), slots=2, seed=0)
    world.fill()
    assert len(world.running) == 1
    world.agenda.ended(world.running.pop().id, "failed")
    world.fill()
    assert len(world.running) == 1
    assert len(set(world.handed)) == 2


def test_at_most_delay_points_are_under_way():
    """With a delay of 3 and many slots, three points start, and the fourth once the first has ended."""
    world = World(planner(ADAPTIVE, search="optuna", samples=9, delay=3), slots=20, seed=0)
    world.fill()
    assert len(world.running) == 3
    assert world.agenda.next() is None
    assert not world.agenda.exhausted
    world.agenda.ended(world.agenda.plan.cycles[0].id, "failed")
    assert world.agenda.next() is not None
    assert world.agenda.next() is None


def test_a_search_ends_where_no_further_point_is_to_be_had():
    """Of three rewind epochs no fourth point can be asked: the sweep ends after three."""
    made = planner({"magnitude.rewind_epoch": ADAPTIVE["magnitude.rewind_epoch"]}, search="optuna", samples=10, delay=2)
    world = World(made, slots=2, seed=0)
    points = world.run()
    assert sorted(point["magnitude.rewind_epoch"] for point in points) == [0, 1, 2]
    assert world.agenda.exhausted


def test_a_point_that_is_no_cycle_is_passed_over():
    """Epochs and rewind epochs that contradict each other are not asked, and the search goes on."""
    space = {
        "training.epochs": Distribution(kind="integer", values=(1, 4)),
        "magnitude.rewind_epoch": Distribution(kind="integer", values=(0, 4)),
    }
    points = World(planner(space, search="optuna", samples=12, delay=2), slots=1, seed=0).run()
    assert len(points) == 12
    assert all(point["magnitude.rewind_epoch"] <= point["training.epochs"] for point in points)


@pytest.mark.parametrize("search", ["random", "optuna"])
def test_a_key_that_changes_nothing_is_refused(search):
    """A momentum that Adam does not have is an error that names it, beside keys that do change something."""
    space = ADAPTIVE | {"training.momentum": Distribution(kind="uniform", values=(0.1, 0.9))}
    with pytest.raises(SpaceError, match=r"`training.momentum` changes nothing here"):
        planner(space, search=search, samples=4).plan()


def test_the_front_of_several_objectives_is_what_no_point_beats():
    """With accuracy and winning sparsity to maximise, the best points are those that no other one beats in both."""
    objectives = ("val_accuracy", "winning_sparsity")
    world = World(planner(ADAPTIVE, search="optuna", samples=6, objectives=objectives), slots=2, seed=0)
    world.run()
    values = [point.result.values for point in world.agenda.points()]
    beaten = [any(a >= c and b >= d and (a, b) != (c, d) for a, b in values) for c, d in values]
    assert [s.cycles[0].point for s in world.agenda.best()] == [i for i, lost in enumerate(beaten) if not lost]
