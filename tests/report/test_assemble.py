"""What a report says, on planted sweeps small enough to compute by hand."""

import importlib.util
import sys
import warnings
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from planted import a_cnn, a_round
from report_documents import charts
from scipy.stats import ttest_1samp

from lt_ray.cycle.prunings import OWN_MASKS
from lt_ray.cycle.results import equal_sparsity
from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.bill import bills, total
from lt_ray.report.findings.compare import compare, groups
from lt_ray.report.findings.document import ReportTable, Section
from lt_ray.report.findings.estimates import estimate, holm
from lt_ray.report.findings.importance import importance
from lt_ray.report.findings.words import percent
from lt_ray.report.reading.published import Published
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep

RESTART, EPOCH, LR = "magnitude.restart", "magnitude.rewind_epoch", "training.lr"
SPACE = {
    RESTART: {"kind": "grid", "values": ("rewind", "random"), "when": {}},
    EPOCH: {"kind": "grid", "values": (0, 1), "when": {RESTART: ("rewind",)}},
    LR: {"kind": "log_uniform", "values": (0.0001, 0.01), "when": {}},
}
EPOCHS, ROUNDS = 4, 3
LIKE = {"training.epochs": EPOCHS, "train": 28000, "magnitude.rewind_epoch": 0}
"""What a published run was that a planted one of rewind@0 is like"""


def a_cycle(arm, seed, tests, *, lr=0.001, state="finished", reason="", task="imdb", sparsities=None, **params):
    """A cycle of an arm such as `rewind@0` or `random reinit`; `tests` = test accuracies of rounds 0, 1, …"""
    restart, _, epoch = arm.removesuffix(" reinit").partition("@")
    own = {} if task == "imdb" else {"task.name": task}
    own |= {RESTART: restart, EPOCH: int(epoch) if epoch else None, LR: lr}
    name = f"{task}-{arm}-{seed}-{lr}"
    results = []
    for index, test in enumerate(tests):
        key = f"{task}-dense-{seed}-{lr}" if index == 0 else None  # arms of one seed share round 0
        sparsity = None if sparsities is None else sparsities[index]
        found = a_round(name, index, val=test, key=key, sparsity=sparsity)
        found = found.model_copy(update={"seed": seed})
        results.append(found.model_copy(update={"source": "reused"}) if index == 0 and restart == "random" else found)
    return ReportedCycle(
        name, a_cnn(task, seed, max(ROUNDS, len(tests) - 1), **own | params), own, state, tuple(results), reason
    )


def a_sweep(*cycles, space=SPACE, tolerance=0.005):
    environment = {"cpus": "2", "cpu": "some CPU", "torch": "2.15.0", "lt_ray": "0.1.0"}
    data = {"train": 28000, "validation": 12000, "test": 10000, "classes": 2}
    return ReportedSweep("tickets", space, tolerance, "imdb", cycles, environment, data)


def section(*cycles, published=(), **more) -> Section:
    return assemble([a_sweep(*cycles, **more)], published).sections[0]


def table(found: Section, slug: str) -> ReportTable:
    return next(table for table in found.tables if table.slug == slug)


def rows(found: Section, slug: str) -> list[dict[str, object]]:
    own = table(found, slug)
    return [dict(zip((column.name for column in own.columns), row, strict=True)) for row in own.rows]


def published(
    metric, value, *, arm="rewind@0", round=1, sparsity=0.2, unit="%", error="", title="Result", conditions=LIKE
):
    return Published(
        table=title, task="imdb", model="cnn", arm=arm, round=round, sparsity=sparsity, metric=metric,
        value=Decimal(value), unit=unit, file="000.txt", line=27, error=error, conditions=conditions,
    )  # fmt: skip


def test_the_interval_is_students():
    """0.90, 0.91, 0.92: s = 0.01, t(0.975, 2) = 4.30265, so ± 4.30265 · 0.01 / √3; one value has none."""
    found = estimate([0.90, 0.92, 0.91])
    assert (found.n, found.mean, found.half) == (3, pytest.approx(0.91), pytest.approx(0.0248413, abs=1e-6))
    assert (found.low, found.high) == (pytest.approx(0.8851587, abs=1e-6), pytest.approx(0.9348413, abs=1e-6))
    assert estimate([0.9]).half is None


def test_an_arm_has_a_row_for_each_round():
    """Means, intervals and n are of the cycles that have the round; one seed has no interval, and the note says so."""
    found = section(a_cycle("rewind@0", 0, [0.90, 0.91, 0.88]), a_cycle("rewind@0", 1, [0.92, 0.91]))
    one, two, three = rows(found, "rounds")
    assert (one["arm"], one["round"], one["n"], one["test accuracy"]) == ("rewind@0", 0, 2, pytest.approx(0.91))
    assert one["± 95 %"] == pytest.approx(12.7062 * 0.01, abs=1e-5)
    assert (two["sparsity"], two["± 95 %"]) == (pytest.approx(0.2), 0)
    assert (three["n"], three["± 95 %"]) == (1, None)
    assert "One seed has no interval" in table(found, "rounds").note
    assert "unequal numbers of cycles" in found.warnings[-1]


