"""Published results for ours to stand beside: those of the same arm at an equal round or sparsity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.results import EQUAL_DENSITY
from lt_ray.cycle.settings import Scalar
from lt_ray.report.reading.published import Published
from lt_ray.report.reading.rows import ReportedCycle

OWN_MASKS = "random reinit, own masks"
"""The published arm that re-initialises and then prunes what it trained: no control (docs/methods.md §1)"""


def value(published: Published) -> float:
    """Return the value, percents as shares [0, 1]."""
    return float(published.value / 100 if published.unit == "%" else published.value)


def published_name(cycles: Iterable[ReportedCycle]) -> str:
    """Return what published tables call an arm (docs/methods.md §1); empty where they have no such arm.

    They prune iteratively, and on the task itself.
    """
    names = {_published_name(cycle.fields) for cycle in cycles}
    return names.pop() if len(names) == 1 else ""


def differing(published: Published, cycles: Sequence[ReportedCycle], data: Mapping[str, Scalar]) -> str:
    """Return how settings of our runs differ from a published run's: `epochs 5, not 10`; empty where they do not.

    - `cycles`: ours of one arm; `data`: sizes of their splits

    A published run of which nobody says what it was is like none of ours.
    """
    if published.conditions is None:
        return "its settings are not told"
    said = []
    for key, theirs in published.conditions.items():
        method = key.partition(".")[0]
        if method in PRUNINGS and not _prunes(published.arm, method):
            continue
        ours = {cycle.fields.get(key, _UNKNOWN) for cycle in cycles} if "." in key else {data.get(key, _UNKNOWN)}
        if {_named(key, own) for own in ours} != {_named(key, theirs)}:
            own = _said(ours.pop()) if len(ours) == 1 else "various"
            said.append(f"{_condition(key)} {own}, not {_said(theirs)}")
    return "; ".join(said)


def _prunes(arm: str, method: str) -> bool:
    """Whether a published arm was pruned by a method: arms of magnitude pruning are not called by it."""
    if method == "magnitude":
        return arm not in ("", "dense") and not any(other in arm for other in ("similarity", "wanda"))
    return method in arm


_UNKNOWN = "unknown"


def _named(key: str, value: Scalar) -> Scalar:
    """A model is the same in a folder as on the hub."""
    return value.rstrip("/").rpartition("/")[2] if key == "model.path" and isinstance(value, str) else value


def _condition(key: str) -> str:
    return key.removeprefix("training.").replace("_", " ") if "." in key else f"{key} examples"


def _said(value: Scalar) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        return value.rpartition("/")[2] or value
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def nearest(published: Iterable[Published], metric: str, arm: str, round: int, sparsity: float) -> Published | None:
    """Return the nearest published value of a metric at an equal sparsity, or round where none is told; or None.

    - `published`: of our task and model
    - `arm`: what published tables call ours. Dense values are everybody's, its own curve's first.
    """
    found = []
    for place, item in enumerate(published):
        own = bool(arm) and item.arm == arm
        if item.metric != metric or not _equal(item, round, sparsity) or (round > 0 and not own):
            continue
        far = 1.0 if item.sparsity is None else abs(item.sparsity - sparsity)
        found.append(((not own, item.arm != "dense", far, item.round != round, place), item))
    return min(found, key=lambda ranked: ranked[0])[1] if found else None


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table of losses and a metric."""

    arm: str
    round: int | None
    sparsity: float | None
    values: Mapping[str, float]
    """Metric → value, percents as shares [0, 1]"""
    file: str
    line: int
    errors: tuple[str, ...]
    first: Published
    """One of its cells, for what its run was"""


def table_rows(published: Iterable[Published], names: Sequence[str], *, pruned: bool) -> list[PublishedRow]:
    """Return the published rows that tell more than the last of some metrics, of dense or of pruned models.

    - `published`: of one task and model; `names`: of the metrics, such as `test_loss`
    """
    found: dict[tuple[object, ...], list[Published]] = {}
    for item in published:
        if item.metric in names and (item.arm != "dense" and item.round != 0) == pruned:
            found.setdefault((item.table, item.file, item.arm, item.round, item.sparsity), []).append(item)
    return [row_of(items) for items in found.values() if {item.metric for item in items} != {names[-1]}]


@dataclass
class Errors:
    """Known errors of published values, each told once below its table."""

    told: list[str] = field(default_factory=list)

    def mark(self, errors: Sequence[str]) -> str | None:
        """Return the marks of some errors, `[1] [2]`; None without any."""
        for error in errors:
            if error and error not in self.told:
                self.told.append(error)
        return " ".join(f"[{self.told.index(error) + 1}]" for error in errors if error) or None

    def note(self) -> str:
        """Return what the marks stand for; nothing without any."""
        return "".join(f" [{place}] {error}" for place, error in enumerate(self.told, 1))


def row_of(items: Sequence[Published]) -> PublishedRow:
    """Return the row that some cells of a published table make; of errors that begin alike the longest is told."""
    told = list(dict.fromkeys(item.error for item in items if item.error))
    first = items[0]
    return PublishedRow(
        arm=first.arm,
        round=first.round,
        sparsity=first.sparsity,
        values={item.metric: value(item) for item in items},
        file=first.file,
        line=min(item.line for item in items),
        errors=tuple(
            one for one in told if not any(one != other and other.startswith(one.rstrip(".")) for other in told)
        ),
        first=first,
    )


def _published_name(fields: Mapping[str, object]) -> str:
    if fields.get("tickets", "own") != "own" or fields.get("magnitude.strategy", "iterative") != "iterative":
        return ""
    if fields.get("magnitude.random_pruning") is True:
        return "random pruning"
    restart = fields.get("magnitude.restart")
    if restart == "rewind":
        return f"rewind@{fields.get('magnitude.rewind_epoch')}"
    # The published random arm prunes the network that it drew anew, so it stands beside ours that does so, too, alone.
    return OWN_MASKS if restart == "random" and fields.get("magnitude.masks", "own") == "own" else ""


def _equal(item: Published, round: int, sparsity: float) -> bool:
    """Whether a published sparsity, or the round where none is told, is that of ours.

    A printed sparsity stands for all that are rounded to it: 0.988 for densities from 0.0115 to 0.0125.
    """
    if (item.round == 0) != (round == 0) and item.round is not None:
        return False
    if item.sparsity is None:
        return item.round == round
    half = 0.5 * 10.0 ** -max(3, len(str(item.sparsity).partition(".")[2]))
    low, high = (1 - item.sparsity - half) / EQUAL_DENSITY, (1 - item.sparsity + half) * EQUAL_DENSITY
    return low <= 1 - sparsity <= high
