"""A report as one page that needs no network: text and tables as they are, charts by plotly.js on top."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from plotly.offline import get_plotlyjs

from lt_ray.report.cells import (
    Named,
    arm_places,
    as_csv,
    curve_table,
    named,
    numeric,
    settings_table,
    show,
)
from lt_ray.report.curve import COLOURS, accuracy_range
from lt_ray.report.document import Curves, Document, Settings, Table

_DARK = ("#3d9be0", "#e8762c", "#1fb58a", "#d98bb8", "#e69f00", "#7cc8f0", "#f2f2f2")
"""`COLOURS` on a dark ground: the same hues, light enough to be seen; black becomes white"""
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
# The page may load nothing, whatever a name in the data or a chart's option says: the browser sees to it.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def as_html(document: Document) -> str:
    """Return a document as one page: equal documents make equal pages."""
    places = arm_places(document)
    figures: list[dict[str, Any]] = []
    parts = named(document)
    body = [line for index, part in enumerate(parts) for line in _section(part, index, places, figures)]
    title = escape(document.title)
    links = "".join(f'<li><a href="#s{i}">{escape(part.section.title)}</a></li>' for i, part in enumerate(parts))
    script = [
        f'<script type="application/json" id="figures">{_json(figures)}</script>',
        f'<script type="text/plain" id="plotly">{_plotly()}</script>' if figures else "",
        f"<script>{_resource('page.js')}</script>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{title}</title>",
            f"<style>{_resource('page.css')}{_palette()}</style>",
            '<script>document.documentElement.className = "js"</script>',
            "</head>",
            "<body>",
            '<a class="skip" href="#results">Skip to the results</a>',
            f'<header><h1>{title}</h1><button type="button" id="theme" class="needs-js">Dark</button></header>',
            f'<nav aria-label="Sweeps"><ul>{links}</ul></nav>' if len(parts) > 1 else "",
            '<main id="results" tabindex="-1">',
            *(body or ["<p>There is nothing to report.</p>"]),
            "</main>",
            *script,
            "</body>",
            "</html>",
            "",
        ]
    )


def _section(part: Named, index: int, places: Mapping[str, int], figures: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a section's lines; what its charts show is appended to `figures`."""
    section = part.section
    yield f'<section aria-labelledby="s{index}">'
    yield f'<h2 id="s{index}" tabindex="-1">{escape(section.title)}</h2>'
    if section.lead:
        yield f'<p class="lead">{escape(section.lead)}</p>'
    if section.warnings:
        yield '<div class="warnings" role="note" aria-label="Incomplete"><h3>Incomplete</h3>'
        yield f"{_list(section.warnings)}</div>"
    if section.verdicts:
        yield f'<div class="verdicts"><h3>{"Verdict" if len(section.verdicts) == 1 else "Verdicts"}</h3>'
        yield f"{_list(section.verdicts)}</div>"
    for name, curves in part.curves.items():
        yield from _curves(name, curves, places, figures)
    for name, table in part.tables.items():
        yield f'<div class="block"><h3 id="{name}">{escape(table.title)}</h3>'
        yield from _table(name, table)
        yield "</div>"
    for name, settings in part.settings.items():
        yield from _settings(name, settings, places, figures)
    yield "</section>"


def _curves(name: str, curves: Curves, places: Mapping[str, int], figures: list[dict[str, Any]]) -> Iterator[str]:
    yield f'<figure class="block" aria-labelledby="{name}" data-figure="{len(figures)}">'
    yield f'<figcaption><h3 id="{name}">{escape(curves.title)}</h3></figcaption>'
    points = [point for curve in curves.curves for point in curve.points]
    if not points:
        yield "<p>No round has finished.</p></figure>"
        figures.append({})
        return
    arms = {curve.arm: max((point.n for point in curve.points), default=0) for curve in curves.curves}
    tools = ["band"] if any(point.low is not None for point in points) else []
    tools += ["cycles"] if any(point.n > 1 for point in points) else []
    tools += ["zoom"] if curves.dense is not None else []
    yield _controls(arms, places, tools, _references(curves))
    yield _chart("curves")
    yield f"<details><summary>Numbers of this chart</summary>{''.join(_table(name, curve_table(curves)))}</details>"
    yield "</figure>"
    figures.append(
        {
            "kind": "curves",
            "dense": curves.dense,
            "tolerance": curves.tolerance,
            "range": accuracy_range(curves),
            "arms": [
                {"arm": curve.arm, "place": places[curve.arm], "points": [vars(point) for point in curve.points]}
                for curve in curves.curves
            ],
        }
    )


