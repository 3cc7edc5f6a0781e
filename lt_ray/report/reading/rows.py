"""The cycles of a sweep as a report sees them, and their arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.identity import canonical
from lt_ray.cycle.names import TASK_KEY, arm_names
from lt_ray.cycle.prunings import PruningSettings
from lt_ray.cycle.results import BlockDecision, RoundResult, accepted_rounds
from lt_ray.cycle.settings import Scalar
from lt_ray.report.reading.examples import Examples

MOST_CLASSES = 20
"""Classes up to which a confusion is told whole [count]"""
_MOST_PAIRS = 100
"""Of more classes, the pairs that are told of a round [count]"""

Confusion = tuple[tuple[int, int, int], ...]
"""(class, class that it was taken for, how often), where it ever was; of many classes only pairs most often mistaken"""


@dataclass(frozen=True)
class ReportedCycle:
    """One cycle and its finished rounds."""

    id: str
    cycle: Cycle
    settings: Mapping[str, Scalar]
    """The searched fields, as this cycle has them"""
    state: str
    """finished, stopped, failed or unfinished"""
    results: tuple[RoundResult, ...]
    """In order"""
    reason: str = ""
    """Why it was stopped or failed"""
    decisions: Mapping[int, BlockDecision] = field(default_factory=dict)
    """Round → how it came to its own blocks, for the rounds that compared blocks"""
    confusions: Mapping[int, Confusion] = field(default_factory=dict)
    """Round → what its classes were taken for on the test split; of classifiers"""
    epochs: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """Round → the deciding metric on the validation split after each of its epochs"""

    @property
    def seed(self) -> int:
        """The cycle's seed."""
        return self.cycle.seed

    @cached_property
    def fields(self) -> Mapping[str, Scalar]:
        """Every field, by its dotted key (`Cycle.flat`)."""
        return self.cycle.flat()

    @cached_property
    def by_round(self) -> Mapping[int, RoundResult]:
        """Round → its result."""
        return {result.round: result for result in self.results}

    @property
    def dense(self) -> RoundResult | None:
        """Round 0, if it has finished."""
        return self.by_round.get(0)

    @property
    def accepted_rounds(self) -> tuple[RoundResult, ...]:
        """Its rounds without those that were rejected: what it came to."""
        return tuple(accepted_rounds(self.results))

    @property
    def has_pruned(self) -> bool:
        """Whether a pruned round has finished."""
        return any(index > 0 for index in self.by_round)

    @property
    def finds_tickets(self) -> bool:
        """Whether it runs on the source task, for the sake of cycles that take its tickets over."""
        return TASK_KEY in self.settings

    def pruning(self, round: int) -> PruningSettings | None:
        """Return the pruning that led to a round; None for the dense one."""
        return self.cycle.schedule[round - 1] if 0 < round <= self.cycle.rounds else None

    def start_of(self, round: int) -> int:
        """Return the round whose model a round pruned: the one before, unless that was rejected."""
        start = self.by_round[round].start_round if round in self.by_round else None
        return round - 1 if start is None or start >= round else start


@dataclass(frozen=True)
class ReportedSweep:
    """One sweep as a report sees it, wherever it was read from."""

    name: str
    space: Mapping[str, Mapping[str, Any]]
    """Searched field → {kind, values, when}"""
    tolerance: float
    """What a winning ticket may lose, in the unit of the deciding metric"""
    task: str
    """Name of the task that the sweep is about"""
    cycles: tuple[ReportedCycle, ...]
    """In the order of the plan"""
    environment: Mapping[str, str]
    """Versions and hardware of its last run; empty where not known"""
    data: Mapping[str, Scalar]
    """Sizes of the splits, number and names of classes; empty where not known"""
    examples: Examples | str = field(default="", compare=False)
    """What can be shown of single examples, or why nothing can, in a sentence; empty where they are no pictures"""


def tested(result: RoundResult) -> float:
    """Return what the deciding metric came to on the test split."""
    value = result.value("test")
    assert value is not None  # every round has its task's metrics
    return value


def confusion(counts: Sequence[Sequence[int]]) -> Confusion:
    """Return what is told of how often each class (rows) was taken for each (columns)."""
    pairs = [(i, j, many) for i, row in enumerate(counts) for j, many in enumerate(row) if many]
    if len(counts) <= MOST_CLASSES:
        return tuple(pairs)
    mistaken = sorted((pair for pair in pairs if pair[0] != pair[1]), key=lambda pair: (-pair[2], pair))
    return tuple(sorted(mistaken[:_MOST_PAIRS]))


def reported_sweep(*, cycles: Sequence[ReportedCycle], data: Mapping[str, Scalar], **fields: Any) -> ReportedSweep:
    """Return a sweep in an order and a precision of time, milliseconds, that do not depend on where it was read."""

    def rounded(result: RoundResult) -> RoundResult:
        return result.model_copy(update={"finished_at": int(result.finished_at * 1000) / 1000})

    ordered = sorted(cycles, key=lambda cycle: (canonical(dict(cycle.settings)), cycle.seed, cycle.id))
    whole = tuple(replace(cycle, results=tuple(map(rounded, cycle.results))) for cycle in ordered)
    return ReportedSweep(cycles=whole, data=dict(sorted(data.items())), **fields)


def by_arm(cycles: Iterable[ReportedCycle], keys: Sequence[str], otherwise: str) -> dict[str, list[ReportedCycle]]:
    """Return arm → its cycles, by name; other settings make another arm, though three digits are alike.

    - `otherwise`: what the one arm is called where nothing is compared
    """
    arms: dict[str, list[ReportedCycle]] = {}
    cycles = list(cycles)
    for cycle, name in zip(cycles, arm_names([cycle.settings for cycle in cycles], keys), strict=True):
        arms.setdefault(name or otherwise, []).append(cycle)
    return dict(sorted(arms.items()))
