"""The cycles of a sweep as a report sees them, and their arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.identity import canonical
from lt_ray.cycle.names import TASK_KEY, arm_name
from lt_ray.cycle.results import BlockDecision, RoundResult, standing
from lt_ray.cycle.settings import Scalar


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

    @property
    def seed(self) -> int:
        """The cycle's seed."""
        return self.cycle.seed

    @cached_property
    def fields(self) -> Mapping[str, Scalar]:
        """Every field, by its dotted key (`Cycle.flat`)."""
        return self.cycle.flat()

    @property
    def standing(self) -> tuple[RoundResult, ...]:
        """Its rounds without those that were rejected: what it came to."""
        return tuple(standing(self.results))

    @property
    def finds_tickets(self) -> bool:
        """Whether it runs on the source task, for the sake of cycles that take its tickets over."""
        return TASK_KEY in self.settings


@dataclass(frozen=True)
class ReportedSweep:
    """One sweep as a report sees it, wherever it was read from."""

    name: str
    space: Mapping[str, Mapping[str, Any]]
    """Searched field → {kind, values, when}"""
    tolerance: float
    """Accuracy that a winning ticket may lose [0, 1]"""
    task: str
    """Name of the task that the sweep is about"""
    cycles: tuple[ReportedCycle, ...]
    """In the order of the plan"""
    environment: Mapping[str, str]
    """Versions and hardware of its last run; empty where not known"""
    data: Mapping[str, Scalar]
    """Sizes of the splits and number of classes; empty where not known"""


def tested(result: RoundResult) -> float:
    """Return what the deciding metric came to on the test split."""
    return sign_of(result) * result.score("test")


def sign_of(result: RoundResult) -> int:
    """Return what a round's values are multiplied by so that more is better: 1 or −1."""
    return 1 if result.best == "highest" else -1


def reported_sweep(*, cycles: Sequence[ReportedCycle], data: Mapping[str, Scalar], **fields: Any) -> ReportedSweep:
    """Return a sweep in an order and a precision of time, milliseconds, that do not depend on where it was read."""
    ordered = sorted(cycles, key=lambda cycle: (canonical(dict(cycle.settings)), cycle.seed, cycle.id))
    return ReportedSweep(cycles=tuple(map(_to_the_millisecond, ordered)), data=dict(sorted(data.items())), **fields)


def _to_the_millisecond(cycle: ReportedCycle) -> ReportedCycle:
    results = [
        result.model_copy(update={"finished_at": int(result.finished_at * 1000) / 1000}) for result in cycle.results
    ]
    return replace(cycle, results=tuple(results))


def by_arm(cycles: Iterable[ReportedCycle], keys: Sequence[str], otherwise: str) -> dict[str, list[ReportedCycle]]:
    """Return arm → its cycles, by name.

    - `otherwise`: what the one arm is called where nothing is compared
    """
    arms: dict[str, list[ReportedCycle]] = {}
    for cycle in cycles:
        arms.setdefault(arm_name(cycle.settings, keys) or otherwise, []).append(cycle)
    return dict(sorted(arms.items()))
