"""A heat map of similar blocks: one drawing, as a PNG and within the page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lt_ray.report.findings.document import HeatMap, Reading
from lt_ray.report.findings.heat_map import fate, label
from lt_ray.report.pages.curve import as_png, plain

MOST_VALUES = 16
"""Blocks up to which each cell says its value [count]"""
MOST_READINGS = 4
"""Readings of one matrix that are drawn [count]"""
_MAP = colormaps["viridis"]
"""Perceptually uniform: equal steps of similarity look equal"""
_NOTHING = "#999999"
_STYLES = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))
"""Of the borders of each clustering"""
_INSET = 0.07
"""How far borders lie within those of the clustering before, so that both are seen [cells]"""
_DARK, _INK = "#111111", "#1b1d21"
"""Of what lies on the cells, and of all else: the page draws that in its own colour of text"""
_LOOK: dict[Any, str] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    "svg.fonttype": "none",
    "svg.hashsalt": "lt_ray",
}


def draw_heat_map(heat_map: HeatMap) -> bytes:
    """Return a heat map as a PNG.

    Squares along the diagonal are clusters; below the matrix a row for each reading says what became of each block.
    Axes bear the blocks' positions in the dense model, struck out where every reading removed them.
    """
    with rc_context(_LOOK):
        return as_png(_figure(heat_map, heat_map.title))


def inline_heat_map(heat_map: HeatMap, name: str) -> str:
    """Return the same as an SVG element without its title, in the colour of the text around it.

    - `name`: what its ids begin with
    """
    file = io.StringIO()
    with rc_context(_LOOK):
        _figure(heat_map, "").savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :])
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return svg.replace(_INK, "currentColor").replace(
        "<svg ", f'<svg class="heat" role="img" aria-labelledby="{name}" ', 1
    )


def runs(cluster: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last position of each run of neighbours: what a border is drawn around."""
    found: list[tuple[int, int]] = []
    for position in sorted(cluster):
        if found and position == found[-1][1] + 1:
            found[-1] = (found[-1][0], position)
        else:
            found.append((position, position))
    return found


def borders(readings: Sequence[Reading]) -> list[list[tuple[int, int]]]:
    """Return, for each of the distinct ways in which readings cluster, the first and last position of each border.

    A block that is alike to none needs no border.
    """
    return [
        [run for cluster in clusters if len(cluster) > 1 for run in runs(cluster)]
        for clusters in _clusterings(readings)
    ]


def style_of(reading: Reading, readings: Sequence[Reading]) -> int:
    """Return a reading's place in `borders`, which says how they are drawn [count]."""
    return _clusterings(readings).index(reading.clusters)


def _clusterings(readings: Sequence[Reading]) -> list[tuple[tuple[int, ...], ...]]:
    return list(dict.fromkeys(reading.clusters for reading in readings))


def lowest(heat_map: HeatMap) -> float:
    """Return the similarity at which the colours begin, a tenth of [0, 0.9]; they end at 1."""
    values = [value for row in heat_map.cka for value in row if math.isfinite(value)]
    return min(max(math.floor(10 * min(values, default=0.0)) / 10, 0.0), 0.9)


def shade(value: float, low: float) -> tuple[str, str]:
    """Return a cell's colour and that of the text on it: `#440154`, `#ffffff`.

    - `value`: similarity [0, 1]; `low`: where the colours begin [0, 1)
    """
    if not math.isfinite(value):
        return _NOTHING, "#000000"
    red, green, blue, _ = _MAP(min(max((value - low) / (1 - low), 0.0), 1.0))
    # Where black and white are equally far in luminance (W3C, WCAG 2.2).
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return to_hex((red, green, blue)), "#000000" if luminance > 0.179 else "#ffffff"


def written(value: float) -> str:
    """Return a similarity as a cell has room for: `.985`, `1`, `−.012`."""
    if not math.isfinite(value):
        return "–"
    if value == 1:
        return "1"
    return f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")


