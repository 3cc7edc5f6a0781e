"""What is recorded of a sweep: frozen events that survive as a line of JSON and can send themselves, again and again.

Names are chosen for MLflow's charts: what stands before the `/` is a section, and sections are sorted by name. So the
curves by round (`round/…`) come first, then the winning tickets, then the curves within rounds (`training/…`).
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from lt_ray.cycle.identity import canonical
from lt_ray.cycle.results import BlockDecision, EpochResult, RoundResult
from lt_ray.cycle.settings import Scalar

if TYPE_CHECKING:
    from lt_ray.tracking.runs import Runs

Status = Literal["FINISHED", "FAILED", "KILLED"]

SWEEP_TAG = "lt_ray.sweep_id"
"""On every run of a sweep"""
CYCLE_TAG = "lt_ray.cycle"
"""On every run but the parent"""
STATE_TAG = "lt_ray.state"
"""On every run: running, finished, stopped (early, by a rule), failed or interrupted"""
WAITING_TAG = "lt_ray.waiting"
"""On a cycle's run that was made before the cycle had a place to run: its start says nothing"""
FIELDS_TAG = "lt_ray.fields"
"""On a cycle's run: its settings and all its fields, JSON; parameters are text and lose their kinds"""
KEYS_TAG = "lt_ray.rounds"
"""On a cycle's run: keys of its rounds, in order"""
SPACE_TAG = "lt_ray.space"
"""On the parent: the search space, JSON"""
TASK_TAG = "lt_ray.task"
"""On the parent: the task that the sweep is about"""
REASON_TAG = "lt_ray.reason"
"""Why a cycle ended as it did"""
NOTE_TAG = "mlflow.note.content"
"""What MLflow's page of a run shows as its description, in Markdown"""
COLOUR_TAG = "mlflow.runColor"
"""What MLflow's charts draw a run in; by itself it draws several in one colour"""

ROUND_METRICS = {
    "round/test_accuracy": "test_accuracy",
    "round/sparsity": "sparsity",
    "round/test_loss": "test_loss",
    "round/val_accuracy": "val_accuracy",
    "round/val_loss": "val_loss",
    "round/train_accuracy": "train_accuracy",
    "round/train_loss": "train_loss",
    "round/test_accuracy_before": "before_test_accuracy",
    "round/test_loss_before": "before_test_loss",
    "round/val_accuracy_before": "before_val_accuracy",
    "round/val_loss_before": "before_val_loss",
    "work/accepted": "accepted",
    "weights/blocks": "blocks",
    "weights/frozen_blocks": "frozen_blocks",
    "work/start_round": "start_round",
    "work/stride": "stride",
    "weights/nonzero": "nonzero",
    "weights/remaining": "remaining",
    "weights/prunable": "prunable",
    "weights/parameters": "parameters",
    "work/epochs": "epochs",
    "work/best_epoch": "best_epoch",
    "work/restart_epoch": "restart_epoch",
    "work/reused": "reused",
    "work/eval_s": "eval_s",
    "work/latency_high_s": "latency_high_s",
    "work/latency_low_s": "latency_low_s",
    "work/latency_s": "latency_s",
    "work/redone_s": "redone_s",
    "work/test_s": "test_s",
    "work/val_examples": "val_examples",
    "work/val_largest_class": "val_largest",
    "work/train_s": "train_s",
}
"""Metric at step = round → field of `RoundResult`: all that the row cannot be made of otherwise (`number`)"""
OPTIONAL = frozenset(
    {"train_accuracy", "train_loss"}
    | {name for name, field in RoundResult.model_fields.items() if field.default is None and not field.is_required()}
)
"""Fields of `RoundResult` that a round may lack: then it has no such metric"""
DECISION_TAG = "lt_ray.decision"
"""On a cycle's run, followed by `.<round>`: how a round that compared blocks decided, JSON"""
ROUND_MARK = "work/train_s"
"""The last metric of a round to be sent: where it is, the round is"""
EPOCH_METRICS = {f"training/{name}": name for name in ("train_accuracy", "train_loss", "val_accuracy", "val_loss")}
"""Metric at step = round · E + epoch → field of `EpochResult`"""

