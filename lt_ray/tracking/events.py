"""What MLflow is told of a sweep: frozen events, each of which can be told again and changes nothing then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lt_ray.cycle.results import BlockDecision, EpochResult, RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.report.reading.rows import Confusion

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How MLflow says that a run ended"""


class Point(NamedTuple):
    """One point of a curve, in the order of MLflow's `Metric`."""

    name: str
    value: float
    timestamp_ms: int
    step: int


class Dataset(NamedTuple):
    """What MLflow shows in its column `Dataset`."""

    name: str
    digest: str
    profile: str
    """JSON"""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A cycle, or with None the sweep, began or goes on."""

    cycle: str | None
    name: str
    params: Mapping[str, Scalar]
    tags: Mapping[str, str]
    dataset: Dataset | None = None
    at_ms: int
    """When it began, if this is the first that MLflow hears of it"""
    begun: bool = True
    """Whether it had a place to run yet"""


@dataclass(frozen=True, kw_only=True)
class RoundDone:
    """A round was finished."""

    result: RoundResult
    epochs: tuple[EpochResult, ...]
    epochs_a_round: int
    """Most epochs that a round of the cycle has: epoch e of round r stands at step r · this + e [epochs]"""
    decision: BlockDecision | None = None
    confusion: Confusion | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A cycle ended, or with None the sweep: then runs that are still RUNNING end as KILLED."""

    cycle: str | None
    status: Status
    reason: str = ""
    """Why a cycle did; FINISHED for a reason is stopped early"""
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Summed:
    """A run, with None the sweep's, in a few numbers that can be sorted by."""

    cycle: str | None
    points: tuple[Point, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The sweep's report was written: its files are artifacts of the parent."""

    folder: str


Event = Opened | RoundDone | Ended | Summed | Reported
