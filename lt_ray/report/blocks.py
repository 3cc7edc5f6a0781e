"""The logs' tables of encoders: blocks, loss, accuracy before retraining and after, seconds; ours beside published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lt_ray.cycle.models import model_name
from lt_ray.cycle.results import RoundResult
from lt_ray.report import beside
from lt_ray.report.compare import Group, at_rounds, dense, distinct, known_mean
from lt_ray.report.document import Cell, Column, Table
from lt_ray.report.estimates import over_seeds
from lt_ray.report.published import Published
from lt_ray.report.rows import ReportedCycle
from lt_ray.report.schedule import method, published_place

PUBLISHED_MODEL = "BERT-base"
"""What the logs' tables of encoders are of, whatever ours is"""
_TITLES = {"similarity": "Similarity pruning", "wanda": "Wanda", "magnitude": "Magnitude pruning", "": "Pruning"}
_METRICS = (
    "blocks", "frozen_blocks", "before_test_loss", "before_test_accuracy", "test_loss", "test_accuracy", "test_s",
    "train_s", "parameters",
)  # fmt: skip
_COLUMNS = (
    Column("arm"), Column("round"), Column("source"), Column("model"), Column("n"), Column("encoders"),
    Column("frozen"), Column("evaluation loss before", 4), Column("accuracy before", 4),
    Column("evaluation loss after", 4), Column("accuracy after", 4), Column("against dense [points]", 2),
    Column("± 95 % [points]", 2), Column("evaluation time [s]", 2), Column("training time [s]", 1),
    Column("parameters"), Column("nonzero"), Column("latency [ms]", 2), Column("quartiles [ms]"), Column("accepted"),
    Column("our runs differ in"), Column("file"), Column("line"), Column("known error"),
)  # fmt: skip
_ALWAYS = 6
"""Columns that are there though they be empty [count]"""


@dataclass(frozen=True)
class Original:
    """Dense rounds that some arms share."""

    name: str
    arms: tuple[str, ...]
    results: tuple[RoundResult, ...]


def originals(group: Group) -> list[Original]:
    """Return the dense rounds of a group, arms that share some of them together."""
    found: list[tuple[list[str], list[RoundResult]]] = []
    for arm, cycles in group.arms.items():
        own = distinct([result for result in map(dense, cycles) if result is not None])
        if not own:
            continue
        keys = {result.key for result in own}
        shared = [item for item in found if keys & {result.key for result in item[1]}]
        found = [item for item in found if item not in shared]
        arms = [name for names, _ in shared for name in names]
        found.append(([*arms, arm], distinct([*(result for _, results in shared for result in results), *own])))
    alone = len(found) == 1
    return [
        Original("Original" if alone else f"Original of {', '.join(arms)}", tuple(arms), tuple(results))
        for arms, results in sorted(found)
    ]


def tables(group: Group, published: Iterable[Published], slug: str) -> list[Table]:
    """Return a table for each method that pruned a group's encoders, the dense models first in each.

    - `published`: results of others; those of the same task, arm and number of prunings stand below ours
    - `slug`: what their files' names begin with
    """
    known = _published(published, group.task)
    shown = {method(cycle, result.round) for cycle in group.cycles for result in cycle.results if result.round > 0}
    names = [name for name in _TITLES if name in shown] or [""]
    return [_table(group, name, known, f"{slug}{_slug(name)}") for name in names]


