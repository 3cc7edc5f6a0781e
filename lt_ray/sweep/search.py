"""Adaptive search: the next point of a space from the results of earlier ones, by Optuna's TPE.

A suggestion is a pure function of (seed, index, the points before it, the results of all but the last `delay` of
them). So it does not matter which trial was faster, on how many machines, or how often the sweep was killed: the same
sweep asks the same points. The study lives in memory and is rebuilt from the sweep's own record each time.
"""

from __future__ import annotations

import itertools
import operator
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.sweep.objective import rung_score, sign, value
from lt_ray.sweep.recorded import RecordedCycle
from lt_ray.sweep.space import Distribution, Space
from lt_ray.training.randomness import derive

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

State = Literal["finished", "stopped", "failed"]
"""How a cycle ended: with its last round, early by a rule, or by an error of its own"""
C = TypeVar("C", bound=RecordedCycle)


@dataclass(frozen=True)
class PointResult:
    """What a point came to, as the searcher is told."""

    state: State
    values: tuple[float, ...] = ()
    """Each objective's score, more is better, mean over seeds; of a finished point only"""
    curve: Mapping[int, float] | None = None
    """Round → what cycles are compared by, mean over seeds; of a stopped point only"""


@dataclass(frozen=True)
class AskedPoint:
    """A point that was asked and, once all its cycles have ended, what it came to."""

    settings: Mapping[str, Scalar]
    result: PointResult | None = None
    cycles: Sequence[RecordedCycle] = ()
    """One for each seed"""


def by_point(cycles: Iterable[C]) -> list[tuple[C, ...]]:
    """Return the cycles of each point, in the order of the points; those that find tickets for others are of none."""
    ordered = sorted((cycle for cycle in cycles if cycle.point >= 0), key=lambda cycle: cycle.point)
    return [tuple(group) for _, group in itertools.groupby(ordered, key=lambda cycle: cycle.point)]


def point_result(
    cycles: Sequence[tuple[str | None, Sequence[RoundResult]]], objectives: Sequence[str], tolerance: float
) -> PointResult | None:
    """Return what a point came to; None while one of its cycles has not ended.

    A point with a failed cycle failed, one with a cycle that a rule ended was stopped, any other is finished.

    - `cycles`: of each seed the `State` that it ended in, if it has, and its finished rounds in order
    """
    states, results = {state for state, _ in cycles}, [rounds for _, rounds in cycles]
    if not states <= set(get_args(State)):
        return None
    if "failed" in states:
        return PointResult("failed")
    if "stopped" not in states:
        per_seed = [[sign(name) * value(name, rounds, tolerance) for name in objectives] for rounds in results]
        return PointResult("finished", tuple(statistics.fmean(values) for values in zip(*per_seed, strict=True)))
    curve = {
        round: statistics.fmean(rung_score(objectives[0], rounds[0], rounds[round]) for rounds in results)
        for round in range(min(map(len, results)))
    }
    return PointResult("stopped", curve=curve)


def suggest(
    space: Space, asked: Sequence[AskedPoint], *, objectives: int, seed: int, delay: int, attempt: int = 0
) -> dict[str, Scalar]:
    """Return the point after those asked.

    - `space`: whose conditions are all on searched keys
    - `asked`: the points so far, in order; the results of the last `delay − 1` of them are not looked at
    - `objectives`: number of values to maximise [count]
    - `attempt`: asks for another point in place of one that could not be used [count]

    The first ten are drawn at random, the others by TPE (Bergstra et al. 2011, NIPS) with points still unknown taken
    for bad ones, so that points asked together differ.
    """
    if delay < 1:
        raise ValueError(f"`delay >= 1` must hold, but got ({delay=})")
    known = len(asked) - delay + 1
    seen = [AskedPoint(item.settings, item.result if index < known else None) for index, item in enumerate(asked)]
    trial = study(space, seen, objectives=objectives, seed=derive(seed, "search", len(asked), attempt) % 2**32).ask()
    point: dict[str, Scalar] = {}
    for key, distribution in space.distributions.items():
        if distribution.active(point):
            point[key] = _suggested(trial, key, distribution)
    return point


def study(space: Space, asked: Sequence[AskedPoint], *, objectives: int, seed: int = 0) -> Study:
    """Return an Optuna study in memory that holds each point once, in its state."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    made = optuna.create_study(directions=["maximize"] * objectives, sampler=sampler)
    made.add_trials([_trial(space, item) for item in asked])
    return made


def best(results: Sequence[PointResult | None]) -> list[int]:
    """Return the places of the finished points that no other one beats: the first best, or the Pareto front."""
    finished = {place: each.values for place, each in enumerate(results) if each and each.state == "finished"}
    front = [index for index, values in finished.items() if not dominated(values, finished.values())]
    return front[:1] if front and len(finished[front[0]]) == 1 else front


def dominated(values: Sequence[float], others: Iterable[Sequence[float]]) -> bool:
    """Return whether some other values are at least as high everywhere and higher somewhere."""
    return any(tuple(them) != tuple(values) and all(map(operator.ge, them, values)) for them in others)


def _trial(space: Space, item: AskedPoint) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    result, own = item.result, [(key, space.distributions[key]) for key in item.settings]
    states = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
    return create_trial(
        state=TrialState.RUNNING if result is None else states[result.state],
        # Of a list the place in it, since its values need not be scalars.
        params={key: list(d.values).index(item.settings[key]) if d.is_list else item.settings[key] for key, d in own},
        distributions={key: _distribution(searched) for key, searched in own},
        values=result.values if result is not None and result.state == "finished" else None,
        intermediate_values=dict(result.curve) if result is not None and result.curve is not None else None,
    )


def _distribution(searched: Distribution) -> BaseDistribution:
    from optuna import distributions as optunas

    if searched.is_list:
        return optunas.CategoricalDistribution(range(len(searched.values)))
    low, high = searched.values
    kind = optunas.IntDistribution if searched.is_integer else optunas.FloatDistribution
    return kind(low, high, log=searched.is_log)


def _suggested(trial: Trial, key: str, searched: Distribution) -> Scalar:
    if searched.is_list:
        chosen: Scalar = searched.values[trial.suggest_categorical(key, range(len(searched.values)))]
        return chosen
    suggest = trial.suggest_int if searched.is_integer else trial.suggest_float
    return suggest(key, *searched.values, log=searched.is_log)