def test_a_curve_has_bands_and_the_dense_line_counts_each_dense_round_once():
    """Two arms share the dense rounds 0.90 and 0.92 of two seeds, and a third one has 0.94 at another rate."""
    cycles = [a_cycle(arm, seed, [0.90 + 0.02 * seed, 0.9]) for arm in ("random reinit", "rewind@0") for seed in (0, 1)]
    found = section(*cycles, a_cycle("random reinit", 0, [0.94, 0.9], lr=0.01))
    (curves,) = charts(found, "curves")
    assert [curve.arm for curve in curves.lines] == ["random reinit", "rewind@0"]
    assert curves.dense == pytest.approx(0.92)
    point = curves.lines[1].points[0]
    assert (point.members, point.n, point.low) == ((0.90, 0.92), 2, pytest.approx(0.91 - 0.127062, abs=1e-5))


def test_a_round_that_cycles_of_an_arm_share_is_one():
    """Two cycles whose rounds have one key measured it once: n = 1."""
    cycles = [a_cycle("rewind@0", 0, [0.9, 0.8], lr=lr) for lr in (0.001, 0.002)]
    same = cycles[0].results[0]
    other = ReportedCycle(**{**vars(cycles[1]), "results": (same, *cycles[1].results[1:])})
    assert [row["n"] for row in rows(section(cycles[0], other), "rounds")] == [1, 2]


def test_pairs_agree_in_everything_but_the_arm():
    """Seed 0: 0.91 − 0.90, seed 1: 0.93 − 0.90; a seed or a rate of one arm alone is no pair. ± 12.7062 · 1 point."""
    cycles = [
        a_cycle("rewind@0", 0, [0.90, 0.91]), a_cycle("random reinit", 0, [0.90, 0.90]),
        a_cycle("rewind@0", 1, [0.92, 0.93]), a_cycle("random reinit", 1, [0.92, 0.90]),
        a_cycle("rewind@0", 2, [0.92, 0.10]), a_cycle("random reinit", 0, [0.92, 0.99], lr=0.01),
    ]  # fmt: skip
    found = section(*cycles)
    (row,) = rows(found, "differences")
    assert (row["arm"], row["against"], row["round"], row["seeds"]) == ("rewind@0", "random reinit", 1, 2)
    assert row["difference [points]"] == pytest.approx(2)
    assert row["low [points]"] == pytest.approx(2 - 12.7062, abs=1e-3)
    assert row["told apart"] is False
    assert any(
        said == "Up to 2 seeds do not tell apart, at any round (Holm for 3 comparisons): rewind@0 and random reinit."
        for said in found.verdicts
    )


def test_one_seed_settles_nothing():
    """One seed has no interval, and no sentence says that arms differ."""
    found = section(a_cycle("rewind@0", 0, [0.90, 0.91]), a_cycle("random reinit", 0, [0.90, 0.90]))
    assert "One seed has no interval, so no difference is told: rewind@0 and random reinit." in found.verdicts
    assert not any("points above" in said or "below its own" in said for said in found.verdicts)
    assert rows(found, "differences")[0]["told apart"] is None


def test_draws_of_a_seed_are_one_value_of_it():
    """Thirty draws of one seed settle nothing; of two seeds they are two values, 1 and 3 points: 2 ± 12.7062 points."""
    cycles = [
        a_cycle(arm, seed, [0.9, 0.8 + (arm == "rewind@0") * (0.01 + 0.02 * seed)], lr=0.001 + 0.0001 * draw)
        for arm in ("rewind@0", "random reinit")
        for seed in (0, 1)
        for draw in range(30)
    ]
    (row,) = rows(section(*cycles), "differences")
    assert (row["seeds"], row["difference [points]"]) == (2, pytest.approx(2))
    assert row["low [points]"] == pytest.approx(2 - 12.7062, abs=1e-3)
    found = section(*(cycle for cycle in cycles if cycle.seed == 0))
    assert [row["told apart"] for row in rows(found, "differences")] == [None]
    assert {row["± 95 %"] for row in rows(found, "rounds")} == {None}
    (curves,) = charts(found, "curves")
    assert {point.low for curve in curves.lines for point in curve.points} == {None}


