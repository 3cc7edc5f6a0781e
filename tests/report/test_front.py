"""The front: points that no other one beats, on planted sweeps small enough to see."""

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from report_documents import an_encoder, an_encoder_round, charts, some_encoders

from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.compare import groups
from lt_ray.report.findings.front import best, fronts
from lt_ray.report.pages.picture import colour, draw, scaled, staircase
from lt_ray.report.reading.rows import ReportedSweep

FREEZE = "similarity.freeze"
SPACE = {FREEZE: {"kind": "grid", "values": (False, True), "when": {}}}


def a_front(*cycles, cost=0):
    return fronts(groups(ReportedSweep("s", SPACE, 0.005, "emotion", cycles, {}, {}))[0])[cost]


def a_cycle(seed, points, *, freeze=False, fields=()):
    """A cycle of (test accuracy, blocks) a round, the dense one at 0.9."""
    name = f"{freeze}-{seed}"
    more = [*fields, *({} for _ in points[len(fields) :])]
    results = [an_encoder_round(name, 0, 0.9)]
    results += [
        an_encoder_round(name, i, test, blocks=blocks, **own)
        for i, ((test, blocks), own) in enumerate(zip(points, more, strict=True), 1)
    ]
    return an_encoder(name, seed, results, {FREEZE: freeze}, f"similarity*{len(points)}")


def on(front):
    """The best points as (arm, round)."""
    return {(arm.arm, p.round) for arm in (*front.dense, *front.lines) for p in arm.points if p.best}


@pytest.mark.parametrize(
    ("points", "marks"),
    [
        ([(1, 0.8), (2, 0.9)], [True, True]),
        ([(1, 0.9), (2, 0.9)], [True, False]),
        ([(1, 0.9), (1, 0.8)], [True, False]),
        ([(1, 0.9), (1, 0.9)], [True, True]),
        ([(1, 0.9), (1, 0.9), (2, 0.9), (0.5, 0.1)], [True, True, False, True]),
        ([(3, 0.7), (2, 0.8), (1, 0.9)], [False, False, True]),
        ([(1, 0.3), (2, 0.1 + 0.2)], [True, False]),
        ([(5, 0.5)], [True]),
        ([], []),
    ],
)
def test_a_point_is_on_the_front_where_none_is_as_good_in_both_and_better_in_one(points, marks):
    """A tie in one is decided by the other, equal points stand together, and rounding of the last bit is a tie."""
    assert best([cost for cost, _ in points], [accuracy for _, accuracy in points]) == marks


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_every_point_off_the_front_is_beaten_by_one_on_it(points):
    """The front is not empty, no two of it beat each other, and it beats everything else."""
    marks = best([float(cost) for cost, _ in points], [float(value) for _, value in points])
    front = [point for point, mark in zip(points, marks, strict=True) if mark]
    assert front
    for cost, value in (point for point, mark in zip(points, marks, strict=True) if not mark):
        assert any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in front)
    steps = sorted(set(front))
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(steps))


def test_a_point_is_the_mean_over_seeds():
    """8 and 10 blocks at 0.90 and 0.92 are one point at 9 blocks and 0.91, n = 2."""
    front = a_front(a_cycle(0, [(0.90, 8)]), a_cycle(1, [(0.92, 10)]))
    ((arm,), (dense,)) = front.lines, front.dense
    (point,) = arm.points
    assert (point.n, point.blocks, point.mean) == (2, 9, pytest.approx(0.91))
    assert point.x == pytest.approx(109_486_854 - 3 * 7_087_872)
    assert (dense.arm, dense.points[0].n, dense.points[0].mean) == ("dense", 2, 0.9)


def test_the_dense_model_is_on_the_front_only_where_nothing_beats_it():
    """At 0.9 dense is beaten by 0.9 of 8 blocks, and not by 0.89; arms that share a seed share its point."""
    equal, worse = a_cycle(0, [(0.9, 8)]), a_cycle(0, [(0.89, 8)], freeze=True)
    assert on(a_front(equal, worse)) == {("no freeze", 1)}
    assert on(a_front(worse)) == {("freeze", 1), ("dense", 0)}
    assert len(a_front(equal, worse).dense) == 1


