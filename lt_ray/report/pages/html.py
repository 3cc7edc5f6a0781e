"""A report as one page that needs no network: text and tables as they are, charts by plotly.js on top."""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, Template
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb
from plotly.offline import get_plotlyjs
from pydantic_core import to_json

from lt_ray.report.findings.document import Chart, Curves, Document, HeatMap, ReportTable, Searched
from lt_ray.report.findings.words import Wording, percent
from lt_ray.report.pages.cells import MOST_MAPS, arm_places, as_csv, named, numeric, show
from lt_ray.report.pages.picture import COLOURS, FEWEST_BAND, scaled, staircase, value_range

_DARK = ("#3d9be0", "#e8762c", "#1fb58a", "#d98bb8", "#e69f00", "#7cc8f0", "#f2f2f2")
"""`COLOURS` on a dark ground: the same hues, light enough to be seen; black becomes white"""
MARKS = {"kept": "●", "not trained": "○", "removed": "×"}
"""What became of a block → how that is written"""
_MAP = colormaps["viridis"].with_extremes(bad="#999999")
"""Perceptually uniform: equal steps of similarity look equal; what is no number is grey"""


def as_html(document: Document) -> str:
    """Return a document as one page: equal documents make equal pages."""
    places, sections = arm_places(document), named(document)
    charts = {chart.slug: _chart(chart, places) for section in sections for chart in section.charts}
    figures = [chart["data"] for chart in charts.values() if chart["data"]]
    return _template().render(
        title=document.title,
        sections=sections,
        charts=charts,
        places=places,
        figures=figures,
        plotly=_plotly() if figures else "",
        css=Markup(_resource("page.css")),
        colours={"light": COLOURS, "dark": _DARK},
        js=Markup(_resource("page.js")),
    )


@cache
def _template() -> Template:
    environment = Environment(loader=FunctionLoader(_resource), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.policies |= {  # what is no number is null
        "json.dumps_function": lambda value: to_json(value, inf_nan_mode="null").decode(),
        "json.dumps_kwargs": {},
    }
    environment.globals |= {
        "show": show,
        "exact": repr,
        "numeric": numeric,
        "address": lambda table: "data:text/csv;charset=utf-8," + quote(as_csv(table)),
        "bars": _bars,
        "shares": _shares,
        "percent": percent,
        "marks": MARKS,
        "most_maps": MOST_MAPS,
        "lowest": lowest,
        "shade": shade,
        "written": written,
    }
    return environment.get_template("page.html")


def _bars(importance: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Field, its share as text, and the width of its bar [%], the longest first."""
    finite = {key: share if math.isfinite(share) else 0.0 for key, share in importance.items()}
    most = max(finite.values()) or 1.0
    ordered = sorted(finite.items(), key=lambda item: -item[1])
    return [(key, show(share, 2), f"{100 * max(share, 0.0) / most:.2f}") for key, share in ordered]


def _shares(table: ReportTable) -> list[dict[int, float]]:
    """For each row, the column of each shaded cell → its share of the row's [0, 1]."""
    found = []
    for row in table.rows:
        cells = {} if table.shaded is None else dict(list(enumerate(row))[table.shaded :])
        numbers = {column: float(cell) for column, cell in cells.items() if isinstance(cell, int | float)}
        found.append({column: number / (sum(numbers.values()) or 1.0) for column, number in numbers.items()})
    return found


def lowest(heat_map: HeatMap) -> float:
    """Return the similarity at which the colours begin, a tenth of [0, 0.9]; they end at 1."""
    values = [value for row in heat_map.cka for value in row if math.isfinite(value)]
    return min(max(math.floor(10 * min(values, default=0.0)) / 10, 0.0), 0.9)


def shade(value: float, low: float) -> tuple[str, str]:
    """Return a cell's colour and that of the text on it: `#440154`, `#ffffff`.

    - `value`: similarity [0, 1]; `low`: where the colours begin [0, 1)
    """
    fill = to_rgb(_MAP((value - low) / (1 - low)))
    # Where black and white are equally far in luminance (W3C, WCAG 2.2).
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in fill]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return to_hex(fill), "#000000" if luminance > 0.179 else "#ffffff"


def written(value: float) -> str:
    """Return a similarity as a cell has room for: `.985`, `1`, `−.012`."""
    if not math.isfinite(value):
        return "–"
    return "1" if value == 1 else f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")


def _chart(chart: Chart, places: Mapping[str, int]) -> dict[str, Any]:
    """What a chart's figure says, and `data`, what page.js draws it from; none where there is nothing to draw.

    - `arms`: arm → its cycles [count]; `tools`: what else can be shown or hidden; `bound`: what a ticket must keep
    """
    if isinstance(chart, Searched):
        rows: list[dict[str, Any]] = [dict(row) | {"arm": str(row.get("arm") or "")} for row in chart.rows]
        arms = dict.fromkeys((row["arm"] for row in rows), 0)
        data: dict[str, Any] = {
            "kind": chart.kind, "keys": chart.keys, "objectives": chart.objectives, "lowest": chart.lowest,
            "rows": rows, "places": {arm: places[arm] for arm in arms},
        }  # fmt: skip
        drawn = bool(rows and chart.keys and chart.objectives)
        return {"chart": chart, "arms": arms, "data": data if drawn else None}
    lines = [{"arm": own.arm, "place": places[own.arm], "points": list(map(vars, own.points))} for own in chart.lines]
    data = {"kind": chart.kind, "fewest": FEWEST_BAND, "metric": chart.metric.label, "arms": lines}
    tools = {"band": any(point.low is not None and point.n >= FEWEST_BAND for point in chart.points)}
    if isinstance(chart, Curves):
        tools |= {"cycles": any(len(point.members) > 1 for point in chart.points), "zoom": chart.dense is not None}
        data |= {"dense": chart.dense, "bound": chart.bound}
    else:
        factor, label = scaled(chart)
        dense = [{"arm": own.arm, "points": list(map(vars, own.points))} for own in chart.dense]
        data |= {"cost": chart.cost, "factor": factor, "label": label, "stairs": staircase(chart), "dense": dense}
    return {
        "chart": chart,
        "arms": {line.arm: line.cycles for line in chart.lines},
        "tools": [tool for tool, there in tools.items() if there],
        "bound": Wording(chart.metric).bound("dense", chart.tolerance) if isinstance(chart, Curves) else "",
        "data": data | {"range": value_range(chart)} if chart.points else None,
    }


@cache
def _resource(name: str) -> str:
    return files("lt_ray.report.pages").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """plotly.js, compressed: 2.0 MB in the page instead of 4.8; browsers since 2023 unpack it in some 50 ms.

    A report is kept in every sweep's folder and sent by mail; who has an older browser reads text, tables and pictures.
    """
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
