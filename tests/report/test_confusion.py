"""What a report says of the classes that models take for each other."""

import json
import re
from collections import Counter
from dataclasses import replace

from report_documents import some_arms

from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.document import Document, ReportTable, Section
from lt_ray.report.pages.html import as_html
from lt_ray.report.reading.rows import MOST_CLASSES, ReportedSweep, confusion

NAMES = ["bad", "good"]


def counted(sweep: ReportedSweep, counts, **data) -> ReportedSweep:
    """A sweep whose rounds took classes for each other as `counts(arm, round)` says."""
    cycles = [
        replace(cycle, confusions={r.round: confusion(counts(cycle.id.split("-")[0], r.round)) for r in cycle.results})
        for cycle in sweep.cycles
    ]
    return replace(sweep, cycles=tuple(cycles), data={**sweep.data, **data})


def table(sweep: ReportedSweep) -> ReportTable | None:
    found = [own for own in assemble([sweep]).sections[0].tables if own.slug == "confusion"]
    return found[0] if found else None


def two_classes(arm: str, round: int) -> list[list[int]]:
    return [[90, 10], [5 + round, 95 - round]] if arm == "rewind" else [[90, 10], [5 + 10 * round, 95 - 10 * round]]


def test_dense_models_and_what_each_arm_came_to_are_summed_over_seeds():
    """Three seeds: the dense round, which arms share, counts once a seed; rewind wins with round 2, the control never,
    so its last round, 3, is told."""
    found = table(counted(some_arms(3), two_classes, classes=2, class_names=json.dumps(NAMES)))
    assert found is not None
    assert [column.name for column in found.columns] == ["model", "n", "class", "taken for bad", "taken for good"]
    assert found.rows == (
        ("dense", 3, "bad", 270, 30), ("dense", 3, "good", 15, 285),
        ("random reinit, round 3", 3, "bad", 270, 30), ("random reinit, round 3", 3, "good", 105, 195),
        ("rewind, round 2", 3, "bad", 270, 30), ("rewind, round 2", 3, "good", 21, 279),
    )  # fmt: skip


def test_a_cell_of_a_confusion_tells_model_classes_and_share_when_pointed_at():
    """It is shaded by its share of its row's, which its title says; other tables are not."""
    found = table(counted(some_arms(3), two_classes, classes=2, class_names=json.dumps(NAMES)))
    page = as_html(Document("d", (Section("s", "", (), (), (), (found,)),)))
    assert 'style="--share:0.0700" title="rewind, round 2, n = 3: good taken for bad 21 times, 7 %">21</td>' in page
    assert page.count("--share:") == 12
    assert "--share:" not in as_html(assemble([some_arms(1)]))


def test_of_many_classes_the_ten_pairs_most_often_mistaken_are_told():
    """21 classes, each taken for the next one as often as its place says, ten times by the pruned models."""

    def many(arm: str, round: int) -> list[list[int]]:
        often = 10 if round else 1
        return [[1000 if i == j else often * i if j == i + 1 else 0 for j in range(21)] for i in range(21)]

    found = table(counted(some_arms(1), many, classes=MOST_CLASSES + 1))
    assert found is not None
    assert [column.name for column in found.columns[:3]] == ["class", "taken for", "dense (n = 1)"]
    assert [row[:3] for row in found.rows] == [(str(i), str(i + 1), i) for i in range(19, 9, -1)]
    assert {row[3] / row[2] for row in found.rows} == {10}


def test_of_many_classes_a_round_tells_mistakes_alone():
    """A hundred pairs at most, the most frequent ones, and no class taken for itself; of few classes every count."""
    counts = [[7 if i == j else i * j % 50 for j in range(30)] for i in range(30)]
    found = confusion(counts)
    assert len(found) == 100
    assert all(i != j for i, j, _ in found)
    most = Counter({(i, j): counts[i][j] for i in range(30) for j in range(30) if i != j}).most_common(100)
    assert sorted(many for _, _, many in found) == sorted(many for _, many in most)
    assert confusion([[3, 0], [1, 2]]) == ((0, 0, 3), (1, 0, 1), (1, 1, 2))


def test_rounds_that_nobody_counted_have_no_confusion():
    """Numbers as targets, or rounds of an older version: no table, and the page has no shaded cell."""
    assert table(some_arms(3)) is None
    assert not re.search("taken for", as_html(assemble([some_arms(1)])))