@given(st.lists(st.integers(-(10**6), 10**6).filter(bool), min_size=2, max_size=9, unique=True))
def test_intervals_and_p_are_scipys(millionths):
    """Of any values, to the millionth: the interval and the p of scipy's one-sample t-test."""
    values = [value / 1e6 for value in millionths]
    found, test = estimate(values), ttest_1samp(values, 0)
    low, high = test.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert found.p == pytest.approx(test.pvalue, abs=1e-9)


def test_values_without_spread_are_judged_by_the_sign_test():
    """Five seeds that agree to the last example: 2 / 2⁵, not certainty. Equal to 0: p = 1."""
    assert estimate([0.01] * 5).p == 2 / 32
    assert estimate([0.0] * 5).p == 1


def test_families_are_corrected_by_holm():
    """Holm's own procedure by hand: 0.005 · 4, 0.01 · 3, 0.03 · 2, then never below the one before; at most 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_one_family_holds_the_comparisons_of_all_tasks():
    """Each comparison of a transfer's two tasks has Holm's correction of its own p-value among those of both."""
    cycles = [
        a_cycle(arm, seed, [0.9, 0.9 + sign * gap + 0.001 * seed, 0.9 - gap + 0.002 * seed], task=task)
        for task, gap in (("imdb", 0.01), ("yelp_polarity", 0.03))
        for arm, sign in (("rewind@0", 1), ("random reinit", -1))
        for seed in range(3)
    ]
    compared = compare(groups(a_sweep(*cycles)))
    levels = [level for own in compared for item in (*own.pairs, *own.falls) for level in item.levels]
    assert [len(own.pairs) for own in compared] == [1, 1]
    assert {own.family for own in compared} == {len(levels)}
    assert len({level.difference.p for level in levels}) > len(levels) // 2
    assert [level.corrected_p for level in levels] == holm([level.difference.p for level in levels])


def test_equal_sparsity_is_a_ratio_of_densities():
    """A factor 5 lies between the weights of 99.5 and 99.9 %, and 1.02 between those of 90 and 90.196 %."""
    assert not equal_sparsity(0.995, 0.999)
    assert not equal_sparsity(0.9, 0.9021)
    assert equal_sparsity(0.9, 0.9 + 0.1 * (1 - 1 / 1.02))
    assert equal_sparsity(1.0, 1.0)
    assert not equal_sparsity(0.99999, 1.0)
    one = a_cycle("rewind@0", 0, [0.9, 0.8], sparsities=[0, 0.995])
    other = a_cycle("random reinit", 0, [0.9, 0.7], sparsities=[0, 0.999])
    assert [item.levels for item in compare(groups(a_sweep(one, other)))[0].pairs] == [()]


def told_apart(differences, seeds=6, spread=0.0001):
    """Cycles of two arms whose differences after rounds 1, 2, … are planted, to a spread over seeds."""
    return [
        a_cycle(arm, seed, [0.9, *(0.8 + sign * (value + spread * (seed - 2)) for value in differences)])
        for arm, sign in (("rewind@0", 1), ("random reinit", 0))
        for seed in range(seeds)
    ]


def test_a_sentence_names_the_rounds_at_which_arms_are_told_apart():
    """+1 points at round 1, nothing at round 2, −1 at round 3; the family is 3 rounds and 2 · 3 falls."""
    found = section(*told_apart([0.01, -0.00005, -0.01]))
    assert [row["told apart"] for row in rows(found, "differences")] == [True, False, True]
    (sentence,) = [said for said in found.verdicts if "points below random reinit" in said]
    assert sentence.startswith("At 48.8 % sparsity (round 3, the sparsest that both have), rewind@0 is 1.00 points")
    assert "mean of 6 seeds (95 % interval −1.01 to −0.98, not corrected; p = " in sentence
    assert sentence.endswith(
        "after Holm for 9 comparisons); of 3 rounds compared the difference is told apart above 0 at round 1 and below "
        "0 at round 3."
    )


def test_differences_are_told_after_correction_alone():
    """An interval of its own that excludes 0 is no statement where the family's correction does not bear it."""
    noise = (0.001, 0.002, 0.0032, 0.0045)
    cycles = [
        a_cycle(arm, seed, [0.9, *(0.8 + (arm == "rewind@0") * value for value in [noise[seed]] * 3)])
        for arm in ("rewind@0", "random reinit")
        for seed in range(4)
    ]
    found = rows(section(*cycles), "differences")
    assert all(row["low [points]"] > 0 for row in found)
    assert [row["told apart"] for row in found] == [False] * 3


def test_arms_without_a_common_seed_are_not_compared():
    """No pair: no difference, and a sentence says why."""
    found = section(a_cycle("rewind@0", 0, [0.90, 0.91]), a_cycle("random reinit", 1, [0.90, 0.90]))
    assert any("nothing can be said of the difference" in said for said in found.verdicts)
    assert not any(own.slug == "differences" for own in found.tables)


