"""What is recorded of a sweep: frozen events that survive as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from lt_ray.cycle.results import BlockDecision, EpochResult, RoundResult
from lt_ray.cycle.settings import Scalar

Status = Literal["FINISHED", "FAILED", "KILLED"]


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


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def line(self) -> str:
        """Return the event as one line of JSON; numbers are given back bit for bit, NaN too."""
        return json.dumps(self.model_dump(), separators=(",", ":"))


class Opened(_Event):
    """A cycle, or with None the sweep, began or goes on."""

    kind: Literal["opened"] = "opened"
    cycle: str | None
    name: str
    params: Mapping[str, Scalar]
    tags: Mapping[str, str]
    dataset: Dataset | None = None
    at_ms: int
    """When it began, if this is the first that MLflow hears of it"""
    begun: bool = True
    """Whether it had a place to run yet"""


class RoundDone(_Event):
    """A round was finished."""

    kind: Literal["round"] = "round"
    result: RoundResult
    epochs: tuple[EpochResult, ...]
    epochs_a_round: Scalar
    decision: BlockDecision | None = None


class CycleEnded(_Event):
    """A cycle ended; FINISHED for a reason is stopped early."""

    kind: Literal["ended"] = "ended"
    cycle: str
    status: Status
    reason: str
    at_ms: int


class Summed(_Event):
    """A run, with None the sweep's, in a few numbers that can be sorted by."""

    kind: Literal["summed"] = "summed"
    cycle: str | None
    points: tuple[Point, ...]
    tags: Mapping[str, str]


class Closed(_Event):
    """The sweep ended; runs that are still RUNNING end as KILLED."""

    kind: Literal["closed"] = "closed"
    status: Status
    at_ms: int


class Reported(_Event):
    """The sweep's report was written: its files are artifacts of the parent."""

    kind: Literal["reported"] = "reported"
    folder: str


Event = Opened | RoundDone | CycleEnded | Summed | Closed | Reported
_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def parse(line: str) -> Event:
    """Return the event that a line holds; raises ValueError for one that holds none."""
    return _EVENTS.validate_python(json.loads(line))
