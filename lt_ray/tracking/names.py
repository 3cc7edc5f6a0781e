"""What things are called in MLflow, and its limits of a name and of a value.

Names are chosen for MLflow's charts: what stands before the `/` is a section, and sections are sorted by name. So the
curves by round (`round/…`) come first, then the winning tickets, then the curves within rounds (`training/…`).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping

from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.cycle.settings import Scalar

SWEEP_TAG = "lt_ray.sweep_id"
"""On every run of a sweep"""
CYCLE_TAG = "lt_ray.cycle"
"""On every run but the parent"""
STATE_TAG = "lt_ray.state"
"""On every run: running, finished, stopped (early, by a rule), failed or interrupted"""
WAITING_TAG = "lt_ray.waiting"
"""On a cycle's run that was made before the cycle had a place to run: its start says nothing"""
ARM_TAG = "lt_ray.arm"
"""On a cycle's run: the name of its arm, what to group runs by"""
FIELDS_TAG = "lt_ray.fields"
"""On a cycle's run: its settings and the cycle whole, JSON; parameters are text and lose their kinds"""
KEYS_TAG = "lt_ray.rounds"
"""On a cycle's run: keys of its rounds, in order"""
DECISION_TAG = "lt_ray.decision"
"""On a cycle's run, followed by `.<round>`: how a round that compared blocks decided, JSON"""
CONFUSION_TAG = "lt_ray.confusion"
"""On a cycle's run, followed by `.<round>`: what classes were taken for on the test split, JSON"""
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

ROUND_MARK = "work/train_s"
"""The last metric of a round to be sent: where it is, the round is"""
_SECTIONS = {
    "weights": ("blocks", "frozen_blocks", "nonzero", "remaining", "prunable", "parameters"),
    "work": (
        "accepted", "start_round", "stride", "epochs", "best_epoch", "restart_epoch", "latency_high_s", "latency_low_s",
        "latency_s", "redone_s", "test_s", "eval_s", "val_examples", "train_s",
    ),
}  # fmt: skip
_NAMES = {field: f"{section}/{field}" for section, fields in _SECTIONS.items() for field in fields}
_NAMES |= {"sparsity": "round/sparsity", "source": "work/reused", "val_largest": "work/val_largest_class"}
"""Field of `RoundResult` → metric at step = round, beside what was measured on a split"""
_FIELD_OF = {name: field for field, name in _NAMES.items()}
_MEASURED = re.compile(r"(before_)?((?:train|val|test)_\w+)")

# MLflow's limits of a name and of a value [characters]
NAME_LENGTH = 250
VALUE_LENGTH = 6000
_PARTS = "in parts: "
"""How a tag begins whose value is in further ones"""


def round_metric(field: str) -> str | None:
    """Return the metric that a field of a round is, or None: `test_accuracy` → `round/test_accuracy`,
    `before_test_accuracy` → `round/test_accuracy_before`, `blocks` → `weights/blocks`."""
    if field in _NAMES:
        return _NAMES[field]
    measured = _MEASURED.fullmatch(field)
    return measured and f"round/{measured[2]}{'_before' if measured[1] else ''}"


def field_of(metric: str) -> str | None:
    """Return the field of a round that a metric is, or None: what `round_metric` was given."""
    if metric in _FIELD_OF:
        return _FIELD_OF[metric]
    section, _, name = metric.partition("/")
    field = f"before_{name.removesuffix('_before')}" if name.endswith("_before") else name
    return field if section == "round" and _MEASURED.fullmatch(field) else None


def round_values(result: RoundResult) -> dict[str, float]:
    """Return a round as metrics at step = round, those that it lacks left out; `ROUND_MARK` is the last.

    `source` is 1 for reused, 0 for computed; `restart_epoch` is −1 where nothing was rewound. MLflow's comparison
    starts with the first metric of a run, so that is the deciding one on test.
    """
    restart = -1 if result.restart_epoch is None else result.restart_epoch
    fields = result.model_dump() | {"source": result.source == "reused", "restart_epoch": restart}
    values = {round_metric(field): value for field, value in fields.items() if value is not None}
    place = {f"round/test_{result.metric}": 0, "round/sparsity": 1, ROUND_MARK: 3}
    names = sorted((name for name in values if name is not None), key=lambda name: place.get(name, 2))
    return {name: float(values[name]) for name in names}


def epoch_values(epoch: EpochResult) -> Iterator[tuple[str, float]]:
    """Yield an epoch as metrics at step = round · E + epoch."""
    for field, value in epoch.model_dump().items():
        if _MEASURED.fullmatch(field) and field not in _NAMES:
            yield f"training/{field}", float(value)


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


def parameter(value: Scalar) -> str:
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
    taken: dict[str, str] = {}
    for name, value in tags.items():
        if name.startswith("mlflow."):
            taken[legal(name)] = shortened(value, VALUE_LENGTH)
        elif len(value) <= VALUE_LENGTH and not value.startswith(_PARTS):
            taken[legal(name)] = value
        else:
            parts = [value[i : i + VALUE_LENGTH] for i in range(0, len(value), VALUE_LENGTH)]
            taken[legal(name)] = f"{_PARTS}{len(parts)} {_digest(value)}"
            taken |= {legal(f"{name}.part{place}"): part for place, part in enumerate(parts, 1)}
    return taken


def joined(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that `whole_tags` was given; raises ValueError, which names it, where a part is missing."""
    whole = {}
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
        whole[name] = value
    return whole


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