def test_fields_that_hang_on_the_arm_make_no_other_pair():
    """A rate that only rewound cycles search, its `when` names the arm's field, does not keep them from pairing."""
    space = SPACE | {LR: {"kind": "log_uniform", "values": (0.0001, 0.01), "when": {RESTART: ("rewind",)}}}
    cycles = [a_cycle("rewind@0", 0, [0.90, 0.91], lr=0.005), a_cycle("random reinit", 0, [0.90, 0.90])]
    assert [item.pairs for item in compare(groups(a_sweep(*cycles, space=space)))[0].pairs] == [1]
    assert [item.pairs for item in compare(groups(a_sweep(*cycles)))[0].pairs] == [0]


def test_arms_of_other_fractions_meet_at_equal_sparsity():
    """Sparsities 0.36 and 0.592 of rounds 1 and 2 meet those of rounds 2 and 4 of the other arm to 0.005; 0.8 none."""
    slow = a_cycle("rewind@0", 0, [0.9, 0.91, 0.92, 0.93, 0.94], sparsities=[0, 0.2, 0.36, 0.488, 0.5904])
    fast = a_cycle("random reinit", 0, [0.9, 0.90, 0.90, 0.90], sparsities=[0, 0.36, 0.592, 0.8])
    found = rows(section(slow, fast), "differences")
    assert [(row["round"], row["round of the other"]) for row in found] == [(2, 1), (4, 2)]
    assert [row["difference [points]"] for row in found] == pytest.approx([2, 4])


def test_arms_cross_where_they_are_told_apart_on_both_sides():
    """+2 points at round 1, −4 at round 2: between them, and nothing says where."""
    found = section(*told_apart([0.02, -0.04]))
    row = next(row for row in rows(found, "crossings") if row["against"] == "random reinit")
    assert (row["above before"], row["above after"]) == ("rewind@0", "random reinit")
    assert (row["after round"], row["before round"], row["seeds"]) == (1, 2, 6)
    assert (row["after sparsity"], row["before sparsity"]) == (pytest.approx(0.2), pytest.approx(0.36))
    assert (
        "rewind@0 and random reinit cross between rounds 1 and 2 (20 % and 36 % sparsity): rewind@0 is told apart "
        "above before, random reinit after."
    ) in found.verdicts


@pytest.mark.parametrize(
    ("differences", "where"),
    [
        ([0.01, -0.00005, -0.01], [(1, 3)]),  # not told apart at round 2: somewhere from 1 to 3
        ([0.01, -0.00005, 0.01], []),
        ([-0.00005, -0.00005, -0.01], []),
        ([0.01, -0.01, 0.01], [(1, 2), (2, 3)]),
        ([-0.01, -0.02, -0.03], []),
    ],
)
def test_a_mean_that_changes_its_sign_is_no_crossing(differences, where):
    """Only rounds at which the difference is told apart have a side."""
    (item,) = compare(groups(a_sweep(*told_apart(differences))))[0].pairs
    assert [(crossing.before.round, crossing.after.round) for crossing in item.crossings] == where
    (item,) = compare(groups(a_sweep(*told_apart(differences, spread=0.05))))[0].pairs
    assert item.crossings == ()


def test_a_fall_is_told_where_it_is_told_apart():
    """Dense 0.9, tolerance 0.005: 0.8 is below it from round 1 on, and where before that nobody measured."""
    found = section(*told_apart([0.0, 0.0]))
    assert (
        "The mean of rewind@0 is told apart below its own dense accuracy − 0.005 at rounds 1–2, from 20 % sparsity "
        "(Holm for 6 comparisons)."
    ) in found.verdicts
    assert not any(own.slug == "crossings" for own in found.tables)
    found = section(*told_apart([0.12, 0.0]))
    row = next(row for row in rows(found, "crossings") if row["above after"] == "dense − 0.005")
    assert (row["arm"], row["after round"], row["before round"]) == ("rewind@0", 1, 2)
    one = section(a_cycle("rewind@0", 0, [0.90, 0.90, 0.5]))
    assert not any("dense accuracy − 0.005" in said for said in one.verdicts)


def test_the_winner_at_the_bound_wins():
    """Dense 0.885, tolerance 0.005: 0.880 wins, 0.8799 does not."""
    found = section(a_cycle("rewind@0", 0, [0.885, 0.9, 0.880]), a_cycle("rewind@0", 1, [0.885, 0.8799, 0.87]))
    assert [(row["seed"], row["round"]) for row in rows(found, "tickets")] == [(0, 2), (1, None)]
    assert found.verdicts[0] == (
        "rewind@0: the sparsest winning tickets keep 64 % (round 2, the last; test 0.8800, dense 0.8850) with seed 0, "
        "none with seed 1 (validation ≥ own dense − 0.005)."
    )


