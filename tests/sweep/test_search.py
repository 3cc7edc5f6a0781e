"""Adaptive search: points are pure, each is told once in its right state, and the search learns."""

import math
import statistics

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from planted import a_round

from lt_ray.sweep.search import AskedPoint, PointResult, dominated, point_result, study, suggest
from lt_ray.sweep.space import Distribution, Space

LR = Distribution(kind="log_uniform", values=(1e-4, 1e-1))
RESTART = Distribution(kind="grid", values=("rewind", "random"))
EPOCH = Distribution(kind="integer", values=(0, 4), when={"magnitude.restart": ("rewind",)})
SPACE = Space(distributions={"training.lr": LR, "magnitude.restart": RESTART, "magnitude.rewind_epoch": EPOCH})


def value_of(point) -> float:
    """Best at lr = 0.01 with the rewind arm."""
    return -((math.log10(point["training.lr"]) + 2) ** 2) + (point["magnitude.restart"] == "rewind")


def searched(samples: int, seed: int = 0, delay: int = 1, space: Space = SPACE) -> list[AskedPoint]:
    asked: list[AskedPoint] = []
    for _ in range(samples):
        point = suggest(space, asked, objectives=1, seed=seed, delay=delay)
        asked.append(AskedPoint(point, PointResult("finished", (value_of(point),))))
    return asked


def test_a_suggestion_is_a_pure_function_of_what_was_told():
    """The same points and results give the same next point; another seed, attempt or result gives another."""
    asked = searched(15)
    options = {"objectives": 1, "seed": 0, "delay": 1}
    point = suggest(SPACE, asked, **options)
    assert point == suggest(SPACE, list(asked), **options)
    assert point != suggest(SPACE, asked, **options | {"seed": 1})
    assert point != suggest(SPACE, asked, **options, attempt=1)
    other = [AskedPoint(item.settings, PointResult("finished", (-item.result.values[0],))) for item in asked]
    assert point != suggest(SPACE, other, **options)


@given(st.integers(1, 6), st.data())
@settings(max_examples=15)
def test_what_was_told_of_the_last_points_changes_nothing(delay, data):
    """With a delay of d, the last d − 1 points may be unknown or told anything: the suggestion is the same."""
    asked = searched(13, delay=delay)
    whatever = st.sampled_from(
        [None, PointResult("failed"), PointResult("finished", (9.0,)), PointResult("stopped", curve={1: 0.1})]
    )
    head, tail = asked[: len(asked) - delay + 1], asked[len(asked) - delay + 1 :]
    changed = head + [AskedPoint(item.settings, data.draw(whatever)) for item in tail]
    options = {"objectives": 1, "seed": 0, "delay": delay}
    assert suggest(SPACE, changed, **options) == suggest(SPACE, asked, **options)


def test_a_conditional_key_is_suggested_only_where_its_condition_holds():
    """Every point of the rewind arm has a rewind epoch, none of the random arm has."""
    points = [item.settings for item in searched(30)]
    arms = {point["magnitude.restart"] for point in points}
    assert arms == {"rewind", "random"}
    for point in points:
        assert ("magnitude.rewind_epoch" in point) == (point["magnitude.restart"] == "rewind")


def test_the_search_learns():
    """Over five seeds, the last ten of forty points are far better than the first ten, which are random."""
    first, last = [], []
    for seed in range(5):
        values = [item.result.values[0] for item in searched(40, seed=seed, delay=4)]
        first += values[:10]
        last += values[-10:]
    assert statistics.median(last) > statistics.median(first) + 0.5


def test_points_asked_together_differ():
    """With all results unknown, eight points are eight different ones."""
    points = searched(8, delay=8)
    assert len({item.settings["training.lr"] for item in points}) == 8


