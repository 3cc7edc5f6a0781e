"""Pictures of the test split that dense models know and an arm's pruned models do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from lt_ray.report.findings.compare import Group
from lt_ray.report.findings.confusion import ends
from lt_ray.report.findings.document import ReportTable, Row, table_of
from lt_ray.report.findings.words import listed
from lt_ray.report.reading.examples import Examples
from lt_ray.tasks.task import Integers

_MOST, _ALL = 8, 128
"""Pictures of an arm, and of a report [count]"""


def disagreements(group: Group) -> ReportTable:
    """Return a few test pictures of each arm that its dense models know and its pruned ones do not; no row where
    nobody can show them.

    The pruned model of a cycle is its winning ticket, or its last accepted round where none wins.
    """
    shown = group.sweep.examples
    told = list(_told(group, shown)) if isinstance(shown, Examples) and group.main else []
    note = (
        f"Up to {_MOST} test pictures of an arm that the own dense model takes for their class and the pruned one does "
        "not: a cycle's winning ticket, or its last round where none wins. The commonest mistakes come first, a "
        "picture of each before a second one. Pictures lost: all such, mean over models. Example: place in the split."
    )
    table = table_of("disagreements", "Pictures that pruned models lost", [row for row, _ in told], note)
    return replace(table, pictures=tuple(picture for _, picture in told))


def _told(group: Group, shown: Examples) -> Iterator[tuple[Row, str]]:
    """Rows and their pictures."""
    classes, wanted = shown.data.classes, shown.data.targets("test")
    for model, own in ends(group).items():
        lost, n = dict[int, Counter[int]](), 0
        for cycle, result in {result.key: (cycle, result) for cycle, result in own}.values():
            before = None if cycle.dense is None else shown.store.answers(cycle.dense.key)
            after = shown.store.answers(result.key)
            if before is not None and after is not None:
                n += 1
                for example in np.flatnonzero((before.numpy() == wanted) & (after.numpy() != wanted)).tolist():
                    lost.setdefault(example, Counter())[int(after[example])] += 1
        every = sum(taken_for.total() for taken_for in lost.values())
        for example in _telling(lost, wanted)[: min(_MOST, _ALL // len(group.arms))]:
            taken_for, label = lost[example].most_common(), classes[wanted[example]]
            said = [f"{classes[i]} ({many})" if len(taken_for) > 1 else classes[i] for i, many in taken_for]
            row: Row = {
                "model": model, "class": label, "dense": label, "pruned": listed(said, "or"),
                "lost by": f"{lost[example].total()} of {n}", "pictures lost": round(every / n), "example": example,
            }  # fmt: skip
            yield row, shown.picture(example)


def _telling(lost: Mapping[int, Counter[int]], wanted: Integers) -> list[int]:
    """Examples, one of each mistake before a second one, the commonest mistakes first; of a mistake those first that
    most models lose.

    - `lost`: example → what it was taken for → by how many models
    """
    mistakes = {example: (int(wanted[example]), taken_for.most_common(1)[0][0]) for example, taken_for in lost.items()}
    often, seen, places = Counter(mistakes.values()), Counter[tuple[int, int]](), {}
    for example in sorted(lost, key=lambda example: (-lost[example].total(), example)):
        mistake = mistakes[example]
        places[example] = (seen[mistake], -often[mistake], mistake)
        seen[mistake] += 1
    return sorted(places, key=lambda example: places[example])