def test_a_ticket_is_chosen_on_validation_and_told_with_its_test_accuracy():
    """Validation 0.9, 0.9, 0.8 and test 0.9, 0.7, 0.95: round 1 wins, and round 2 is the sparsest on test."""
    cycle = a_cycle("rewind@0", 0, [0.9, 0.7, 0.95])
    results = [
        result.model_copy(update={"val_accuracy": val})
        for result, val in zip(cycle.results, (0.9, 0.9, 0.8), strict=True)
    ]
    found = section(replace(cycle, results=tuple(results)))
    (row,) = rows(found, "tickets")
    assert (row["round"], row["validation accuracy"], row["test accuracy"]) == (1, 0.9, 0.7)
    assert (row["dense test accuracy"], row["sparsest on test: round"]) == (0.9, 2)
    assert "keeps 80 % (round 1; test 0.7000, dense 0.9000) with seed 0" in found.verdicts[0]


def test_a_dense_model_at_chance_has_no_ticket_and_the_report_says_why():
    """100 validation examples, 51 of one class: 0.52 is what guessing gives."""
    cycle = a_cycle("rewind@0", 0, [0.52, 0.52])
    facts = {"val_examples": 100, "val_largest": 51}
    found = section(replace(cycle, results=tuple(result.model_copy(update=facts) for result in cycle.results)))
    (row,) = rows(found, "tickets")
    assert row["round"] is None
    assert "not above chance" in row["why none can win"]
    assert found.verdicts[0].startswith(
        "rewind@0: no ticket can be judged with seed 0: the dense model is not above chance: validation accuracy "
        "0.5200 of 100 examples, the largest class 0.5100, p = "
    )


def test_reports_cover_and_say_little_that_is_false():
    """Of 100 reports of planted results: coverage and family-wise falsehoods as `benchmarks/coverage.py` has for 1,000.

    2,400 intervals that depend on each other within a report, so 91 % is far below chance of a right interval, and 82
    and 28 % are what draws for seeds gave; of 100 reports more than 11 are false with chance 0.4 % at a rate of 5 %.
    """
    found = load_benchmark("coverage").simulate(100, seed=1)
    assert found.intervals == 2400
    assert found.covered / found.intervals > 0.91
    assert found.false_reports <= 11
    assert found.statements > 20


def load_benchmark(name):
    """A program of benchmarks/, which are no package."""
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_cycles_that_did_not_finish_are_named():
    """Failed, stopped and running cycles are counted, with arm, seed, rounds and reason."""
    found = section(
        a_cycle("rewind@0", 0, [0.9, 0.9, 0.9, 0.9]),
        a_cycle("rewind@0", 1, [0.9, 0.9], state="failed", reason="DivergedError: loss is\nnan"),
        a_cycle("random reinit", 1, [0.9, 0.9], state="stopped", reason="asha: rank 3 of 3"),
        a_cycle("random reinit", 0, [0.9, 0.9, 0.9], state="unfinished"),
    )
    failed, stopped, running, uneven = found.warnings
    assert failed.startswith("1 of 4 cycles failed")
    assert "rewind@0 seed 1 (2 of 4 rounds: DivergedError: loss is nan)" in failed
    assert stopped.startswith("1 of 4 cycles was ended early by a rule")
    assert "random reinit seed 1 (2 of 4 rounds: asha: rank 3 of 3)" in stopped
    assert running.startswith("1 of 4 cycles is still running or interrupted")
    assert "random reinit seed 0 (3 of 4 rounds)" in running
    assert uneven.endswith("in random reinit and rewind@0.")
    assert [row["state"] for row in rows(found, "unfinished")] == ["failed", "stopped", "unfinished"]


def test_a_sweep_without_a_round_is_still_told():
    """Nothing finished: no curve and no verdict on arms, but what was planned, and that there is nothing yet."""
    found = section(a_cycle("rewind@0", 0, [], state="unfinished"))
    assert found.warnings[0] == "No round has finished yet: there is nothing to compare."
    beside_another = section(a_cycle("rewind@0", 0, [], state="unfinished"), a_cycle("random reinit", 0, [0.9]))
    assert [curve.arm for curve in charts(beside_another, "curves")[0].lines] == ["random reinit"]
    assert found.charts == ()
    assert rows(found, "bill")[-1]["to come [epochs]"] == 16
    empty = section()
    assert empty.warnings == ("No cycle was planned yet.",)
    assert (empty.verdicts, empty.tables) == ((), ())
    assert assemble([]).sections == ()


