"""The sweep: cycle + space + samples + seeds, and the plan that follows from it before anything runs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import nn

from lt_ray.cycle.cycle import MASKS_KEY, Cycle
from lt_ray.cycle.identity import canonical
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.names import TASK_KEY, cycle_name
from lt_ray.cycle.prunings import Magnitude, Wanda
from lt_ray.cycle.settings import Scalar, Settings
from lt_ray.errors import CycleError, SpaceError, nearest
from lt_ray.models import encoder, maps, registry, survey
from lt_ray.models.pretrained import Base
from lt_ray.pruning.restart import matches
from lt_ray.rounds.chain import RewindEpoch, Round, chain, origin_chain, prunable_names, rewind_epochs, touches
from lt_ray.rounds.forecast import Forecast, forecast
from lt_ray.rounds.inputs import Datasets
from lt_ray.rounds.start import check_calibration
from lt_ray.sweep.objective import WINNING, objectives
from lt_ray.sweep.search import Asked, suggest
from lt_ray.sweep.space import Space
from lt_ray.sweep.stopping import Asha, AshaRule, MaxDrop, MaxDropRule, Rule

_FLOAT_BYTES = 4
MOST_POINTS = 10_000
"""Most points of one sweep [count]"""
_ORIGINS = MOST_POINTS
"""Cycles that find tickets come before all others, so their order is negative"""
_MOST_NAMED = 40
"""Parameters that a message lists [count]"""
_ATTEMPTS = 100
"""Suggestions in place of one that was asked before, after which an adaptive search ends"""


class Sweep(Settings):
    """One question as a set of cycles."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Its directory and its name in MLflow"""
    cycle: Cycle
    """What every cycle has in common"""
    space: Space = Space()
    """What they differ in; conditions on fields that are not searched are decided (`Space.resolved`)"""
    search: Literal["random", "grid", "optuna"] = "random"
    """`random` = grids crossed, the others drawn; `grid` = all crossed; `optuna` = adaptive, by TPE"""
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
    tolerance: float = Field(default=0.005, ge=0, lt=1)
    """What a winning ticket may lose against its dense round, in the unit of the deciding metric"""

    @model_validator(mode="after")
    def _objectives_can_be_searched(self) -> Sweep:
        known = objectives(self.cycle.task.metrics)
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

    @property
    def last_round(self) -> int:
        """Most prunings of any cycle [count]."""
        searched = self.space.distributions.get("rounds")
        return max([self.cycle.rounds, *(int(value) for value in searched.values)] if searched else [self.cycle.rounds])

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules that end cycles early, with nothing taken in yet."""
        rules: list[Rule] = []
        if self.asha is not None:
            rules.append(AshaRule(self.asha, self.objectives[0], self.last_round))
        if self.max_drop is not None:
            rules.append(MaxDropRule(self.max_drop))
        return tuple(rules)

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
        tree["cycle"] |= {"model": self.cycle.model.meaning(), "task": self.cycle.task.meaning()}
        return {**tree, **digests}


@dataclass(frozen=True)
class PlannedCycle:
    """One cycle of a sweep before it runs."""

    order: int
    """Place among the sweep's cycles, before they were spread [count]"""
    point: int
    """Place of its point among the space's points; one point has a cycle for each seed; −1 for a cycle that finds
    tickets for others [count]"""
    asked: Mapping[str, Scalar]
    """The point: searched fields as they were drawn or suggested"""
    cycle: Cycle
    settings: Mapping[str, Scalar]
    """The searched fields, as this cycle has them; its task, where it finds tickets for others; and that its masks are
    its own, where a control's are meant to be the ticket's"""
    rounds: tuple[Round, ...]
    prunable: tuple[str, ...]
    """Parameters over which sparsity counts"""
    forecast: tuple[Forecast, ...]
    """What each round will have, as far as it is known before"""
    found: tuple[Round, ...] = ()
    """Rounds of another cycle that find its tickets"""

    @property
    def id(self) -> str:
        """The cycle's identity."""
        return self.cycle.id

    @property
    def name(self) -> str:
        """What it is called: `rewind@0 s1 lr=0.0012`."""
        return cycle_name(self.settings, self.cycle.seed)

    @property
    def finds_tickets(self) -> bool:
        """Whether it runs on the source task, for the sake of cycles that take its tickets over."""
        return self.point < 0

    @property
    def needed(self) -> tuple[str, ...]:
        """Keys of the rounds that it takes, in the order in which they are looked for."""
        return tuple(round.key for round in (*self.found, *self.rounds))