def _settings(name: str, settings: Settings, places: Mapping[str, int], figures: list[dict[str, Any]]) -> Iterator[str]:
    yield f'<figure class="block" aria-labelledby="{name}" data-figure="{len(figures)}">'
    yield f'<figcaption><h3 id="{name}">{escape(settings.title)}</h3>'
    if settings.note:
        yield f'<p class="note">{escape(settings.note)}</p>'
    yield "</figcaption>"
    if settings.importance:
        yield from _importance(settings.importance, settings.objectives)
    drawn = bool(settings.rows and settings.keys and settings.objectives)
    figures.append({})
    if drawn:
        arms = [str(row.get("arm") or "") for row in settings.rows]
        figures[-1] = {
            "kind": "settings",
            "keys": settings.keys,
            "objectives": settings.objectives,
            "rows": [dict(row) | {"arm": arm} for row, arm in zip(settings.rows, arms, strict=True)],
            "places": {arm: places[arm] for arm in dict.fromkeys(arms)},
        }
        yield '<div class="controls needs-js">'
        if len(settings.objectives) > 1:
            options = "".join(
                f'<option value="{index}">{escape(text)}</option>' for index, text in enumerate(settings.objectives)
            )
            yield f"<label>ranked by <select data-objective>{options}</select></label>"
        many = len(settings.rows)
        yield f'<label>best <output>{many}</output> of {many} <input type="range" data-best min="1" max="{many}" '
        yield f'value="{many}"></label></div>'
        yield _chart("parallel")
        yield '<p class="note needs-js">A line is a cycle; the stronger its colour, the better it ranks. '
        yield "A setting that a cycle does not have is at <i>none</i>.</p>"
        shown = f"<span data-shown>{escape(settings.objectives[0])}</span>"
        yield f'<p class="note needs-js fields">{shown} against each field</p>'
        if len(set(arms)) > 1:
            yield _controls(dict.fromkeys(arms, 0), places, [])
        yield f'<div class="grid needs-js">{_CHART.format(kind="field", message="") * len(settings.keys)}</div>'
    table = settings_table(settings)
    yield f"<details><summary>All {len(table.rows)} cycles</summary>{''.join(_table(name, table))}</details></figure>"


def _importance(importance: Mapping[str, float], objectives: Sequence[str]) -> Iterator[str]:
    """Yield bars that need no script."""
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


def _references(curves: Curves) -> str:
    """What the grey lines are: a key that hides no data."""
    if curves.dense is None:
        return ""
    texts = {"": f"dense {show(curves.dense, 4)}", ' stroke-dasharray="6 4"': f"dense − {show(curves.tolerance)}"}
    return "".join(
        '<span class="key"><svg width="28" height="12" aria-hidden="true" style="color:var(--reference)"><path '
        f'd="M0 6h28" stroke="currentColor" stroke-width="1.5"{dash}/></svg>{text}</span>'
        for dash, text in texts.items()
    )


def _controls(arms: Mapping[str, int], places: Mapping[str, int], tools: Sequence[str], key: str = "") -> str:
    """Buttons for each arm, with its number of cycles, and for what else can be hidden."""
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


_CHART = '<div class="chart {kind}"><div class="drawing"></div>{message}</div>'


def _chart(kind: str) -> str:
    message = "The chart needs JavaScript and a browser of 2023 or later. Its numbers are below"
    message += ", and <code>report.md</code> beside this page shows it as a picture." if kind == "curves" else "."
    return _CHART.format(kind=kind, message=f'<p class="no-chart">{message}</p>')


def _table(name: str, table: Table) -> Iterator[str]:
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


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _json(value: Any) -> str:
    """JSON that neither ends a script element nor starts a comment in it; what is no number is null."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _palette() -> str:
    """The arms' colours as CSS variables, light and dark."""
    light, dark = (
        "".join(f"--arm-{index}:{colour};" for index, colour in enumerate(colours)) for colours in (COLOURS, _DARK)
    )
    return (
        f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{dark}}}}}\n"
    )


@cache
def _resource(name: str) -> str:
    return files("lt_ray.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """plotly.js, compressed: 2.0 MB in the page instead of 4.8; browsers since 2023 unpack it in some 50 ms.

    A report is kept in every sweep's folder and sent by mail; who has an older browser reads text, tables and pictures.
    """
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