def test_a_round_that_every_cycle_rejected_is_shown_but_never_on_the_front():
    """Rejected by one of two seeds it counts; rejected by both it does not, though it costs least."""
    rejected = ({}, {"accepted": False})
    both = [a_cycle(seed, [(0.9, 8), (0.8, 6)], fields=rejected) for seed in (0, 1)]
    front = a_front(*both)
    assert [(p.round, p.rejected, p.best) for p in front.lines[0].points] == [(1, False, True), (2, True, False)]
    assert "never on the front" in front.note
    one = a_front(both[0], a_cycle(1, [(0.9, 8), (0.8, 6)]))
    assert [(p.round, p.rejected, p.best) for p in one.lines[0].points] == [(1, False, True), (2, False, True)]


def test_latency_is_a_front_of_its_own_where_it_was_measured():
    """Costs are seconds, shown as milliseconds, with quartiles; without a latency there is no such front."""
    front = a_front(a_cycle(0, [(0.9, 8)]), cost=1)
    point = front.lines[0].points[0]
    assert (point.x, point.x_low, point.x_high) == tuple(map(pytest.approx, (0.022, 0.0215, 0.0225)))
    assert scaled(front) == (1000, "latency of a batch of 32 [ms], median")
    bare = an_encoder_round("c", 1, 0.9, blocks=8, latency_s=None)
    cycle = an_encoder("c", 0, [an_encoder_round("c", 0, 0.9, latency_s=None), bare], {FREEZE: False}, "similarity")
    assert len(fronts(groups(ReportedSweep("s", SPACE, 0.005, "emotion", (cycle,), {}, {}))[0])) == 1


def test_the_stairs_rise_from_the_cheapest_point():
    """Best points by cost, equal ones once."""
    same = [a_cycle(0, [(0.85, 6), (0.9, 8)], freeze=freeze) for freeze in (False, True)]
    costs = [109_486_854 - gone * 7_087_872 for gone in (6, 4)]
    assert staircase(a_front(*same)) == [(costs[0], 0.85), (costs[1], 0.9)]


def test_the_note_says_that_accuracies_are_of_the_test_split():
    """A front on test data is no choice."""
    assert "Accuracy is test accuracy" in a_front(a_cycle(0, [(0.9, 8)])).note


def test_the_numbers_of_a_front_have_a_row_for_each_point():
    """Dense first; a row says whether it is on the front and whether it was rejected."""
    table = a_front(a_cycle(0, [(0.89, 8), (0.95, 6)])).table
    assert [(row[0], row[1], row[-2], row[-1]) for row in table.rows] == [
        ("dense", 0, False, False), ("no freeze", 1, False, False), ("no freeze", 2, True, False),
    ]  # fmt: skip


def test_points_on_the_front_are_filled_in_the_picture():
    """The same points off the front are open: less of the arm's colour."""

    def painted(front):
        pixels = imread(io.BytesIO(draw(front)))[..., :3]
        return int((abs(pixels - np.array(to_rgb(colour(0, 0)))) < 0.01).all(axis=2).sum())

    front = a_front(a_cycle(0, [(0.95, 8)]))
    arm = front.lines[0]
    off = replace(front, lines=(replace(arm, points=(replace(arm.points[0], best=False),)),))
    assert painted(front) > painted(off) + 50
    crossed = replace(off, lines=(replace(arm, points=(replace(off.lines[0].points[0], rejected=True),)),))
    assert draw(crossed) != draw(off), "a rejected one is crossed out, and off the arm's path"


def test_the_picture_has_the_arms_colours():
    """Filled points are of their arm's colour, the one of its place; a sweep and a point alone can be drawn."""

    def colours(front, places=None):
        pixels = imread(io.BytesIO(draw(front, places)))[..., :3].reshape(-1, 3)
        return {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.unique((pixels * 255).round().astype(int), axis=0)}

    single = a_front(a_cycle(0, [(0.9, 8)]))
    assert colour(0, 0) in colours(single)
    found = colours(single, {"no freeze": 2})
    assert colour(2, 0) in found
    assert colour(0, 0) not in found
    whole = charts(assemble([some_encoders(1)]).sections[0], "front")
    assert len(draw(whole[1])) > 10_000