@dataclass(frozen=True)
class Plan:
    """All cycles of a sweep, in the order in which they start."""

    sweep: Sweep
    cycles: tuple[PlannedCycle, ...]
    points: int
    """Points of the space, before equal cycles were merged [count]"""
    parameters: int
    """Parameters of the model; of the largest one where models differ [count]"""
    block_parameters: int | None = None
    """Parameters of a block; None for models without blocks, and where they differ [count]"""

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The distinct rounds' keys."""
        return tuple(dict.fromkeys(round.key for planned in self.cycles for round in planned.rounds))

    @property
    def rounds(self) -> int:
        """Rounds of all cycles, shared ones counted once for each cycle [count]."""
        return sum(len(planned.rounds) for planned in self.cycles)

    def keep_epochs(self, planned: PlannedCycle) -> frozenset[RewindEpoch]:
        """Return the epochs of a cycle's round 0 that it or a cycle sharing that round rewinds to."""
        return self._rewinds[planned.rounds[0].key]

    @cached_property
    def _rewinds(self) -> dict[str, frozenset[RewindEpoch]]:
        groups: dict[str, list[Cycle]] = {}
        for planned in self.cycles:
            groups.setdefault(planned.rounds[0].key, []).append(planned.cycle)
        return {key: rewind_epochs(cycles) for key, cycles in groups.items()}

    def disk_bytes(self, keep: str) -> int:
        """Return what the finished store takes: masks of every round, and the weights that are kept.

        - `keep`: `needed` = the last and (at most) one winning round's of each cycle, `all` = every round's and the
          weights to rewind to
        """
        weights = self.parameters * _FLOAT_BYTES
        masks = len(self.keys) * self.parameters // 8
        if keep == "all":
            rewinds = sum(len(epochs) for epochs in self._rewinds.values())
            return masks + (len(self.keys) + rewinds) * weights
        kept = {planned.rounds[-1].key for planned in self.cycles}
        return masks + (len(kept) + sum(planned.cycle.rounds > 0 for planned in self.cycles)) * weights


