"""The final table and the curve, on rows small enough to check by hand."""

import csv
import io

import pytest
from matplotlib.image import imread

from lt_ray.cycle.results import RoundResult
from lt_ray.report.curve import colour, draw
from lt_ray.report.rows import BestPoint, ReportedCycle, as_csv, as_markdown, by_arm, final_table


def a_round(cycle: str, index: int, test: float) -> RoundResult:
    return RoundResult(
        round=index, parameters=120, restart_epoch=None, epochs=3, best_epoch=3, train_loss=0.1, train_accuracy=0.9,
        val_loss=0.2, val_accuracy=test, test_loss=0.3, test_accuracy=test, train_s=1.0, eval_s=0.1, finished_at=1e9,
        cycle=cycle, seed=0, key=f"{cycle}{index}", sparsity=1 - 0.8**index, density=0.8**index, remaining=80,
        prunable=100, source="computed",
    )  # fmt: skip


def a_cycle(name: str, seed: int, tests: list[float], **settings: object) -> ReportedCycle:
    results = tuple(a_round(name, index, test) for index, test in enumerate(tests))
    return ReportedCycle(name, settings, seed, "finished", results)  # type: ignore[arg-type]


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


def test_the_report_names_the_front_of_a_search():
    """With several objectives the points that no other beats stand in the table, best first, by their settings."""
    best = [BestPoint({"training.lr": 0.001}, (0.7, 0.5)), BestPoint({"training.lr": 0.002}, (0.9, 0.2))]
    text = as_markdown("s", by_arm(CYCLES, KEYS, "all"), 0.01, ["val_accuracy", "winning_sparsity"], best)
    assert "Pareto front" in text
    assert text.index("| 0.9000 | 0.2000 | lr=0.002 |") < text.index("| 0.7000 | 0.5000 | lr=0.001 |")


def test_the_final_table_has_a_row_for_each_cycle_and_round():
    """Rows tell arm, seed, round, accuracies and source; the sparsest round within the tolerance is the ticket."""
    table = list(csv.DictReader(io.StringIO(as_csv(final_table(by_arm(CYCLES, KEYS, "all"), 0.01)))))
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


def test_markdown_has_the_means_and_the_tickets():
    """The mean of two cycles at round 0 is 0.91; at round 2 one cycle of that arm is left."""
    lines = as_markdown("tickets", by_arm(CYCLES, KEYS, "all"), 0.01).splitlines()
    assert "| round | sparsity | random reinit | rewind@0 |" in lines
    assert "| 0 | 0.000 | 0.9000 (1) | 0.9100 (2) |" in lines
    assert "| 2 | 0.360 | 0.7000 (1) | 0.8500 (1) |" in lines
    assert "| rewind@0 | 1 | 1 | 0.200 | 0.9100 | 0.9200 | 1 | c2 |" in lines
    assert "| random reinit | 0 | – | – | – | – | – | c3 |" in lines


@pytest.mark.parametrize("cycles", [CYCLES, [], [a_cycle("c1", 0, [0.9])], [a_cycle("c1", 0, [0.9] * 80)]])
def test_the_curve_is_a_picture(cycles, tmp_path):
    """Arms, no cycle at all, a dense round alone and one at a sparsity of nearly 1 can all be drawn."""
    path = tmp_path / "curve.png"
    path.write_bytes(draw(by_arm(cycles, KEYS, "all"), 0.005, "tickets"))
    pixels = imread(path)
    assert pixels.shape[:2] == (780, 1350)
    drawn = {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (pixels[..., :3].reshape(-1, 3) * 255).round().astype(int)}
    assert ({colour(0, 0)} <= drawn) == bool(cycles)


def test_a_cycle_has_its_arms_colour_paler_with_its_place():
    """The second cycle of an arm is a quarter nearer to white."""
    assert (colour(0, 0), colour(0, 1), colour(7, 0)) == ("#0072b2", "#4095c5", "#0072b2")
