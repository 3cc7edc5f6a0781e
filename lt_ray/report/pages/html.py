"""A report as one page that needs no network: text and tables as they are, charts by plotly.js on top."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, Template
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lt_ray.report.findings.document import Curves, Document, Front, ReportTable, Searched
from lt_ray.report.findings.words import Wording
from lt_ray.report.pages.cells import (
    Named,
    arm_places,
    as_csv,
    curve_table,
    front_table,
    heat_map_table,
    named,
    numeric,
    settings_table,
    show,
)
from lt_ray.report.pages.curve import COLOURS, FEWEST_BAND, value_range
from lt_ray.report.pages.front_picture import scaled, staircase, values_shown
from lt_ray.report.pages.heat_map_picture import inline_heat_map

_DARK = ("#3d9be0", "#e8762c", "#1fb58a", "#d98bb8", "#e69f00", "#7cc8f0", "#f2f2f2")
"""`COLOURS` on a dark ground: the same hues, light enough to be seen; black becomes white"""


@dataclass(frozen=True)
class _Drawing:
    """A chart of the page: what stands around it, and what page.js draws it from."""

    kind: str
    """curves, front or settings"""
    source: Curves | Front | Searched
    table: ReportTable
    """Its numbers"""
    arms: Mapping[str, int]
    """Arm → its cycles [count]"""
    tools: Sequence[str] = ()
    """What else can be shown or hidden: band, cycles, zoom"""
    bound: str = ""
    """What a winning ticket must keep"""
    figure: int | None = None
    """Its place in the page's data; None where there is nothing to draw"""

    @property
    def note(self) -> str:
        """What a reader must know to read it right."""
        return getattr(self.source, "note", "")


def as_html(document: Document) -> str:
    """Return a document as one page: equal documents make equal pages."""
    places, parts = arm_places(document), named(document)
    figures: list[dict[str, Any]] = []
    drawings = [_drawings(part, places, figures) for part in parts]
    return _template().render(
        title=document.title,
        parts=parts,
        places=places,
        drawings=drawings,
        figures=Markup(_json(figures)),
        plotly=_plotly() if figures else "",
        css=Markup(_resource("page.css") + _palette()),
        js=Markup(_resource("page.js")),
    )


@cache
def _template() -> Template:
    environment = Environment(loader=FunctionLoader(_resource), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {
        "show": show,
        "exact": repr,
        "numbers": lambda table: [numeric(table, index) for index in range(len(table.columns))],
        "address": lambda table: "data:text/csv;charset=utf-8," + quote(as_csv(table)),
        "bars": _bars,
        "heat_map_table": heat_map_table,
        "picture": lambda heat_map, name: Markup(inline_heat_map(heat_map, name)),
    }
    return environment.get_template("page.html")


def _bars(importance: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Field, its share as text, and the width of its bar [%], the longest first."""
    shares = sorted(((key, share if math.isfinite(share) else 0.0) for key, share in importance.items()), key=_share)
    most = max(share for _, share in shares) or 1.0
    return [(key, show(share, 2), f"{100 * max(share, 0.0) / most:.2f}") for key, share in shares]


def _share(item: tuple[str, float]) -> float:
    return -item[1]


def _drawings(part: Named, places: Mapping[str, int], figures: list[dict[str, Any]]) -> dict[str, _Drawing]:
    """Name of a chart → the chart; what it shows is appended to `figures`."""
    found = {name: _curves(curves, places, figures) for name, curves in part.curves.items()}
    found |= {name: _front(front, places, figures) for name, front in part.fronts.items()}
    return found | {name: _settings(own, places, figures) for name, own in part.settings.items()}


def _placed(figures: list[dict[str, Any]], data: dict[str, Any], *, drawn: bool) -> int | None:
    if not drawn:
        return None
    figures.append(data)
    return len(figures) - 1


def _curves(curves: Curves, places: Mapping[str, int], figures: list[dict[str, Any]]) -> _Drawing:
    points = [point for curve in curves.curves for point in curve.points]
    tools = {
        "band": any(point.low is not None and point.n >= FEWEST_BAND for point in points),
        "cycles": any(len(point.members) > 1 for point in points),
        "zoom": curves.dense is not None,
    }
    data = {
        "kind": "curves", "fewest": FEWEST_BAND, "metric": curves.metric.label, "dense": curves.dense,
        "bound": curves.bound, "range": value_range(curves),
        "arms": [
            {"arm": curve.arm, "place": places[curve.arm], "points": [vars(point) for point in curve.points]}
            for curve in curves.curves
        ],
    }  # fmt: skip
    return _Drawing(
        "curves",
        curves,
        curve_table(curves),
        {curve.arm: max((len(point.members) for point in curve.points), default=0) for curve in curves.curves},
        [tool for tool, there in tools.items() if there],
        Wording(curves.metric).bound("dense", curves.tolerance),
        _placed(figures, data, drawn=bool(points)),
    )


def _front(front: Front, places: Mapping[str, int], figures: list[dict[str, Any]]) -> _Drawing:
    points = [point for arm in (*front.dense, *front.arms) for point in arm.points]
    factor, label = scaled(front)
    data = {
        "kind": "front", "fewest": FEWEST_BAND, "metric": front.metric.label, "cost": front.cost, "factor": factor,
        "label": label, "range": values_shown(front), "stairs": staircase(front),
        "dense": [{"arm": arm.arm, "points": [vars(point) for point in arm.points]} for arm in front.dense],
        "arms": [
            {"arm": arm.arm, "place": places[arm.arm], "points": [vars(point) for point in arm.points]}
            for arm in front.arms
        ],
    }  # fmt: skip
    banded = any(point.low is not None and point.n >= FEWEST_BAND for point in points)
    return _Drawing(
        "front",
        front,
        front_table(front),
        {arm.arm: max((point.n for point in arm.points), default=0) for arm in front.arms},
        ["band"] if banded else [],
        figure=_placed(figures, data, drawn=bool(points)),
    )


def _settings(settings: Searched, places: Mapping[str, int], figures: list[dict[str, Any]]) -> _Drawing:
    arms = [str(row.get("arm") or "") for row in settings.rows]
    data = {
        "kind": "settings", "keys": settings.keys, "objectives": settings.objectives, "lowest": settings.lowest,
        "rows": [dict(row) | {"arm": arm} for row, arm in zip(settings.rows, arms, strict=True)],
        "places": {arm: places[arm] for arm in dict.fromkeys(arms)},
    }  # fmt: skip
    drawn = bool(settings.rows and settings.keys and settings.objectives)
    return _Drawing(
        "settings",
        settings,
        settings_table(settings),
        dict.fromkeys(arms, 0),
        figure=_placed(figures, data, drawn=drawn),
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
    return files("lt_ray.report.pages").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """plotly.js, compressed: 2.0 MB in the page instead of 4.8; browsers since 2023 unpack it in some 50 ms.

    A report is kept in every sweep's folder and sent by mail; who has an older browser reads text, tables and pictures.
    """
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
