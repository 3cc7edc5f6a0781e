"""The plan: what follows from a sweep before anything runs; and which weights a running one drops."""

import planted
import pytest
from scipy.stats import binom

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import CifarResNet, Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import not_above_chance, sparsest_on_test, winning_round
from lt_ray.cycle.tasks import Images, Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import CycleError, SpaceError
from lt_ray.rounds.outcome import round_result
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.checks import check
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.retention import Retention
from lt_ray.sweep.space import Distribution, Space
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks import registry as tasks

MODEL = Cnn(vocabulary=200, embedding=4, filters=3, widths=(2,), dropout=0.1)
BASE = Cycle(
    task=Toy(train=100, validation=40, test=40),
    model=MODEL,
    training=Training(epochs=2, batch_size=100, lr=0.02),
    schedule=(Magnitude(shared_start=("embedding.weight",)),) * 3,
)


def make_plan(seeds: int = 1, base: Cycle = BASE, rows: int = 202, digest: str = "0" * 64, **grid):
    distributions = {
        f"magnitude.{name}": Distribution(kind="grid", values=tuple(values)) for name, values in grid.items()
    }
    sweep = Sweep(name="s", cycle=base, space=Space(distributions=distributions), seeds=seeds)
    return Planner(sweep, Grounds(Facts(rows=rows), digest)).plan()


def test_what_may_be_lost_is_in_the_unit_of_the_metric():
    """Of a target of thousands, a ticket may lose 100 and a cycle 2,500; of accuracy, in [0, 1], none may lose 1."""
    numbers = BASE.with_settings({"task.name": "folder", "task.label": "number"})
    lost = {"tolerance": 100, "max_drop": {"max_drop": 2500}}
    assert Sweep(name="s", cycle=numbers, **lost).tolerance == 100
    for option, value in lost.items():
        with pytest.raises(ValueError, match=f"`--{option.replace('_', '-')}` must be less than 1, since accuracy"):
            Sweep(name="s", cycle=BASE, **{option: value})


def test_equal_cycles_are_merged():
    """The fine-tuned arm has no rewind epoch: 2 arms × 3 epochs are 6 points and 4 cycles."""
    planned = make_plan(restart=["rewind", "final"], rewind_epoch=[0, 1, "last"])
    assert planned.points == 6
    assert len(planned.cycles) == 4
    assert [p.settings["magnitude.rewind_epoch"] for p in planned.cycles].count(None) == 1


def test_arms_of_a_seed_share_round_0():
    """Two seeds of two arms with three prunings are 16 rounds, two of them shared."""
    planned = make_plan(seeds=2, restart=["rewind", "random"])
    assert planned.rounds == 16
    assert len(planned.keys) == 14


def test_common_beginnings_are_shared():
    """Cycles that differ in the rewind epoch alone share what comes before the first pruning, and no more."""
    planned = make_plan(rewind_epoch=[0, 1])
    first, second = (p.rounds for p in planned.cycles)
    assert [a.key == b.key for a, b in zip(first, second, strict=True)] == [True, False, False, False]


def test_cycles_that_share_a_round_0_are_spread_out():
    """The first two cycles to start compute different rounds 0."""
    planned = make_plan(seeds=2, restart=["rewind", "random"])
    assert [p.cycle.seed for p in planned.cycles] == [0, 1, 0, 1]


def test_epochs_to_keep_are_those_of_all_sharers():
    """Round 0 keeps every epoch that any cycle sharing it rewinds to; epoch 0 is drawn again."""
    planned = make_plan(restart=["rewind", "random"], rewind_epoch=[0, 1, "last"])
    assert {planned.keep_epochs(p) for p in planned.cycles} == {frozenset({1, "last"})}


def test_points_that_are_all_one_cycle_are_refused():
    """A space that changes nothing is an error that names its keys."""
    base = BASE.with_settings({"magnitude.restart": "final"})
    with pytest.raises(SpaceError, match=r"all the same cycle.*magnitude.rewind_epoch"):
        make_plan(base=base, rewind_epoch=[0, 1])


def test_wrong_names_are_told_without_data():
    """A pattern that names no parameter is refused before any data is read, in every point of the space."""
    rewinds = Distribution(kind="grid", values=(0, 1))
    base = BASE.with_settings({"magnitude.exclude": ["embeding.weight"]})
    sweep = Sweep(name="s", cycle=base, space=Space(distributions={"magnitude.rewind_epoch": rewinds}))
    with pytest.raises(CycleError, match=r"Did you mean `embedding.weight`"):
        check(sweep, sweep.first_points, None)


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("rounding", ["percentile", "nearest", "ceil"])
@pytest.mark.parametrize("parameters", ["all", "weights"])
def test_predicted_remaining_weights_are_the_measured_ones(scope, rounding, parameters, tmp_path):
    """The plan's remaining counts are what the rounds then have, under every rule."""
    data, _ = tasks.load(BASE.task, MODEL.vocabulary)
    base = BASE.with_settings(
        {"magnitude.scope": scope, "magnitude.rounding": rounding, "magnitude.parameters": parameters}
    )
    planned = make_plan(base=base, rows=data.rows, digest=data.digest).cycles[0]
    events = run_cycle(planned.cycle, data, RoundStore(tmp_path))
    measured = [event.remaining for event in events if hasattr(event, "remaining")]
    assert [expected.remaining for expected in planned.forecast] == measured