def test_the_lead_says_what_ran_on_what():
    """Model, weights, task, splits, seeds, settings with the range searched, hardware and versions."""
    assert section(a_cycle("rewind@0", 0, [0.9]), a_cycle("random reinit", 1, [0.9])).lead == (
        "CNN of 1,000 parameters, 1,000 prunable, on imdb (28,000 train, 12,000 validation and 10,000 test examples, "
        "2 classes): 2 cycles of 3 prunings, seeds 0 and 1. A round trains up to 4 epochs, stops after 2 without a "
        "lower validation loss, with adam, lr 0.0001 to 0.01 (log scale), batch size 64, dropout 0.5, fraction "
        "0.2. Last run on 2 CPU cores (some CPU) with torch 2.15.0, lt_ray 0.1.0."
    )


def test_cycles_that_find_tickets_for_another_task_stand_alone():
    """Another task's cycles have curves and tables of their own, and no difference crosses tasks."""
    found = section(a_cycle("rewind@0", 0, [0.9, 0.9]), a_cycle("random reinit", 0, [0.8, 0.8], task="yelp_polarity"))
    assert [own.title for own in charts(found, "curves")] == [
        "tickets: test accuracy against sparsity",
        "tickets: test accuracy against sparsity, on yelp_polarity, where tickets are found",
    ]
    assert [curve.arm for own in charts(found, "curves") for curve in own.lines] == ["rewind@0", "random reinit"]
    assert not any("differences" in own.slug for own in found.tables)
    assert any(said.startswith("On yelp_polarity, where tickets are found: random reinit:") for said in found.verdicts)
    assert {row["arm"] for row in rows(found, "bill")} == {"rewind@0", "random reinit, on yelp_polarity", "all"}


def test_published_results_stand_beside_ours():
    """The same arm's percent at an equal sparsity is a share; known errors are marked and told once."""
    told = [
        published("test_accuracy", "89.5", error="one seed."),
        published("test_accuracy", "10", arm=OWN_MASKS),
        published("test_accuracy", "88.0", sparsity=0.39, round=2),
        published("test_accuracy", "88.88", arm="dense", round=0, sparsity=0, title="Before Pruning"),
        published("train_loss", "0.062", arm="dense", round=0, sparsity=0, unit="nats", title="Before Pruning"),
        published("test_accuracy", "83.76", round=None, sparsity=None, title="After Pruning"),
        published("test_loss", "0.612", round=None, sparsity=None, unit="nats", title="After Pruning", error="a copy."),
    ]
    found = section(a_cycle("rewind@0", 0, [0.9, 0.9, 0.9]), a_cycle("rewind@1", 0, [0.9, 0.9, 0.9]), published=told)
    first, second, third, *late = rows(found, "rounds")
    assert (first["published"], first["published arm"]) == (pytest.approx(0.8888), "dense")
    assert (second["published"], second["difference [points]"]) == (pytest.approx(0.895), pytest.approx(0.5))
    assert (second["file"], second["line"], second["known error"]) == ("000.txt", 27, "[1]")
    assert table(found, "rounds").note.endswith("[1] one seed.")
    assert third["published"] is None
    assert [row["published"] for row in late] == [pytest.approx(0.8888), None, None]
    before = rows(found, "before-pruning")
    assert [(row["source"], row["train loss (best)"], row["test acc."]) for row in before] == [
        ("ours", 0.5, 0.9),
        ("published", 0.062, 0.8888),
    ]
    after = [(row["arm"], row["source"], row["round"], row["test loss"]) for row in rows(found, "after-pruning")]
    assert after == [("rewind@0", "ours", 2, 0.5), ("rewind@0", "published", None, 0.612), ("rewind@1", "ours", 2, 0.5)]


def test_a_published_run_that_differs_stands_beside_ours_without_a_difference():
    """The value stays, what differs is named; a method says nothing of dense models; untold settings differ."""
    unlike = LIKE | {"training.epochs": 10, "train": 14000, "training.patience": None, "magnitude.rewind_epoch": 1}
    told = [
        published("test_accuracy", "89.5", conditions=unlike),
        published("test_accuracy", "88.0", sparsity=0.36, round=2, conditions=None),
        published("test_accuracy", "88.88", arm="dense", round=0, sparsity=0, conditions={"magnitude.fraction": 0.9}),
    ]
    found = rows(section(a_cycle("rewind@0", 0, [0.9, 0.9, 0.9]), published=told), "rounds")
    assert [row["published"] for row in found] == pytest.approx([0.8888, 0.895, 0.88])
    assert [row["difference [points]"] for row in found] == [pytest.approx(1.12), None, None]
    assert found[0]["differs in"] is None
    assert found[1]["differs in"] == (
        "epochs 4, not 10; train examples 28,000, not 14,000; magnitude.rewind epoch 0, not 1; patience 2, not none"
    )
    assert found[2]["differs in"] == "its settings are not told"


