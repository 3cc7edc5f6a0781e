"""The tables of a report, in the research logs' own form where they have one; ours beside published."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from lt_ray.cycle.results import EQUAL_DENSITY, RoundResult, not_above_chance, sparsest_on_test
from lt_ray.report.findings import beside
from lt_ray.report.findings.bill import Bill, total
from lt_ray.report.findings.compare import (
    Compared,
    Group,
    at_rounds,
    distinct,
    known_mean,
    mean_sparsity,
)
from lt_ray.report.findings.document import Cell, ReportTable, Row, table_of
from lt_ray.report.findings.estimates import LEVEL, over_seeds
from lt_ray.report.reading.published import Published, matching
from lt_ray.report.reading.rows import ReportedCycle, tested

_HOUR_S = 3600


def rounds(group: Group, published: Sequence[Published]) -> ReportTable:
    """Return the mean of each arm and round on the test split with its interval, published values beside it."""
    words, errors, rows = group.words, beside.Errors(), list[Row]()
    for arm, cycles in group.arms.items():
        known, name = matching(published, group.task, _model(cycles)), beside.published_name(cycles)
        for index, results in at_rounds(cycles).items():
            mean, sparsity = over_seeds((result.seed, tested(result)) for result in results), mean_sparsity(results)
            own: Row = {
                "arm": arm, "round": index, ("sparsity", 3): sparsity,
                "remaining [count]": round(statistics.fmean(result.remaining for result in results)),
                "n": len(results), "seeds": mean.n, (f"test {words.name}", 4): mean.mean, ("± 95 %", 4): mean.half,
            }  # fmt: skip
            theirs = beside.nearest(known, f"test_{words.metric.name}", name, index, sparsity)
            if theirs is not None:
                value, unlike = beside.value(theirs), beside.differing(theirs, cycles, group.sweep.data)
                difference = None if unlike else words.factor * (mean.mean - value)
                own = {
                    **own, ("published", 4): value, "published arm": theirs.arm or None,
                    (f"difference{words.head}", words.digits): difference, "differs in": unlike or None,
                    "file": theirs.file, "line": theirs.line, "known error": errors.mark([theirs.error]),
                }  # fmt: skip
            rows.append(own)
    note = (
        "Mean over seeds, each seed's n cycles (draws of other settings) averaged first; a round that cycles share "
        "counts once. ± is half its 95 % interval, Student's t over seeds, not corrected for the number of rounds."
    )
    if any(row["seeds"] == 1 for row in rows):
        note += " One seed has no interval."
    if any("file" in row for row in rows):
        note += (
            " Published: the value of the same arm at an equal sparsity (densities to a factor "
            f"{EQUAL_DENSITY:g} and the printed digits) or, where none is told, round; difference = ours − published, "
            f"where the runs differ in nothing that the log tells.{errors.note()}"
        )
    return table_of(f"{group.slug}rounds", f"Test {words.name} by arm and round{group.where}", rows, note)


def before_pruning(group: Group, published: Sequence[Published]) -> ReportTable:
    """Return the table of dense models, ours and published."""
    errors, rows = beside.Errors(), list[Row]()
    models: dict[str, list[ReportedCycle]] = {}
    for cycle in group.cycles:
        models.setdefault(cycle.cycle.model.published, []).append(cycle)
    for model, cycles in models.items():
        results = distinct(cycle.dense for cycle in cycles)
        if results:
            rows.append({"model": model, "source": "ours", "n": len(results), **_means(group, results)})
        for row in beside.table_rows(matching(published, group.task, model), _names(group), pruned=False):
            source = errors.source(row, cycles, group.sweep.data)
            rows.append({"model": model, "source": "published", "n": None, **_losses(group, row.values), **source})
    note = (
        "Ours: mean over n distinct dense rounds; its train columns are of the epoch whose weights a round ends with."
        f"{errors.note()}"
    )
    return table_of(f"{group.slug}before-pruning", f"Before pruning{group.where}", rows, note)


def after_pruning(group: Group, published: Sequence[Published]) -> ReportTable:
    """Return the table of pruned models: each arm after its last round, and what was published of that arm."""
    names, errors, rows = _names(group), beside.Errors(), list[Row]()
    for arm, cycles in group.arms.items():
        model, name = _model(cycles), beside.published_name(cycles)
        ours = {index: results for index, results in at_rounds(cycles).items() if index > 0}
        theirs = beside.table_rows(matching(published, group.task, model), names, pruned=True)
        theirs = [row for row in theirs if name and row.first.arm == name]
        own: Row = {"model": model, "arm": arm}
        for index in sorted(ours.keys() & {max(ours, default=0), *(row.first.round for row in theirs)}):
            results = ours[index]
            at: Row = {"source": "ours", "round": index, ("sparsity", 3): mean_sparsity(results), "n": len(results)}
            rows.append({**own, **at, **_means(group, results)})
        for row in theirs:
            at = {"source": "published", "round": row.first.round, ("sparsity", 3): row.first.sparsity, "n": None}
            source = errors.source(row, cycles, group.sweep.data)
            rows.append({**own, **at, **_losses(group, row.values), **source})
    note = f"Ours: mean over the n cycles that have the arm's last finished round.{errors.note()}"
    return table_of(f"{group.slug}after-pruning", f"After pruning{group.where}", rows, note)


def tickets(group: Group) -> ReportTable:
    """Return the sparsest winning ticket of each cycle."""
    words, tolerance, rows = group.words, group.sweep.tolerance, list[Row]()
    no_chance = any(not_above_chance(cycle.dense) for cycle in group.cycles)
    for arm, cycles in group.arms.items():
        for cycle in cycles:
            winner, dense, on_test = group.winner(cycle), cycle.dense, sparsest_on_test(cycle.results, tolerance)
            row: dict[str | tuple[str, int], Cell] = {
                "arm": arm, "seed": cycle.seed, "settings": group.described(cycle) or None,
                "round": None if winner is None else winner.round,
                ("sparsity", 3): None if winner is None else winner.sparsity,
                ("remaining share", 4): None if winner is None else winner.density,
                (f"validation {words.name}", 4): None if winner is None else winner.value("val"),
                (f"test {words.name}", 4): None if winner is None else tested(winner),
                (f"dense test {words.name}", 4): None if dense is None else tested(dense),
                "sparsest on test: round": None if on_test is None else on_test.round,
                ("sparsest on test: sparsity", 3): None if on_test is None else on_test.sparsity,
                "last round": max(cycle.by_round, default=None), "state": cycle.state, "cycle": cycle.id,
            }  # fmt: skip
            rows.append(row | ({"why none can win": not_above_chance(dense) or None} if no_chance else {}))
    note = (
        f"A winning ticket is the sparsest round whose validation {words.name} {words.at_least} "
        f"{words.bound('the own dense one', tolerance)}; its test {words.name} is told, and decides nothing. Sparsest "
        "on test is the research logs' rule, on test: the best of many noisy rounds, often luck."
    )
    if any(cycle.dense is not None and cycle.dense.val_largest is not None for cycle in group.cycles):
        note += " A dense model that is not above the largest class has no ticket."
    return table_of(f"{group.slug}tickets", f"Winning tickets{group.where}", rows, note)


def differences(group: Group, compared: Compared) -> ReportTable:
    """Return the mean paired difference of every two arms at each round."""
    words, rows = group.words, list[Row]()
    for item in compared.pairs:
        for level in item.levels:
            mean = level.difference
            ends = {"difference": mean.mean, "low": mean.low, "high": mean.high}
            points: Row = {
                (f"{name}{words.head}", words.digits): None if end is None else words.factor * end
                for name, end in ends.items()
            }
            rows.append({
                "arm": item.arm, "against": item.against, "round": level.round,
                "round of the other": level.against_round, ("sparsity", 3): level.sparsity,
                ("sparsity of the other", 3): level.against_sparsity, "seeds": mean.n, **points,
                ("p (Holm)", 3): level.corrected_p,
                "told apart": None if level.corrected_p is None else bool(level.sign),
            })  # fmt: skip
    note = (
        f"Test {words.name} of arm − against, of cycles with equal seed and equal other settings at equal sparsity "
        f"(densities to a factor {EQUAL_DENSITY:g}), mean over seeds, each seed's pairs averaged first. Low and high "
        "are its 95 % interval, Student's t over seeds, not corrected; one seed has none. p is corrected by Holm for "
        f"{compared.family} comparisons: all of the sweep's two arms, and of its arms with dense {words.less} "
        f"tolerance. Told apart is p ≤ {LEVEL:g}. Rounds that both of a pair share are left out."
    )
    return table_of(f"{group.slug}differences", f"Paired differences{group.where}", rows, note)


def crossing_points(group: Group, compared: Compared) -> ReportTable:
    """Return where arms cross each other, and the bound of a winning ticket."""
    rows: list[Row] = [
        {"arm": item.arm, "against": item.against, "above before": item.against if one.rises else item.arm,
         "above after": item.arm if one.rises else item.against, "after round": one.before.round,
         "before round": one.after.round, ("after sparsity", 3): one.before.sparsity,
         ("before sparsity", 3): one.after.sparsity, "seeds": min(level.difference.n for level in one)}
        for item in (*compared.pairs, *compared.falls) for one in item.crossings
    ]  # fmt: skip
    note = (
        "Where a mean difference changes its sign, told apart from 0 (corrected by Holm) at both rounds; where between "
        "them is not known."
    )
    return table_of(f"{group.slug}crossings", f"Crossing points{group.where}", rows, note)


def unfinished(cycles: Iterable[ReportedCycle], arm_of: Mapping[str, str]) -> ReportTable:
    """Return the cycles that did not finish, and why."""
    rows: list[Row] = [
        {"arm": arm_of[cycle.id], "seed": cycle.seed, "cycle": cycle.id, "state": cycle.state,
         "rounds finished": len(cycle.results), "rounds planned": len(cycle.cycle.trained_rounds),
         "reason": cycle.reason or None}
        for cycle in cycles if cycle.state != "finished"
    ]  # fmt: skip
    return table_of("unfinished", "Cycles that did not finish", rows, "Rounds are counted with the dense one.")


def bill(bills: Mapping[str, Bill]) -> ReportTable:
    """Return what each arm and the whole sweep asked, computed and saved."""
    rows: list[Row] = [
        {"arm": arm, "cycles": one.cycles, "rounds computed": one.rounds, "rounds shared": one.shared_rounds,
         "asked [epochs]": one.asked, "computed [epochs]": one.computed, "shared [epochs]": one.shared,
         "saved by early stopping [epochs]": one.early, "ended by a rule [epochs]": one.ended,
         "lost to failures [epochs]": one.failed, "to come [epochs]": one.open, ("training [s]", 0): one.train_s,
         ("evaluation [s]", 0): one.eval_s, ("redone [s]", 0): one.redone_s,
         ("saved by sharing [s]", 0): one.shared_s,
         ("first to last [h]", 2): None if one.span_s is None else one.span_s / _HOUR_S}
        for arm, one in [*bills.items(), ("all", total(list(bills.values())))]
    ]  # fmt: skip
    note = (
        "asked = computed + shared + saved + ended + lost + to come: all planned rounds, had each been trained alone "
        "to its last epoch. A shared round is billed to the arm that computed it. Seconds are summed over trials, "
        "training and evaluation of work that was kept, redone of work that interruptions lost; first to last is wall "
        "time and has pauses in it."
    )
    return table_of("bill", "The bill", rows, note)


def _model(cycles: Sequence[ReportedCycle]) -> str:
    names = {cycle.cycle.model.published for cycle in cycles}
    return names.pop() if len(names) == 1 else "various"


def _names(group: Group) -> tuple[str, ...]:
    """The columns of the research logs' tables of losses and the metric."""
    return tuple(f"{split}_{what}" for split in ("train", "test") for what in ("loss", group.words.metric.name))


def _losses(group: Group, values: Mapping[str, float | None]) -> Row:
    """Their cells."""
    short = group.words.metric.short or group.words.name
    heads = (("train loss (best)", 3), (f"train {short} (best)", 4), ("test loss", 3), (f"test {short}", 4))
    return {head: values.get(name) for head, name in zip(heads, _names(group), strict=True)}


def _means(group: Group, results: Sequence[RoundResult]) -> Row:
    names = _names(group)
    return _losses(group, {name: known_mean(getattr(result, name, None) for result in results) for name in names})
