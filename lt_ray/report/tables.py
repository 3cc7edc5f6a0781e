"""The tables of a report, in the logs' own form where they have one; ours beside published."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from lt_ray.cycle.results import EQUAL_DENSITY, RoundResult, not_above_chance, sparsest_on_test, winning_round
from lt_ray.report import beside
from lt_ray.report.bill import Bill, total
from lt_ray.report.compare import (
    Compared,
    Group,
    at_rounds,
    crossings,
    dense,
    distinct,
    known_mean,
    planned,
)
from lt_ray.report.document import Cell, Column, Table
from lt_ray.report.estimates import LEVEL, over_seeds
from lt_ray.report.published import Published, matching
from lt_ray.report.rows import ReportedCycle

_HOUR_S = 3600
_COLUMNS = ("train loss (best)", "train acc. (best)", "test loss", "test acc.")


def rounds(group: Group, published: Sequence[Published], slug: str) -> Table:
    """Return the mean test accuracy of each arm and round with its interval, published values beside it."""
    rows: list[tuple[Cell, ...]] = []
    errors = beside.Errors()
    for arm, cycles in group.arms.items():
        known, name = matching(published, group.task, _model(cycles)), beside.published_name(cycles)
        for index, results in at_rounds(cycles).items():
            found = over_seeds((result.seed, result.test_accuracy) for result in results)
            sparsity = _mean_sparsity(results)
            remaining = round(statistics.fmean(result.remaining for result in results))
            own = (arm, index, sparsity, remaining, len(results), found.n, found.mean, found.half)
            theirs = beside.nearest(known, name, index, sparsity)
            unlike = "" if theirs is None else beside.differing(theirs, cycles, group.sweep.data)
            rows.append((*own, *_quoted(theirs, found.mean, unlike, errors)))
    columns = (
        Column("arm"), Column("round"), Column("sparsity", 3), Column("remaining [count]"), Column("n"),
        Column("seeds"), Column("test accuracy", 4), Column("± 95 %", 4), Column("published", 4),
        Column("published arm"), Column("difference [points]", 2), Column("differs in"), Column("file"),
        Column("line"), Column("known error"),
    )  # fmt: skip
    note = (
        "Mean over seeds, each seed's n cycles (draws of other settings) averaged first; a round that cycles share "
        "counts once. ± is half its 95 % interval, Student's t over seeds, not corrected for the number of rounds."
    )
    if any(row[5] == 1 for row in rows):
        note += " One seed has no interval."
    if any(row[8] is not None for row in rows):
        note += (
            " Published: the value of the same arm at an equal sparsity (densities to a factor "
            f"{EQUAL_DENSITY:g} and the printed digits) or, where none is told, round; difference = ours − published, "
            f"where the runs differ in nothing that the log tells.{errors.note()}"
        )
    return _without_empty(Table(slug, f"Test accuracy by arm and round{_where(group)}", columns, tuple(rows), note), 8)


def before_pruning(group: Group, published: Sequence[Published], slug: str) -> Table:
    """Return the logs' table of dense models, ours and published."""
    rows: list[tuple[Cell, ...]] = []
    errors = beside.Errors()
    for model, cycles in by_model(group).items():
        results = distinct([result for result in map(dense, cycles) if result is not None])
        if results:
            rows.append((model, "ours", len(results), *_means(results), None, None, None, None))
        for row in beside.table_rows(matching(published, group.task, model), pruned=False):
            unlike = beside.differing(row.first, cycles, group.sweep.data) or None
            told = (*_losses(row), unlike, row.file, row.line, errors.mark(row.errors))
            rows.append((model, "published", None, *told))
    columns = (
        Column("model"), Column("source"), Column("n"), Column(_COLUMNS[0], 3), Column(_COLUMNS[1], 4),
        Column(_COLUMNS[2], 3), Column(_COLUMNS[3], 4), Column("our runs differ in"), Column("file"), Column("line"),
        Column("known error"),
    )  # fmt: skip
    note = (
        "Ours: mean over n distinct dense rounds; its train columns are of the epoch whose weights a round ends with."
        f"{errors.note()}"
    )
    return _without_empty(Table(slug, f"Before pruning{_where(group)}", columns, tuple(rows), note), 7)


