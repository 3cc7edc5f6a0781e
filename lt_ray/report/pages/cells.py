"""What tables, file names and numbers look like, whatever they are written as."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from lt_ray.report.findings.document import (
    Cell,
    Column,
    Curves,
    Document,
    Front,
    HeatMap,
    ReportTable,
    Searched,
    Section,
)
from lt_ray.report.findings.heat_map import fate, label


def show(cell: Cell, digits: int | None = None) -> str:
    """Return a cell as people read it: `0.9010`, `−3`, `yes`, `–` for nothing.

    - `digits`: decimals of a number [count]; None = as it is, floats at six significant digits
    """
    if cell is None or cell == "":
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, str):
        return cell
    if not math.isfinite(cell):
        return "not a number" if math.isnan(cell) else "∞" if cell > 0 else "−∞"
    if digits is not None:
        text = f"{cell:.{digits}f}"
        text = text.removeprefix("-") if float(text) == 0 else text
    else:
        text = str(cell) if isinstance(cell, int) else re.sub(r"e([+-]?)0*", r"e\1", f"{cell:.6g}").replace("e+", "e")
    return text.replace("-", "−")


def numeric(table: ReportTable, column: int) -> bool:
    """Return whether a column holds numbers alone, and at least one."""
    cells = [row[column] for row in table.rows if row[column] is not None]
    return bool(cells) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)


def as_csv(table: ReportTable) -> str:
    """Return a table as CSV, its numbers to the last digit; what a row does not have is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows(table.rows)
    return file.getvalue()


def curve_table(curves: Curves) -> ReportTable:
    """Return the numbers of a picture: a row for each arm and round."""
    names = (
        ("arm", None),
        ("round", None),
        ("sparsity", 3),
        ("mean", 4),
        ("95 % low", 4),
        ("95 % high", 4),
        ("n", None),
    )
    rows = [
        (curve.arm, point.round, point.sparsity, point.mean, point.low, point.high, point.n)
        for curve in curves.curves
        for point in curve.points
    ]
    return ReportTable(curves.slug, curves.title, tuple(Column(*name) for name in names), tuple(rows))


def front_table(front: Front) -> ReportTable:
    """Return the numbers of a front: a row for each point, the dense ones first."""
    latency = front.cost == "latency"
    columns = (
        Column("arm"), Column("round"), Column("n"), Column("blocks"),
        *((Column("latency [s]", 5), Column("lower quartile [s]", 5), Column("upper quartile [s]", 5)) if latency else
          (Column("nonzero parameters", 0),)),
        Column(f"test {front.metric.label}", 4), Column("95 % low", 4), Column("95 % high", 4), Column("on the front"),
        Column("rejected"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for arm in (*front.dense, *front.arms):
        for p in arm.points:
            cost = (p.cost, p.cost_low, p.cost_high) if latency else (p.cost,)
            rows.append((arm.arm, p.round, p.n, p.blocks, *cost, p.value, p.low, p.high, p.best, p.rejected))
    return ReportTable(front.slug, front.title, columns, tuple(rows))


def heat_map_table(heat_map: HeatMap) -> ReportTable:
    """Return the numbers of a heat map: a row for each block, by its position in the dense model.

    After the similarities come, for each reading, the block's cluster and what became of it.
    """
    columns = [Column("block"), *(Column(f"CKA with {origin}", 4) for origin in heat_map.origins)]
    for reading in heat_map.readings:
        said = f"{label(reading)} ({reading.who})"
        columns += [Column(f"cluster: {said}"), Column(f"fate: {said}")]
    rows = []
    for position, origin in enumerate(heat_map.origins):
        row: list[Cell] = [origin, *heat_map.cka[position]]
        for reading in heat_map.readings:
            cluster = next((i for i, members in enumerate(reading.clusters) if position in members), None)
            row += [cluster, fate(reading, position)]
        rows.append(tuple(row))
    return ReportTable(heat_map.slug, heat_map.title, tuple(columns), tuple(rows))


def settings_table(settings: Searched) -> ReportTable:
    """Return the searched fields and what came of them: a row for each cycle."""
    names = ("cycle", "arm", "seed", *settings.keys, *settings.objectives)
    columns = tuple(Column(name, 4 if name in settings.objectives else None) for name in names)
    rows = tuple(tuple(row.get(name) for name in names) for row in settings.rows)
    return ReportTable(settings.slug, settings.title, columns, rows)


def arm_places(document: Document) -> dict[str, int]:
    """Return arm → its place among colours and markers, the same in every picture of a report [count]."""
    arms: dict[str, None] = {}
    for section in document.sections:
        arms |= dict.fromkeys(curve.arm for curves in section.curves for curve in curves.curves)
        arms |= dict.fromkeys(arm.arm for front in section.fronts for arm in front.arms)
        arms |= dict.fromkeys(str(row.get("arm") or "") for settings in section.settings for row in settings.rows)
    return {arm: place for place, arm in enumerate(arms)}


def slug(text: str) -> str:
    """Return text as part of a file's name: `IMDb: CNN` → `imdb-cnn`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-")[:60] or "untitled"


@dataclass(frozen=True)
class Named:
    """A section, its parts under the names of their files: `<section>-<slug>`, told apart by a number."""

    section: Section
    curves: Mapping[str, Curves]
    tables: Mapping[str, ReportTable]
    settings: Mapping[str, Searched]
    fronts: Mapping[str, Front] = field(default_factory=dict)
    maps: Mapping[str, HeatMap] = field(default_factory=dict)
    """Those that are drawn: the first dozen of a report"""
    further_maps: Mapping[str, HeatMap] = field(default_factory=dict)
    """Those that are numbers alone"""
    summary: Mapping[str, ReportTable] = field(default_factory=dict)

    @property
    def opening(self) -> str:
        """The name of the chart that it opens with; empty where it has none."""
        kinds = {"curves": self.curves, "fronts": self.fronts, "settings": self.settings}
        first = kinds.pop(self.section.opening)
        return next((name for kind in (first, *kinds.values()) for name in kind), "")


MOST_MAPS = 12
"""Heat maps of a report that are drawn [count]"""


def named(document: Document) -> list[Named]:
    """Return the sections of a document with their files' names."""
    taken: set[str] = set()

    def within(section: str, part: str) -> str:
        name = slug(part)
        return unique(name if name.startswith(f"{section}-") else f"{section}-{name}")

    def unique(name: str) -> str:
        count, found = 1, name
        while found in taken:
            count += 1
            found = f"{name}-{count}"
        taken.add(found)
        return found

    sections = []
    left = MOST_MAPS
    for section in document.sections:
        own = unique(slug(section.title))
        curves = {within(own, part.slug): part for part in section.curves}
        tables = {within(own, part.slug): part for part in section.tables}
        settings = {within(own, part.slug): part for part in section.settings}
        fronts = {within(own, part.slug): part for part in section.fronts}
        summary = {within(own, part.slug): part for part in section.summary}
        maps = [(within(own, part.slug), part) for part in section.maps]
        drawn, further = dict(maps[:left]), dict(maps[left:])
        left -= len(drawn)
        sections.append(Named(section, curves, tables, settings, fronts, drawn, further, summary))
    return sections