def test_values_that_are_no_scalars_can_be_searched():
    """A choice among lists is suggested and told like any other."""
    widths = Distribution(kind="choice", values=([2, 3], [3, 4, 5]))
    space = Space(distributions={"model.widths": widths})
    asked = [AskedPoint({"model.widths": [3, 4, 5]}, PointResult("finished", (0.5,)))] * 12
    assert suggest(space, asked, objectives=1, seed=0, delay=1)["model.widths"] in ([2, 3], [3, 4, 5])


def test_every_point_is_in_the_study_once_in_its_state():
    """Complete, pruned, failed and unknown points are told to Optuna as such, in the order in which they were asked."""
    tolds = [
        PointResult("finished", (0.5,)),
        PointResult("stopped", curve={0: 0.5, 1: 0.4}),
        PointResult("failed"),
        None,
    ]
    asked = [AskedPoint({"training.lr": 0.01, "magnitude.restart": "random"}, told) for told in tolds]
    trials = study(SPACE, asked, objectives=1).trials
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
    assert [trial.state for trial in trials] == states
    assert trials[0].values == [0.5]
    assert trials[1].intermediate_values == {0: 0.5, 1: 0.4}
    assert trials[1].last_step == 1


def test_several_objectives_have_a_front():
    """Optuna's Pareto front of planted values is the one of `dominated`, by hand (0.9, 0.2), (0.7, 0.5)."""
    values = [(0.9, 0.2), (0.7, 0.5), (0.7, 0.4), (0.5, 0.1), (0.9, 0.1)]
    front = [mine for mine in values if not dominated(mine, values)]
    assert front == [(0.9, 0.2), (0.7, 0.5)]
    asked = [
        AskedPoint({"training.lr": 0.01, "magnitude.restart": "random"}, PointResult("finished", v)) for v in values
    ]
    found = study(SPACE, asked, objectives=2).best_trials
    assert sorted(tuple(trial.values) for trial in found) == sorted(front)
    assert suggest(SPACE, asked * 3, objectives=2, seed=0, delay=1)


def cycle(*accuracies: float, state="finished", tests: float = 0.1):
    return state, [a_round("a", r, val=value, test=tests) for r, value in enumerate(accuracies)]


def test_objectives_look_at_validation_alone():
    """By hand: val accuracy at the last round, and the sparsest round within the tolerance; test accuracy is 0.1."""
    told = point_result([cycle(0.90, 0.91, 0.90, 0.80)], ["val_accuracy", "winning_sparsity"], tolerance=0.005)
    assert told == PointResult("finished", (0.80, pytest.approx(1 - 0.8**2)))


def test_no_winning_ticket_is_a_winning_sparsity_of_0():
    """Where every pruned round loses more than the tolerance, the dense network is all that wins."""
    assert point_result([cycle(0.90, 0.80)], ["winning_sparsity"], tolerance=0.005).values == (0.0,)


def test_a_point_is_the_mean_of_its_seeds():
    """Two seeds with 0.8 and 0.6 at the last round are told as 0.7."""
    assert point_result([cycle(0.9, 0.8), cycle(0.9, 0.6)], ["val_accuracy"], 0.0).values == (pytest.approx(0.7),)


def test_one_pruned_seed_makes_its_point_pruned_and_one_failed_makes_it_failed():
    """A pruned point is told by the rounds that all its seeds have; a failure outweighs."""
    stopped = cycle(0.9, 0.5, state="stopped")
    told = point_result([cycle(0.9, 0.8, 0.7), stopped], ["val_accuracy"], 0.0)
    assert told == PointResult("stopped", curve={0: pytest.approx(0.9), 1: pytest.approx(0.65)})
    assert point_result([stopped, cycle(0.9, state="failed")], ["val_accuracy"], 0.0) == PointResult("failed")


def test_optuna_takes_pruned_points_of_one_objective():
    """A history of pruned points alone still gives a next point."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = [AskedPoint(item.settings, PointResult("stopped", curve={1: 0.5})) for item in searched(14)]
    assert suggest(SPACE, asked, objectives=1, seed=0, delay=1)
