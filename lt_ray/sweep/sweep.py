"""A sweep as it was asked for: cycle + space + samples + seeds, and the points and cycles that follow."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import Field, model_validator

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.identity import canonical
from lt_ray.cycle.metrics import METRICS, measured
from lt_ray.cycle.settings import Scalar, Settings
from lt_ray.errors import CycleError, SpaceError, nearest
from lt_ray.sweep.objective import WINNING, Search, objectives
from lt_ray.sweep.search import AskedPoint, suggest
from lt_ray.sweep.space import Space
from lt_ray.sweep.stopping import Asha, MaxDrop, Rule

MOST_POINTS = 10_000
"""Most points of one sweep [count]"""
_ATTEMPTS = 100
"""Suggestions in place of one that was asked before, after which an adaptive search ends"""
Point = Mapping[str, Scalar]
"""Searched fields, as they were drawn or suggested"""


class Sweep(Settings):
    """One question as a set of cycles."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Its directory and its name in MLflow"""
    cycle: Cycle
    """What every cycle has in common"""
    space: Space = Space()
    """What they differ in; conditions on fields that are not searched are decided (`Space.resolved`)"""
    search: Search = "random"
    samples: int = Field(default=1, ge=1, le=10_000)
    """Draws of the space's random keys, each at every grid point; with `optuna` points in all [count]"""
    seeds: int = Field(default=1, ge=1)
    """Seeds at every point: the cycle's and the next ones [count]"""
    sampling_seed: int = Field(default=0, ge=0)
    """Seed of the draws"""
    objectives: tuple[str, ...] = ()
    """What an adaptive search looks for, of `objective.objectives`; the first one is what `asha` compares; none = the
    deciding metric of the task"""
    delay: int = Field(default=8, ge=1)
    """An adaptive search asks its next point once all but the last `delay − 1` have ended [count]"""
    asha: Asha | None = None
    """Ends cycles that are worse than others at an equal round"""
    max_drop: MaxDrop | None = None
    """Ends cycles that are far worse than their own dense round"""
    tolerance: float = Field(default=0.005, ge=0)
    """What a winning ticket may lose against its dense round, in the unit of the deciding metric"""

    @model_validator(mode="after")
    def _losses_are_in_the_metrics_unit(self) -> Sweep:
        self.cycle.metric.check_loss("--tolerance", self.tolerance)
        if self.max_drop is not None:
            self.cycle.metric.check_loss("--max-drop", self.max_drop.max_drop)
        return self

    @model_validator(mode="after")
    def _cycles_can_end_early(self) -> Sweep:
        if self.asha is not None and not self.asha.rungs(self.last_round):
            raise ValueError(
                f"`--asha-grace < rounds` must hold, but got (grace={self.asha.grace}, rounds={self.last_round}): no "
                "cycle would ever end early; lower the one, or raise `--rounds`"
            )
        return self

    @model_validator(mode="after")
    def _objectives_can_be_searched(self) -> Sweep:
        known = objectives(self.cycle.metrics)
        if not self.objectives:
            object.__setattr__(self, "objectives", known[:1])
        for name in self.objectives:
            if name not in known:
                raise ValueError(
                    f"`--objective` must be one of {', '.join(known)}, but got {name!r}.{nearest(name, known)}"
                )
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"`--objective`: each may be given once, but got {', '.join(self.objectives)}")
        if self.search == "optuna" and len(self.objectives) > 1 and (self.asha or self.max_drop):
            raise ValueError(
                "`--search optuna` with several objectives cannot learn from cycles that were ended early: "
                "leave out `--scheduler asha` and `--max-drop`, or all objectives but one"
            )
        if self.search == "optuna" and not self.space.distributions:
            raise ValueError("`--search optuna` needs a space with at least one searched key: give `--space FILE`")
        return self

    def check_width(self, facts: Facts) -> None:
        """Raise `CycleError` for an objective that says nothing of so few classes: it is not measured."""
        for name in self.objectives:
            metric = METRICS.get(name.removeprefix("val_"))
            if metric is not None and facts.width < metric.least_width:
                wide = measured(facts.targets, facts.inputs, facts.width)
                raise CycleError(
                    f"`--objective {name}` needs {metric.least_width} classes or more, but got {facts.width}: "
                    f"say one of {', '.join(objectives(wide))}"
                )

    @property
    def last_round(self) -> int:
        """Most prunings of any cycle [count]."""
        searched = self.space.distributions.get("rounds")
        return max([self.cycle.rounds, *(int(value) for value in searched.values)] if searched else [self.cycle.rounds])

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules that end cycles early, with nothing taken in yet."""
        asha = () if self.asha is None else (self.asha.rule(self.objectives[0], self.last_round),)
        return asha if self.max_drop is None else (*asha, self.max_drop.rule())

    def definition(self, data_digest: str, source_digest: str | None = None) -> dict[str, Any]:
        """Return all that makes it this sweep and no other, as a tree of plain values.

        - `source_digest`: digest of the source task's data, where there is one

        Fields without a meaning here are left out, so that they make no other sweep.
        """
        fields = {"cycle", "space", "search", "samples", "seeds", "sampling_seed", "asha", "max_drop"}
        if self.search == "optuna":
            fields |= {"delay"}
        if self.search == "optuna" or self.asha is not None:
            fields |= {"objectives"}
            if WINNING in self.objectives:
                fields |= {"tolerance"}
        digests = {"data": data_digest} | ({"source_data": source_digest} if source_digest is not None else {})
        tree = self.model_dump(mode="json", include=fields)
        given = self.cycle
        tree["cycle"] |= {name: getattr(given, name).meaning() for name in ("model", "task", "training")}
        return {**tree, **digests}

    def cycles(self, point: Point) -> list[Cycle]:
        """Return a point's cycles, one for each seed."""
        first = self.cycle.seed
        seeds = range(first, first + self.seeds)
        return [self.cycle.with_settings({**point, "seed": seed}) for seed in seeds]

    @cached_property
    def first_points(self) -> list[Point]:
        """Return the points that need no result: all of them, of an adaptive search those before its first answer.

        Raises `CycleError` for a point that no cycle can be, and `SpaceError` for points that are too many, none or
        all one cycle, and for a key that changes nothing.
        """
        points = self._asked_first() if self.search == "optuna" else self._crossed()
        self._check_consumed(points)
        return points

    def suggestion(self, asked: Sequence[AskedPoint], known: Collection[str]) -> Point | None:
        """Return the adaptive search's next point; None where no further one was found.

        - `asked`: the points so far, in order
        - `known`: identities of their cycles, none of which is asked again
        """
        for attempt in range(_ATTEMPTS):
            point = suggest(
                self.space,
                asked,
                objectives=len(self.objectives),
                seed=self.sampling_seed,
                delay=self.delay,
                attempt=attempt,
            )
            try:
                if self.cycles(point)[0].id not in known:
                    return point
            except CycleError:  # fields that are legal one by one, but not together
                continue
        return None

    def _crossed(self) -> list[Point]:
        space = self.space
        crossed = space.grid() if self.search == "grid" else space.points(self.samples, self.sampling_seed)
        points: list[Point] = list(itertools.islice(crossed, MOST_POINTS + 1))
        if len(points) > MOST_POINTS:
            raise SpaceError(
                f"`points <= {MOST_POINTS:,}` must hold, but the search space crosses to more: give fewer values or "
                "`--samples`, or `--search optuna`, which asks as many as you say"
            )
        if len(points) > 1 and len({cycle.id for point in points for cycle in self.cycles(point)}) == self.seeds:
            raise SpaceError(
                f"the {len(points)} points of the search space are all the same cycle: none of "
                f"{', '.join(space.distributions)} changes anything{self._where}; give values that differ"
            )
        return points

    def _asked_first(self) -> list[Point]:
        asked: list[AskedPoint] = []
        known: set[str] = set()
        while len(asked) < min(self.delay, self.samples):
            point = self.suggestion(asked, known)
            if point is None:
                break
            asked.append(AskedPoint(point))
            known.add(self.cycles(point)[0].id)
        if not asked:
            raise SpaceError("the search space has no point that is a cycle: its keys contradict each other")
        if self.samples > 1 and len(asked) == 1:
            raise SpaceError("the search space has one point only: give values that differ")
        return [item.settings for item in asked]

    def _check_consumed(self, points: Sequence[Point]) -> None:
        """Raise `SpaceError` for a key of several values that changes no cycle, whatever the others are."""
        for key, distribution in self.space.distributions.items():
            ends = [distribution.values[0], distribution.values[-1]]
            if len({canonical(value) for value in distribution.values}) == 1 or any(
                self._changes(point, key, ends) for point in points if key in point
            ):
                continue
            raise SpaceError(
                f"`{key}` changes nothing{self._where}, whatever its value: take it out of the search space, fix it by "
                f"`--set {key}=…`, or change what makes it idle"
            )

    @property
    def _where(self) -> str:
        return " without a pruning (`--rounds 0`)" if self.last_round == 0 else " here"

    def _changes(self, point: Point, key: str, ends: Sequence[Scalar]) -> bool:
        ids = set()
        for value in ends:
            try:
                ids.add(self.cycle.with_settings({**point, key: value}).id)
            except CycleError:  # this value contradicts the other keys: it is looked at
                return True
        return len(ids) > 1
