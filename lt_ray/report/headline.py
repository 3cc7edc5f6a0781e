"""What a reader wants to know first of a sweep: one sentence, and one small table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from lt_ray.cycle.names import arm_name
from lt_ray.cycle.results import winning_round
from lt_ray.cycle.settings import Scalar
from lt_ray.report.compare import Comparison, Group, at_rounds, dense, has_blocks, known_mean
from lt_ray.report.document import Cell, Column, Settings, Table
from lt_ray.report.estimates import Estimate, over_seeds
from lt_ray.report.rows import ReportedCycle
from lt_ray.report.words import listed, numbered, percent, points

_MOST_NAMED = 3
"""Arms that a headline names [count]"""


def is_search(group: Group, compared: Sequence[Comparison], searched: Settings | None) -> bool:
    """Return whether a group is a search for settings: many points, and no two arms that agree in the rest."""
    if searched is None or any(item.pairs for item in compared) or has_blocks(group):
        return False
    return len({_point(row, searched.keys) for row in searched.rows}) > max(len(group.arms), 1)


def headline(group: Group, compared: Sequence[Comparison], searched: Settings | None) -> str:
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


def summary(group: Group, compared: Sequence[Comparison], slug: str) -> Table:
    """Return arm × sparsest ticket, and its difference from the reference at the sparsest sparsity that both have.

    The reference is the last arm of those that are compared, a control where there is one; without another arm, and
    of encoders, the own dense model.
    """
    blocks = has_blocks(group)
    reference = "" if blocks else _reference(compared)
    rows: list[tuple[Cell, ...]] = []
    for arm, cycles in group.arms.items():
        ticket = () if blocks else (_ticket(group, cycles),)
        rows.append((arm, *ticket, *_difference(group, arm, reference, compared)))
    columns = (
        Column("arm"), *(() if blocks else (Column("sparsest ticket"),)), Column("at sparsity", 3),
        Column("difference [points]", 2), Column("95 % interval"), Column("seeds"),
    )  # fmt: skip
    note = f"Differences of test accuracy from {reference or 'the own dense model'}, mean over seeds. "
    note += "Intervals are not corrected for how many are looked at."
    if not blocks:
        note += f" A ticket: validation accuracy ≥ the own dense one − {group.sweep.tolerance:g}."
    return Table(slug, "In short", columns, tuple(rows), note)


def _best_point(searched: Settings) -> str:
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
    best = max(found, key=lambda point: statistics.fmean(found[point]))
    settings = arm_name({key: of[best].get(key) for key in searched.keys})
    seeds = len(found[best])
    return (
        f"The best of {numbered(len(found), 'point')} is {settings}: {objective.replace('_', ' ')} "
        f"{statistics.fmean(found[best]):.4f}{f', mean of {seeds} cycles' if seeds > 1 else ''}."
    )


def _point(row: Mapping[str, Scalar], keys: Sequence[str]) -> tuple[Scalar, ...]:
    return tuple(row.get(key) for key in keys)


def _smallest(group: Group) -> str:
    """The smallest encoder that keeps the dense accuracy, or what the nearest one loses."""
    found = []
    for arm, cycles in group.arms.items():
        for index, results in at_rounds(cycles, standing=True).items():
            lost = _against_dense(cycles, index) if index > 0 else None
            if lost is not None:
                size, blocks = (known_mean(getattr(r, name) for r in results) or 0.0 for name in ("nonzero", "blocks"))
                found.append((size, blocks, arm, index, lost))
    if not found:
        return "No pruned model was kept."
    tolerance = group.sweep.tolerance
    keeps = [item for item in found if item[4].mean >= -tolerance]
    if keeps:
        size, blocks, arm, index, lost = min(keeps, key=lambda item: (item[0], -item[4].mean))
    else:
        size, blocks, arm, index, lost = max(found, key=lambda item: (item[4].mean, -item[0]))
    whole = known_mean(r.nonzero for c in group.cycles for r in c.results if r.round == 0) or size
    what = f"{arm} (round {index}, {blocks:g} blocks, {percent(size / whole)} of the parameters nonzero)"
    end = f"{what}, at {points(lost.mean)} points{_doubt(lost)}."
    if keeps:
        return f"The smallest model within {tolerance:g} of the dense accuracy is {end}"
    return f"No pruned model keeps the dense accuracy − {tolerance:g}; the nearest is {end}"


def _kept(group: Group) -> str:
    """To which sparsity arms keep the dense accuracy, in every seed."""
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
    said = f"{listed(arms)} {'keeps' if len(arms) == 1 else 'keep'} the dense accuracy to {first} sparsity"
    words = [f"{listed(names)} to {sparsity}" for sparsity, names in others[:_MOST_NAMED]]
    words += [f"{listed(none)} not in every cycle"] if 0 < len(none) <= _MOST_NAMED else []
    return ", ".join([said, *words])


def _settled(group: Group, compared: Sequence[Comparison]) -> str:
    """Which arms are told apart at the sparsest sparsity that both have."""
    looked = [item for item in compared if item.levels]
    if not looked:
        return ""
    wins: dict[str, list[tuple[str, float, float]]] = {}
    for item in looked:
        last = item.levels[-1]
        if last.sign:
            above, below = (item.arm, item.against) if last.difference.mean > 0 else (item.against, item.arm)
            wins.setdefault(above, []).append((below, abs(last.difference.mean), last.sparsity))
    seeds = len({cycle.seed for cycle in group.cycles})
    if not wins:
        many = f"{seeds} seeds do" if seeds > 1 else "one seed does"
        return f"{many} not tell the arms apart"
    leader = max(wins, key=lambda arm: (len(wins[arm]), sum(gap for _, gap, _ in wins[arm])))
    won = sorted(wins[leader], key=lambda item: -item[1])
    sparsities = {f"{sparsity:.3f}" for _, _, sparsity in won}
    words = [f"{100 * gap:.1f} points above {arm}" for arm, gap, _ in won[:_MOST_NAMED]]
    at = f" at {percent(won[0][2])} sparsity" if len(sparsities) == 1 else " at the sparsest that both have"
    told = sum(map(len, wins.values()))
    rest = f" ({told} of {numbered(len(looked), 'pair')} of arms told apart)" if len(looked) > 1 else ""
    return f"{leader} is {listed(words)}{at}{rest}"


def _reference(compared: Sequence[Comparison]) -> str:
    looked = [item.against for item in compared if item.levels]
    return max(looked, key=looked.count) if looked else ""


def _difference(group: Group, arm: str, reference: str, compared: Sequence[Comparison]) -> tuple[Cell, ...]:
    """Sparsity, difference in points, its interval, and how many values it is the mean of."""
    if not reference:
        cycles = group.arms[arm]
        rounds = [index for index in at_rounds(cycles, standing=True) if index > 0]
        found = _against_dense(cycles, rounds[-1]) if rounds else None
        if found is None:
            return (None,) * 4
        results = at_rounds(cycles, standing=True)[rounds[-1]]
        return (statistics.fmean(result.sparsity for result in results), *_told(found, 1))
    for item in compared:
        if {item.arm, item.against} == {arm, reference} and item.levels:
            last = item.levels[-1]
            return (last.sparsity, *_told(last.difference, 1 if item.arm == arm else -1))
    return (None,) * 4


def _told(found: Estimate, sign: int) -> tuple[Cell, ...]:
    interval = None
    if found.low is not None and found.high is not None:
        ends = sorted((sign * found.low, sign * found.high))
        interval = f"{points(ends[0])} to {points(ends[1])}"
    return (100 * sign * found.mean, interval, found.n)


def _against_dense(cycles: Sequence[ReportedCycle], index: int) -> Estimate | None:
    """Test accuracy of a round above the own dense one, each stored round once."""
    found: dict[str, tuple[int, float]] = {}
    for cycle in cycles:
        start = dense(cycle)
        for result in cycle.standing:
            if result.round == index and start is not None:
                found[result.key or cycle.id] = (cycle.seed, result.test_accuracy - start.test_accuracy)
    return over_seeds(found.values()) if found else None


def _doubt(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return " (one seed, which settles nothing)"
    return f" (95 % interval {points(found.low)} to {points(found.high)})"


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
