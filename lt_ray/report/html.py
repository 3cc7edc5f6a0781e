"""A report as one page that needs no network: text and tables as they are, charts by plotly.js on top."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from plotly.offline import get_plotlyjs

from lt_ray.report.cells import (
    Named,
    arm_places,
    curve_table,
    front_table,
    named,
    settings_table,
    show,
)
from lt_ray.report.curve import COLOURS, FEWEST_BAND, accuracy_range
from lt_ray.report.document import Curves, Document, Front, HeatMap, Settings
from lt_ray.report.elements import CHART, bullets, chart, controls, fold, html_table, importance_bars
from lt_ray.report.front import accuracies_shown, scaled, staircase
from lt_ray.report.heat_map import heat_map_table
from lt_ray.report.heat_map_svg import as_svg

_DARK = ("#3d9be0", "#e8762c", "#1fb58a", "#d98bb8", "#e69f00", "#7cc8f0", "#f2f2f2")
"""`COLOURS` on a dark ground: the same hues, light enough to be seen; black becomes white"""
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
    said = section.verdicts
    first = section.headline or (said[0] if said else "")
    if first:
        yield f'<p class="headline">{escape(first)}</p>'
    if section.warnings:
        more = f" (and {len(section.warnings) - 1} more)" if len(section.warnings) > 1 else ""
        yield '<details class="warnings"><summary><strong>Mind</strong>: '
        yield f"{escape(_cut(section.warnings[0]))}{more}</summary>"
        yield f"{bullets(section.warnings)}</details>"
    charts = _charts(part, places, figures)
    opening = part.opening
    yield from charts.pop(opening, ())
    for name, table in part.summary.items():
        yield f'<div class="summary"><h3 id="{name}">{escape(table.title)}</h3>'
        yield from html_table(name, table)
        yield "</div>"
    yield '<div class="folds">'
    if section.lead:
        yield from fold("What was run", [f'<p class="lead">{escape(section.lead)}</p>'])
    if said[0 if section.headline else 1 :]:
        yield from fold(f"In sentences ({len(said)})", [f'<div class="verdicts">{bullets(said)}</div>'])
    for name, table in part.tables.items():
        body = [f'<h3 id="{name}" class="within">{escape(table.title)}</h3>', *html_table(name, table)]
        yield from fold(table.title, body)
    titles = {name: item.title for kind in (part.curves, part.fronts, part.settings) for name, item in kind.items()}
    for name, lines in charts.items():
        yield from fold(titles[name], lines)
    if part.maps:
        body = ['<div class="maps">']
        for name, heat_map in part.maps.items():
            body += _heat_map(name, heat_map)
        yield from fold(f"Similarity of blocks ({len(part.maps)})", [*body, "</div>"])
    if part.further_maps:
        body = ['<p class="note">Their numbers are in</p>']
        body += [bullets([f"cka/{name}.csv: {further.title}" for name, further in part.further_maps.items()])]
        yield from fold("Further similarities of blocks", body)
    yield "</div></section>"


def _charts(part: Named, places: Mapping[str, int], figures: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Name of a chart → its lines."""
    found = {name: list(_curves(name, curves, places, figures)) for name, curves in part.curves.items()}
    found |= {name: list(_front(name, front, places, figures)) for name, front in part.fronts.items()}
    return found | {name: list(_settings(name, own, places, figures)) for name, own in part.settings.items()}