def _table(group: Group, name: str, known: Mapping[tuple[str, int], Sequence[_PublishedRow]], slug: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    errors = beside.Errors()
    for original in originals(group):
        cycles = [cycle for arm in original.arms for cycle in group.arms[arm]]
        rows.append(_ours(original.name, 0, _paths(cycles), original.results, None))
    data = group.sweep.data
    for row in known.get(("dense", 0), ()):
        rows.append(_theirs("dense", row, known, beside.differing(row.first, group.cycles, data), errors))
    for arm, cycles in group.arms.items():
        for index in at_rounds(cycles):
            members = [cycle for cycle in cycles if index > 0 and method(cycle, index) == name]
            results = at_rounds(members).get(index)
            if not results:
                continue
            rows.append(_ours(arm, index, _paths(members), results, _lost(members, index)))
            places = {published_place(cycle, index) for cycle in members}
            place = places.pop() if len(places) == 1 else None
            if place:
                for row in known.get(place, ()):
                    rows.append(_theirs(place[0], row, known, beside.differing(row.first, members, data), errors))
    note = _note(any(row[2] == "published" for row in rows)) + errors.note()
    where = "" if group.main else f", on {group.task}"
    return _without_empty(
        Table(slug, f"{_TITLES[name]}: encoders before and after{where}", _COLUMNS, tuple(rows), note)
    )


def _ours(
    arm: str, round: int, model: str, results: Sequence[RoundResult], lost: Sequence[tuple[int, float]] | None
) -> tuple[Cell, ...]:
    retrained = [result for result in results if result.epochs > 0]
    difference = over_seeds(lost) if lost else None
    return (
        arm, round, "ours", model, len(results), _counted(result.blocks for result in results),
        _counted(result.frozen_blocks for result in results),
        known_mean(result.before_test_loss for result in results),
        known_mean(result.before_test_accuracy for result in results),
        known_mean(result.test_loss for result in retrained),
        known_mean(result.test_accuracy for result in retrained),
        None if difference is None else 100 * difference.mean,
        None if difference is None or difference.half is None else 100 * difference.half,
        known_mean(result.test_s for result in results),
        known_mean(result.train_s for result in retrained),
        _whole(result.parameters for result in results),
        _whole(result.nonzero for result in results),
        _milliseconds(result.latency_s for result in results),
        _quartiles(results), _accepted(results), None, None, None, None,
    )  # fmt: skip


def _theirs(
    arm: str,
    row: _PublishedRow,
    known: Mapping[tuple[str, int], Sequence[_PublishedRow]],
    unlike: str,
    errors: beside.Errors,
) -> tuple[Cell, ...]:
    values = row.values
    start = next((dense.values.get("test_accuracy") for dense in known.get(("dense", 0), ())), None)
    end = values.get("test_accuracy", values.get("before_test_accuracy"))
    difference = None if start is None or end is None or row.round == 0 else 100 * (end - start)
    told = {name: values.get(name) for name in _METRICS}
    counts = {name: None if told[name] is None else round(told[name] or 0) for name in ("blocks", "frozen_blocks")}
    parameters = told["parameters"]
    return (
        arm, row.round, "published", PUBLISHED_MODEL, None, counts["blocks"], counts["frozen_blocks"],
        told["before_test_loss"], told["before_test_accuracy"], told["test_loss"], told["test_accuracy"], difference,
        None, told["test_s"], told["train_s"], None if parameters is None else round(parameters), None, None, None,
        None, unlike or None, row.file, row.line, errors.mark(row.errors),
    )  # fmt: skip


@dataclass(frozen=True)
class _PublishedRow:
    round: int
    values: Mapping[str, float]
    file: str
    line: int
    errors: tuple[str, ...]
    first: Published


def _published(published: Iterable[Published], task: str) -> dict[tuple[str, int], list[_PublishedRow]]:
    """(arm, prunings) → the rows of published tables; dense ones stand at 0 prunings."""
    cells: dict[tuple[str, int, str, str], list[Published]] = {}
    for item in published:
        if (item.task, item.model) != (task, "encoder") or item.metric not in _METRICS:
            continue
        round = 0 if item.arm == "dense" else item.round
        if round is not None:
            cells.setdefault((item.arm, round, item.table, item.file), []).append(item)
    found: dict[tuple[str, int], list[_PublishedRow]] = {}
    for (arm, round, _, file), items in cells.items():
        row = _PublishedRow(
            round=round,
            values={item.metric: beside.value(item) for item in items},
            file=file,
            line=min(item.line for item in items),
            errors=_whole_errors([item.error for item in items if item.error]),
            first=items[0],
        )
        found.setdefault((arm, round), []).append(row)
    return found


def _whole_errors(errors: Iterable[str]) -> tuple[str, ...]:
    """Different errors without those that another one begins with: a row says each thing once."""
    told = list(dict.fromkeys(errors))
    return tuple(one for one in told if not any(one != other and other.startswith(one.rstrip(".")) for other in told))


def _lost(cycles: Sequence[ReportedCycle], index: int) -> list[tuple[int, float]]:
    """Seed, and test accuracy of a round above the own dense one, each stored round once [−1, 1]."""
    found: dict[str, tuple[int, float]] = {}
    for cycle in cycles:
        start = dense(cycle)
        for result in cycle.results:
            if result.round == index and start is not None:
                found[result.key or cycle.id] = (cycle.seed, result.test_accuracy - start.test_accuracy)
    return list(found.values())


def _paths(cycles: Iterable[ReportedCycle]) -> str:
    found = (str(c.params.get("model.path") or c.settings.get("model.path") or "encoder") for c in cycles)
    paths = dict.fromkeys(map(model_name, found))
    return next(iter(paths)) if len(paths) == 1 else "various"


def _counted(values: Iterable[int | None]) -> int | float | None:
    mean = known_mean(values)
    return int(mean) if mean is not None and mean == int(mean) else mean


def _whole(values: Iterable[int | None]) -> int | None:
    mean = known_mean(values)
    return None if mean is None else round(mean)


def _milliseconds(values: Iterable[float | None]) -> float | None:
    mean = known_mean(values)
    return None if mean is None else 1000 * mean


def _quartiles(results: Sequence[RoundResult]) -> str | None:
    ends = [_milliseconds(getattr(result, f"latency_{end}_s") for result in results) for end in ("low", "high")]
    return None if None in ends else "–".join(f"{end:.2f}" for end in ends)


def _accepted(results: Sequence[RoundResult]) -> Cell:
    told = [result.accepted for result in results if result.accepted is not None]
    if not told or all(told) or not any(told):
        return told[0] if told else None
    return f"{sum(told)} of {len(told)}"


def _note(published: bool) -> str:
    said = (
        "Ours: mean over the n stored rounds. Before = after pruning, before retraining; after is empty where a round "
        "was not retrained. Against dense: test accuracy, as pruned where not retrained, above the own dense one. "
        "Evaluation time: one pass over the test split. Latency: a batch of 32, median and quartiles. Nonzero: not "
        "pruned by a mask, which makes a model neither smaller nor faster."
    )
    if published:
        said += (
            f" Published: the logs' {PUBLISHED_MODEL}, whatever our model is, at the same arm and number of prunings; "
            "points are against its own dense accuracy, seconds are of other hardware."
        )
    return said


def _slug(name: str) -> str:
    return f"{name or 'block'}-pruning" if name != "wanda" else name


def _without_empty(table: Table) -> Table:
    """Drop the columns in which no row says anything."""
    kept = [i for i in range(len(table.columns)) if i < _ALWAYS or any(row[i] is not None for row in table.rows)]
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return Table(table.slug, table.title, tuple(table.columns[i] for i in kept), rows, table.note)
