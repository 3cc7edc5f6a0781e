"""The tables of models with blocks, in the research logs' form: results before and after retraining, seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lt_ray.cycle.models import model_name
from lt_ray.cycle.prunings import PruningSettings
from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings import beside
from lt_ray.report.findings.beside import PublishedRow, published_place
from lt_ray.report.findings.compare import Group, above_dense, at_rounds, distinct, known_mean
from lt_ray.report.findings.document import Cell, ReportTable, Row, table_of
from lt_ray.report.findings.words import Wording
from lt_ray.report.reading.published import Published
from lt_ray.report.reading.rows import ReportedCycle, tested

_ALWAYS = 6
"""Columns that are there though they be empty [count]"""
_AFTER = range(1, 6)
"""Epochs that have columns"""
_Known = Mapping[tuple[str, int], Sequence[PublishedRow]]
"""(arm, prunings) → the rows of published tables; dense ones stand at 0 prunings"""


@dataclass(frozen=True)
class Dense:
    """Dense rounds that some arms share."""

    name: str
    arms: tuple[str, ...]
    results: tuple[RoundResult, ...]


def dense_models(group: Group) -> list[Dense]:
    """Return the dense rounds of a group, arms that share some of them together."""
    found: list[tuple[list[str], list[RoundResult]]] = []
    for arm, cycles in group.arms.items():
        results = distinct(cycle.dense for cycle in cycles)
        if not results:
            continue
        keys = {result.key for result in results}
        shared = [item for item in found if keys & {result.key for result in item[1]}]
        found = [item for item in found if item not in shared]
        arms = [name for names, _ in shared for name in names]
        found.append(([*arms, arm], distinct([*(r for _, others in shared for r in others), *results])))
    alone = len(found) == 1
    return [
        Dense("dense" if alone else f"dense of {', '.join(arms)}", tuple(arms), tuple(results))
        for arms, results in sorted(found)
    ]


def tables(group: Group, published: Iterable[Published]) -> list[ReportTable]:
    """Return a table for each method that pruned a group's models, the dense models first in each: those that remove
    blocks, those that prune within them, then others.

    - `published`: results of others; those of the same task, arm and number of prunings stand below ours
    """
    known = _known(published, group)
    methods: dict[str, PruningSettings] = {}
    for cycle in group.cycles:
        for index in cycle.by_round:
            if (pruning := cycle.pruning(index)) is not None:
                methods.setdefault(pruning.method, pruning)
    ordered = sorted(methods.values(), key=lambda one: (not one.removes_blocks, not one.needs_blocks, one.method))
    return [_table(group, one.method, one.label, known) for one in ordered] or [_table(group, "", "pruning", known)]


def _table(group: Group, method: str, label: str, known: _Known) -> ReportTable:
    words, errors, rows = group.words, beside.Errors(), list[Row]()

    def add_published(arm: str, place: tuple[str, int], cycles: Sequence[ReportedCycle]) -> None:
        for row in known.get(place, ()):
            source = errors.source(row, cycles, group.sweep.data)
            rows.append({**_published(arm, place[1], row, known, words), **source})

    for dense in dense_models(group):
        cycles = [cycle for arm in dense.arms for cycle in group.arms[arm]]
        rows.append(_row(words, model_cells(dense.name, 0, cycles, dense.results, words)))
    add_published("dense", ("dense", 0), group.cycles)
    for arm, members in group.arms.items():
        for index in at_rounds(members):
            cycles = [c for c in members if (pruning := c.pruning(index)) is not None and pruning.method == method]
            results = at_rounds(cycles).get(index)
            if not results:
                continue
            rows.append(_row(words, model_cells(arm, index, cycles, results, words)))
            places = {published_place(cycle, index) for cycle in cycles}
            place = places.pop() if len(places) == 1 else None
            if place is not None:
                add_published(place[0], place, cycles)
    theirs = dict.fromkeys(str(row["model"]) for row in rows if row["source"] == "published")
    by_epoch = any(cell is not None and ", epoch " in str(head) for row in rows for head, cell in row.items())
    note = _note(" and ".join(theirs), by_epoch, words) + errors.note()
    title = f"{label[:1].upper()}{label[1:]}: blocks before and after{group.where}"
    slug = label.lower().replace(" ", "-") if method else "block-pruning"
    return table_of(f"{group.slug}{slug}", title, rows, note, always=_ALWAYS)


def model_cells(
    arm: str, round: int, cycles: Sequence[ReportedCycle], results: Sequence[RoundResult], words: Wording
) -> Mapping[str, Cell]:
    """Return what is told of an arm after a round, by the short names of `_row`: means over its distinct results.

    - `cycles`: the arm's; `results`: of them, those after the round
    """
    retrained = [result for result in results if result.epochs > 0]
    change = above_dense(cycles, round) if round else None
    half = None if change is None else change.half
    accepted = [result.accepted for result in results if result.accepted is not None]
    some = f"{sum(accepted)} of {len(accepted)}" if len(set(accepted)) > 1 else next(iter(accepted), None)
    latency, low, high = (
        None if (mean := known_mean(getattr(result, name) for result in results)) is None else 1000 * mean
        for name in ("latency_s", "latency_low_s", "latency_high_s")
    )
    return {
        "arm": arm, "round": round, "source": "ours", "model": _model(cycles), "n": len(results),
        "blocks": _counted(known_mean(result.blocks for result in results)),
        "frozen": _counted(known_mean(result.frozen_blocks for result in results)),
        "loss before": known_mean(result.before_test_loss for result in results),
        "before": known_mean(result.value("before_test") for result in results), **_by_epoch(round, cycles),
        "loss after": known_mean(result.test_loss for result in retrained),
        "after": known_mean(map(tested, retrained)),
        "difference": None if change is None else words.factor * change.mean,
        "half": None if half is None else words.factor * half,
        "evaluation": known_mean(result.test_s for result in results),
        "training": known_mean(result.train_s for result in retrained),
        "parameters": _whole(known_mean(result.parameters for result in results)),
        "nonzero": _whole(known_mean(result.nonzero for result in results)),
        "latency": latency, "quartiles": None if low is None or high is None else f"{low:.2f}–{high:.2f}",
        "accepted": some,
    }  # fmt: skip


def _by_epoch(round: int, cycles: Sequence[ReportedCycle]) -> Mapping[str, Cell]:
    """The mean on the validation split after each of the first epochs, of trainings that had more than one."""
    found = [cycle for cycle in cycles if round in cycle.by_round]
    trained = {cycle.by_round[round].key or cycle.id: cycle.epochs.get(round, ()) for cycle in found}
    several = [values for values in trained.values() if len(values) > 1]
    return {
        f"val {epoch}": known_mean(values[epoch - 1] for values in several if epoch <= len(values)) for epoch in _AFTER
    }


def _published(arm: str, round: int, row: PublishedRow, known: _Known, words: Wording) -> Row:
    told, metric = row.values.get, words.metric.name
    start = next((dense.values.get(f"test_{metric}") for dense in known.get(("dense", 0), ())), None)
    end = told(f"test_{metric}", told(f"before_test_{metric}"))
    difference = None if start is None or end is None or round == 0 else words.factor * (end - start)
    return _row(words, {
        "arm": arm, "round": round, "source": "published", "model": _published_model(row),
        "blocks": _whole(told("blocks")), "frozen": _whole(told("frozen_blocks")),
        "loss before": told("before_test_loss"), "before": told(f"before_test_{metric}"),
        **{f"test {epoch}": told(f"test_{metric}_epoch_{epoch}") for epoch in _AFTER},
        "loss after": told("test_loss"), "after": told(f"test_{metric}"), "difference": difference,
        "evaluation": told("test_s"), "training": told("train_s"), "parameters": _whole(told("parameters")),
    })  # fmt: skip


def _row(words: Wording, cells: Mapping[str, Cell]) -> Row:
    """Cells by short names → those of the table, in its order."""
    heads: dict[str, str | tuple[str, int]] = {
        "arm": "arm", "round": "round", "source": "source", "model": "model", "n": "n", "blocks": "blocks",
        "frozen": "frozen", "loss before": ("evaluation loss before", 4), "before": (f"{words.name} before", 4),
        **{f"val {epoch}": (f"validation {words.name}, epoch {epoch}", 4) for epoch in _AFTER},
        **{f"test {epoch}": (f"test {words.name}, epoch {epoch}", 4) for epoch in _AFTER},
        "loss after": ("evaluation loss after", 4), "after": (f"{words.name} after", 4),
        "difference": (f"against dense{words.head}", words.digits), "half": (f"± 95 %{words.head}", words.digits),
        "evaluation": ("evaluation time [s]", 2), "training": ("training time [s]", 1), "parameters": "parameters",
        "nonzero": "nonzero", "latency": ("latency [ms]", 2), "quartiles": "quartiles [ms]", "accepted": "accepted",
    }  # fmt: skip
    return {head: cells.get(name) for name, head in heads.items()}


def _published_model(row: PublishedRow) -> str:
    """What a published table is of, whatever ours is: its title begins with it."""
    return row.first.table.partition(",")[0]


def _known(published: Iterable[Published], group: Group) -> _Known:
    metric, models = group.words.metric.name, {cycle.cycle.model.published for cycle in group.cycles}
    by_epoch = (f"test_{metric}_epoch_{epoch}" for epoch in _AFTER)
    measured = ("before_test_loss", f"before_test_{metric}", *by_epoch, "test_loss", f"test_{metric}")
    names = ("blocks", "frozen_blocks", *measured, "test_s", "train_s", "parameters")
    rows: dict[tuple[str, int], list[PublishedRow]] = {}
    for row in beside.rows((item for item in published if item.task == group.task and item.model in models), names):
        round = 0 if row.first.arm == "dense" else row.first.round
        if round is not None:
            rows.setdefault((row.first.arm, round), []).append(row)
    return rows


def _model(cycles: Iterable[ReportedCycle]) -> str:
    paths = {model_name(str(cycle.fields.get("model.path", cycle.cycle.model.name))) for cycle in cycles}
    return paths.pop() if len(paths) == 1 else "various"


def _counted(mean: float | None) -> int | float | None:
    return int(mean) if mean is not None and mean == int(mean) else mean


def _whole(mean: float | None) -> int | None:
    return None if mean is None else round(mean)


def _note(published: str, by_epoch: bool, words: Wording) -> str:
    said = (
        "Ours: mean over the n stored rounds. Before = after pruning, before retraining; after is empty where a round "
        f"was not retrained. Against dense: test {words.name}, as pruned where not retrained, above the own dense one. "
        "Evaluation time: one pass over the test split. Latency: a batch of 32, median and quartiles. Nonzero: not "
        "pruned by a mask, which makes a model neither smaller nor faster."
    )
    if by_epoch:
        said += (
            f" Epochs: the first {len(_AFTER)} of trainings of several. Ours are on validation, since test is measured "
            "once a round, with the weights that it ends with"
            + (f"; published ones are on test, and the last is {words.name} after." if published else ".")
        )
    if published:
        said += (
            f" Published: {published}, whatever our model is, at the same arm and number of prunings; "
            f"{words.unit.strip() or 'differences'} are against its own dense {words.name}, seconds are of other "
            "hardware."
        )
    return said
