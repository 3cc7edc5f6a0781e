"""Published results for ours to stand beside: those of the same arm at an equal round or sparsity."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from lt_ray.cycle.prunings import PRUNINGS, PruningSettings
from lt_ray.cycle.results import EQUAL_DENSITY
from lt_ray.cycle.settings import Scalar
from lt_ray.report.findings.document import Row
from lt_ray.report.reading.published import Published
from lt_ray.report.reading.rows import ReportedCycle


def value(published: Published) -> float:
    """Return the value, percents as shares [0, 1]."""
    return float(published.value / 100 if published.unit == "%" else published.value)


def published_name(cycles: Iterable[ReportedCycle]) -> str:
    """Return what published tables call an arm (docs/methods.md §1); empty where they have no such arm.

    They find tickets on the task itself, by one kind of pruning.
    """
    names = set[str]()
    for cycle in cycles:
        prunings = {pruning.published for pruning in cycle.cycle.schedule}
        names |= prunings if len(prunings) == 1 and cycle.cycle.tickets == "own" else {""}
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
        if not _concerns(key, published.arm):
            continue
        ours = {cycle.fields.get(key, _UNKNOWN) for cycle in cycles} if "." in key else {data.get(key, _UNKNOWN)}
        if {_named(key, own) for own in ours} != {_named(key, theirs)}:
            own = _said(ours.pop()) if len(ours) == 1 else "various"
            name = key.removeprefix("training.").replace("_", " ") if "." in key else f"{key} examples"
            said.append(f"{name} {own}, not {_said(theirs)}")
    return "; ".join(said)


_UNKNOWN = "unknown"


def _concerns(key: str, arm: str) -> bool:
    """Whether a condition concerns a published arm: a method's field does where the arm is called by that method, or by
    none, as tickets are that are called by their restart."""
    method = key.partition(".")[0]
    if method not in PRUNINGS:
        return True
    named = [name for name in PRUNINGS if name in arm.replace("@", " ").split()]
    return method in named if named else arm not in ("", "dense")


def _named(key: str, value: Scalar) -> Scalar:
    """A model is the same in a folder as on the hub."""
    return value.rstrip("/").rpartition("/")[2] if key == "model.path" and isinstance(value, str) else value


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
    candidates = []
    for place, item in enumerate(published):
        own = bool(arm) and item.arm == arm
        if item.metric != metric or not _equal(item, round, sparsity) or (round > 0 and not own):
            continue
        far = 1.0 if item.sparsity is None else abs(item.sparsity - sparsity)
        candidates.append(((not own, item.arm != "dense", far, item.round != round, place), item))
    return min(candidates, key=lambda ranked: ranked[0])[1] if candidates else None


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table of losses and a metric."""

    values: Mapping[str, float]
    """Metric → value, percents as shares [0, 1]"""
    line: int
    errors: tuple[str, ...]
    first: Published
    """One of its cells, for its arm and what its run was"""


def table_rows(published: Iterable[Published], names: Sequence[str], *, pruned: bool) -> list[PublishedRow]:
    """Return the published rows that tell more than the last of some metrics, of dense or of pruned models.

    - `published`: of one task and model; `names`: of the metrics, such as `test_loss`
    """
    own = [item for item in published if (item.arm != "dense" and item.round != 0) == pruned]
    return [row for row in rows(own, names) if row.values.keys() != {names[-1]}]


def rows(published: Iterable[Published], names: Collection[str]) -> Iterator[PublishedRow]:
    """Yield the rows of published tables that some metrics make; of errors that begin alike the longest is told."""
    cells: dict[tuple[object, ...], list[Published]] = {}
    for item in published:
        if item.metric in names:
            cells.setdefault((item.table, item.file, item.arm, item.round, item.sparsity), []).append(item)
    for items in cells.values():
        errors = dict.fromkeys(item.error for item in items if item.error)
        shorter = {one for one in errors for other in errors if one != other and other.startswith(one.rstrip("."))}
        values = {item.metric: value(item) for item in items}
        yield PublishedRow(
            values, min(item.line for item in items), tuple(one for one in errors if one not in shorter), items[0]
        )


@dataclass
class Errors:
    """Known errors of published values, each told once below its table."""

    known: list[str] = field(default_factory=list)

    def mark(self, errors: Sequence[str]) -> str | None:
        """Return the marks of some errors, `[1] [2]`; None without any."""
        self.known += [error for error in dict.fromkeys(errors) if error and error not in self.known]
        return " ".join(f"[{self.known.index(error) + 1}]" for error in errors if error) or None

    def note(self) -> str:
        """Return what the marks stand for; nothing without any."""
        return "".join(f" [{place}] {error}" for place, error in enumerate(self.known, 1))

    def source(self, row: PublishedRow, cycles: Sequence[ReportedCycle], data: Mapping[str, Scalar]) -> Row:
        """Return the cells that say where a published row stands, and in what our cycles differ from its run."""
        unlike = differing(row.first, cycles, data) or None
        error = self.mark(row.errors)
        return {"our runs differ in": unlike, "file": row.first.file, "line": row.line, "known error": error}


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


def lineage(cycle: ReportedCycle, round: int) -> tuple[int, ...]:
    """Return the rounds whose prunings a round's model has gone through, its own last.

    Rejected rounds are left out, and earlier ones that compared blocks and removed none.
    """
    blocks = {index: result.blocks for index, result in cycle.by_round.items()}
    rounds: list[int] = []
    while round > 0:
        pruning, start = cycle.pruning(round), cycle.start_of(round)
        removed_none = blocks.get(round) == blocks.get(start) is not None
        if not rounds or pruning is None or not pruning.removes_blocks or not removed_none:
            rounds.append(round)
        round = start
    return tuple(reversed(rounds))


def published_place(cycle: ReportedCycle, round: int) -> tuple[str, int] | None:
    """Return the arm and round under which published tables have a round's model: `similarity@0.98 wanda@0.3`, 2.

    They remove blocks by one rule, and may prune once within blocks at the end; None for anything else.
    """
    rounds = lineage(cycle, round)
    steps = [step for index in rounds if (step := _as_done(cycle, index)) is not None]
    removals = list(takewhile(lambda step: step.removes_blocks, steps))
    others = steps[len(removals) :]
    words = [*dict.fromkeys(step.published for step in removals), *(step.published for step in others)]
    if "" in words or len(words) > bool(removals) + 1 or not all(step.needs_blocks for step in others):
        return None
    return " ".join(words) or "dense", len(rounds)


def _as_done(cycle: ReportedCycle, round: int) -> PruningSettings | None:
    """The pruning that led to a round, with the stride that was tried after rejected ones."""
    pruning, result = cycle.pruning(round), cycle.by_round.get(round)
    if pruning is None or result is None or result.stride is None:
        return pruning
    return pruning.model_copy(update={"stride": result.stride})
