"""The final table and the curve, on rows small enough to check by hand."""

import csv
import io
from dataclasses import replace

from planted import a_cnn

from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings.document import Section
from lt_ray.report.findings.headline import best_points
from lt_ray.report.pages.cells import rounds_csv
from lt_ray.report.pages.markdown import as_note
from lt_ray.report.pages.picture import colour
from lt_ray.report.reading.rows import ReportedCycle, by_arm


def a_round(cycle: str, index: int, test: float) -> RoundResult:
    return RoundResult(
        round=index, parameters=120, restart_epoch=None, epochs=3, best_epoch=3, train_loss=0.1, train_accuracy=0.9,
        val_loss=0.2, val_accuracy=test, test_loss=0.3, test_accuracy=test, train_s=1.0, eval_s=0.1, finished_at=1e9,
        cycle=cycle, seed=0, key=f"{cycle}{index}", sparsity=1 - 0.8**index, density=0.8**index, remaining=80,
        prunable=100, source="computed",
    )  # fmt: skip


def a_cycle(name: str, seed: int, tests: list[float], **settings: object) -> ReportedCycle:
    results = tuple(a_round(name, index, test) for index, test in enumerate(tests))
    return ReportedCycle(name, a_cnn(seed=seed), settings, "finished", results)  # type: ignore[arg-type]


CYCLES = [
    a_cycle("c1", 0, [0.90, 0.91, 0.85], **{"magnitude.restart": "rewind", "magnitude.rewind_epoch": 0}),
    a_cycle("c2", 1, [0.92, 0.91], **{"magnitude.restart": "rewind", "magnitude.rewind_epoch": 0}),
    a_cycle("c3", 0, [0.90, 0.80, 0.70], **{"magnitude.restart": "random", "magnitude.rewind_epoch": None}),
]
KEYS = ("magnitude.restart", "magnitude.rewind_epoch")


def test_cycles_are_told_by_arm():
    """Cycles that agree in the settings that make the arms are one arm; without such settings all are one."""
    assert list(by_arm(CYCLES, KEYS, "all")) == ["random reinit", "rewind@0"]
    assert list(by_arm(CYCLES, (), "all")) == ["all"]


def test_a_note_names_the_front_of_a_search():
    """With several objectives the points that no other beats stand in a table, best first, by their settings; where
    less is better, by what was measured."""
    points = [({"training.lr": 0.001}, (-0.7, 0.5)), ({"training.lr": 0.002}, (-0.2, 0.2))]
    table = best_points(["val_rmse", "winning_sparsity"], points)
    text = as_note(Section("s", "", (), (), (), (), headline="It went well."), [table])
    assert "Pareto front" in text
    assert text.index("| 0.2000 | 0.2000 | lr=0.002 |") < text.index("| 0.7000 | 0.5000 | lr=0.001 |")
    assert text.startswith("## s\n\n**It went well.**")


def test_the_final_table_has_a_row_for_each_cycle_and_round():
    """Rows tell arm, seed, round, accuracies and source; the sparsest round within the tolerance is the ticket."""
    table = list(csv.DictReader(io.StringIO(rounds_csv(by_arm(CYCLES, KEYS, "all"), 0.01))))
    assert len(table) == 8
    assert [(row["cycle"], row["round"]) for row in table if row["ticket"] == "True"] == [("c1", "1"), ("c2", "1")]
    first = table[3]
    assert (first["arm"], first["seed"], first["test_accuracy"], first["source"]) == (
        "rewind@0",
        "0",
        "0.9",
        "computed",
    )
    assert first["magnitude.rewind_epoch"] == "0"


def test_further_metrics_are_columns_of_the_final_table():
    """What decides nothing stands at the end of a row, by its name."""
    (cycle,) = [a_cycle("c1", 0, [0.9])]
    more = cycle.results[0].model_copy(update={"test_macro_f1": 0.8})
    (row,) = csv.DictReader(io.StringIO(rounds_csv({"a": [replace(cycle, results=(more,))]}, 0.01)))
    assert list(row)[-2:] == ["state", "test_macro_f1"]
    assert row["test_macro_f1"] == "0.8"


def test_a_cycle_has_its_arms_colour_paler_with_its_place():
    """The second cycle of an arm is a quarter nearer to white."""
    assert (colour(0, 0), colour(0, 1), colour(7, 0)) == ("#0072b2", "#4095c5", "#0072b2")