def test_the_published_random_arm_stands_beside_the_logs_procedure_alone():
    """The logs re-initialise and prune what they trained; a control keeps the ticket's masks and is another arm."""
    told = [published("test_accuracy", "88", arm=OWN_MASKS, conditions={})]
    for masks, value in (("own", 0.88), ("ticket", None)):
        cycle = a_cycle("random", 0, [0.9, 0.9], **{"magnitude.masks": masks})
        assert rows(section(cycle, published=told), "rounds")[1].get("published") == value


def test_a_printed_sparsity_is_all_that_is_rounded_to_it():
    """0.988 was printed of 0.8^20 = 0.01153 left, 4 % from 0.012; 0.986 of 0.01441 is another one."""
    told = [published("test_accuracy", "75", sparsity=0.988, round=20, conditions={})]
    for density, value in ((0.8**20, 0.75), (0.8**19, None), (0.8**21, None)):
        cycle = a_cycle("rewind@0", 0, [0.9, 0.8], sparsities=[0.0, 1 - density])
        assert rows(section(cycle, published=told), "rounds")[1].get("published") == value


def test_the_bill_adds_up():
    """Rounds of 2 epochs of 4, one of them shared: 14 left out early, 4 after a failure, 16 to come; 48 asked."""
    found = section(
        a_cycle("rewind@0", 0, [0.9, 0.9, 0.9], state="failed"),
        a_cycle("random reinit", 0, [0.9, 0.9, 0.9, 0.9]),
        a_cycle("random reinit", 1, [], state="unfinished"),
    )
    bill = {row["arm"]: row for row in rows(found, "bill")}
    assert {name: number for name, number in bill["all"].items() if name.endswith("[epochs]")} == {
        "asked [epochs]": 48, "computed [epochs]": 12, "shared [epochs]": 2, "saved by early stopping [epochs]": 14,
        "ended by a rule [epochs]": 0, "lost to failures [epochs]": 4, "to come [epochs]": 16,
    }  # fmt: skip
    assert (bill["random reinit"]["rounds computed"], bill["random reinit"]["rounds shared"]) == (3, 1)
    assert bill["all"]["training [s]"] == pytest.approx(6)
    assert bill["all"]["saved by sharing [s]"] == pytest.approx(1.1)
    assert bill["all"]["first to last [h]"] == pytest.approx((1003 - (1000 - 1.1)) / 3600)


def test_resumed_budgets_ask_fewer_epochs():
    """Retraining that resumes at epoch 1 of 4 asks 3: 4 + 3 · 3; its control, whose weights are new, begins at epoch 0:
    4 · 4; transfers train every second round: 4 · 2."""
    resumed = a_cycle("rewind@1", 0, [], **{"magnitude.rewind_budget": "resume"})
    control = a_cycle("rewind@1", 0, [], **{"magnitude.restart": "random", "magnitude.rewind_budget": "resume"})
    transfer = a_cycle("rewind@0", 0, [], tickets="source", ticket_every=2, **{"source.name": "yelp_polarity"})
    asked = [total(list(bills([c], {c.id: "a"}).values())).asked for c in (resumed, control, transfer)]
    assert asked == [13, 16, 8]


def planted_points(count):
    space = {
        "a": {"kind": "log_uniform", "values": (0.001, 1.0)}, "b": {"kind": "uniform", "values": (0.0, 1.0)},
        "c": {"kind": "choice", "values": ("x", "y")}, "d": {"kind": "grid", "values": (1, 2), "when": {"c": ("x",)}},
    }  # fmt: skip
    found = []
    for index in range(count):
        share, other = (index * 7 % count) / count, (index * 5 % count) / count
        row = {
            "a": 0.001 ** (1 - share),
            "b": other,
            "c": "xy"[index % 2],
            "val_accuracy": 0.6 + 0.3 * share + 0.01 * other,
        }
        found.append(row | ({"d": 1} if index % 2 == 0 else {}))
    return found, space


def test_importance_finds_the_field_that_matters():
    """A field that makes 30 of 31 points comes first; one that not every cycle has is left out, which the note says."""
    found, note = importance(*planted_points(24), "val_accuracy")
    assert found is not None
    assert next(iter(found)) == "a"
    assert found["a"] > 0.8
    assert set(found) == {"a", "b", "c"}
    assert "Without d" in note
    assert importance(*planted_points(24), "val_accuracy") == (found, note)


def test_importance_is_silent_and_leaves_optuna_as_it_was():
    """No warning comes out, and Optuna logs as before."""
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importance(*planted_points(6), "val_accuracy")
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


def test_importance_is_not_told_of_too_little():
    """Three points, one varying field, or equal results: None, and why."""
    points, space = planted_points(3)
    assert importance(points, space, "val_accuracy")[0] is None
    points, space = planted_points(8)
    one_field = [{"a": row["a"], "val_accuracy": row["val_accuracy"]} for row in points]
    assert importance(one_field, space, "val_accuracy") == (
        None,
        "No importance: fewer than two fields vary over all cycles.",
    )
    assert importance([row | {"val_accuracy": 0.5} for row in points], space, "val_accuracy")[0] is None


