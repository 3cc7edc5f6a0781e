"""What a report opens with: one sentence and a small table."""

from dataclasses import replace

import pytest
from report_documents import a_search, some_arms, some_encoders

from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.tasks import Folder
from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.document import Document
from lt_ray.report.pages.markdown import as_markdown
from lt_ray.report.reading.rows import ReportedSweep


def opened(sweep: ReportedSweep):
    (section,) = assemble([sweep]).sections
    return section


def test_the_headline_says_who_keeps_the_dense_accuracy_and_who_loses():
    """Rewound tickets win for two rounds of 20 %, 36 %; at the third, 48.8 %, they are 7 points above the control."""
    said = opened(some_arms(3)).headline
    assert said == (
        "rewind keeps the dense accuracy to 36 % sparsity, random reinit not in every cycle; "
        "rewind is 7.0 points above random reinit at 48.8 % sparsity."
    )


def test_where_less_is_better_a_ticket_stays_below_the_dense_value_and_the_tolerance():
    """The same arms by an error that grows as their accuracy fell: the same tickets and winner, told by its name."""

    def by_error(row):
        own = {name: value for name, value in row.model_dump().items() if not name.endswith("accuracy")}
        errors = {f"{split}_rmse": 1 - row.score(split) for split in ("val", "test")}
        return RoundResult(**own | errors | {"metric": "rmse", "best": "lowest"})

    sweep = some_arms(3)
    asked = sweep.cycles[0].cycle.model_copy(update={"task": Folder(label="number")})
    cycles = [
        replace(cycle, cycle=asked.model_copy(update={"seed": cycle.seed}), results=tuple(map(by_error, cycle.results)))
        for cycle in sweep.cycles
    ]
    section = opened(replace(sweep, cycles=tuple(cycles)))
    assert section.headline == (
        "rewind keeps the dense RMSE to 36 % sparsity, random reinit not in every cycle; "
        "rewind is 0.070 below random reinit at 48.8 % sparsity."
    )
    assert "validation RMSE ≤ the own dense one + 0.005" in section.summary[0].note
    said = " ".join((*section.verdicts, *(table.title + table.note for table in section.tables)))
    assert "told apart above its own dense RMSE + 0.005" in said
    assert "accurac" not in said + section.charts[0].title
    assert section.charts[0].bound > section.charts[0].dense


def test_one_seed_tells_no_arms_apart():
    """A difference of one pair is no verdict, however large."""
    assert opened(some_arms(1)).headline.endswith("one seed does not tell the arms apart.")


def test_a_search_opens_with_its_best_point():
    """The point with the highest validation accuracy is named with its settings, and its chart is the settings'."""
    section = opened(a_search())
    assert section.headline == "The best of 12 points is lr=0.001 dropout=0.5: val accuracy 0.9000."
    assert section.charts[0].kind == "settings"


def test_encoders_open_with_the_smallest_model_that_keeps_the_accuracy():
    """Its arm, blocks and share of the parameters are told, and how sure that is; the chart is the front."""
    section = opened(some_encoders())
    assert section.headline.startswith("The smallest model within 0.005 of the dense accuracy is ")
    assert "8 blocks" in section.headline
    assert "95 % interval" in section.headline
    assert section.charts[0].kind == "front"


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_small_table_has_a_row_for_each_arm(seeds):
    """Its sparsest ticket, and its difference from the control with an interval from two seeds on."""
    (table,) = opened(some_arms(seeds)).summary
    names = [column.name for column in table.columns]
    control, ticket = (dict(zip(names, row, strict=True)) for row in table.rows)
    assert (control["arm"], ticket["arm"]) == ("random reinit", "rewind")
    assert ticket["sparsest ticket"] == "36 %"
    assert control["difference [points]"] is None
    assert ticket["difference [points]"] == pytest.approx(7.0, abs=0.05)
    assert (ticket["at sparsity"], ticket["seeds"]) == (pytest.approx(0.488), seeds)
    assert (ticket["95 % interval"] is None) == (seeds == 1)
    assert "random reinit" in table.note


def test_notes_on_the_data_are_not_folded_away():
    """What is odd with the data, such as texts that train and test share, is among what a reader must mind."""
    sweep = some_arms(1)
    section = opened(replace(sweep, data={**sweep.data, "notes": "12 texts of test are in train."}))
    assert section.warnings == ("12 texts of test are in train.",)
    assert "12 texts" not in section.lead


@pytest.mark.parametrize("sweep", [some_arms(3), some_encoders(), a_search()])
def test_markdown_has_the_same_order(sweep):
    """Headline, chart, small table, then what was run, sentences and tables."""
    section = opened(sweep)
    text = as_markdown(Document("d", (section,)))
    first = section.charts[0]
    marks = ["**", f"### {first.title}".replace("_", "_"), "### In short", "### What was run", "### In sentences"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert all(text.index(f"### {table.title}") > places[-1] for table in section.tables)
