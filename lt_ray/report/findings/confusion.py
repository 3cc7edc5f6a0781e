"""What classes are taken for on the test split: by dense models, and by what each arm came to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings.compare import MOST_ARMS, Group
from lt_ray.report.findings.document import ReportTable, Row, table_of
from lt_ray.report.findings.words import listed
from lt_ray.report.reading.rows import MOST_CLASSES, ReportedCycle

_MOST_PAIRS = 10
"""Of many classes, the pairs that are told [count]"""
_Counts = Counter[tuple[int, int]]
"""(class, class that it was taken for) → how often"""


def confusion(group: Group) -> ReportTable:
    """Return how often classes of the test split were taken for each other, by model; of more than `MOST_CLASSES` the
    pairs most often mistaken; no row where nobody counted, or arms are many.

    Counts are summed over models: the dense ones, and of each arm the winning ticket of every cycle, or the last
    accepted round of one that has none.
    """
    models = _models(group) if len(group.arms) <= MOST_ARMS else {}
    many = group.sweep.data.get("classes") if group.main else None
    last = max((place for counts, _ in models.values() for pair in counts for place in pair), default=-1)
    names = _names(group, max(last + 1, many if isinstance(many, int) else 0))
    slug, title = f"{group.slug}confusion", f"What classes are taken for{group.where}"
    note = (
        "Examples of the test split, summed over n models: the dense ones, and of each arm the winning ticket of every "
        "cycle, or its last round where none wins."
    )
    whole = not models or any(i == j for counts, _ in models.values() for i, j in counts)
    if len(names) > MOST_CLASSES or not whole:  # how many classes a source task has is not told
        mistaken, rows = sum((counts for counts, _ in models.values()), _Counts()), list[Row]()
        for i, j in sorted(mistaken, key=lambda pair: (-mistaken[pair], pair))[:_MOST_PAIRS]:
            of_models: Row = {f"{who} (n = {n})": counts[i, j] for who, (counts, n) in models.items()}
            rows.append({"class": names[i], "taken for": names[j], **of_models})
        return table_of(slug, title, rows, f"The {_MOST_PAIRS} pairs of classes most often mistaken. {note}")
    rows = [
        {"model": who, "n": n, "class": name, **{f"taken for {other}": counts[i, j] for j, other in enumerate(names)}}
        for who, (counts, n) in models.items() for i, name in enumerate(names)
    ]  # fmt: skip
    return replace(table_of(slug, title, rows, note), shaded=3)


def _models(group: Group) -> dict[str, tuple[_Counts, int]]:
    """`dense`, or an arm and its rounds → what its models took classes for, and how many there are."""
    dense = [(cycle, cycle.dense) for cycle in group.cycles if cycle.dense is not None]
    models = {who: _summed(own) for who, own in {"dense": dense, **ends(group)}.items()}
    return {who: model for who, model in models.items() if model[1]}


def ends(group: Group) -> dict[str, list[tuple[ReportedCycle, RoundResult]]]:
    """Return an arm and its rounds → its pruned cycles, and what each came to: its winning ticket, or its last accepted
    round where none wins."""
    found = {}
    for arm, cycles in group.arms.items():
        last = [(cycle, group.winner(cycle) or cycle.accepted_rounds[-1]) for cycle in cycles if cycle.accepted_rounds]
        last = [(cycle, result) for cycle, result in last if result.round > 0]
        rounds = sorted({result.round for _, result in last})
        found[f"{arm}, round {listed(list(map(str, rounds)), 'or')}"] = last
    return found


def _summed(ends: Iterable[tuple[ReportedCycle, RoundResult]]) -> tuple[_Counts, int]:
    known = {result.key or cycle.id: cycle.confusions.get(result.round) for cycle, result in ends}
    told = [confusion for confusion in known.values() if confusion is not None]
    counts = _Counts()
    for i, j, many in (pair for confusion in told for pair in confusion):
        counts[i, j] += many
    return counts, len(told)


def _names(group: Group, classes: int) -> list[str]:
    """The classes by name; by number where names are not known, as those of the task on which tickets are found."""
    names = json.loads(str(group.sweep.data.get("class_names", "[]"))) if group.main else []
    return list(map(str, names if len(names) == classes else range(classes)))