def _figure(heat_map: HeatMap, title: str) -> Figure:
    many, readings = len(heat_map.origins), heat_map.readings[:MOST_READINGS]
    side = min(max(0.48 * many, 3.4), 10)
    rows = len(readings)
    figure = Figure(figsize=(side + 2.0, side + 1.2 + 0.52 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    low = lowest(heat_map)
    _draw_cells(axes, heat_map, low)
    for style, found in enumerate(borders(readings)):
        _draw_borders(axes, found, style)
    for place, reading in enumerate(readings):
        _draw_fates(axes, reading, place, style_of(reading, readings), many, int(side / 0.068) - 8)
    _draw_axes(axes, heat_map, readings)
    if title:
        letters = int(9 * (side + 1.6))
        axes.set_title("\n".join(wrap(plain(title), letters)), loc="left", fontsize=11, fontweight="bold", pad=12)
    scale = ScalarMappable(Normalize(low, 1), _MAP)
    figure.colorbar(scale, ax=axes, shrink=0.6, aspect=24, pad=0.02, label="linear CKA")
    if rows:
        figure.supxlabel("● kept\u2003○ kept, not trained\u2003× removed", fontsize=9)
    return figure


def _draw_axes(axes: Axes, heat_map: HeatMap, readings: Sequence[Reading]) -> None:
    many, rows = len(heat_map.origins), len(readings)
    everywhere = [all(position in reading.removed for reading in readings) for position in range(many)]
    names = [
        "".join(f"{letter}\u0336" for letter in str(origin)) if gone and readings else str(origin)
        for origin, gone in zip(heat_map.origins, everywhere, strict=True)
    ]
    size = 9 if many <= MOST_VALUES else 6
    axes.set_xticks(range(many), names, fontsize=size)
    axes.set_yticks(range(many), names, fontsize=size)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel("block, by its position in the dense model", fontsize=9)
    axes.xaxis.set_label_position("top")
    axes.set_xlim(-0.6, many - 0.4)
    axes.set_ylim(many - 0.4 + 1.15 * rows + (0.25 if rows else 0), -0.6)
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)


def _draw_cells(axes: Axes, heat_map: HeatMap, low: float) -> None:
    many = len(heat_map.origins)
    shades = [[shade(value, low) for value in row] for row in heat_map.cka]
    axes.imshow([[to_rgb(fill) for fill, _ in row] for row in shades])
    for edge in range(1, many):
        axes.plot([edge - 0.5] * 2, [-0.5, many - 0.5], color="white", linewidth=0.5)
        axes.plot([-0.5, many - 0.5], [edge - 0.5] * 2, color="white", linewidth=0.5)
    for y, row in enumerate(heat_map.cka if many <= MOST_VALUES else ()):
        for x, value in enumerate(row):
            axes.text(x, y, written(value), color=shades[y][x][1], fontsize=7.5, ha="center", va="center")


def _draw_borders(axes: Axes, runs: Sequence[tuple[int, int]], style: int) -> None:
    for first, last in runs:
        corner, size = first - 0.5 + style * _INSET, last - first + 1 - 2 * style * _INSET
        for colour, width in (("white", 3.6), (_DARK, 1.8)):
            line = "-" if colour == "white" else _STYLES[style]
            axes.add_patch(
                Rectangle(
                    (corner, corner),
                    size,
                    size,
                    fill=False,
                    edgecolor=colour,
                    linewidth=width,
                    linestyle=line,
                    zorder=3,
                )
            )


def _draw_fates(axes: Axes, reading: Reading, place: int, style: int, many: int, letters: int) -> None:
    """Draw a reading's row of marks below the matrix, its name of so many letters at most above them."""
    y = many + 0.35 + 1.15 * place
    axes.plot([-0.45, 0.25], [y - 0.5, y - 0.5], color=_INK, linewidth=1.6, linestyle=_STYLES[style])
    said = f"{label(reading)}: {reading.who}"
    said = said if len(said) <= letters else f"{said[: letters - 1]}…"
    axes.text(0.4, y - 0.5, plain(said), fontsize=8, va="center", color=_INK)
    for position in range(many):
        what = fate(reading, position)
        axes.plot(
            position, y, linestyle="", color=_INK, markersize=6 if many <= MOST_VALUES else 4,
            marker="x" if what == "removed" else "o", markeredgewidth=1.4,
            markerfacecolor="none" if what == "not trained" else _INK,
        )  # fmt: skip
