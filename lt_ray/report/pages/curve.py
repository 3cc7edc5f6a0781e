"""The test split against sparsity, one line an arm."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lt_ray.cycle.metrics import Metric
from lt_ray.report.findings.document import Curve, Curves
from lt_ray.report.findings.words import Wording

# Okabe & Ito's colours, told apart with every kind of colour blindness; yellow is left out, it is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_WHITE = 255
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = ("-", "--", ":")
_CROWDED = 0.06
"""Share of the axis that a label takes"""
FEWEST_BAND = 3
"""Seeds from which an interval is drawn: that of two is a dozen times as wide as they are apart [count]"""
LABEL, TITLE = 30, 90
"""Letters of a line in the legend, and of one in the title"""
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def draw_curves(curves: Curves, places: Mapping[str, int] | None = None) -> bytes:
    """Return curves as a PNG.

    The axis is logarithmic in the remaining share, so that equal prunings are equal steps. A line is the mean over an
    arm's seeds, at the mean sparsity of its round, with its 95 % interval as a band; small points are the cycles. The
    grey lines are the dense mean and what a winning ticket keeps of it.

    - `places`: arm → its place among colours and markers [count]; None = as the curves come
    """
    figure, axes = new_figure(len(curves.curves))
    deepest = 0.0
    for index, curve in enumerate(curves.curves):
        place = index if places is None else places[curve.arm]
        points = [point for point in curve.points if math.isfinite(point.mean) and math.isfinite(point.sparsity)]
        means = [(_depth(point.sparsity), point.mean) for point in points]
        members = [[(_depth(point.sparsity), member) for member in point.members] for point in points]
        _draw_band(axes, place, curve)
        _draw_arm(axes, place, curve.arm, means, members)
        deepest = max((deepest, *(depth for depth, _ in means)))
    axes.set_ylim(value_range(curves))
    many = any(point.n > 1 for curve in curves.curves for point in curve.points)
    band = any(point.n >= FEWEST_BAND for curve in curves.curves for point in curve.points)
    interval = ",\n95 % interval" if band else ""
    legend = f"mean over seeds\nof (n) cycles{interval}" if many else ""
    return _finish(figure, axes, curves, deepest, legend)


def value_range(curves: Curves) -> tuple[float, float]:
    """Return the lowest and highest value of a picture.

    Every cycle is in it; an interval adds at most a third of that range to each side, since one of two cycles can be
    many times wider than all there is to see.
    """
    points = [point for curve in curves.curves for point in curve.points]
    levels = [level for level in (curves.dense, curves.bound) if level is not None]
    levels += [value for point in points for value in (point.mean, *point.members)]
    return shown_range(levels, [end for p in points if p.n >= FEWEST_BAND for end in (p.low, p.high)])


def shown_range(levels: Iterable[float], ends: Iterable[float | None]) -> tuple[float, float]:
    """Return the lowest and highest of what a picture shows: all of `levels`, and `ends` of intervals in part.

    - `levels`: finite or not; `ends`: at most a third of the range of `levels` is added to each side
    """
    levels = [value for value in levels if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(levels), max(levels)
    most = (high - low) / 3
    told = [end for end in ends if end is not None and math.isfinite(end)]
    low, high = max(low - most, min([low, *told])), min(high + most, max([high, *told]))
    margin = 0.04 * (high - low) or 0.01
    return low - margin, high + margin


def colour(arm: int, cycle: int) -> str:
    """Return the colour of an arm, paler for its second cycle and the later ones: `#0072b2`.

    - `arm`, `cycle`: places among the arms and among the arm's cycles, from 0 [count]
    """
    pale = min(0.25 * cycle, 0.6)
    own = COLOURS[arm % len(COLOURS)]
    parts = [int(own[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + pale * (_WHITE - part)):02x}" for part in parts)


def new_figure(arms: int = 0) -> tuple[Figure, Axes]:
    """Return an empty picture and its axes, high enough for a legend of so many arms [count]."""
    figure = Figure(figsize=(9, max(5.2, 0.42 * arms)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _draw_arm(
    axes: Axes,
    index: int,
    arm: str,
    means: Sequence[Sequence[float]],
    members: Sequence[Sequence[tuple[float, float]]],
) -> None:
    """Draw an arm's line and, where a round has several cycles, a point for each; both as (depth, value)."""
    drawn = colour(index, 0)
    many = max((len(found) for found in members), default=0)
    if many > 1:
        points = [point for found in members for point in found]
        axes.plot(*_columns(points), linestyle="", marker=".", markersize=5, color=drawn, alpha=0.35)
    axes.plot(
        *_columns(means),
        label="\n".join(wrap(plain(f"{arm} ({many})" if many > 1 else arm), LABEL)) or " ",
        color=drawn,
        linestyle=_STYLES[index // len(COLOURS) % len(_STYLES)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=5,
        linewidth=1.8,
    )


def _draw_band(axes: Axes, index: int, curve: Curve) -> None:
    low, high = ([math.nan if end is None else end for end in ends] for ends in _ends(curve))
    depths = [_depth(point.sparsity) for point in curve.points]
    axes.fill_between(depths, low, high, color=colour(index, 0), alpha=0.15, linewidth=0)


def _ends(curve: Curve) -> tuple[list[float | None], list[float | None]]:
    drawn = [point.n >= FEWEST_BAND for point in curve.points]
    lows = [point.low if own else None for point, own in zip(curve.points, drawn, strict=True)]
    return lows, [point.high if own else None for point, own in zip(curve.points, drawn, strict=True)]


def _finish(figure: Figure, axes: Axes, curves: Curves, deepest: float, legend: str) -> bytes:
    """Add what belongs to no arm, and return the PNG; `legend` is the legend's title."""
    if curves.dense is not None and curves.bound is not None:
        grey, own = "#777777", Wording(curves.metric)
        axes.axhline(curves.dense, color=grey, linewidth=1, label="dense, mean")
        kept = own.bound("dense", curves.tolerance)
        axes.axhline(curves.bound, color=grey, linewidth=1, linestyle=(0, (4, 3)), label=kept)
    _scale(axes, deepest)
    axes.set_xlabel("sparsity: pruned share of the prunable weights (log scale of what remains)")
    return finish(figure, axes, curves.title, curves.metric, legend)


def finish(figure: Figure, axes: Axes, title: str, metric: Metric, legend: str) -> bytes:
    """Add title, grid and legend to a picture of the test split, and return it as a PNG.

    - `legend`: the legend's title
    """
    axes.set_ylabel(f"test {metric.label}")
    axes.set_title("\n".join(wrap(plain(title), TITLE)), loc="left", fontsize=11, fontweight="bold")
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        drawn = figure.legend(
            handles,
            labels,
            loc="outside right upper",
            frameon=False,
            fontsize=9,
            title=legend or None,
            alignment="left",
        )
        drawn.get_title().set_fontsize(9)
    return as_png(figure)


def as_png(figure: Figure) -> bytes:
    """Return a picture's bytes: equal pictures make equal ones."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


def _scale(axes: Axes, deepest: float) -> None:
    end = max(deepest, _depth(0.2))
    ticks: list[float] = []
    for tick in _TICKS:
        if _depth(tick) <= end * 1.02 and (not ticks or _depth(tick) - _depth(ticks[-1]) > _CROWDED * end):
            ticks.append(tick)
    axes.set_xticks([_depth(tick) for tick in ticks], [f"{100 * tick:g} %" for tick in ticks])
    axes.set_xlim(-0.03 * end, 1.03 * end)


def _depth(sparsity: float) -> float:
    """−ln(remaining share); a cycle that pruned everything is drawn as one in a million."""
    return -math.log(max(1 - sparsity, 1e-6))


def plain(text: str) -> str:
    """Return text that matplotlib takes literally: no formulas, and no label that is hidden for its underscore."""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def _columns(points: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]