def test_weights_are_dropped_once_nothing_starts_from_them(tmp_path):
    """At the end the last and the winning round of each cycle have weights, no other; every round has its masks."""
    data, _ = tasks.load(BASE.task, MODEL.vocabulary)
    planned = make_plan(rows=data.rows, digest=data.digest, restart=["rewind", "random"], rewind_epoch=[1, "last"])
    store = RoundStore(tmp_path)
    retention = Retention(store, planned.sweep.tolerance)
    retention.begun(planned)
    results = {}
    for member in planned.cycles:
        for event in run_cycle(member.cycle, data, store, keep_epochs=planned.keep_epochs(member)):
            if hasattr(event, "key"):
                results.setdefault(member.id, []).append(event)
                retention.finished(event)
                if any(len(results.get(sharer.id, ())) < 2 for sharer in planned.cycles):
                    assert store.has_weights(planned.cycles[0].rounds[0].key), "a later cycle starts from it"
    kept = {member.rounds[-1].key for member in planned.cycles}
    for member in planned.cycles:
        winner = winning_round(results[member.id], planned.sweep.tolerance)
        kept |= {winner.key} if winner else set()
    assert {key for key in planned.keys if store.has_weights(key)} == kept
    assert all(store.masks(key) for key in planned.keys)
    assert not list((tmp_path / "rewind").iterdir())


def test_the_winning_round_is_the_sparsest_within_the_tolerance(tmp_path):
    """Of rounds at 0.90, 0.91, 0.895 and 0.88, tolerance 0.005 makes round 2 the winner, its bound included."""
    data, _ = tasks.load(BASE.task, MODEL.vocabulary)
    member = make_plan(rows=data.rows, digest=data.digest).cycles[0]
    store = RoundStore(tmp_path)
    list(run_cycle(member.cycle, data, store))
    rows = [round_result(member.cycle, r.key, store.find(r.key), member.prunable) for r in member.rounds]
    made = [
        row.model_copy(update={"val_accuracy": accuracy, "test_accuracy": 1.0, "val_examples": None})
        for row, accuracy in zip(rows, (0.90, 0.91, 0.895, 0.88), strict=True)
    ]
    assert winning_round(made, 0.005).round == 2
    assert sparsest_on_test(made, 0.005).round == 3
    assert winning_round(reversed(made), 0.0).round == 1
    assert winning_round(made[:1], 0.5) is None
    assert winning_round(made[1:], 0.5) is None


@pytest.mark.parametrize(("right", "above"), [(500, False), (526, False), (527, True)])
def test_a_dense_model_that_is_not_above_chance_has_no_ticket(right, above):
    """Of 1,000 examples, half of one class: P(X ≥ 526) = 0.0535 and P(X ≥ 527) = 0.0468 by the binomial."""
    facts = {"val_examples": 1000, "val_largest": 500}
    rounds = [planted.a_round("c", index, val=right / 1000).model_copy(update=facts) for index in (0, 1)]
    assert (binom.sf(right - 1, 1000, 0.5) <= 0.05) == above
    assert bool(not_above_chance(rounds[0])) != above
    assert (winning_round(rounds, 0.005) is not None) == above
    assert (sparsest_on_test(rounds, 0.005) is not None) == above
    assert winning_round([round.model_copy(update={"val_examples": None}) for round in rounds], 0.005) is not None


def test_an_objective_that_few_classes_do_not_have_is_refused():
    """Top-5 accuracy of five classes is measured by nobody: the plan names the rule, the classes and what there is."""
    cycle = Cycle(task=Images(size=8), model=CifarResNet(depth=8, width=4), schedule=())
    sweep = Sweep(name="s", cycle=cycle, objectives=("val_top5_accuracy",))
    with pytest.raises(CycleError, match=r"`--objective val_top5_accuracy` needs 6 .* got 5: say one of val_accuracy,"):
        Planner(sweep, Grounds(Facts("images", width=5, shape=(3, 8, 8)), "0" * 64)).plan()
    assert Planner(sweep, Grounds(Facts("images", width=6, shape=(3, 8, 8)), "0" * 64)).plan().cycles