def after_pruning(group: Group, published: Sequence[Published], slug: str) -> Table:
    """Return the logs' table of pruned models: each arm after its last round, and what was published of that arm."""
    rows: list[tuple[Cell, ...]] = []
    errors = beside.Errors()
    for arm, cycles in group.arms.items():
        model, name = _model(cycles), beside.published_name(cycles)
        found = {index: results for index, results in at_rounds(cycles).items() if index > 0}
        known = [
            row
            for row in beside.table_rows(matching(published, group.task, model), pruned=True)
            if name and row.arm == name
        ]
        for index in sorted(found.keys() & {max(found, default=0), *(row.round for row in known)}):
            results = found[index]
            sparsity = _mean_sparsity(results)
            rows.append((model, arm, "ours", index, sparsity, len(results), *_means(results), None, None, None, None))
        for row in known:
            unlike = beside.differing(row.first, cycles, group.sweep.data) or None
            told = (*_losses(row), unlike, row.file, row.line, errors.mark(row.errors))
            rows.append((model, arm, "published", row.round, row.sparsity, None, *told))
    columns = (
        Column("model"), Column("arm"), Column("source"), Column("round"), Column("sparsity", 3), Column("n"),
        Column(_COLUMNS[0], 3), Column(_COLUMNS[1], 4), Column(_COLUMNS[2], 3), Column(_COLUMNS[3], 4),
        Column("our runs differ in"), Column("file"), Column("line"), Column("known error"),
    )  # fmt: skip
    note = f"Ours: mean over the n cycles that have the arm's last finished round.{errors.note()}"
    return _without_empty(Table(slug, f"After pruning{_where(group)}", columns, tuple(rows), note), 10)


def tickets(group: Group, slug: str) -> Table:
    """Return the sparsest winning ticket of each cycle."""
    rows: list[tuple[Cell, ...]] = []
    tolerance = group.sweep.tolerance
    for arm, cycles in group.arms.items():
        for cycle in cycles:
            winner, start = winning_round(cycle.standing, tolerance), dense(cycle)
            on_test = sparsest_on_test(cycle.standing, tolerance)
            own = (arm, cycle.seed, group.described(cycle) or None)
            ticket: tuple[Cell, ...] = (None,) * 5
            if winner is not None:
                accuracies = (winner.val_accuracy, winner.test_accuracy)
                ticket = (winner.round, winner.sparsity, winner.density, *accuracies)
            logs = (None, None) if on_test is None else (on_test.round, on_test.sparsity)
            dense_accuracy = None if start is None else start.test_accuracy
            last = max((result.round for result in cycle.results), default=None)
            why_none = not_above_chance(start) or None
            rows.append((*own, *ticket, dense_accuracy, *logs, last, cycle.state, cycle.id, why_none))
    columns: tuple[Column, ...] = (
        Column("arm"), Column("seed"), Column("settings"), Column("round"), Column("sparsity", 3),
        Column("remaining share", 4), Column("validation accuracy", 4), Column("test accuracy", 4),
        Column("dense test accuracy", 4), Column("sparsest on test: round"), Column("sparsest on test: sparsity", 3),
        Column("last round"), Column("state"), Column("cycle"), Column("why none can win"),
    )  # fmt: skip
    note = (
        f"A winning ticket is the sparsest round whose validation accuracy ≥ the own dense one − {tolerance:g}; its "
        "test accuracy is told, and decides nothing. Sparsest on test is the logs' reading, the same rule on test: "
        "the best of many noisy rounds, often luck. A dense model that is not above the largest class has no ticket."
    )
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table(slug, f"Winning tickets{_where(group)}", columns, tuple(rows), note)


def differences(group: Group, compared: Compared, slug: str) -> Table:
    """Return the mean paired difference of every two arms at each round."""
    rows: list[tuple[Cell, ...]] = []
    for item in compared.pairs:
        for level in item.levels:
            found = level.difference
            interval = [None if end is None else 100 * end for end in (found.low, found.high)]
            verdict = None if level.corrected_p is None else bool(level.sign)
            where = (level.round, level.against_round, level.sparsity, level.against_sparsity)
            told = (100 * found.mean, *interval, level.corrected_p, verdict)
            rows.append((item.arm, item.against, *where, found.n, *told))
    columns = (
        Column("arm"), Column("against"), Column("round"), Column("round of the other"), Column("sparsity", 3),
        Column("sparsity of the other", 3), Column("seeds"), Column("difference [points]", 2),
        Column("low [points]", 2), Column("high [points]", 2), Column("p (Holm)", 3), Column("told apart"),
    )  # fmt: skip
    note = (
        "Test accuracy of arm − against, of cycles with equal seed and equal other settings at equal sparsity "
        f"(densities to a factor {EQUAL_DENSITY:g}), mean over seeds, each seed's pairs averaged first. Low and high "
        "are its 95 % interval, Student's t over seeds, not corrected; one seed has none. p is corrected by Holm for "
        f"{compared.family} comparisons: all of the sweep's two arms, and of its arms with dense − tolerance. Told "
        f"apart is p ≤ {LEVEL:g}. Rounds that both of a pair share are left out."
    )
    return Table(slug, f"Paired differences{_where(group)}", columns, tuple(rows), note)