def test_settings_hold_what_finished_cycles_came_to():
    """Validation accuracy of the last round, winning sparsity, test accuracy; a field without a meaning is missing."""
    found = section(
        a_cycle("random reinit", 0, [0.9, 0.9, 0.8]), a_cycle("rewind@0", 0, [0.9, 0.9, 0.9]),
        a_cycle("rewind@0", 1, [0.9, 0.9], state="unfinished"),
    )  # fmt: skip
    (own,) = charts(found, "settings")
    assert (own.keys, own.objectives) == ((RESTART, EPOCH, LR), ("val_accuracy", "winning_sparsity", "test_accuracy"))
    assert len(own.rows) == 2
    assert own.rows[0] == {
        "cycle": "imdb-random reinit-0-0.001", "arm": "random reinit", "seed": 0, RESTART: "random", LR: 0.001,
        "val_accuracy": 0.8, "winning_sparsity": pytest.approx(0.2), "test_accuracy": 0.8,
    }  # fmt: skip
    assert own.importance is None
    assert own.note.startswith("2 of 3 cycles: those that finished all rounds.")


@pytest.mark.parametrize(("rates", "compared"), [((0.001,), 3), ((0.001, 0.002, 0.003, 0.004, 0.005), 5 * 3 + 3 * 10)])
def test_many_arms_are_compared_where_one_field_differs(rates, compared):
    """3 arms: all 3 pairs. 15 arms of 5 rates: the 3 pairs at each rate and the 10 of each arm; and fewer sentences."""
    space = SPACE | {LR: {"kind": "grid", "values": rates, "when": {}}}
    cycles = [a_cycle(arm, 0, [0.9, 0.9], lr=lr) for arm in ("rewind@0", "rewind@1", "random reinit") for lr in rates]
    sweep = a_sweep(*cycles, space=space)
    assert len(compare(groups(sweep))[0].pairs) == compared
    said = section(*cycles, space=space).verdicts
    assert ("15 of 15 arms have a winning ticket" in said[0]) == (len(rates) > 1)
    assert len(said) == (3 if len(rates) > 1 else 3 + 1 + 1)


def test_importance_learns_of_a_few_hundred_cycles_at_most(monkeypatch):
    """Of more cycles than it can learn from in seconds it takes some, spread evenly, and says how many."""
    monkeypatch.setattr("lt_ray.report.findings.importance._MOST_CYCLES", 12)
    found, note = importance(*planted_points(24), "val_accuracy")
    assert found is not None
    assert next(iter(found)) == "a"
    assert "of 12 cycles" in note


def test_a_share_near_1_is_not_rounded_to_it():
    """What is left keeps two digits."""
    assert [percent(share) for share in (0.134, 0.488, 0.9882, 0.9988, 0.99996, 1.0)] == [
        "13.4 %", "48.8 %", "98.8 %", "99.88 %", "99.9960 %", "100 %",
    ]  # fmt: skip


CYCLES = st.builds(
    a_cycle,
    arm=st.sampled_from(["rewind@0", "rewind@1", "random reinit"]),
    seed=st.integers(0, 2),
    tests=st.lists(st.sampled_from([0.0, 0.5, 0.88, 0.9, 1.0]), max_size=ROUNDS + 1),
    lr=st.sampled_from([0.0001, 0.001, 0.01]),
    state=st.sampled_from(["finished", "stopped", "failed", "unfinished"]),
    task=st.sampled_from(["imdb", "imdb", "yelp_polarity"]),
)


@st.composite
def holey(draw):
    """A cycle of which any rounds may be missing, as after damage."""
    cycle = draw(CYCLES)
    results = tuple(result for result in cycle.results if draw(st.booleans()))
    return replace(cycle, results=results)


@examples(max_examples=60)
@given(st.lists(holey(), max_size=8, unique_by=lambda cycle: cycle.id), st.sampled_from([SPACE, {}]))
def test_any_part_of_a_sweep_can_be_told(cycles, space):
    """Whatever cycles and rounds are there: no error, equal documents of equal input, bills that add up."""
    sweep = a_sweep(*cycles, space=space)
    told = [published("test_accuracy", "89.5")]
    found = assemble([sweep], told)
    assert assemble([sweep], told) == found
    for own in found.sections[0].tables:
        assert all(len(row) == len(own.columns) for row in own.rows)
    for bill in bills(cycles, {cycle.id: "a" for cycle in cycles}).values():
        parts = bill.computed + bill.shared + bill.early + bill.ended + bill.failed + bill.open
        assert bill.asked == parts
        assert bill.computed == sum({r.key: r.epochs for cycle in cycles for r in cycle.results}.values())
