"""Adaptive search: the next point of a space from the results of earlier ones, by Optuna's TPE.

A suggestion is a pure function of (seed, index, the points before it, the results of all but the last `delay` of
them). So it does not matter which trial was faster, on how many machines, or how often the sweep was killed: the same
sweep asks the same points. The study lives in memory and is rebuilt from the sweep's own record each time.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.sweep.objective import rung_score, score
from lt_ray.sweep.space import Distribution, Space
from lt_ray.training.randomness import derive

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Ended:
    """How one cycle of a point ended."""

    results: Sequence[RoundResult]
    """Its finished rounds in order"""
    state: State


@dataclass(frozen=True)
class Told:
    """The results of a point, as the searcher is given them."""

    state: State
    values: tuple[float, ...] = ()
    """Each objective's score, more is better, mean over seeds; of a complete point only"""
    curve: Mapping[int, float] | None = None
    """Round → what cycles are compared by, mean over seeds; of a pruned point only"""


@dataclass(frozen=True)
class Asked:
    """A point and, once all its cycles have ended, what was told of it."""

    settings: Mapping[str, Scalar]
    told: Told | None = None


def tell(cycles: Sequence[Ended], objectives: Sequence[str], tolerance: float) -> Told:
    """Return what the searcher is told of a point whose cycles, one for each seed, have all ended.

    A point with a failed cycle failed, one with a cycle that a rule ended was pruned, any other is complete.
    """
    states = {cycle.state for cycle in cycles}
    if "failed" in states:
        return Told("failed")
    if "pruned" not in states:
        per_seed = [[score(name, cycle.results, tolerance) for name in objectives] for cycle in cycles]
        return Told("complete", tuple(statistics.fmean(values) for values in zip(*per_seed, strict=True)))
    common = min(len(cycle.results) for cycle in cycles)
    curve = {
        round: statistics.fmean(rung_score(objectives[0], c.results[0], c.results[round]) for c in cycles)
        for round in range(common)
    }
    return Told("pruned", curve=curve)


def suggest(
    space: Space, asked: Sequence[Asked], *, objectives: int, seed: int, delay: int, attempt: int = 0
) -> dict[str, Scalar]:
    """Return the point after those asked.

    - `space`: whose conditions are all on searched keys
    - `asked`: the points so far, in order; what was told of the last `delay − 1` of them is not looked at
    - `objectives`: number of values to maximise [count]
    - `attempt`: asks for another point in place of one that could not be used [count]

    The first ten are drawn at random, the others by TPE (Bergstra et al. 2011, NIPS) with points still unknown taken
    for bad ones, so that points asked together differ.
    """
    if delay < 1:
        raise ValueError(f"`delay >= 1` must hold, but got ({delay=})")
    known = len(asked) - delay + 1
    seen = [Asked(item.settings, item.told if index < known else None) for index, item in enumerate(asked)]
    trial = study(space, seen, objectives=objectives, seed=derive(seed, "search", len(asked), attempt) % 2**32).ask()
    point: dict[str, Scalar] = {}
    for key, distribution in space.distributions.items():
        if distribution.active(point):
            point[key] = _suggested(trial, key, distribution)
    return point


def study(space: Space, asked: Sequence[Asked], *, objectives: int, seed: int = 0) -> Study:
    """Return an Optuna study in memory that holds each point once, in its state."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    found = optuna.create_study(directions=["maximize"] * objectives, sampler=sampler)
    for item in asked:
        found.add_trial(_trial(space, item))
    return found


def best(tolds: Sequence[Told | None]) -> list[int]:
    """Return the places of the complete points that no other one beats: the first best, or the Pareto front."""
    complete = {index: told.values for index, told in enumerate(tolds) if told is not None and told.state == "complete"}
    front = [index for index, values in complete.items() if not dominated(values, complete.values())]
    return front[:1] if front and len(complete[front[0]]) == 1 else front


def dominated(values: Sequence[float], others: Iterable[Sequence[float]]) -> bool:
    """Return whether some other values are at least as high everywhere and higher somewhere."""
    return any(
        all(other >= mine for other, mine in zip(them, values, strict=True))
        and any(other > mine for other, mine in zip(them, values, strict=True))
        for them in others
    )


def _trial(space: Space, item: Asked) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    told = item.told
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    return create_trial(
        state=TrialState.RUNNING if told is None else states[told.state],
        params={key: _parameter(space, key, value) for key, value in item.settings.items()},
        distributions={key: _distribution(space, key) for key in item.settings},
        values=told.values if told is not None and told.state == "complete" else None,
        intermediate_values=dict(told.curve) if told is not None and told.curve is not None else None,
    )


def _distribution(space: Space, key: str) -> BaseDistribution:
    from optuna import distributions as optunas

    found = space.distributions[key]
    if found.kind in ("grid", "choice"):
        return optunas.CategoricalDistribution(range(len(found.values)))
    low, high = found.values
    log = found.kind.startswith("log_")
    if found.kind in ("integer", "log_integer"):
        return optunas.IntDistribution(low, high, log=log)
    return optunas.FloatDistribution(low, high, log=log)


def _parameter(space: Space, key: str, value: Scalar) -> Scalar:
    """Optuna's form of a value: of a list the place in it, since its values need not be scalars."""
    found = space.distributions[key]
    return list(found.values).index(value) if found.kind in ("grid", "choice") else value


def _suggested(trial: Trial, key: str, found: Distribution) -> Scalar:
    if found.kind in ("grid", "choice"):
        chosen: Scalar = found.values[trial.suggest_categorical(key, range(len(found.values)))]
        return chosen
    low, high = found.values
    log = found.kind.startswith("log_")
    if found.kind in ("integer", "log_integer"):
        return trial.suggest_int(key, low, high, log=log)
    return trial.suggest_float(key, low, high, log=log)