def crossing_points(group: Group, compared: Compared, slug: str) -> Table:
    """Return where arms cross each other, and the bound of a winning ticket."""
    bound = f"dense − {group.sweep.tolerance:g}"
    crossed = [(item.arm, item.against, item.crossings) for item in compared.pairs]
    crossed += [(arm, bound, crossings(levels)) for arm, levels in compared.falls.items()]
    rows: list[tuple[Cell, ...]] = []
    for arm, against, found in crossed:
        for one in found:
            leaders = (against, arm) if one.rises else (arm, against)
            rows.append((arm, against, *leaders, one.after, one.before, one.low, one.high, one.n))
    columns = (
        Column("arm"), Column("against"), Column("above before"), Column("above after"), Column("after round"),
        Column("before round"), Column("after sparsity", 3), Column("before sparsity", 3), Column("seeds"),
    )  # fmt: skip
    note = (
        "Where a mean difference changes its sign, told apart from 0 (corrected by Holm) at both rounds; where between "
        "them is not known."
    )
    return Table(slug, f"Crossing points{_where(group)}", columns, tuple(rows), note)


def unfinished(cycles: Iterable[ReportedCycle], arm_of: Mapping[str, str], slug: str) -> Table:
    """Return the cycles that did not finish, and why."""
    rows = []
    for cycle in cycles:
        if cycle.state != "finished":
            rounds = planned(cycle)
            known = None if rounds is None else len(rounds)
            done = len(cycle.results)
            rows.append((arm_of[cycle.id], cycle.seed, cycle.id, cycle.state, done, known, cycle.reason or None))
    columns = (
        Column("arm"), Column("seed"), Column("cycle"), Column("state"), Column("rounds finished"),
        Column("rounds planned"), Column("reason"),
    )  # fmt: skip
    return Table(slug, "Cycles that did not finish", columns, tuple(rows), "Rounds are counted with the dense one.")


def bill(found: Mapping[str, Bill], slug: str) -> Table:
    """Return what each arm and the whole sweep asked, computed and saved."""
    rows: list[tuple[Cell, ...]] = []
    for arm, item in [*found.items(), ("all", total(list(found.values())))]:
        known: tuple[Cell, ...] = (
            item.asked,
            item.computed,
            item.shared,
            item.early,
            item.ended,
            item.failed,
            item.open,
        )
        if not item.known:
            known = (None, item.computed, item.shared, None, None, None, None)
        seconds = (item.train_s, item.eval_s, item.redone_s, item.shared_s)
        span = None if item.span_s is None else item.span_s / _HOUR_S
        rows.append((arm, item.cycles, item.rounds, item.shared_rounds, *known, *seconds, span))
    columns = (
        Column("arm"), Column("cycles"), Column("rounds computed"), Column("rounds shared"),
        Column("asked [epochs]"), Column("computed [epochs]"), Column("shared [epochs]"),
        Column("saved by early stopping [epochs]"), Column("ended by a rule [epochs]"),
        Column("lost to failures [epochs]"), Column("to come [epochs]"), Column("training [s]", 0),
        Column("evaluation [s]", 0), Column("redone [s]", 0), Column("saved by sharing [s]", 0),
        Column("first to last [h]", 2),
    )  # fmt: skip
    note = (
        "asked = computed + shared + saved + ended + lost + to come: all planned rounds, had each been trained alone "
        "to its last epoch. A shared round is billed to the arm that computed it. Seconds are summed over trials, "
        "training and evaluation of work that was kept, redone of work that interruptions lost; first to last is wall "
        "time and has pauses in it."
    )
    return Table(slug, "The bill", columns, tuple(rows), note)


def by_model(group: Group) -> dict[str, list[ReportedCycle]]:
    """Return model → its cycles."""
    found: dict[str, list[ReportedCycle]] = {}
    for cycle in group.cycles:
        found.setdefault(_name(cycle), []).append(cycle)
    return found


def _model(cycles: Sequence[ReportedCycle]) -> str:
    names = {_name(cycle) for cycle in cycles}
    return names.pop() if len(names) == 1 else "various"


def _name(cycle: ReportedCycle) -> str:
    return str(cycle.params.get("model.name") or cycle.settings.get("model.name") or "model")


def _where(group: Group) -> str:
    return "" if group.main else f", on {group.task}, where tickets are found"


def _quoted(found: Published | None, ours: float, unlike: str, errors: beside.Errors) -> tuple[Cell, ...]:
    if found is None:
        return (None,) * 7
    theirs = beside.value(found)
    difference = None if unlike else 100 * (ours - theirs)
    error = errors.mark([found.error])
    return (theirs, found.arm or None, difference, unlike or None, found.file, found.line, error)


def _mean_sparsity(results: Sequence[RoundResult]) -> float:
    return statistics.fmean(result.sparsity for result in results)


def _means(results: Sequence[RoundResult]) -> tuple[float | None, ...]:
    return tuple(known_mean(getattr(result, name) for result in results) for name in beside.LOSSES_AND_ACCURACIES)


def _losses(row: beside.PublishedRow) -> tuple[float | None, ...]:
    return tuple(row.values.get(name) for name in beside.LOSSES_AND_ACCURACIES)


def _without_empty(table: Table, first: int) -> Table:
    """Drop the columns of sources where nothing published is told."""
    if any(cell is not None for row in table.rows for cell in row[first:]):
        return table
    rows = tuple(row[:first] for row in table.rows)
    return Table(table.slug, table.title, table.columns[:first], rows, table.note)