@dataclass(frozen=True)
class Planner:
    """Turns points of a sweep's space into cycles on one data set.

    - `rows`, `outputs`: embedding rows and logits that the data asks for
    - `source_outputs`, `source_digest`: of the source task, where there is one
    - `base`: what an encoder is made of
    - `data`: what the cycles train on, where it is known: then it is enough for what their prunings measure on it
    """

    sweep: Sweep
    rows: int
    outputs: int
    data_digest: str
    source_outputs: int | None = None
    source_digest: str | None = None
    base: Base | None = None
    data: Datasets | None = None

    def plan(self) -> Plan:
        """Return the sweep's plan; of an adaptive search the points that need no result.

        Equal cycles are merged: a field without a meaning (the rewind epoch of fine-tuning) makes no new cycle.
        Cycles that share a round 0 are spread out, so that trials started together compute different ones.
        Raises `CycleError` for a point that no cycle can be or whose names the model does not have, and `SpaceError`
        for points that are all one cycle and for a key that changes nothing.
        """
        if self.sweep.search == "optuna":
            return self._adaptive()
        points = list(itertools.islice(self._points(), MOST_POINTS + 1))
        if len(points) > MOST_POINTS:
            raise SpaceError(
                f"`points <= {MOST_POINTS:,}` must hold, but the search space crosses to more: give fewer values or "
                "`--samples`, or `--search optuna`, which asks as many as you say"
            )
        planned: dict[str, PlannedCycle] = {}
        origins: dict[str, PlannedCycle] = {}
        for index, point in enumerate(points):
            for cycle in self.cycles(point):
                if cycle.id not in planned:
                    self._add_origin(origins, cycle)
                    planned[cycle.id] = self._planned(len(planned), index, point, cycle)
        searched = tuple(self.sweep.space.distributions)
        if len(points) > 1 and len(planned) == self.sweep.seeds:
            raise SpaceError(
                f"the {len(points)} points of the search space are all the same cycle: none of "
                f"{', '.join(searched)} changes anything{self._where}; give values that differ"
            )
        self._check_consumed(points)
        finders = [item for key, item in origins.items() if key not in planned]
        both = (*finders, *planned.values())
        block = _block_size(self._module(self.sweep.cycle)) if isinstance(self.sweep.cycle.model, Encoder) else None
        return Plan(self.sweep, tuple(_spread(both)), len(points), self._parameters(both), block)

    def resumed(self, asked: Sequence[Mapping[str, Scalar]]) -> Plan:
        """Return the plan of an adaptive search that has asked these points before."""
        return self.extended(Plan(self.sweep, (), 0, 0), asked) if asked else self.plan()

    def cycles(self, point: Mapping[str, Scalar]) -> list[Cycle]:
        """Return a point's cycles, one for each seed."""
        first = self.sweep.cycle.seed
        seeds = range(first, first + self.sweep.seeds)
        return [self.sweep.cycle.with_settings({**point, "seed": seed}) for seed in seeds]

    def extended(self, plan: Plan, asked: Sequence[Mapping[str, Scalar]]) -> Plan:
        """Return the plan with further points at its end, each in the order it was asked."""
        new: list[PlannedCycle] = []
        origins = {planned.id: planned for planned in plan.cycles}
        points = [self.cycles(point) for point in asked]
        ids = {cycle.id for cycles in points for cycle in cycles}
        for index, (point, cycles) in enumerate(zip(asked, points, strict=True), start=plan.points):
            for cycle in cycles:
                known = len(origins)
                if not (cycle.takes_tickets and cycle.origin.id in ids):
                    self._add_origin(origins, cycle)
                new += list(origins.values())[known:]
                new.append(self._planned(len(plan.cycles) + len(new), index, point, cycle))
        parameters = max(plan.parameters, self._parameters(new))
        return Plan(self.sweep, (*plan.cycles, *new), plan.points + len(asked), parameters)

    def suggestion(self, asked: Sequence[Asked], known: Collection[str]) -> Mapping[str, Scalar] | None:
        """Return the adaptive search's next point; None where no further one was found.

        - `asked`: the points so far, in order
        - `known`: identities of their cycles, none of which is asked again
        """
        for attempt in range(_ATTEMPTS):
            point = suggest(
                self.sweep.space,
                asked,
                objectives=len(self.sweep.objectives),
                seed=self.sweep.sampling_seed,
                delay=self.sweep.delay,
                attempt=attempt,
            )
            try:
                if self.cycles(point)[0].id not in known:
                    return point
            except CycleError:  # fields that are legal one by one, but not together
                continue
        return None

    def _points(self) -> Iterator[dict[str, Scalar]]:
        if self.sweep.search == "grid":
            return self.sweep.space.grid()
        return self.sweep.space.points(self.sweep.samples, self.sweep.sampling_seed)

    def _adaptive(self) -> Plan:
        asked: list[Asked] = []
        known: set[str] = set()
        while len(asked) < min(self.sweep.delay, self.sweep.samples):
            point = self.suggestion(asked, known)
            if point is None:
                break
            asked.append(Asked(point))
            known.add(self.cycles(point)[0].id)
        if not asked:
            raise SpaceError("the search space has no point that is a cycle: its keys contradict each other")
        if self.sweep.samples > 1 and len(asked) == 1:
            raise SpaceError("the search space has one point only: give values that differ")
        self._check_consumed([dict(item.settings) for item in asked])
        return self.extended(Plan(self.sweep, (), 0, 0), [item.settings for item in asked])

    def _check_consumed(self, points: Sequence[Mapping[str, Scalar]]) -> None:
        """Raise `SpaceError` for a key of several values that changes no cycle, whatever the others are."""
        for key, distribution in self.sweep.space.distributions.items():
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
        return " without a pruning (`--rounds 0`)" if self.sweep.last_round == 0 else " here"

    def _changes(self, point: Mapping[str, Scalar], key: str, ends: Sequence[Scalar]) -> bool:
        ids = set()
        for value in ends:
            try:
                ids.add(self.sweep.cycle.with_settings({**point, key: value}).id)
            except CycleError:  # this value contradicts the other keys: it is looked at
                return True
        return len(ids) > 1

    def _add_origin(self, origins: dict[str, PlannedCycle], cycle: Cycle) -> None:
        """Plan the cycle that finds this one's tickets, unless it is planned."""
        if cycle.takes_tickets and cycle.origin.id not in origins:
            if cycle.tickets == "source" and self.source_outputs != self.outputs:
                raise CycleError(
                    "`tickets: source` needs tasks with as many outputs, but got "
                    f"({cycle.origin.task.name}={self.source_outputs}, {cycle.task.name}={self.outputs}): a ticket's "
                    "last layer would not fit; name another task"
                )
            origins[cycle.origin.id] = self._planned(len(origins) - _ORIGINS, -1, {}, cycle.origin)

    def _planned(self, order: int, index: int, point: Mapping[str, Scalar], cycle: Cycle) -> PlannedCycle:
        module = self._module(cycle)
        digest = self.source_digest if cycle.task == self.sweep.cycle.source else self.data_digest
        assert digest is not None
        _check_names(cycle, module)
        survey.check(cycle.schedule, module, lambda: self._surveyed(cycle))
        if self.data is not None and cycle.tickets == "own":
            check_calibration(cycle.schedule, self.data.of(cycle), cycle.seed)
        flat = cycle.flat()
        rounds = chain(cycle, digest, self.source_digest)
        found = origin_chain(cycle, digest, self.source_digest)
        whole = found or rounds
        expected = dict(zip([round.index for round in whole], forecast(cycle, whole, module), strict=True))
        return PlannedCycle(
            order=order,
            point=index,
            asked=point,
            cycle=cycle,
            settings=({TASK_KEY: cycle.task.name} if index < 0 else {})
            | {key: flat[key] for key in self.sweep.space.distributions if key in flat}
            | ({MASKS_KEY: "own"} if flat.get(MASKS_KEY) == "own" else {}),
            rounds=rounds,
            prunable=prunable_names(cycle, module),
            forecast=tuple(expected[index] for index in cycle.trained_rounds),
            found=found,
        )

    def _parameters(self, planned: Iterable[PlannedCycle]) -> int:
        return max((_size(self._module(item.cycle)) for item in planned), default=0)

    def _module(self, cycle: Cycle) -> nn.Module:
        """A cycle's dense module on the meta device; equal models are one."""
        key = canonical(cycle.model.model_dump(mode="json"))
        if key not in self._modules:
            self._modules[key] = registry.build(cycle.model, self.rows, self.outputs, self.base)
        return self._modules[key]

    def _surveyed(self, cycle: Cycle) -> survey.Survey:
        """The survey of a cycle's model, made once for equal models."""
        key = canonical(cycle.model.model_dump(mode="json"))
        if key not in self._surveys:
            self._surveys[key] = survey.survey(self._module(cycle))
        return self._surveys[key]

    @cached_property
    def _surveys(self) -> dict[str, survey.Survey]:
        return {}

    @cached_property
    def _modules(self) -> dict[str, nn.Module]:
        return {}


