"""What cells and files look like, whatever they are written as."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from lt_ray.report.findings.document import Cell, Document, Part, ReportTable, Section

MOST_MAPS = 12
"""Heat maps of a report that are drawn [count]"""
_Part = TypeVar("_Part", bound=Part)


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


def numeric(table: ReportTable) -> list[bool]:
    """Return whether each column holds numbers alone, and at least one."""
    columns = [[row[i] for row in table.rows if row[i] is not None] for i in range(len(table.columns))]
    return [
        bool(cells) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)
        for cells in columns
    ]


def as_csv(table: ReportTable) -> str:
    """Return a table as CSV, its numbers to the last digit; what a row does not have is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows(table.rows)
    return file.getvalue()


def arm_places(document: Document) -> dict[str, int]:
    """Return arm → its place among colours and markers, the same in every picture of a report [count]."""
    arms: dict[str, None] = {}
    for section in document.sections:
        arms |= dict.fromkeys(line.arm for curves in section.curves for line in curves.lines)
        arms |= dict.fromkeys(line.arm for front in section.fronts for line in front.lines)
        arms |= dict.fromkeys(str(row.get("arm") or "") for settings in section.settings for row in settings.rows)
    return {arm: place for place, arm in enumerate(arms)}


def slug(text: str) -> str:
    """Return text as part of a file's name: `IMDb: CNN` → `imdb-cnn`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-")[:60] or "untitled"


def named(document: Document) -> list[Section]:
    """Return the sections of a document, the slug of each part made its file's name: `<section>-<slug>`, told apart by
    a number. Of many heat maps the first are drawn."""
    taken: set[str] = set()
    maps = 0

    def unique(name: str) -> str:
        count, found = 1, name
        while found in taken:
            count += 1
            found = f"{name}-{count}"
        taken.add(found)
        return found

    def within(section: str, parts: Iterable[_Part]) -> tuple[_Part, ...]:
        names = [slug(part.slug) for part in parts]
        names = [unique(name if name.startswith(f"{section}-") else f"{section}-{name}") for name in names]
        return tuple(replace(part, slug=name) for part, name in zip(parts, names, strict=True))

    sections = []
    for section in document.sections:
        own = unique(slug(section.title))
        found = replace(
            section,
            curves=within(own, section.curves),
            tables=within(own, section.tables),
            settings=within(own, section.settings),
            fronts=within(own, section.fronts),
            summary=within(own, section.summary),
            maps=tuple(
                replace(heat_map, drawn=maps + place < MOST_MAPS)
                for place, heat_map in enumerate(within(own, section.maps))
            ),
        )
        maps += len(found.maps)
        sections.append(found)
    return sections
