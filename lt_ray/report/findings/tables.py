"""The tables of a report, in the research logs' own form where they have one; ours beside published."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from lt_ray.cycle.results import EQUAL_DENSITY, RoundResult, not_above_chance, sparsest_on_test, winning_round
from lt_ray.report.findings import beside
from lt_ray.report.findings.bill import Bill, total
from lt_ray.report.findings.compare import (
    Compared,
    Group,
    at_rounds,
    crossings,
    dense,
    distinct,
    known_mean,
)
from lt_ray.report.findings.document import Cell, Column, ReportTable
from lt_ray.report.findings.estimates import LEVEL, over_seeds
from lt_ray.report.findings.words import Wording
from lt_ray.report.reading.published import Published, matching
from lt_ray.report.reading.rows import ReportedCycle, tested

_HOUR_S = 3600


def rounds(group: Group, published: Sequence[Published], slug: str) -> ReportTable:
    """Return the mean of each arm and round on the test split with its interval, published values beside it."""
    words, errors, rows = group.words, beside.Errors(), list[tuple[Cell, ...]]()
    for arm, cycles in group.arms.items():
        known, name = matching(published, group.task, _model(cycles)), beside.published_name(cycles)
        for index, results in at_rounds(cycles).items():
            found = over_seeds((result.seed, tested(result)) for result in results)
            sparsity = _mean_sparsity(results)
            remaining = round(statistics.fmean(result.remaining for result in results))
            own = (arm, index, sparsity, remaining, len(results), found.n, found.mean, found.half)
            theirs = beside.nearest(known, f"test_{words.metric.name}", name, index, sparsity)
            unlike = "" if theirs is None else beside.differing(theirs, cycles, group.sweep.data)
            rows.append((*own, *_quoted(theirs, found.mean, unlike, errors, words)))
    columns = (
        Column("arm"), Column("round"), Column("sparsity", 3), Column("remaining [count]"), Column("n"),
        Column("seeds"), Column(f"test {words.name}", 4), Column("± 95 %", 4), Column("published", 4),
        Column("published arm"), Column(f"difference{words.head}", words.digits), Column("differs in"), Column("file"),
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
    return _without_empty(
        ReportTable(slug, f"Test {words.name} by arm and round{_where(group)}", columns, tuple(rows), note), 8
    )


def before_pruning(group: Group, published: Sequence[Published], slug: str) -> ReportTable:
    """Return the table of dense models, ours and published."""
    names, errors, rows = _names(group), beside.Errors(), list[tuple[Cell, ...]]()
    for model, cycles in by_model(group).items():
        results = distinct([result for result in map(dense, cycles) if result is not None])
        if results:
            rows.append((model, "ours", len(results), *_means(results, names), None, None, None, None))
        for row in beside.table_rows(matching(published, group.task, model), names, pruned=False):
            unlike = beside.differing(row.first, cycles, group.sweep.data) or None
            told = (*_losses(row, names), unlike, row.file, row.line, errors.mark(row.errors))
            rows.append((model, "published", None, *told))
    columns = (
        Column("model"), Column("source"), Column("n"), *_heads(group),
        Column("our runs differ in"), Column("file"), Column("line"),
        Column("known error"),
    )  # fmt: skip
    note = (
        "Ours: mean over n distinct dense rounds; its train columns are of the epoch whose weights a round ends with."
        f"{errors.note()}"
    )
    return _without_empty(ReportTable(slug, f"Before pruning{_where(group)}", columns, tuple(rows), note), 7)


def after_pruning(group: Group, published: Sequence[Published], slug: str) -> ReportTable:
    """Return the table of pruned models: each arm after its last round, and what was published of that arm."""
    names, errors, rows = _names(group), beside.Errors(), list[tuple[Cell, ...]]()
    for arm, cycles in group.arms.items():
        model, name = _model(cycles), beside.published_name(cycles)
        found = {index: results for index, results in at_rounds(cycles).items() if index > 0}
        known = [
            row
            for row in beside.table_rows(matching(published, group.task, model), names, pruned=True)
            if name and row.arm == name
        ]
        for index in sorted(found.keys() & {max(found, default=0), *(row.round for row in known)}):
            results = found[index]
            sparsity = _mean_sparsity(results)
            rows.append(
                (model, arm, "ours", index, sparsity, len(results), *_means(results, names), None, None, None, None)
            )
        for row in known:
            unlike = beside.differing(row.first, cycles, group.sweep.data) or None
            told = (*_losses(row, names), unlike, row.file, row.line, errors.mark(row.errors))
            rows.append((model, arm, "published", row.round, row.sparsity, None, *told))
    columns = (
        Column("model"), Column("arm"), Column("source"), Column("round"), Column("sparsity", 3), Column("n"),
        *_heads(group),
        Column("our runs differ in"), Column("file"), Column("line"), Column("known error"),
    )  # fmt: skip
    note = f"Ours: mean over the n cycles that have the arm's last finished round.{errors.note()}"
    return _without_empty(ReportTable(slug, f"After pruning{_where(group)}", columns, tuple(rows), note), 10)


def tickets(group: Group, slug: str) -> ReportTable:
    """Return the sparsest winning ticket of each cycle."""
    words, tolerance, rows = group.words, group.sweep.tolerance, list[tuple[Cell, ...]]()
    for arm, cycles in group.arms.items():
        for cycle in cycles:
            winner, start = winning_round(cycle.standing, tolerance), dense(cycle)
            on_test = sparsest_on_test(cycle.standing, tolerance)
            own = (arm, cycle.seed, group.described(cycle) or None)
            ticket: tuple[Cell, ...] = (None,) * 5
            if winner is not None:
                ticket = (winner.round, winner.sparsity, winner.density, winner.value("val"), tested(winner))
            logs = (None, None) if on_test is None else (on_test.round, on_test.sparsity)
            before = None if start is None else tested(start)
            last = max((result.round for result in cycle.results), default=None)
            why_none = not_above_chance(start) or None
            rows.append((*own, *ticket, before, *logs, last, cycle.state, cycle.id, why_none))
    columns: tuple[Column, ...] = (
        Column("arm"), Column("seed"), Column("settings"), Column("round"), Column("sparsity", 3),
        Column("remaining share", 4), Column(f"validation {words.name}", 4), Column(f"test {words.name}", 4),
        Column(f"dense test {words.name}", 4), Column("sparsest on test: round"),
        Column("sparsest on test: sparsity", 3), Column("last round"), Column("state"), Column("cycle"),
        Column("why none can win"),
    )  # fmt: skip
    note = (
        f"A winning ticket is the sparsest round whose validation {words.name} {words.at_least} "
        f"{words.bound('the own dense one', tolerance)}; its test {words.name} is told, and decides nothing. Sparsest "
        "on test is the research logs' rule, on test: the best of many noisy rounds, often luck."
    )
    if words.metric.name == "accuracy":
        note += " A dense model that is not above the largest class has no ticket."
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return ReportTable(slug, f"Winning tickets{_where(group)}", columns, tuple(rows), note)


def differences(group: Group, compared: Compared, slug: str) -> ReportTable:
    """Return the mean paired difference of every two arms at each round."""
    words, rows = group.words, list[tuple[Cell, ...]]()
    for item in compared.pairs:
        for level in item.levels:
            found = level.difference
            interval = [None if end is None else words.factor * end for end in (found.low, found.high)]
            verdict = None if level.corrected_p is None else bool(level.sign)
            where = (level.round, level.against_round, level.sparsity, level.against_sparsity)
            told = (words.factor * found.mean, *interval, level.corrected_p, verdict)
            rows.append((item.arm, item.against, *where, found.n, *told))
    columns = (
        Column("arm"), Column("against"), Column("round"), Column("round of the other"), Column("sparsity", 3),
        Column("sparsity of the other", 3), Column("seeds"),
        *(Column(f"{what}{words.head}", words.digits) for what in ("difference", "low", "high")),
        Column("p (Holm)", 3), Column("told apart"),
    )  # fmt: skip
    note = (
        f"Test {words.name} of arm − against, of cycles with equal seed and equal other settings at equal sparsity "
        f"(densities to a factor {EQUAL_DENSITY:g}), mean over seeds, each seed's pairs averaged first. Low and high "
        "are its 95 % interval, Student's t over seeds, not corrected; one seed has none. p is corrected by Holm for "
        f"{compared.family} comparisons: all of the sweep's two arms, and of its arms with dense {words.less} "
        f"tolerance. Told apart is p ≤ {LEVEL:g}. Rounds that both of a pair share are left out."
    )
    return ReportTable(slug, f"Paired differences{_where(group)}", columns, tuple(rows), note)


def crossing_points(group: Group, compared: Compared, slug: str) -> ReportTable:
    """Return where arms cross each other, and the bound of a winning ticket."""
    bound = group.words.bound("dense", group.sweep.tolerance)
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
    return ReportTable(slug, f"Crossing points{_where(group)}", columns, tuple(rows), note)


def unfinished(cycles: Iterable[ReportedCycle], arm_of: Mapping[str, str], slug: str) -> ReportTable:
    """Return the cycles that did not finish, and why."""
    rows = []
    for cycle in cycles:
        if cycle.state != "finished":
            counts = (len(cycle.results), len(cycle.cycle.trained_rounds))
            rows.append((arm_of[cycle.id], cycle.seed, cycle.id, cycle.state, *counts, cycle.reason or None))
    columns = (
        Column("arm"), Column("seed"), Column("cycle"), Column("state"), Column("rounds finished"),
        Column("rounds planned"), Column("reason"),
    )  # fmt: skip
    return ReportTable(
        slug, "Cycles that did not finish", columns, tuple(rows), "Rounds are counted with the dense one."
    )


def bill(found: Mapping[str, Bill], slug: str) -> ReportTable:
    """Return what each arm and the whole sweep asked, computed and saved."""
    rows: list[tuple[Cell, ...]] = []
    for arm, item in [*found.items(), ("all", total(list(found.values())))]:
        epochs = (item.asked, item.computed, item.shared, item.early, item.ended, item.failed, item.open)
        seconds = (item.train_s, item.eval_s, item.redone_s, item.shared_s)
        span = None if item.span_s is None else item.span_s / _HOUR_S
        rows.append((arm, item.cycles, item.rounds, item.shared_rounds, *epochs, *seconds, span))
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
    return ReportTable(slug, "The bill", columns, tuple(rows), note)


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
    return cycle.cycle.model.name


def _where(group: Group) -> str:
    return "" if group.main else f", on {group.task}, where tickets are found"


def _quoted(
    found: Published | None, ours: float, unlike: str, errors: beside.Errors, words: Wording
) -> tuple[Cell, ...]:
    if found is None:
        return (None,) * 7
    theirs = beside.value(found)
    difference = None if unlike else words.factor * (ours - theirs)
    error = errors.mark([found.error])
    return (theirs, found.arm or None, difference, unlike or None, found.file, found.line, error)


def _mean_sparsity(results: Sequence[RoundResult]) -> float:
    return statistics.fmean(result.sparsity for result in results)


def _names(group: Group) -> tuple[str, ...]:
    """The columns of the research logs' tables of losses and the metric."""
    return tuple(f"{split}_{what}" for split in ("train", "test") for what in ("loss", group.words.metric.name))


def _heads(group: Group) -> tuple[Column, ...]:
    short = group.words.short
    heads = ("train loss (best)", f"train {short} (best)", "test loss", f"test {short}")
    return tuple(Column(head, digits) for head, digits in zip(heads, (3, 4, 3, 4), strict=True))


def _means(results: Sequence[RoundResult], names: Sequence[str]) -> tuple[float | None, ...]:
    return tuple(known_mean(getattr(result, name, None) for result in results) for name in names)


def _losses(row: beside.PublishedRow, names: Sequence[str]) -> tuple[float | None, ...]:
    return tuple(row.values.get(name) for name in names)


def _without_empty(table: ReportTable, first: int) -> ReportTable:
    """Drop the columns of sources where nothing published is told."""
    if any(cell is not None for row in table.rows for cell in row[first:]):
        return table
    rows = tuple(row[:first] for row in table.rows)
    return ReportTable(table.slug, table.title, table.columns[:first], rows, table.note)
