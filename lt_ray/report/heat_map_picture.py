"""A heat map of similar blocks as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lt_ray.report.curve import as_png, plain
from lt_ray.report.document import HeatMap, Reading
from lt_ray.report.heat_map import MOST_READINGS, MOST_VALUES, borders, fate, label, lowest, shade, style_of, written

_STYLES = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))
"""Of the borders of each clustering"""
_INSET = 0.07
"""How far borders lie within those of the clustering before, so that both are seen [cells]"""
_DARK, _GREY = "#111111", "#555555"


def draw_heat_map(heat_map: HeatMap) -> bytes:
    """Return a heat map as a PNG.

    Squares along the diagonal are clusters; below the matrix a row for each reading says what became of each block.
    Axes bear the blocks' positions in the dense model, struck out where every reading removed them.
    """
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
    everywhere = [all(position in reading.removed for reading in readings) for position in range(many)]
    names = [
        "".join(f"{letter}\u0336" for letter in str(origin)) if gone and readings else str(origin)
        for origin, gone in zip(heat_map.origins, everywhere, strict=True)
    ]
    axes.set_xticks(range(many), names, fontsize=9 if many <= MOST_VALUES else 6)
    axes.set_yticks(range(many), names, fontsize=9 if many <= MOST_VALUES else 6)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel("block, by its position in the dense model", fontsize=9)
    axes.xaxis.set_label_position("top")
    axes.set_xlim(-0.6, many - 0.4)
    axes.set_ylim(many - 0.4 + 1.15 * rows + (0.25 if rows else 0), -0.6)
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    letters = int(9 * (side + 1.6))
    axes.set_title("\n".join(wrap(plain(heat_map.title), letters)), loc="left", fontsize=11, fontweight="bold", pad=12)
    figure.colorbar(
        ScalarMappable(Normalize(low, 1), colormaps["viridis"]),
        ax=axes,
        shrink=0.6,
        aspect=24,
        pad=0.02,
        label="linear CKA",
    )
    if rows:
        figure.supxlabel("● kept    ○ kept, not trained    × removed", fontsize=9, color=_GREY)
    return as_png(figure)


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
    axes.plot([-0.45, 0.25], [y - 0.5, y - 0.5], color=_DARK, linewidth=1.6, linestyle=_STYLES[style])
    said = f"{label(reading)}: {reading.who}"
    said = said if len(said) <= letters else f"{said[: letters - 1]}…"
    axes.text(0.4, y - 0.5, plain(said), fontsize=8, va="center", color=_DARK)
    for position in range(many):
        what = fate(reading, position)
        axes.plot(
            position, y, linestyle="", color=_DARK, markersize=6 if many <= MOST_VALUES else 4,
            marker="x" if what == "removed" else "o", markeredgewidth=1.4,
            markerfacecolor="white" if what == "not trained" else _DARK,
        )  # fmt: skip