# MLflow's limits of a name and of a value [characters]
NAME_LENGTH = 250
VALUE_LENGTH = 6000
_PARTS = "in parts: "
"""How a tag begins whose value is in further ones"""


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

    def send(self, runs: Runs) -> None:
        """Bring the sweep's runs up to date; raises what MLflow raises."""
        raise NotImplementedError

    @property
    def tries(self) -> int | None:
        """How often to try before going on without; None = until it is delivered [count]."""
        return None


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

    def send(self, runs: Runs) -> None:
        """Make its run be there, be named and be RUNNING."""
        params = {legal(name): text(value) for name, value in self.params.items()}
        tags = whole_tags(self.tags) | {STATE_TAG: "running"}
        name = shortened(self.name, NAME_LENGTH)
        runs.open(self.cycle, name, self.at_ms, params, tags, self.dataset, begun=self.begun)


class RoundDone(_Event):
    """A round was finished."""

    kind: Literal["round"] = "round"
    result: RoundResult
    epochs: tuple[EpochResult, ...]
    epochs_a_round: Scalar
    decision: BlockDecision | None = None

    def send(self, runs: Runs) -> None:
        """Make its points be there; the first metric of a run is the one that MLflow's comparison starts with."""
        if self.decision is not None:
            text = canonical(self.decision.model_dump(mode="json"))
            runs.tag(self.result.cycle, {f"{DECISION_TAG}.{self.result.round}": text})
        *points, mark = self._round_points()
        runs.log_round(self.result.cycle, self.result.round, [*points, *self._epoch_points(), mark])

    def _round_points(self) -> Iterator[Point]:
        for name, field in ROUND_METRICS.items():
            value = number(self.result, field)
            if value is None:
                continue
            yield Point(name, value, milliseconds(self.result.finished_at), self.result.round)

    def _epoch_points(self) -> Iterator[Point]:
        if not isinstance(self.epochs_a_round, int):
            raise LookupError(f"cycle {self.result.cycle} was not opened with `training.epochs`")
        for epoch in self.epochs:
            step = epoch.round * self.epochs_a_round + epoch.epoch
            for name, field in EPOCH_METRICS.items():
                yield Point(name, float(getattr(epoch, field)), milliseconds(epoch.finished_at), step)


class Ended(_Event):
    """A cycle ended."""

    kind: Literal["ended"] = "ended"
    cycle: str
    status: Status
    reason: str
    at_ms: int

    def send(self, runs: Runs) -> None:
        """End its run; FINISHED for a reason is stopped early."""
        state = {"FAILED": "failed", "KILLED": "interrupted"}.get(self.status, "stopped" if self.reason else "finished")
        tags = {STATE_TAG: state} | ({REASON_TAG: self.reason} if self.reason else {})
        runs.end(self.cycle, self.status, self.at_ms, tags)


class Summed(_Event):
    """A run, with None the sweep's, in a few numbers that can be sorted by."""

    kind: Literal["summed"] = "summed"
    cycle: str | None
    points: tuple[Point, ...]
    tags: Mapping[str, str]

    def send(self, runs: Runs) -> None:
        """Make the points and the tags be there."""
        runs.log(self.cycle, self.points)
        runs.tag(self.cycle, self.tags)


class Closed(_Event):
    """The sweep ended."""

    kind: Literal["closed"] = "closed"
    status: Status
    at_ms: int

    def send(self, runs: Runs) -> None:
        """End the parent's run, and as KILLED those that are still RUNNING."""
        runs.end_all(self.status, self.at_ms)


class Reported(_Event):
    """The sweep's report was written."""

    kind: Literal["reported"] = "reported"
    folder: str

    def send(self, runs: Runs) -> None:
        """Make the folder's files be artifacts of the parent."""
        runs.keep(self.folder)

    @property
    def tries(self) -> int | None:
        """A few: files may go to a store that is dead while the server lives."""
        return 3


