"""A report as Markdown, its pictures and long tables beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lt_ray.report.findings.document import (
    Curves,
    Document,
    Front,
    HeatMap,
    Part,
    ReportTable,
    Searched,
    Section,
    table_of,
)
from lt_ray.report.pages.cells import MOST_MAPS, named, numeric, show

_MOST_ROWS = 60
"""Longer tables are cut: the rest is in their CSV"""


def as_markdown(document: Document) -> str:
    """Return a document as Markdown that links `curves/*.png` and `tables/*.csv`."""
    lines = [f"# {_plain(document.title)}"]
    if not document.sections:
        lines += ["", "There is nothing to report."]
    for section in named(document):
        charts, numbers_alone = section.charts, section.maps[MOST_MAPS:]
        lines += ["", *_opening(section), *_parts(charts[:1]), *_parts(section.summary)]
        if section.lead:
            lines += ["", "### What was run", "", _plain(section.lead)]
        if section.verdicts:
            lines += ["", "### In sentences", "", *_list(section.verdicts)]
        lines += _parts((*section.tables, *charts[1:], *section.maps[:MOST_MAPS]))
        if numbers_alone:
            lines += ["", "### Further similarities of blocks, as numbers alone", ""]
            lines += [f"- [{_plain(own.title)}](cka/{own.slug}.csv)" for own in numbers_alone]
    return "\n".join(lines) + "\n"


def as_note(section: Section, tables: Sequence[ReportTable] = ()) -> str:
    """Return a section in short, without pictures and files: what came out, the small table, some more, sentences."""
    lines = [*_opening(section), *_parts((*section.summary, *tables), linked=False), "", *_list(section.verdicts)]
    return "\n".join(lines) + "\n"


def _opening(section: Section) -> Iterator[str]:
    """Yield a section's title, what came out of it, and what a reader must mind."""
    yield f"## {_plain(section.title)}"
    if section.headline:
        yield from ("", f"**{_plain(section.headline)}**")
    if section.warnings:
        yield from ("", "> **Mind**", ">", *(f"> {warning}" for warning in _list(section.warnings)))


def _list(items: Sequence[str]) -> list[str]:
    return [f"- {_plain(item)}" for item in items]


def _parts(parts: Iterable[Part], *, linked: bool = True) -> Iterator[str]:
    for part in parts:
        yield from ("", f"### {_plain(part.title)}")
        if isinstance(part, Searched) and part.importance:
            what = part.objectives[0] if part.objectives else "the result"
            yield from ("", f"Share of the variance of {_plain(what)} that each field explains:")
            shares = sorted(part.importance.items(), key=lambda item: -item[1])
            yield from _table(table_of("", "", [{"field": key, ("share", 2): share} for key, share in shares]))
        if part.note:
            yield from ("", _plain(part.note))
        file = f"{part.folder}/{part.slug}"
        if isinstance(part, Curves | Front):
            yield from ("", f"![{_plain(part.title)}]({file}.png)")
        if isinstance(part, Curves):
            yield from ("", f"[Its numbers]({file}.csv)")
            continue
        yield from ("", "On the front:") if isinstance(part, Front) else ()  # the picture does not name its points
        yield from _table(_shown(part), f"{file}.csv" if linked else "", all_of=len(part.table.rows))


def _shown(part: ReportTable | Searched | Front | HeatMap) -> ReportTable:
    """The rows and columns of a part's numbers that Markdown has room for: of a front what is on it, of a heat map the
    matrix."""
    table = part.table
    if isinstance(part, Front):
        on = [column.name for column in table.columns].index("on the front")
        return replace(table, columns=table.columns[:on], rows=tuple(row[:on] for row in table.rows if row[on]))
    many = 1 + len(part.origins) if isinstance(part, HeatMap) else len(table.columns)
    return replace(table, columns=table.columns[:many], rows=tuple(row[:many] for row in table.rows))


def _table(table: ReportTable, path: str = "", all_of: int = 0) -> Iterator[str]:
    """Yield a table and a link to its CSV, which has `all_of` rows where it has more than the table."""
    if not table.rows:
        yield from ("", "No rows.")
        return
    yield from ("", f"| {' | '.join(_plain(column.name) for column in table.columns)} |")
    yield f"|{'|'.join('--:' if right else ':--' for right in numeric(table))}|"
    for row in table.rows[:_MOST_ROWS]:
        cells = [show(cell, column.digits) for cell, column in zip(row, table.columns, strict=True)]
        yield f"| {' | '.join(map(_plain, cells))} |"
    rows = max(all_of, len(table.rows))
    if path:
        yield from ("", f"[All {rows} rows]({path})" if rows > len(table.rows[:_MOST_ROWS]) else f"[CSV]({path})")


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;")
