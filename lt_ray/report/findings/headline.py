"""What a reader wants to know first of a sweep: one sentence, and one small table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from lt_ray.cycle.names import arm_name
from lt_ray.cycle.results import winning_round
from lt_ray.cycle.settings import Scalar
from lt_ray.report.findings.compare import Comparison, Group, above_dense, at_rounds, dense, has_blocks, known_mean
from lt_ray.report.findings.document import Cell, Column, ReportTable, Searched
from lt_ray.report.findings.estimates import Estimate
from lt_ray.report.findings.words import Wording, listed, numbered, percent
from lt_ray.report.reading.rows import ReportedCycle
from lt_ray.sweep.objective import sign

_MOST_NAMED = 3
"""Arms that a headline names [count]"""


def is_search(group: Group, compared: Sequence[Comparison], searched: Searched | None) -> bool:
    """Return whether a group is a search for settings: many points, and no two arms that agree in the rest."""
    if searched is None or any(item.pairs for item in compared) or has_blocks(group):
        return False
    return len({_point(row, searched.keys) for row in searched.rows}) > max(len(group.arms), 1)


def headline(group: Group, compared: Sequence[Comparison], searched: Searched | None) -> str:
    """Return one sentence on what came out.

    - `searched`: the settings that were searched and what they came to
    """
    pruned = [result for cycle in group.cycles for result in cycle.results if result.round > 0]
    if not pruned:
        return "No pruned round has finished yet."
    if searched is not None and is_search(group, compared, searched):
        return _best_point(searched)
    if has_blocks(group):
        return _smallest(group)
    said = _settled(group, compared)
    return f"{_kept(group)}{'; ' if said else ''}{said}."


def summary(group: Group, compared: Sequence[Comparison], slug: str) -> ReportTable:
    """Return arm × sparsest ticket, and its difference from the reference at the sparsest sparsity that both have.

    The reference is the last arm of those that are compared, a control where there is one; without another arm, and
    of encoders, the own dense model.
    """
    blocks = has_blocks(group)
    reference = "" if blocks else _reference(compared)
    words, rows = group.words, list[tuple[Cell, ...]]()
    for arm, cycles in group.arms.items():
        ticket = () if blocks else (_ticket(group, cycles),)
        rows.append((arm, *ticket, *_difference(group, arm, reference, compared)))
    columns = (
        Column("arm"), *(() if blocks else (Column("sparsest ticket"),)), Column("at sparsity", 3),
        Column(f"difference{words.head}", words.digits), Column("95 % interval"), Column("seeds"),
    )  # fmt: skip
    note = f"Differences of test {words.name} from {reference or 'the own dense model'}, mean over seeds. "
    note += "Intervals are not corrected for how many are looked at."
    if not blocks:
        bound = words.bound("the own dense one", group.sweep.tolerance)
        note += f" A ticket: validation {words.name} {words.at_least} {bound}."
    return ReportTable(slug, "In short", columns, tuple(rows), note)


def best_points(
    objectives: Sequence[str], points: Iterable[tuple[Mapping[str, Scalar], Sequence[float]]]
) -> ReportTable:
    """Return a search's best point, or the Pareto front of several objectives, the best first.

    - `points`: settings, and the score of each objective (`sweep.objective.score`), mean over seeds
    """
    ranked = sorted(points, key=lambda point: tuple(point[1]), reverse=True)
    rows = tuple(
        (*(sign(name) * score for name, score in zip(objectives, scores, strict=True)), arm_name(settings) or None)
        for settings, scores in ranked
    )
    title = "Best point" if len(objectives) == 1 else "Pareto front"
    columns = (*(Column(name, 4) for name in objectives), Column("settings"))
    return ReportTable("best", title, columns, rows, "Of validation results, mean over seeds.")


def _best_point(searched: Searched) -> str:
    objective = searched.objectives[0]
    found: dict[tuple[Scalar, ...], list[float]] = {}
    of: dict[tuple[Scalar, ...], Mapping[str, Scalar]] = {}
    for row in searched.rows:
        value = row.get(objective)
        if isinstance(value, int | float):
            found.setdefault(_point(row, searched.keys), []).append(float(value))
            of.setdefault(_point(row, searched.keys), row)
    if not found:
        return f"None of {numbered(len(searched.rows), 'cycle')} came to a {objective}."
    best = max(found, key=lambda point: sign(objective) * statistics.fmean(found[point]))
    settings = arm_name({key: of[best].get(key) for key in searched.keys})
    seeds = len(found[best])
    return (
        f"The best of {numbered(len(found), 'point')} is {settings}: {objective.replace('_', ' ')} "
        f"{statistics.fmean(found[best]):.4f}{f', mean of {seeds} cycles' if seeds > 1 else ''}."
    )


def _point(row: Mapping[str, Scalar], keys: Sequence[str]) -> tuple[Scalar, ...]:
    return tuple(row.get(key) for key in keys)


def _smallest(group: Group) -> str:
    """The smallest encoder that keeps what the dense one has, or what the nearest one loses."""
    found = []
    for arm, cycles in group.arms.items():
        for index, results in at_rounds(cycles, standing=True).items():
            lost = above_dense(cycles, index, standing=True) if index > 0 else None
            if lost is not None:
                size, blocks = (known_mean(getattr(r, name) for r in results) or 0.0 for name in ("nonzero", "blocks"))
                found.append((size, blocks, arm, index, lost))
    if not found:
        return "No pruned model was kept."
    tolerance, words = group.sweep.tolerance, group.words
    keeps = [item for item in found if words.sign * item[4].mean >= -tolerance]
    if keeps:
        size, blocks, arm, index, lost = min(keeps, key=lambda item: (item[0], -words.sign * item[4].mean))
    else:
        size, blocks, arm, index, lost = max(found, key=lambda item: (words.sign * item[4].mean, -item[0]))
    whole = known_mean(r.nonzero for c in group.cycles for r in c.results if r.round == 0) or size
    what = f"{arm} (round {index}, {blocks:g} blocks, {percent(size / whole)} of the parameters nonzero)"
    end = f"{what}, at {words.points(lost.mean)}{words.unit}{_doubt(lost, words)}."
    if keeps:
        return f"The smallest model within {tolerance:g} of the dense {words.name} is {end}"
    return f"No pruned model keeps the {words.bound(f'dense {words.name}', tolerance)}; the nearest is {end}"


def _kept(group: Group) -> str:
    """To which sparsity arms keep what their dense models have, in every seed."""
    kept: dict[str, float] = {}
    none = []
    for arm, cycles in group.arms.items():
        found = _winners(group, cycles)
        if found and all(sparsity is not None for sparsity in found):
            kept[arm] = min(sparsity for sparsity in found if sparsity is not None)
        elif found:
            none.append(arm)
    if not kept:
        who = "No arm has" if len(group.arms) > 1 else "Not every cycle has"
        return f"{who} a winning ticket{' in every cycle' if len(group.arms) > 1 else ''}"
    levels: dict[str, list[str]] = {}
    for arm in sorted(kept, key=lambda arm: (-kept[arm], arm)):
        levels.setdefault(percent(kept[arm]), []).append(arm)
    (first, arms), *others = levels.items()
    said = f"{listed(arms)} {'keeps' if len(arms) == 1 else 'keep'} the dense {group.words.name} to {first} sparsity"
    words = [f"{listed(names)} to {sparsity}" for sparsity, names in others[:_MOST_NAMED]]
    words += [f"{listed(none)} not in every cycle"] if 0 < len(none) <= _MOST_NAMED else []
    return ", ".join([said, *words])


def _settled(group: Group, compared: Sequence[Comparison]) -> str:
    """Which arms are told apart at the sparsest sparsity that both have."""
    words, looked = group.words, [item for item in compared if item.levels]
    if not looked:
        return ""
    wins: dict[str, list[tuple[str, float, float]]] = {}
    for item in looked:
        last = item.levels[-1]
        if last.sign:
            better, worse = (
                (item.arm, item.against) if words.sign * last.difference.mean > 0 else (item.against, item.arm)
            )
            wins.setdefault(better, []).append((worse, abs(last.difference.mean), last.sparsity))
    seeds = len({cycle.seed for cycle in group.cycles})
    if not wins:
        many = f"{seeds} seeds do" if seeds > 1 else "one seed does"
        return f"{many} not tell the arms apart"
    leader = max(wins, key=lambda arm: (len(wins[arm]), sum(gap for _, gap, _ in wins[arm])))
    won = sorted(wins[leader], key=lambda item: -item[1])
    sparsities = {f"{sparsity:.3f}" for _, _, sparsity in won}
    gaps = [f"{words.gap(gap, fewer=1)} {words.better} {arm}" for arm, gap, _ in won[:_MOST_NAMED]]
    at = f" at {percent(won[0][2])} sparsity" if len(sparsities) == 1 else " at the sparsest that both have"
    told = sum(map(len, wins.values()))
    rest = f" ({told} of {numbered(len(looked), 'pair')} of arms told apart)" if len(looked) > 1 else ""
    return f"{leader} is {listed(gaps)}{at}{rest}"


def _reference(compared: Sequence[Comparison]) -> str:
    looked = [item.against for item in compared if item.levels]
    return max(looked, key=looked.count) if looked else ""


def _difference(group: Group, arm: str, reference: str, compared: Sequence[Comparison]) -> tuple[Cell, ...]:
    """Sparsity, difference in points, its interval, and how many values it is the mean of."""
    if not reference:
        cycles = group.arms[arm]
        rounds = [index for index in at_rounds(cycles, standing=True) if index > 0]
        found = above_dense(cycles, rounds[-1], standing=True) if rounds else None
        if found is None:
            return (None,) * 4
        results = at_rounds(cycles, standing=True)[rounds[-1]]
        return (statistics.fmean(result.sparsity for result in results), *_told(found, 1, group.words))
    for item in compared:
        if {item.arm, item.against} == {arm, reference} and item.levels:
            last = item.levels[-1]
            return (last.sparsity, *_told(last.difference, 1 if item.arm == arm else -1, group.words))
    return (None,) * 4


def _told(found: Estimate, sign: int, words: Wording) -> tuple[Cell, ...]:
    interval = None
    if found.low is not None and found.high is not None:
        ends = sorted((sign * found.low, sign * found.high))
        interval = f"{words.points(ends[0])} to {words.points(ends[1])}"
    return (words.factor * sign * found.mean, interval, found.n)


def _doubt(found: Estimate, words: Wording) -> str:
    if found.low is None or found.high is None:
        return " (one seed, which settles nothing)"
    return f" ({words.interval(found.low, found.high)})"


def _winners(group: Group, cycles: Sequence[ReportedCycle]) -> list[float | None]:
    """Sparsity of each cycle's sparsest winning ticket; None of one without; cycles that cannot be judged left out."""
    found = []
    for cycle in cycles:
        if dense(cycle) is not None and any(result.round > 0 for result in cycle.results):
            winner = winning_round(cycle.standing, group.sweep.tolerance)
            found.append(None if winner is None else winner.sparsity)
    return found


def _ticket(group: Group, cycles: Sequence[ReportedCycle]) -> str | None:
    found = _winners(group, cycles)
    won = sorted(sparsity for sparsity in found if sparsity is not None)
    if not found:
        return None
    if not won:
        return "none" if len(found) == 1 else f"none of {len(found)}"
    spread = percent(won[0]) if percent(won[0]) == percent(won[-1]) else f"{percent(won[0])} to {percent(won[-1])}"
    return spread if len(won) == len(found) else f"{spread}, {len(won)} of {len(found)}"
