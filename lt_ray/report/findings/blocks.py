"""The tables of encoders, in the research logs' form: blocks, loss, accuracy before and after retraining, seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lt_ray.cycle.models import model_name
from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings import beside
from lt_ray.report.findings.beside import PublishedRow
from lt_ray.report.findings.compare import Group, above_dense, at_rounds, dense, distinct, known_mean
from lt_ray.report.findings.document import Cell, Column, ReportTable
from lt_ray.report.findings.estimates import Estimate
from lt_ray.report.findings.words import Wording
from lt_ray.report.reading.published import Published
from lt_ray.report.reading.rows import ReportedCycle, tested
from lt_ray.report.reading.schedule import method, published_place

PUBLISHED_MODEL = "BERT-base"
"""What the published tables of encoders are of, whatever ours is"""
_TITLES = {"similarity": "Similarity pruning", "wanda": "Wanda", "magnitude": "Magnitude pruning", "": "Pruning"}
_ALWAYS = 6
"""Columns that are there though they be empty [count]"""


def _metrics(name: str) -> tuple[str, ...]:
    """What published tables of encoders tell."""
    measured = ("before_test_loss", f"before_test_{name}", "test_loss", f"test_{name}")
    return ("blocks", "frozen_blocks", *measured, "test_s", "train_s", "parameters")


def _columns(words: Wording) -> tuple[Column, ...]:
    return (
        Column("arm"), Column("round"), Column("source"), Column("model"), Column("n"), Column("encoders"),
        Column("frozen"), Column("evaluation loss before", 4), Column(f"{words.name} before", 4),
        Column("evaluation loss after", 4), Column(f"{words.name} after", 4),
        Column(f"against dense{words.head}", words.digits), Column(f"± 95 %{words.head}", words.digits),
        Column("evaluation time [s]", 2), Column("training time [s]", 1), Column("parameters"), Column("nonzero"),
        Column("latency [ms]", 2), Column("quartiles [ms]"), Column("accepted"), Column("our runs differ in"),
        Column("file"), Column("line"), Column("known error"),
    )  # fmt: skip


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


def tables(group: Group, published: Iterable[Published], slug: str) -> list[ReportTable]:
    """Return a table for each method that pruned a group's encoders, the dense models first in each.

    - `published`: results of others; those of the same task, arm and number of prunings stand below ours
    - `slug`: what their files' names begin with
    """
    known = _published(published, group.task, group.words.metric.name)
    shown = {method(cycle, result.round) for cycle in group.cycles for result in cycle.results if result.round > 0}
    names = [name for name in _TITLES if name in shown] or [""]
    return [_table(group, name, known, f"{slug}{_slug(name)}") for name in names]


def _table(group: Group, name: str, known: Mapping[tuple[str, int], Sequence[PublishedRow]], slug: str) -> ReportTable:
    words, errors, rows = group.words, beside.Errors(), list[tuple[Cell, ...]]()
    for original in originals(group):
        cycles = [cycle for arm in original.arms for cycle in group.arms[arm]]
        rows.append(_ours(original.name, 0, _paths(cycles), original.results, None, words))
    data = group.sweep.data
    for row in known.get(("dense", 0), ()):
        rows.append(_theirs("dense", row, known, beside.differing(row.first, group.cycles, data), errors, words))
    for arm, cycles in group.arms.items():
        for index in at_rounds(cycles):
            members = [cycle for cycle in cycles if index > 0 and method(cycle, index) == name]
            results = at_rounds(members).get(index)
            if not results:
                continue
            rows.append(_ours(arm, index, _paths(members), results, above_dense(members, index), words))
            places = {published_place(cycle, index) for cycle in members}
            place = places.pop() if len(places) == 1 else None
            if place:
                for row in known.get(place, ()):
                    rows.append(
                        _theirs(place[0], row, known, beside.differing(row.first, members, data), errors, words)
                    )
    note = _note(any(row[2] == "published" for row in rows), words) + errors.note()
    where = "" if group.main else f", on {group.task}"
    return _without_empty(
        ReportTable(slug, f"{_TITLES[name]}: encoders before and after{where}", _columns(words), tuple(rows), note)
    )


def _ours(
    arm: str, round: int, model: str, results: Sequence[RoundResult], difference: Estimate | None, words: Wording
) -> tuple[Cell, ...]:
    retrained = [result for result in results if result.epochs > 0]
    return (
        arm, round, "ours", model, len(results), _counted(result.blocks for result in results),
        _counted(result.frozen_blocks for result in results),
        known_mean(result.before_test_loss for result in results),
        known_mean(result.value("before_test") for result in results),
        known_mean(result.test_loss for result in retrained),
        known_mean(map(tested, retrained)),
        None if difference is None else words.factor * difference.mean,
        None if difference is None or difference.half is None else words.factor * difference.half,
        known_mean(result.test_s for result in results),
        known_mean(result.train_s for result in retrained),
        _whole(result.parameters for result in results),
        _whole(result.nonzero for result in results),
        _milliseconds(result.latency_s for result in results),
        _quartiles(results), _accepted(results), None, None, None, None,
    )  # fmt: skip


def _theirs(
    arm: str,
    row: PublishedRow,
    known: Mapping[tuple[str, int], Sequence[PublishedRow]],
    unlike: str,
    errors: beside.Errors,
    words: Wording,
) -> tuple[Cell, ...]:
    values, metric = row.values, words.metric.name
    start = next((dense.values.get(f"test_{metric}") for dense in known.get(("dense", 0), ())), None)
    end = values.get(f"test_{metric}", values.get(f"before_test_{metric}"))
    difference = None if start is None or end is None or row.round == 0 else words.factor * (end - start)
    told = {name: values.get(name) for name in _metrics(metric)}
    counts = {name: None if told[name] is None else round(told[name] or 0) for name in ("blocks", "frozen_blocks")}
    parameters = told["parameters"]
    return (
        arm, row.round, "published", PUBLISHED_MODEL, None, counts["blocks"], counts["frozen_blocks"],
        told["before_test_loss"], told[f"before_test_{metric}"], told["test_loss"], told[f"test_{metric}"], difference,
        None, told["test_s"], told["train_s"], None if parameters is None else round(parameters), None, None, None,
        None, unlike or None, row.file, row.line, errors.mark(row.errors),
    )  # fmt: skip


def _published(published: Iterable[Published], task: str, metric: str) -> dict[tuple[str, int], list[PublishedRow]]:
    """(arm, prunings) → the rows of published tables; dense ones stand at 0 prunings."""
    cells: dict[tuple[str, int, str, str], list[Published]] = {}
    for item in published:
        if (item.task, item.model) != (task, "encoder") or item.metric not in _metrics(metric):
            continue
        round = 0 if item.arm == "dense" else item.round
        if round is not None:
            cells.setdefault((item.arm, round, item.table, item.file), []).append(item)
    found: dict[tuple[str, int], list[PublishedRow]] = {}
    for (arm, round, _, _), items in cells.items():
        found.setdefault((arm, round), []).append(replace(beside.row_of(items), round=round))
    return found


def _paths(cycles: Iterable[ReportedCycle]) -> str:
    paths = dict.fromkeys(model_name(str(cycle.fields.get("model.path", "encoder"))) for cycle in cycles)
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


def _note(published: bool, words: Wording) -> str:
    said = (
        "Ours: mean over the n stored rounds. Before = after pruning, before retraining; after is empty where a round "
        f"was not retrained. Against dense: test {words.name}, as pruned where not retrained, above the own dense one. "
        "Evaluation time: one pass over the test split. Latency: a batch of 32, median and quartiles. Nonzero: not "
        "pruned by a mask, which makes a model neither smaller nor faster."
    )
    if published:
        said += (
            f" Published: {PUBLISHED_MODEL}, whatever our model is, at the same arm and number of prunings; "
            f"{'points' if words.is_share else 'differences'} are against its own dense {words.name}, seconds are of "
            "other hardware."
        )
    return said


def _slug(name: str) -> str:
    return f"{name or 'block'}-pruning" if name != "wanda" else name


def _without_empty(table: ReportTable) -> ReportTable:
    """Drop the columns in which no row says anything."""
    kept = [i for i in range(len(table.columns)) if i < _ALWAYS or any(row[i] is not None for row in table.rows)]
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return ReportTable(table.slug, table.title, tuple(table.columns[i] for i in kept), rows, table.note)
