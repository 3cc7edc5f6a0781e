"""A report as Markdown, its pictures and long tables beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from lt_ray.report.findings.document import Document, Front, HeatMap, ReportTable, Searched, Section
from lt_ray.report.pages.cells import Named, front_table, named, numeric, settings_table, show

_MOST_ROWS = 60
"""Longer tables are cut: the rest is in their CSV"""


def as_markdown(document: Document) -> str:
    """Return a document as Markdown that links `curves/*.png` and `tables/*.csv`."""
    lines = [f"# {_plain(document.title)}"]
    if not document.sections:
        lines += ["", "There is nothing to report."]
    for part in named(document):
        section, said = part.section, part.section.verdicts
        lines += ["", *_opening(section)]
        charts = _charts(part)
        lines += charts.pop(part.opening, [])
        for name, table in part.summary.items():
            lines += ["", f"### {_plain(table.title)}", *_table(table, f"tables/{name}.csv")]
        if section.lead:
            lines += ["", "### What was run", "", _plain(section.lead)]
        if said[0 if section.headline else 1 :]:
            lines += ["", "### In sentences", "", *(f"- {_plain(verdict)}" for verdict in said)]
        for name, table in part.tables.items():
            lines += ["", f"### {_plain(table.title)}", *_table(table, f"tables/{name}.csv")]
        lines += [line for chart in charts.values() for line in chart]
        for name, heat_map in part.maps.items():
            lines += ["", f"### {_plain(heat_map.title)}", *_heat_map(heat_map, f"cka/{name}")]
        lines += _further(part.further_maps)
    return "\n".join(lines) + "\n"


def as_note(section: Section, tables: Sequence[ReportTable] = ()) -> str:
    """Return a section in short, without pictures and files: what came out, the small table, some more, sentences."""
    lines = list(_opening(section))
    for table in (*section.summary, *tables):
        lines += ["", f"### {_plain(table.title)}", *_table(table)]
    return "\n".join([*lines, "", *(f"- {_plain(verdict)}" for verdict in section.verdicts)]) + "\n"


def _opening(section: Section) -> Iterator[str]:
    """Yield a section's title, what came out of it, and what a reader must mind."""
    yield f"## {_plain(section.title)}"
    if first := section.headline or next(iter(section.verdicts), ""):
        yield from ("", f"**{_plain(first)}**")
    if section.warnings:
        yield from ("", "> **Mind**", ">", *(f"> - {_plain(warning)}" for warning in section.warnings))


def _charts(part: Named) -> dict[str, list[str]]:
    """Name of a picture, or of searched settings → its lines."""
    found: dict[str, list[str]] = {}
    for name, curves in part.curves.items():
        picture = f"![{_plain(curves.title)}](curves/{name}.png)"
        found[name] = ["", f"### {_plain(curves.title)}", "", picture, "", f"[Its numbers](curves/{name}.csv)"]
    for name, front in part.fronts.items():
        found[name] = ["", f"### {_plain(front.title)}", *_front(front, f"fronts/{name}")]
    for name, settings in part.settings.items():
        found[name] = ["", f"### {_plain(settings.title)}", *_settings(settings, f"settings/{name}.csv")]
    return found


def _front(front: Front, path: str) -> Iterator[str]:
    """Yield the picture, and the points on the front, which a picture does not name."""
    if front.note:
        yield from ("", _plain(front.note))
    yield from ("", f"![{_plain(front.title)}]({path}.png)", "", "On the front:")
    table = front_table(front)
    names = [column.name for column in table.columns]
    kept = [place for place, name in enumerate(names) if name not in ("on the front", "rejected")]
    on = names.index("on the front")
    yield from _table(
        ReportTable(
            table.slug,
            table.title,
            tuple(table.columns[i] for i in kept),
            tuple(tuple(row[i] for i in kept) for row in table.rows if row[on]),
        ),
        f"{path}.csv",
        all_of=len(table.rows),
    )


def _heat_map(heat_map: HeatMap, path: str) -> Iterator[str]:
    if heat_map.note:
        yield from ("", _plain(heat_map.note))
    yield from ("", f"![{_plain(heat_map.title)}]({path}.png)", "", f"[Its numbers]({path}.csv)")


def _further(maps: Mapping[str, HeatMap]) -> Iterator[str]:
    if maps:
        yield from ("", "### Further similarities of blocks, as numbers alone", "")
        yield from (f"- [{_plain(heat_map.title)}](cka/{name}.csv)" for name, heat_map in maps.items())


def _settings(settings: Searched, path: str) -> Iterator[str]:
    if settings.importance:
        shares = sorted(settings.importance.items(), key=lambda item: -item[1])
        what = _plain(settings.objectives[0]) if settings.objectives else "the result"
        yield from ("", f"Share of the variance of {what} that each field explains:", "")
        yield from _rows(["field", "share"], [False, True], [[key, show(share, 2)] for key, share in shares])
    yield from _table(settings_table(settings), path, settings.note)


def _table(table: ReportTable, path: str = "", note: str = "", all_of: int | None = None) -> Iterator[str]:
    """Yield a table and a link to its CSV, which has `all_of` rows where it has more than the table."""
    if note := table.note or note:
        yield from ("", _plain(note))
    yield ""
    if not table.rows:
        yield "No rows."
        return
    cells = [
        [show(cell, column.digits) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows[:_MOST_ROWS]
    ]
    right = [numeric(table, index) for index in range(len(table.columns))]
    yield from _rows([column.name for column in table.columns], right, cells)
    rows = len(table.rows) if all_of is None else all_of
    if path:
        yield from ("", f"[All {rows} rows]({path})" if rows > len(cells) else f"[CSV]({path})")


def _rows(head: Sequence[str], right: Sequence[bool], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(map(_plain, head))} |"
    yield "|" + "|".join("--:" if own else ":--" for own in right) + "|"
    for row in rows:
        yield f"| {' | '.join(map(_plain, row))} |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;")