class Parent(NamedTuple):
    """What the run of a whole sweep bears."""

    name: str
    sweep_id: str
    params: Mapping[str, Scalar]
    tags: Mapping[str, str]
    dataset: Dataset | None
    began_at: float
    """Unix time [s]"""

    def opened(self) -> Opened:
        """Return the event that begins the record."""
        return Opened(
            cycle=None,
            name=self.name,
            params=dict(self.params),
            tags=dict(self.tags),
            dataset=self.dataset,
            at_ms=milliseconds(self.began_at),
        )


Event = Opened | RoundDone | Ended | Summed | Closed | Reported
_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def parse(line: str) -> Event:
    """Return the event that a line holds; raises ValueError for one that holds none."""
    return _EVENTS.validate_python(json.loads(line))


def number(result: RoundResult, field: str) -> float | None:
    """Return a round's field as a metric: `reused` is 0 or 1, `restart_epoch` −1 where nothing was rewound; None for
    another one that it lacks."""
    if field == "reused":
        return float(result.source == "reused")
    value = getattr(result, field)
    if value is None:
        return -1.0 if field == "restart_epoch" else None
    return float(value)


def milliseconds(time_s: float) -> int:
    """Return a time as MLflow counts it."""
    return int(time_s * 1000)


def legal(name: str) -> str:
    """Return a name that MLflow takes: its characters, no other reading as a path, at most 250 characters."""
    legal = re.sub(r"[^\w./: -]", "_", name)
    path = posixpath.normpath(legal)
    if path != legal or path == "." or path.startswith(("..", "/")):
        legal = "_" + legal.replace("/", "_")
    if len(legal) > NAME_LENGTH:
        legal = f"{legal[: NAME_LENGTH - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return legal


def text(value: Scalar) -> str:
    """Return a parameter as it is searched for: `none`, `true`, `0.001`; a long one ends in `…`, and its run's tag
    `FIELDS_TAG` has it whole."""
    shown = str(value)
    return shown.lower() if value is None or isinstance(value, bool) else shortened(shown, VALUE_LENGTH)


def shortened(text: str, length: int) -> str:
    """Return a text that is only shown, with `…` in place of what is beyond a length [characters]."""
    return text if len(text) <= length else text[: length - 1] + "…"


def whole_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as MLflow takes them: a value that is too long becomes several tags, which `joined` reads back.

    The tag itself then says how many parts there are and what they come to; they are called `<tag>.part<n>`. What
    MLflow itself shows (`mlflow.…`) is shortened, since it knows no parts.
    """
    found: dict[str, str] = {}
    for name, value in tags.items():
        if name.startswith("mlflow."):
            found[legal(name)] = shortened(value, VALUE_LENGTH)
        elif len(value) <= VALUE_LENGTH and not value.startswith(_PARTS):
            found[legal(name)] = value
        else:
            parts = [value[i : i + VALUE_LENGTH] for i in range(0, len(value), VALUE_LENGTH)]
            found[legal(name)] = f"{_PARTS}{len(parts)} {_digest(value)}"
            found |= {legal(f"{name}.part{place}"): part for place, part in enumerate(parts, 1)}
    return found


def joined(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that `whole_tags` was given; raises ValueError, which names it, where a part is missing."""
    found = {}
    for name, value in tags.items():
        if re.search(r"\.part\d+$", name):
            continue
        if value.startswith(_PARTS):
            count, digest = value.removeprefix(_PARTS).split(" ")
            parts = [tags.get(legal(f"{name}.part{place}")) for place in range(1, int(count) + 1)]
            if None in parts:
                raise ValueError(f"part {parts.index(None) + 1} of {count} of its tag `{name}` is missing")
            value = "".join(part for part in parts if part is not None)
            if _digest(value) != digest:
                raise ValueError(f"the {count} parts of its tag `{name}` do not belong together")
        found[name] = value
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
