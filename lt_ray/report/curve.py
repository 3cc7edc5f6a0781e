"""Accuracy against sparsity, one line an arm."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lt_ray.report.rows import ReportedCycle

# Okabe & Ito's colours, told apart with every kind of colour blindness; yellow is left out, it is too light for lines.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_WHITE = 255
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = ("-", "--", ":")
_CROWDED = 0.06
"""Share of the axis that a label takes"""
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def draw(arms: Mapping[str, Sequence[ReportedCycle]], tolerance: float, title: str) -> bytes:
    """Return the accuracy-sparsity curve as a PNG.

    The axis is logarithmic in the remaining share, so that equal prunings are equal steps. A line is the mean over an
    arm's cycles, at the mean sparsity of its round; small points are the cycles. The grey lines are the dense accuracy,
    mean over the sweep, and what a winning ticket may lose.

    - `arms`: arm → its cycles; `tolerance`: test accuracy that a winning ticket may lose [0, 1]
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    deepest = 0.0
    for index, (arm, cycles) in enumerate(arms.items()):
        deepest = max(deepest, _draw_arm(axes, index, arm, cycles))
    _draw_dense(axes, arms, tolerance)
    _scale(axes, deepest)
    axes.set_xlabel("sparsity: pruned share of the prunable weights (log scale of what remains)")
    axes.set_ylabel("test accuracy")
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if arms:
        many = any(len(cycles) > 1 for cycles in arms.values())
        legend = figure.legend(
            *axes.get_legend_handles_labels(),
            loc="outside right upper",
            frameon=False,
            fontsize=9,
            title="mean of (n) cycles" if many else None,
            alignment="left",
        )
        legend.get_title().set_fontsize(9)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


def colour(arm: int, cycle: int) -> str:
    """Return the colour of an arm, paler for its second cycle and the later ones: `#0072b2`.

    - `arm`, `cycle`: places among the arms and among the arm's cycles, from 0 [count]
    """
    pale = min(0.25 * cycle, 0.6)
    own = _COLOURS[arm % len(_COLOURS)]
    parts = [int(own[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + pale * (_WHITE - part)):02x}" for part in parts)


def _draw_arm(axes: Axes, index: int, arm: str, cycles: Sequence[ReportedCycle]) -> float:
    """Draw one arm and return its greatest finite depth."""
    drawn = colour(index, 0)
    line = _STYLES[index // len(_COLOURS) % len(_STYLES)]
    rounds: dict[int, list[tuple[float, float]]] = {}
    for cycle in cycles:
        for result in cycle.results:
            rounds.setdefault(result.round, []).append((_depth(result.sparsity), result.test_accuracy))
    points = [point for found in rounds.values() for point in found]
    if any(len(found) > 1 for found in rounds.values()):
        axes.plot(*_columns(points), linestyle="", marker=".", markersize=5, color=drawn, alpha=0.35)
    means = [tuple(map(statistics.fmean, zip(*rounds[index], strict=True))) for index in sorted(rounds)]
    many = max((len(found) for found in rounds.values()), default=0)
    axes.plot(
        *_columns(means),
        label=f"{arm} ({many})" if many > 1 else arm,
        color=drawn,
        linestyle=line,
        marker=_MARKERS[index % len(_MARKERS)],
        markersize=5,
        linewidth=1.8,
    )
    return max((depth for depth, _ in points), default=0.0)


def _draw_dense(axes: Axes, arms: Mapping[str, Sequence[ReportedCycle]], tolerance: float) -> None:
    dense = {
        result.key: result.test_accuracy
        for cycles in arms.values()
        for cycle in cycles
        for result in cycle.results
        if result.round == 0
    }
    if dense:
        level = statistics.fmean(dense.values())
        axes.axhline(level, color="#777777", linewidth=1, label="dense, mean")
        axes.axhline(
            level - tolerance, color="#777777", linewidth=1, linestyle=(0, (4, 3)), label=f"dense − {tolerance:g}"
        )


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


def _columns(points: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]