def plan(sweep: Sweep, rows: int, outputs: int, data_digest: str) -> Plan:
    """Return the plan of a sweep on a data set; see `Planner`."""
    return Planner(sweep, rows, outputs, data_digest).plan()


def _check_names(cycle: Cycle, module: nn.Module) -> None:
    """Raise `CycleError` for a pattern that names no parameter, and for a pruning that leaves nothing to prune."""
    names = [name for name, _ in module.named_parameters()]
    for pruning in cycle.schedule:
        if isinstance(pruning, Wanda) and pruning.kept_of is not None:
            _check_pattern(pruning, module)
        if not isinstance(pruning, Magnitude):
            continue
        for field, patterns in (("exclude", pruning.exclude), ("shared_start", pruning.shared_start)):
            for pattern in patterns:
                if not any(matches(name, [pattern]) for name in names):
                    raise CycleError(
                        f"`magnitude.{field}` must name parameters of the model, but got {pattern!r}."
                        f"{nearest(pattern, names) or ' There are: ' + ', '.join(names[:_MOST_NAMED]) + '.'}"
                    )
        if not touches(pruning, module):
            raise CycleError(f"`magnitude.exclude` must leave something to prune, but got {', '.join(pruning.exclude)}")


def _check_pattern(pruning: Wanda, module: nn.Module) -> None:
    """Raise `CycleError` where a row cannot be cut into groups of the pattern's size."""
    assert pruning.kept_of is not None
    for name in touches(pruning, module):
        _, inputs = maps.shape(module, name)
        if inputs % pruning.kept_of[1]:
            raise CycleError(
                f"`wanda.pattern` N:M needs rows of a multiple of M inputs, but got {pruning.pattern} and {inputs} "
                f"inputs in {name}: take another pattern, or `row`"
            )


def _block_size(module: nn.Module) -> int | None:
    sizes = {sum(parameter.numel() for parameter in block.parameters()) for block in encoder.blocks_of(module)}
    return sizes.pop() if len(sizes) == 1 else None


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _spread(planned: Iterable[PlannedCycle]) -> list[PlannedCycle]:
    """The first cycle of each round 0, then the second of each, and so on; those that take tickets after all others."""
    seen: dict[str, int] = {}
    ranked = []
    for item in sorted(planned, key=lambda item: item.cycle.takes_tickets):
        rank = seen.setdefault(item.rounds[0].key, 0)
        seen[item.rounds[0].key] += 1
        ranked.append((rank, item))
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]