def _cut(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


_SHORT = 90
"""Letters of a warning that are shown before it is unfolded"""


def _curves(name: str, curves: Curves, places: Mapping[str, int], figures: list[dict[str, Any]]) -> Iterator[str]:
    yield f'<figure class="block" aria-labelledby="{name}" data-figure="{len(figures)}">'
    yield f'<figcaption><h3 id="{name}">{escape(curves.title)}</h3></figcaption>'
    points = [point for curve in curves.curves for point in curve.points]
    if not points:
        yield "<p>No round has finished.</p></figure>"
        figures.append({})
        return
    arms = {curve.arm: max((len(point.members) for point in curve.points), default=0) for curve in curves.curves}
    tools = ["band"] if any(point.low is not None and point.n >= FEWEST_BAND for point in points) else []
    tools += ["cycles"] if any(len(point.members) > 1 for point in points) else []
    tools += ["zoom"] if curves.dense is not None else []
    yield controls(arms, places, tools, _references(curves))
    yield chart("curves")
    yield f"<details><summary>Numbers of this chart</summary>{''.join(html_table(name, curve_table(curves)))}</details>"
    yield "</figure>"
    figures.append(
        {
            "kind": "curves",
            "fewest": FEWEST_BAND,
            "dense": curves.dense,
            "tolerance": curves.tolerance,
            "range": accuracy_range(curves),
            "arms": [
                {"arm": curve.arm, "place": places[curve.arm], "points": [vars(point) for point in curve.points]}
                for curve in curves.curves
            ],
        }
    )


def _front(name: str, front: Front, places: Mapping[str, int], figures: list[dict[str, Any]]) -> Iterator[str]:
    yield f'<figure class="block" aria-labelledby="{name}" data-figure="{len(figures)}">'
    yield f'<figcaption><h3 id="{name}">{escape(front.title)}</h3></figcaption>'
    points = [point for arm in (*front.dense, *front.arms) for point in arm.points]
    if not points:
        yield "<p>No round has finished.</p></figure>"
        figures.append({})
        return
    arms = {arm.arm: max((point.n for point in arm.points), default=0) for arm in front.arms}
    yield controls(
        arms, places, ["band"] if any(p.low is not None and p.n >= FEWEST_BAND for p in points) else [], _FRONT_KEY
    )
    yield chart("front")
    if front.note:
        yield f'<p class="note">{escape(front.note)}</p>'
    yield f"<details><summary>Numbers of this chart</summary>{''.join(html_table(name, front_table(front)))}</details>"
    yield "</figure>"
    factor, label = scaled(front)
    figures.append(
        {
            "kind": "front",
            "fewest": FEWEST_BAND,
            "cost": front.cost,
            "factor": factor,
            "label": label,
            "range": accuracies_shown(front),
            "stairs": staircase(front),
            "dense": [{"arm": arm.arm, "points": [vars(point) for point in arm.points]} for arm in front.dense],
            "arms": [
                {"arm": arm.arm, "place": places[arm.arm], "points": [vars(point) for point in arm.points]}
                for arm in front.arms
            ],
        }
    )


_FRONT_KEY = (
    '<span class="key"><svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true"><path fill="currentColor" '
    'd="M0-6.5l1.6 4.4h4.7l-3.8 2.8 1.4 4.5L0 2.5l-3.9 2.7 1.4-4.5-3.8-2.8h4.7z"/></svg>dense</span>'
    '<span class="key"><svg width="28" height="12" aria-hidden="true" style="color:var(--reference)"><path '
    'd="M0 6h28" stroke="currentColor" stroke-width="1.5" stroke-dasharray="6 4"/></svg>front (filled points)</span>'
)
"""What no arm's button tells"""


def _heat_map(name: str, heat_map: HeatMap) -> Iterator[str]:
    yield f'<figure class="block" aria-labelledby="{name}"><figcaption><h3 id="{name}">{escape(heat_map.title)}</h3>'
    yield f'<p class="note">{escape(heat_map.note)}</p></figcaption>' if heat_map.note else "</figcaption>"
    yield f'<div class="map" role="region" aria-labelledby="{name}" tabindex="0">{as_svg(heat_map, name)}</div>'
    table = "".join(html_table(name, heat_map_table(heat_map)))
    yield f"<details><summary>Numbers of this picture</summary>{table}</details></figure>"


def _settings(name: str, settings: Settings, places: Mapping[str, int], figures: list[dict[str, Any]]) -> Iterator[str]:
    yield f'<figure class="block" aria-labelledby="{name}" data-figure="{len(figures)}">'
    yield f'<figcaption><h3 id="{name}">{escape(settings.title)}</h3></figcaption>'
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
        yield chart("parallel")
        if settings.note:
            yield f'<p class="note">{escape(settings.note)}</p>'
        if settings.importance:
            yield from importance_bars(settings.importance, settings.objectives)
        yield '<p class="note needs-js">A line is a cycle; the stronger its colour, the better it ranks. '
        yield "A setting that a cycle does not have is at <i>none</i>.</p>"
        shown = f"<span data-shown>{escape(settings.objectives[0])}</span>"
        yield f'<p class="note needs-js fields">{shown} against each field</p>'
        if len(set(arms)) > 1:
            yield controls(dict.fromkeys(arms, 0), places, [])
        yield f'<div class="grid needs-js">{CHART.format(kind="field", message="") * len(settings.keys)}</div>'
    table = "".join(html_table(name, settings_table(settings)))
    yield f"<details><summary>All {len(settings.rows)} cycles</summary>{table}</details></figure>"


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
