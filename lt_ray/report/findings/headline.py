"""What a reader wants to know first of a sweep: one sentence, and one small table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lt_ray.cycle.names import arm_name, arm_names
from lt_ray.cycle.settings import Scalar
from lt_ray.report.findings.compare import Comparison, Group, above_dense, at_rounds, known_mean, mean_sparsity
from lt_ray.report.findings.document import Cell, ReportTable, Row, Searched, table_of
from lt_ray.report.findings.estimates import Estimate
from lt_ray.report.findings.words import listed, numbered, percent
from lt_ray.sweep.objective import sign

_MOST_NAMED = 3
"""Arms that a headline names [count]"""


def opening(group: Group, compared: Sequence[Comparison], searched: Searched | None) -> tuple[str, dict[str, Any]]:
    """Return what a section opens with: the folder of its first charts; and its `headline` and `summary`.

    - `searched`: the settings that were searched and what they came to
    """
    kind = "fronts" if group.has_blocks else "curves"
    if searched is not None and kind == "curves" and not any(item.pairs for item in compared):
        # A search: many points, and no two arms that agree in the rest.
        kind = (
            "settings" if len({tuple(map(row.get, searched.keys)) for row in searched.rows}) > len(group.arms) else kind
        )
    if not any(cycle.has_pruned for cycle in group.cycles):
        said = "No pruned round has finished yet."
    elif searched is not None and kind == "settings":
        said = _best_point(searched)
    elif group.has_blocks:
        said = _smallest(group)
    else:
        said = f"{'; '.join(filter(None, (_kept(group), _apart(group, compared))))}."
    return kind, {"headline": said, "summary": (_summary(group, compared),)}


def _summary(group: Group, compared: Sequence[Comparison]) -> ReportTable:
    """Return arm × sparsest ticket, and its difference from the reference at the sparsest sparsity that both have.

    The reference is the last arm of those that are compared, a control where there is one; without another arm, and
    of encoders, the own dense model.
    """
    words, against = group.words, [item.against for item in compared if item.levels]
    reference = max(against, key=against.count) if against and not group.has_blocks else ""
    rows: list[Row] = []
    for arm in group.arms:
        sparsity, change = _difference(group, arm, reference, compared)
        ticket: Row = {} if group.has_blocks else {"sparsest ticket": _ticket(group, arm)}
        low, high = (None, None) if change is None else (change.low, change.high)
        rows.append({
            "arm": arm, **ticket, ("at sparsity", 3): sparsity,
            (f"difference{words.head}", words.digits): None if change is None else words.factor * change.mean,
            "95 % interval": None if low is None or high is None else words.interval(low, high),
            "seeds": None if change is None else change.n,
        })  # fmt: skip
    note = f"Differences of test {words.name} from {reference or 'the own dense model'}, mean over seeds. "
    note += "Intervals are not corrected for how many are looked at."
    if not group.has_blocks:
        bound = words.bound("the own dense one", group.sweep.tolerance)
        note += f" A ticket: validation {words.name} {words.at_least} {bound}."
    return table_of("summary", "In short", rows, note)


def best_points(
    objectives: Sequence[str], points: Iterable[tuple[Mapping[str, Scalar], Sequence[float]]]
) -> ReportTable:
    """Return a search's best point, or the Pareto front of several objectives, the best first.

    - `points`: settings, and what each objective came to, more is better, mean over seeds
    """
    rows: list[Row] = []
    ordered = sorted(points, key=lambda point: tuple(point[1]), reverse=True)
    for name, (_, scores) in zip(arm_names(settings for settings, _ in ordered), ordered, strict=True):
        values: Row = {(key, 4): sign(key) * score for key, score in zip(objectives, scores, strict=True)}
        rows.append({**values, "settings": name or None})
    title = "Best point" if len(objectives) == 1 else "Pareto front"
    return table_of("best", title, rows, "Of validation results, mean over seeds.")


def _best_point(searched: Searched) -> str:
    objective = searched.objectives[0]
    values: dict[tuple[Scalar, ...], list[float]] = {}
    for row in searched.rows:
        if isinstance(value := row.get(objective), int | float):
            values.setdefault(tuple(map(row.get, searched.keys)), []).append(float(value))
    if not values:
        return f"None of {numbered(len(searched.rows), 'cycle')} came to a {objective}."
    best = max(values, key=lambda point: sign(objective) * statistics.fmean(values[point]))
    settings = arm_name(dict(zip(searched.keys, best, strict=True)))
    seeds = len(values[best])
    return (
        f"The best of {numbered(len(values), 'point')} is {settings}: {objective.replace('_', ' ')} "
        f"{statistics.fmean(values[best]):.4f}{f', mean of {seeds} cycles' if seeds > 1 else ''}."
    )


def _smallest(group: Group) -> str:
    """The smallest encoder that keeps what the dense one has, or what the nearest one loses."""
    models: list[tuple[float, float, Estimate, str]] = []
    dense = known_mean(cycle.dense.nonzero for cycle in group.cycles if cycle.dense is not None)
    for arm, cycles in group.arms.items():
        for index, results in at_rounds(cycles, accepted=True).items():
            change = above_dense(cycles, index, accepted=True) if index > 0 else None
            if change is not None:
                size, blocks = (known_mean(getattr(r, name) for r in results) or 0.0 for name in ("nonzero", "blocks"))
                share = percent(size / (dense or size))
                model = f"{arm} (round {index}, {blocks:g} blocks, {share} of the parameters nonzero)"
                models.append((size, group.words.sign * change.mean, change, model))
    if not models:
        return "No pruned model was kept."
    tolerance, words = group.sweep.tolerance, group.words
    keeps = [model for model in models if model[1] >= -tolerance]
    if keeps:
        _, _, change, model = min(keeps, key=lambda item: (item[0], -item[1]))
        said = f"The smallest model within {tolerance:g} of the dense {words.name} is"
    else:
        _, _, change, model = max(models, key=lambda item: (item[1], -item[0]))
        said = f"No pruned model keeps the {words.bound(f'dense {words.name}', tolerance)}; the nearest is"
    return f"{said} {model}, at {words.points(change.mean)}{words.unit}{words.doubt(change)}."


def _kept(group: Group) -> str:
    """To which sparsity arms keep what their dense models have, in every seed."""
    kept: dict[str, float] = {}
    none = []
    for arm in group.arms:
        sparsities, judged = _winning_sparsities(group, arm)
        if sparsities and len(sparsities) == judged:
            kept[arm] = sparsities[0]
        elif judged:
            none.append(arm)
    if not kept:
        return (
            "No arm has a winning ticket in every cycle"
            if len(group.arms) > 1
            else "Not every cycle has a winning ticket"
        )
    levels: dict[str, list[str]] = {}
    for arm in sorted(kept, key=lambda arm: (-kept[arm], arm)):
        levels.setdefault(percent(kept[arm]), []).append(arm)
    (first, arms), *others = levels.items()
    said = f"{listed(arms)} {'keeps' if len(arms) == 1 else 'keep'} the dense {group.words.name} to {first} sparsity"
    words = [f"{listed(names)} to {sparsity}" for sparsity, names in others[:_MOST_NAMED]]
    words += [f"{listed(none)} not in every cycle"] if 0 < len(none) <= _MOST_NAMED else []
    return ", ".join([said, *words])


def _apart(group: Group, compared: Sequence[Comparison]) -> str:
    """Which arms are told apart at the sparsest sparsity that both have."""
    words, lasts = group.words, [(item, item.levels[-1]) for item in compared if item.levels]
    if not lasts:
        return ""
    wins: dict[str, list[tuple[str, float, float]]] = {}
    for item, last in lasts:
        if last.sign:
            arms = (item.arm, item.against)
            better, worse = arms if words.sign * last.difference.mean > 0 else reversed(arms)
            wins.setdefault(better, []).append((worse, abs(last.difference.mean), last.sparsity))
    if not wins:
        seeds = len({cycle.seed for cycle in group.cycles})
        return f"{seeds} seeds do not tell the arms apart" if seeds > 1 else "one seed does not tell the arms apart"
    leader = max(wins, key=lambda arm: (len(wins[arm]), sum(gap for _, gap, _ in wins[arm])))
    won = sorted(wins[leader], key=lambda item: -item[1])
    sparsities = {f"{sparsity:.3f}" for _, _, sparsity in won}
    gaps = [f"{words.gap(gap, fewer=1)} {words.better} {arm}" for arm, gap, _ in won[:_MOST_NAMED]]
    at = f" at {percent(won[0][2])} sparsity" if len(sparsities) == 1 else " at the sparsest that both have"
    told = sum(map(len, wins.values()))
    rest = f" ({told} of {numbered(len(lasts), 'pair')} of arms told apart)" if len(lasts) > 1 else ""
    return f"{leader} is {listed(gaps)}{at}{rest}"


def _difference(
    group: Group, arm: str, reference: str, compared: Sequence[Comparison]
) -> tuple[float | None, Estimate | None]:
    """Sparsity, and the mean difference there from the reference; empty = from the own dense model."""
    if not reference:
        rounds = {index: own for index, own in at_rounds(group.arms[arm], accepted=True).items() if index > 0}
        change = above_dense(group.arms[arm], max(rounds), accepted=True) if rounds else None
        return (None, None) if change is None else (mean_sparsity(rounds[max(rounds)]), change)
    for item in compared:
        if {item.arm, item.against} == {arm, reference} and item.levels:
            last = item.levels[-1]
            return last.sparsity, last.difference if item.arm == arm else -last.difference
    return None, None


def _winning_sparsities(group: Group, arm: str) -> tuple[list[float], int]:
    """The sparsities of an arm's winning tickets, the lowest first, and how many of its cycles can be judged."""
    judged = [cycle for cycle in group.arms[arm] if cycle.dense is not None and cycle.has_pruned]
    return sorted(ticket.sparsity for ticket in map(group.winner, judged) if ticket is not None), len(judged)


def _ticket(group: Group, arm: str) -> Cell:
    won, judged = _winning_sparsities(group, arm)
    if not won:
        return None if not judged else "none" if judged == 1 else f"none of {judged}"
    spread = " to ".join(dict.fromkeys((percent(won[0]), percent(won[-1]))))
    return spread if len(won) == judged else f"{spread}, {len(won)} of {judged}"
