"""A heat map of similar blocks as an inline SVG that needs no script: a cell tells its numbers when pointed at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from lt_ray.report.document import HeatMap, Reading
from lt_ray.report.heat_map import MOST_READINGS, MOST_VALUES, borders, fate, label, lowest, shade, style_of, written

_CELL, _LEFT, _TOP, _RIGHT = 40, 34, 44, 74
"""The SVG's own units"""
_ROW = 46
_DASHES = ("", "8 4", "2 3", "12 4 2 4")
_INSET = 3
_STEPS = 32
"""Rectangles of the colour scale [count]"""


def as_svg(heat_map: HeatMap, name: str) -> str:
    """Return a heat map as an SVG element.

    - `name`: id of the heading it is labelled by
    """
    many, readings = len(heat_map.origins), heat_map.readings[:MOST_READINGS]
    low = lowest(heat_map)
    side = many * _CELL
    # Names of readings are text: they need some room, however small the matrix.
    width = _LEFT + max(side, 7 * _CELL) + _RIGHT
    height = _TOP + side + len(readings) * _ROW + (34 if readings else 8)
    parts = [
        f'<svg class="heat" viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" '
        f'aria-labelledby="{name}">'
    ]
    parts += _axes(heat_map, readings)
    parts += _cells(heat_map, low)
    for style, found in enumerate(borders(readings)):
        parts += _borders(found, style)
    for place, reading in enumerate(readings):
        parts += _fates(heat_map, reading, place, style_of(reading, readings))
    parts += _scale(low, _LEFT + side + 16, side)
    if readings:
        y = _TOP + side + len(readings) * _ROW + 24
        parts.append(f'<text class="soft" x="{_LEFT}" y="{y}">● kept\u2003○ kept, not trained\u2003× removed</text>')
    return "".join([*parts, "</svg>"])


def _axes(heat_map: HeatMap, readings: tuple[Reading, ...]) -> Iterator[str]:
    yield f'<text class="soft" x="{_LEFT}" y="14">block, by its position in the dense model</text>'
    for position, origin in enumerate(heat_map.origins):
        gone = bool(readings) and all(position in reading.removed for reading in readings)
        own, middle = (' class="gone"' if gone else ""), position * _CELL + _CELL / 2
        yield f'<text{own} x="{_LEFT + middle:g}" y="{_TOP - 8}" text-anchor="middle">{origin}</text>'
        yield f'<text{own} x="{_LEFT - 8}" y="{_TOP + middle + 4:g}" text-anchor="end">{origin}</text>'


def _cells(heat_map: HeatMap, low: float) -> Iterator[str]:
    small = len(heat_map.origins) <= MOST_VALUES
    for row, values in enumerate(heat_map.cka):
        for column, value in enumerate(values):
            fill, ink = shade(value, low)
            x, y = _LEFT + column * _CELL, _TOP + row * _CELL
            yield f'<g class="cell"><rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="{fill}"/>'
            if small:
                yield f'<text x="{x + _CELL // 2}" y="{y + 25}" fill="{ink}">{written(value)}</text>'
            yield f"<title>{escape(_told(heat_map, row, column))}</title></g>"


def _told(heat_map: HeatMap, row: int, column: int) -> str:
    """What pointing at a cell tells."""
    one, other = heat_map.origins[row], heat_map.origins[column]
    value = heat_map.cka[row][column]
    said = [f"blocks {one} and {other}: CKA {value:.4f}" if row != column else f"block {one}"]
    for reading in heat_map.readings[:MOST_READINGS]:
        if row == column:
            said.append(f"{fate(reading, row)} at {label(reading)}")
        else:
            same = any(row in cluster and column in cluster for cluster in reading.clusters)
            said.append(f"{'one cluster' if same else 'two clusters'} at {label(reading)}")
    return "\n".join(said)


def _borders(runs: Sequence[tuple[int, int]], style: int) -> Iterator[str]:
    inset = style * _INSET
    for first, last in runs:
        corner, size = first * _CELL + inset, (last - first + 1) * _CELL - 2 * inset
        where = f'x="{_LEFT + corner}" y="{_TOP + corner}" width="{size}" height="{size}"'
        yield f'<rect class="casing" {where}/><rect class="border" {where}{_dash(style)}/>'


def _dash(style: int) -> str:
    return f' stroke-dasharray="{_DASHES[style]}"' if _DASHES[style] else ""


def _fates(heat_map: HeatMap, reading: Reading, place: int, style: int) -> Iterator[str]:
    """A row of marks below the matrix, its name above them."""
    y = _TOP + len(heat_map.origins) * _CELL + place * _ROW + 18
    said = f"{label(reading)}: {reading.who}"
    letters = (max(len(heat_map.origins), 7) * _CELL + _RIGHT - 32) // 7
    said = said if len(said) <= letters else f"{said[: letters - 1]}…"
    yield f'<path class="key" d="M{_LEFT} {y - 4}h24"{_dash(style)}/>'
    yield f'<text x="{_LEFT + 32}" y="{y}">{escape(said)}</text>'
    for position, origin in enumerate(heat_map.origins):
        what = fate(reading, position)
        x, at = _LEFT + position * _CELL + _CELL // 2, y + 16
        mark = (
            f'<path class="mark" d="M{x - 5} {at - 5}l10 10m0 -10l-10 10"/>'
            if what == "removed"
            else f'<circle class="{"hollow" if what == "not trained" else "full"}" cx="{x}" cy="{at}" r="4.5"/>'
        )
        yield f"<g>{mark}<title>block {origin}: {what} at {escape(label(reading))}</title></g>"


def _scale(low: float, x: int, side: int) -> Iterator[str]:
    """The colours from 1, above, down to where they begin."""
    height = min(side, 8 * _CELL) / _STEPS
    for step in range(_STEPS):
        value = 1 - (1 - low) * (step + 0.5) / _STEPS
        # A little overlap, so that no line shows between two.
        where = f'x="{x}" y="{_TOP + step * height:g}" width="12" height="{height + 0.5:g}"'
        yield f'<rect {where} fill="{shade(value, low)[0]}"/>'
    for value, y in ((1, _TOP + 10), (low, _TOP + _STEPS * height)):
        yield f'<text x="{x + 18}" y="{y:g}">{value:g}</text>'
    yield f'<text class="soft" x="{x + 18}" y="{_TOP + _STEPS * height / 2:g}">CKA</text>'
