"""The pieces that a page is made of: tables, bars, buttons, room for charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from urllib.parse import quote

from lt_ray.report.cells import as_csv, numeric, show
from lt_ray.report.curve import COLOURS
from lt_ray.report.document import Table

_SHAPES = (
    '<circle cx="14" cy="6" r="3.5"/>',
    '<path d="M10.8 2.8h6.4v6.4h-6.4z"/>',
    '<path d="M14 1.8l4 7.4h-8z"/>',
    '<path d="M14 1.6l4.4 4.4-4.4 4.4-4.4-4.4z"/>',
    '<path d="M14 10.2l-4-7.4h8z"/>',
    '<path d="M12.6 2h2.8v2.6H18v2.8h-2.6V10h-2.8V7.4H10V4.6h2.6z"/>',
    '<path d="M11.4 1.8L14 4.4l2.6-2.6 1.6 1.6L15.6 6l2.6 2.6-1.6 1.6L14 7.6l-2.6 2.6-1.6-1.6L12.4 6 9.8 3.4z"/>',
)
"""The markers of curve.py in a swatch of 28 × 12"""
_DASHES = ("", ' stroke-dasharray="6 4"', ' stroke-dasharray="2 3"')
_LONG = 24
"""Rows above which a table scrolls within itself"""
_PROSE = 36
"""Letters above which a cell is broken into lines"""


def importance_bars(importance: Mapping[str, float], objectives: Sequence[str]) -> Iterator[str]:
    """Yield the shares of fields as bars that need no script."""
    shares = [(key, share if math.isfinite(share) else 0.0) for key, share in importance.items()]
    shares.sort(key=lambda item: -item[1])
    most = max(share for _, share in shares) or 1.0
    what = escape(objectives[0]) if objectives else "the result"
    yield f'<p class="note">Share of the variance of {what} that each field explains</p><dl class="bars">'
    for key, share in shares:
        width = 100 * max(share, 0.0) / most
        yield f'<div><dt>{escape(key)}</dt><dd><span style="width:{width:.2f}%"></span>'
        yield f"<b>{show(share, 2)}</b></dd></div>"
    yield "</dl>"


def controls(arms: Mapping[str, int], places: Mapping[str, int], tools: Sequence[str], key: str = "") -> str:
    """Return buttons for each arm, with its number of cycles, and for what else can be hidden.

    - `arms`: arm → its cycles [count]; `places`: arm → its place among colours and markers
    - `tools`: what else can be shown or hidden: `band`, `cycles`, `zoom`; `key`: what follows the arms
    """
    buttons = []
    for arm, many in arms.items():
        place = places[arm]
        text = escape(arm or "–") + (f' <span class="n">({many})</span>' if many > 1 else "")
        colour = f"var(--arm-{place % len(COLOURS)})"
        dash = _DASHES[place // len(COLOURS) % len(_DASHES)]
        swatch = (
            f'<svg width="28" height="12" aria-hidden="true" style="color:{colour}"><path d="M0 6h28" '
            f'stroke="currentColor" stroke-width="2"{dash}/><g fill="currentColor">{_SHAPES[place % len(_SHAPES)]}'
            "</g></svg>"
        )
        buttons.append(
            f'<button type="button" aria-pressed="true" data-arm="{escape(arm)}">{swatch}<span>{text}</span></button>'
        )
    words = {"band": ("true", "95 % intervals"), "cycles": ("true", "single cycles"), "zoom": ("false", "near dense")}
    extra = [
        f'<button type="button" aria-pressed="{words[tool][0]}" data-tool="{tool}">{words[tool][1]}</button>'
        for tool in tools
    ]
    tail = f'<div role="group" aria-label="View">{"".join(extra)}</div>' if extra else ""
    return (
        f'<div class="controls needs-js"><div role="group" aria-label="Arms">{"".join(buttons)}{key}</div>{tail}</div>'
    )


CHART = '<div class="chart {kind}"><div class="drawing"></div>{message}</div>'


def chart(kind: str) -> str:
    """Return room for a chart, and what stands there where it cannot be drawn."""
    message = "The chart needs JavaScript and a browser of 2023 or later. Its numbers are below"
    message += (
        ", and <code>report.md</code> beside this page shows it as a picture." if kind in ("curves", "front") else "."
    )
    return CHART.format(kind=kind, message=f'<p class="no-chart">{message}</p>')


def html_table(name: str, table: Table) -> Iterator[str]:
    """Yield a table with its note and its CSV; `name`: id of its heading, and its file's name."""
    if table.note:
        yield f'<p class="note">{escape(table.note)}</p>'
    if not table.rows:
        yield "<p>No rows.</p>"
        return
    right = [numeric(table, index) for index in range(len(table.columns))]
    classes = [' class="number"' if own else "" for own in right]
    long = " long" if len(table.rows) > _LONG else ""
    yield f'<div class="table{long}" role="region" aria-labelledby="{name}" tabindex="0"><table><thead><tr>'
    for column, own in zip(table.columns, classes, strict=True):
        yield f'<th scope="col"{own}>{escape(column.name)}</th>'
    yield "</tr></thead><tbody>"
    for row in table.rows:
        yield "<tr>"
        for cell, column, own in zip(row, table.columns, classes, strict=True):
            text = show(cell, column.digits)
            # What is sorted by, where the text that is shown has fewer digits.
            exact = own and cell is not None and text.replace("−", "-") != repr(cell)
            prose = ' class="prose"' if len(text) > _PROSE else ""
            value = f' data-value="{cell!r}"' if exact else ""
            yield f"<td{own or prose}{value}>{escape(text)}</td>"
        yield "</tr>"
    yield "</tbody></table></div>"
    address = "data:text/csv;charset=utf-8," + quote(as_csv(table))
    rows = f"{len(table.rows)} row{'s' if len(table.rows) > 1 else ''}"
    yield f'<p class="source">{rows} · <a download="{name}.csv" href="{escape(address)}">CSV</a></p>'


def fold(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a section that is folded until one opens it."""
    yield f'<details class="fold"><summary>{escape(title)}</summary>'
    yield from lines
    yield "</details>"


def bullets(items: Sequence[str]) -> str:
    """Return sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
