"""The test split against sparsity, or against a cost, one line an arm."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from lt_ray.report.findings.document import Curves, Front, Line, Point
from lt_ray.report.findings.words import Wording

# Okabe & Ito's colours, told apart with every kind of colour blindness; yellow is left out, it is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FEWEST_BAND = 3
"""Seeds from which an interval is drawn: that of two is a dozen times as wide as they are apart [count]"""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = ("-", "--", ":")
_GREY, _DENSE, _DASHED = "#777777", "#222222", (0, (4, 3))
_CROWDED = 0.06
"""Share of the axis that a label takes"""
_NEAR = (0.04, 0.07)
"""Shares of the axes within which points of a front bear one label"""
_LABEL, _TITLE = 30, 90
"""Letters of a line in the legend, and of one in the title"""
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def draw(chart: Curves | Front, places: Mapping[str, int] | None = None) -> bytes:
    """Return curves or a front as a PNG.

    Curves: the axis is logarithmic in the remaining share, so that equal prunings are equal steps. A line is the mean
    over an arm's seeds, at the mean sparsity of its round, with its 95 % interval as a band; small points are the
    cycles. The grey lines are the dense mean and what a winning ticket keeps of it. Front: an arm's rounds are joined
    in order, those on the front are filled.

    - `places`: arm → its place among colours and markers [count]; None = as they come
    """
    figure = Figure(figsize=(9, max(5.2, 0.42 * len(chart.lines))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    in_place = [(index if places is None else places[line.arm], line) for index, line in enumerate(chart.lines)]
    legend = _draw_curves(axes, chart, in_place) if isinstance(chart, Curves) else _draw_front(axes, chart, in_place)
    axes.set_ylabel(f"test {chart.metric.label}")
    axes.set_title("\n".join(wrap(plain(chart.title), _TITLE)), loc="left", fontsize=11, fontweight="bold")
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside right upper", frameon=False, fontsize=9, title=legend or None,
            title_fontsize=9, alignment="left",
        )  # fmt: skip
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, metadata={"Software": None})  # equal pictures make equal bytes
    return file.getvalue()


def _draw_curves(axes: Axes, curves: Curves, lines: Sequence[tuple[int, Line]]) -> str:
    """Draw curves, and return the legend's title."""
    for place, line in lines:
        drawn, depths = colour(place, 0), [_depth(point.x) for point in line.points]
        banded = [point.n >= FEWEST_BAND and point.low is not None for point in line.points]
        lows, highs = ([p.low for p in line.points], [p.high for p in line.points])
        axes.fill_between(depths, _floats(lows), _floats(highs), where=banded, color=drawn, alpha=0.15, linewidth=0)
        if line.cycles > 1:
            members = [(depth, value) for depth, p in zip(depths, line.points, strict=True) for value in p.members]
            axes.plot(*zip(*members, strict=True), linestyle="", marker=".", markersize=5, color=drawn, alpha=0.35)
        axes.plot(
            depths, [point.mean for point in line.points], color=drawn, linewidth=1.8, markersize=5,
            linestyle=_STYLES[place // len(COLOURS) % len(_STYLES)], marker=_MARKERS[place % len(_MARKERS)],
            label=_in_legend(f"{line.arm} ({line.cycles})" if line.cycles > 1 else line.arm),
        )  # fmt: skip
    if curves.dense is not None and curves.bound is not None:
        kept = Wording(curves.metric).bound("dense", curves.tolerance)
        axes.axhline(curves.dense, color=_GREY, linewidth=1, label="dense, mean")
        axes.axhline(curves.bound, color=_GREY, linewidth=1, linestyle=_DASHED, label=kept)
    end = max((_depth(point.x) for point in curves.points if math.isfinite(point.x)), default=0.0)
    end = max(end, _depth(0.2))
    ticks: list[float] = []
    for tick in _TICKS:
        if _depth(tick) <= end * 1.02 and (not ticks or _depth(tick) - _depth(ticks[-1]) > _CROWDED * end):
            ticks.append(tick)
    axes.set_xticks([_depth(tick) for tick in ticks], [f"{100 * tick:g} %" for tick in ticks])
    axes.set(xlim=(-0.03 * end, 1.03 * end), ylim=value_range(curves))
    axes.set_xlabel("sparsity: pruned share of the prunable weights (log scale of what remains)")
    most = max((point.n for point in curves.points), default=0)
    interval = ",\n95 % interval" if most >= FEWEST_BAND else ""
    return f"mean over seeds\nof (n) cycles{interval}" if most > 1 else ""


def _draw_front(axes: Axes, front: Front, lines: Sequence[tuple[int, Line]]) -> str:
    """Draw a front, and return the legend's title."""
    factor, label = scaled(front)
    if steps := staircase(front):
        x, y = [factor * cost for cost, _ in steps], [value for _, value in steps]
        axes.step(x, y, where="post", color=_GREY, linewidth=1.2, linestyle=_DASHED, label="front", zorder=1)
    dense = [point for line in front.dense for point in line.points]
    for place, line in lines:
        # Every arm begins at the dense model, where there is one.
        path = [p for p in (*(dense if len(dense) == 1 else ()), *line.points) if not p.rejected]
        axes.plot([factor * p.x for p in path], [p.mean for p in path], color=colour(place, 0), linewidth=1, alpha=0.4)
        _draw_points(axes, line, factor, colour(place, 0), _MARKERS[place % len(_MARKERS)], 7)
    for line in front.dense:
        _draw_points(axes, line, factor, _DENSE, "*", 13)
    axes.set_ylim(value_range(front))
    axes.margins(x=0.06)
    points = [point for line in front.lines for point in line.points]
    for near in _near(points, factor, axes):
        corner = max(factor * point.x for point in near), max(point.mean for point in near)
        said = ", ".join(map(str, sorted({point.round for point in near})))
        axes.annotate(said, corner, xytext=(7, 6), textcoords="offset points", fontsize=8, color="#444444", zorder=5)
    axes.set_xlabel(label)
    bars = ";\nbars: 95 % interval" if any(point.n > 1 for point in points) else ""
    return f"filled: on the front;\nnumbers: rounds{bars}"


def _draw_points(axes: Axes, line: Line, factor: float, drawn: str, marker: str, size: float) -> None:
    for point in line.points:
        x, y = factor * point.x, point.mean
        ends = [[abs(y - end)] for end in (point.low, point.high) if end is not None]
        sides = [[abs(x - factor * end)] for end in (point.x_low, point.x_high) if end is not None]
        axes.errorbar(x, y, yerr=ends or None, xerr=sides or None, color=drawn, alpha=0.3, linewidth=1, zorder=2)
        axes.plot(
            x, y, linestyle="", marker=marker, markersize=size, color=drawn, zorder=3,
            markerfacecolor=drawn if point.best else "white", markeredgewidth=1.4,
        )  # fmt: skip
        if point.rejected:
            axes.plot(x, y, linestyle="", marker="x", markersize=size + 3, color=_DENSE, markeredgewidth=1.2, zorder=4)
    axes.plot(math.nan, math.nan, linestyle="", marker=marker, markersize=size, color=drawn, label=_in_legend(line.arm))


def _near(points: Iterable[Point], factor: float, axes: Axes) -> list[list[Point]]:
    """Points that lie too near to each other to have a label each, together."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    wide, tall = _NEAR[0] * (right - left), _NEAR[1] * (high - low)
    groups: list[list[Point]] = []
    for point in points:
        for group in groups:
            if factor * abs(point.x - group[0].x) < wide and abs(point.mean - group[0].mean) < tall:
                group.append(point)
                break
        else:
            groups.append([point])
    return groups


def staircase(front: Front) -> list[tuple[float, float]]:
    """Return the (cost, value) of a front's best points, the cheapest first, equal ones once."""
    return sorted({(point.x, point.mean) for point in front.points if point.best})


def scaled(front: Front) -> tuple[float, str]:
    """Return by what a front's costs are multiplied to be shown, and what the axis then says."""
    if front.cost == "latency":
        return 1e3, "latency of a batch of 32 [ms], median"
    most = max((point.x for point in front.points), default=0)
    return (1e-6, "nonzero parameters [millions]") if most >= 1e6 else (1e-3, "nonzero parameters [thousands]")


def value_range(chart: Curves | Front) -> tuple[float, float]:
    """Return the lowest and highest value of a picture.

    Every cycle is in it; an interval adds at most a third of that range to each side, since one of two cycles can be
    many times wider than all there is to see.
    """
    levels = [value for point in chart.points for value in (point.mean, *point.members)]
    levels += [level for level in (chart.dense, chart.bound) if level is not None] if isinstance(chart, Curves) else []
    levels = [level for level in levels if math.isfinite(level)] or [0.0, 1.0]
    ends = [end for point in chart.points if point.n >= FEWEST_BAND for end in (point.low, point.high)]
    known = [end for end in ends if end is not None and math.isfinite(end)]
    low, high = min(levels), max(levels)
    most = (high - low) / 3
    low, high = max(low - most, min([low, *known])), min(high + most, max([high, *known]))
    margin = 0.04 * (high - low) or 0.01
    return low - margin, high + margin


def colour(arm: int, cycle: int) -> str:
    """Return the colour of an arm, paler for its second cycle and the later ones: `#0072b2`.

    - `arm`, `cycle`: places among the arms and among the arm's cycles, from 0 [count]
    """
    pale = min(0.25 * cycle, 0.6)
    red, green, blue = (part + pale * (1 - part) for part in to_rgb(COLOURS[arm % len(COLOURS)]))
    return to_hex((red, green, blue))


def plain(text: str) -> str:
    """Return text that matplotlib takes literally: no formulas, and no label that is hidden for its underscore."""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def _in_legend(arm: str) -> str:
    return "\n".join(wrap(plain(arm), _LABEL)) or " "


def _floats(values: Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _depth(sparsity: float) -> float:
    """−ln(remaining share); a cycle that pruned everything is drawn as one in a million."""
    return -math.log(max(1 - sparsity, 1e-6))
