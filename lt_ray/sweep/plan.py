"""The plan: a sweep's cycles and rounds on its data, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.names import TASK_KEY, always_said, cycle_name
from lt_ray.errors import CycleError
from lt_ray.models.model import model_of
from lt_ray.models.pretrained import Base
from lt_ray.rounds.chain import RewindEpoch, Round, chain, forecast, origin_chain, prunable_names, rewind_epochs
from lt_ray.rounds.inputs import Datasets
from lt_ray.rounds.methods.method import Left, method_of
from lt_ray.store.storage import Keep
from lt_ray.sweep.checks import Models
from lt_ray.sweep.recorded import RecordedCycle
from lt_ray.sweep.sweep import MOST_POINTS, Point, Sweep

_FLOAT_BYTES = 4
_ORIGINS = MOST_POINTS
"""Cycles that find tickets come before all others, so their order is negative"""


class PlannedCycle(RecordedCycle):
    """One cycle of a sweep before it runs."""

    rounds: tuple[Round, ...]
    forecast: tuple[Left, ...]
    """What each round will have, as far as it is known before"""
    ticket_rounds: tuple[Round, ...] = ()
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
        return tuple(round.key for round in (*self.ticket_rounds, *self.rounds))


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

    def disk_bytes(self, keep: Keep) -> int:
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
class Grounds:
    """What a plan has to know besides its sweep."""

    facts: Facts
    """Of the task's data"""
    digest: str
    """Of the task's data"""
    source_facts: Facts | None = None
    """Of the source task's data, where there is one"""
    source_digest: str | None = None
    """Of the source task's data"""
    base: Base | None = None
    """What an encoder is made of"""
    data: Datasets | None = None
    """What the cycles train on, where it was read: it is enough, then, for what their prunings measure on it"""

    @classmethod
    def of(cls, data: Datasets) -> Grounds:
        """Return what a plan has to know of these data."""
        source = None if data.source is None else data.source.facts
        return cls(data.task.facts, data.task.digest, source, data.source_digest, data.base, data)


@dataclass(frozen=True)
class Planner:
    """Turns points of a sweep's space into cycles on one data set."""

    sweep: Sweep
    grounds: Grounds

    def plan(self, asked: Sequence[Point] = ()) -> Plan:
        """Return the sweep's plan; of an adaptive search the points that need no result, or those `asked` before.

        Equal cycles are merged: a field without a meaning (the rewind epoch of fine-tuning) makes no new cycle.
        Raises what `Sweep.first_points` does, and `CycleError` or `ModelError` for cycles and objectives that do not
        suit model or data.
        """
        self.sweep.check_width(self.grounds.facts)
        empty = Plan(self.sweep, (), 0, 0, self._models.of(self.sweep.cycle).block_size)
        return self.extended(empty, asked or self.sweep.first_points)

    def extended(self, plan: Plan, asked: Sequence[Point]) -> Plan:
        """Return the plan with further points: of an adaptive search at its end, each in the order it was asked.

        Else cycles that share a round 0 are spread out, so that trials started together compute different ones.
        """
        planned = {item.id: item for item in plan.cycles}
        order = sum(not item.finds_tickets for item in plan.cycles)
        points = [self.sweep.cycles(point) for point in asked]
        ids = {cycle.id for cycles in points for cycle in cycles}
        for index, (point, cycles) in enumerate(zip(asked, points, strict=True), start=plan.points):
            for cycle in cycles:
                if cycle.id in planned:
                    continue
                if cycle.takes_tickets and cycle.origin.id not in planned and cycle.origin.id not in ids:
                    self._check_outputs(cycle)
                    place = len(planned) - order - _ORIGINS
                    planned[cycle.origin.id] = self._planned(place, -1, {}, cycle.origin)
                planned[cycle.id] = self._planned(order, index, point, cycle)
                order += 1
        parameters = max((sum(self._models.of(item.cycle).sizes.values()) for item in planned.values()), default=0)
        ordered = planned.values() if self.sweep.search == "optuna" else _spread(planned.values())
        return replace(plan, cycles=tuple(ordered), points=plan.points + len(asked), parameters=parameters)

    def _planned(self, order: int, index: int, point: Point, cycle: Cycle) -> PlannedCycle:
        model = self._models.of(cycle)
        source = self.grounds.source_digest
        digest = source if cycle.task == self.sweep.cycle.source else self.grounds.digest
        assert digest is not None
        self._models.check(cycle)
        if self.grounds.data is not None and cycle.tickets == "own":
            for pruning in cycle.schedule:
                method_of(pruning).check_data(self.grounds.data.of(cycle), cycle.seed)
        flat = cycle.flat()
        rounds = chain(cycle, digest, source)
        ticket_rounds = origin_chain(cycle, digest, source)
        whole = ticket_rounds or rounds
        expected = dict(zip([round.index for round in whole], forecast(cycle, whole, model), strict=True))
        return PlannedCycle(
            order=order,
            point=index,
            asked=point,
            cycle=cycle,
            settings=({TASK_KEY: cycle.task.name} if index < 0 else {})
            | {key: flat[key] for key in self.sweep.space.distributions if key in flat}
            | always_said(flat),
            keys=tuple(round.key for round in rounds),
            rounds=rounds,
            prunable=prunable_names(cycle, model),
            forecast=tuple(expected[index] for index in cycle.trained_rounds),
            ticket_rounds=ticket_rounds,
        )

    def _check_outputs(self, cycle: Cycle) -> None:
        """Raise `CycleError` where a ticket of the source task has another last layer than the task needs."""
        if cycle.tickets != "source":
            return
        facts = (self.grounds.source_facts or self.grounds.facts, self.grounds.facts)
        there, here = (model_of(cycle.model, each, self.grounds.base).outputs for each in facts)
        if there != here:
            raise CycleError(
                "`tickets: source` needs tasks with as many outputs, but got "
                f"({cycle.origin.task.name}={there}, {cycle.task.name}={here}): a ticket's last layer would not fit; "
                "name another task"
            )

    @cached_property
    def _models(self) -> Models:
        return Models(self.grounds.facts, self.grounds.base)


def _spread(planned: Iterable[PlannedCycle]) -> list[PlannedCycle]:
    """The first cycle of each round 0, then the second of each, and so on; those that take tickets after all others."""
    seen: dict[str, int] = {}
    ranked = []
    for item in sorted(planned, key=lambda item: (item.cycle.takes_tickets, item.order)):
        rank = seen.setdefault(item.rounds[0].key, 0)
        seen[item.rounds[0].key] += 1
        ranked.append((rank, item))
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]
