"""A front as a PNG, in the manner of the curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import wrap

from matplotlib.axes import Axes

from lt_ray.report.findings.document import Front, FrontArm, FrontPoint
from lt_ray.report.pages.curve import FEWEST_BAND, LABEL, MARKERS, colour, finish, new_figure, plain, shown_range

_MILLION, _THOUSAND = 1e6, 1e3
_GREY, _DENSE = "#777777", "#222222"
_NEAR = (0.04, 0.07)
"""Shares of the axes within which points bear one label"""


def staircase(front: Front) -> list[tuple[float, float]]:
    """Return the (cost, value) of a front's best points, the cheapest first, equal ones once."""
    found = [(p.cost, p.value) for arm in (*front.dense, *front.arms) for p in arm.points if p.best]
    return sorted(set(found))


def values_shown(front: Front) -> tuple[float, float]:
    """Return the lowest and highest value of its picture."""
    points = [point for arm in (*front.dense, *front.arms) for point in arm.points]
    return shown_range(
        [p.value for p in points], [end for p in points if p.n >= FEWEST_BAND for end in (p.low, p.high)]
    )


def scaled(front: Front) -> tuple[float, str]:
    """Return by what a front's costs are multiplied to be shown, and what the axis then says."""
    if front.cost == "latency":
        return _THOUSAND, "latency of a batch of 32 [ms], median"
    most = max((point.cost for arm in (*front.dense, *front.arms) for point in arm.points), default=0)
    unit, many = (_MILLION, "millions") if most >= _MILLION else (_THOUSAND, "thousands")
    return 1 / unit, f"nonzero parameters [{many}]"


def draw_front(front: Front, places: Mapping[str, int] | None = None) -> bytes:
    """Return a front as a PNG: an arm's rounds are joined in order, those on the front are filled.

    - `places`: arm → its place among colours and markers [count]; None = as they come
    """
    figure, axes = new_figure(len(front.arms))
    factor, label = scaled(front)
    steps = [(factor * cost, value) for cost, value in staircase(front)]
    if steps:
        costs, values = zip(*steps, strict=True)
        axes.step(
            costs, values, where="post", color=_GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="front", zorder=1
        )
    everything = [(arm, point) for arm in front.arms for point in arm.points]
    for index, arm in enumerate(front.arms):
        place = index if places is None else places[arm.arm]
        _draw_arm(axes, arm, factor, colour(place, 0), MARKERS[place % len(MARKERS)], _start(front))
    for arm in front.dense:
        _draw_points(axes, arm, factor, _DENSE, "*", 13)
    axes.set_ylim(values_shown(front))
    axes.margins(x=0.06)
    for x, y, said in _labels([(factor * point.cost, point.value, point.round) for _, point in everything], axes):
        axes.annotate(said, (x, y), xytext=(7, 6), textcoords="offset points", fontsize=8, color="#444444", zorder=5)
    axes.set_xlabel(label)
    many = any(point.n > 1 for _, point in everything)
    legend = "filled: on the front;\nnumbers: rounds" + (";\nbars: 95 % interval" if many else "")
    return finish(figure, axes, front.title, front.metric, legend)


def _labels(points: Sequence[tuple[float, float, int]], axes: Axes) -> list[tuple[float, float, str]]:
    """The rounds of points, those of near ones together: (x, y, text)."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    groups: list[list[tuple[float, float, int]]] = []
    for x, y, index in points:
        for group in groups:
            at, level, _ = group[0]
            if abs(x - at) < _NEAR[0] * (right - left) and abs(y - level) < _NEAR[1] * (high - low):
                group.append((x, y, index))
                break
        else:
            groups.append([(x, y, index)])
    return [
        (max(x for x, _, _ in group), max(y for _, y, _ in group), ", ".join(map(str, sorted({i for *_, i in group}))))
        for group in groups
    ]


def _start(front: Front) -> FrontPoint | None:
    """The dense point where every arm begins; None where there are several."""
    points = [point for arm in front.dense for point in arm.points]
    return points[0] if len(points) == 1 else None


def _draw_arm(axes: Axes, arm: FrontArm, factor: float, drawn: str, marker: str, start: FrontPoint | None) -> None:
    path = [point for point in (*([start] if start else []), *arm.points) if not point.rejected]
    axes.plot(
        [factor * point.cost for point in path], [point.value for point in path], color=drawn, linewidth=1, alpha=0.4
    )
    _draw_points(axes, arm, factor, drawn, marker, 7)


def _draw_points(axes: Axes, arm: FrontArm, factor: float, drawn: str, marker: str, size: float) -> None:
    for point in arm.points:
        x, y = factor * point.cost, point.value
        ends = [[abs(y - end)] for end in (point.low, point.high) if end is not None]
        sides = [[abs(x - factor * end)] for end in (point.cost_low, point.cost_high) if end is not None]
        axes.errorbar(
            x, y, yerr=ends if len(ends) == 2 else None, xerr=sides if len(sides) == 2 else None, color=drawn,
            alpha=0.3, linewidth=1, zorder=2,
        )  # fmt: skip
        axes.plot(
            x, y, linestyle="", marker=marker, markersize=size, color=drawn, zorder=3,
            markerfacecolor=drawn if point.best else "white", markeredgewidth=1.4,
        )  # fmt: skip
        if point.rejected:
            axes.plot(x, y, linestyle="", marker="x", markersize=size + 3, color=_DENSE, markeredgewidth=1.2, zorder=4)
    axes.plot(
        math.nan, math.nan, linestyle="", marker=marker, markersize=size, color=drawn,
        label="\n".join(wrap(plain(arm.arm), LABEL)) or " ",
    )  # fmt: skip
