"""What cells and files look like, whatever they are written as."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from lt_ray.cycle.results import sparsest_on_test, winning_round
from lt_ray.report.findings.document import Cell, Column, Document, Part, ReportTable, Searched, Section
from lt_ray.report.reading.rows import ReportedCycle

MOST_MAPS = 12
"""Heat maps of a section that are drawn [count]"""
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


def rounds_csv(arms: Mapping[str, Sequence[ReportedCycle]], tolerance: float) -> str:
    """Return one flat row for each cycle and round as CSV; a column that a row does not have is empty.

    `ticket` marks the winning one, `sparsest_on_test` the one that the research logs would call so; metrics that
    decide nothing come last.

    - `tolerance`: what a winning ticket may lose
    """
    blocks = any(result.blocks is not None for cycles in arms.values() for cycle in cycles for result in cycle.results)
    told = [row for arm, cycles in arms.items() for cycle in cycles for row in _rows(arm, cycle, tolerance, blocks)]
    columns = dict.fromkeys(name for kind in (0, 1) for both in told for name in both[kind])
    rows = tuple(tuple(map((row | further).get, columns)) for row, further in told)
    return as_csv(ReportTable("rounds", "", tuple(map(Column, columns)), rows))


def _rows(
    arm: str, cycle: ReportedCycle, tolerance: float, blocks: bool
) -> Iterator[tuple[dict[str, Cell], dict[str, Cell]]]:
    """Each round's row, and its further metrics.

    - `blocks`: with the fields of models that have some
    """
    winner, on_test = winning_round(cycle.results, tolerance), sparsest_on_test(cycle.results, tolerance)
    own: dict[str, Cell] = {"arm": arm, "cycle": cycle.id, "seed": cycle.seed, **cycle.settings}
    for result in cycle.results:
        measured = [f"{split}_{what}" for split in ("test", "val", "train") for what in (result.metric, "loss")]
        before = [f"before_{split}_{what}" for split in ("val", "test") for what in ("loss", result.metric)]
        names = (
            "round", "sparsity", "remaining", "prunable", *measured, "epochs", "best_epoch", "restart_epoch",
            "parameters", "train_s", "eval_s", "redone_s", "source", "key",
            *((*before, "nonzero", "blocks", "frozen_blocks", "start_round", "stride", "accepted", "test_s",
               "latency_s", "latency_low_s", "latency_high_s") if blocks else ()),
        )  # fmt: skip
        told = {"ticket": result == winner, "sparsest_on_test": result == on_test, "state": cycle.state}
        further: dict[str, Cell] = {name: value for name, value in result.measured.items() if name not in names}
        yield own | {name: getattr(result, name, None) for name in names} | told, further


def arm_places(document: Document) -> dict[str, int]:
    """Return arm → its place among colours and markers, the same in every picture of a report [count]."""
    arms: dict[str, None] = {}
    for section in document.sections:
        for chart in section.charts:
            rows = chart.rows if isinstance(chart, Searched) else map(vars, chart.lines)
            arms |= dict.fromkeys(str(row.get("arm") or "") for row in rows)
    return {arm: place for place, arm in enumerate(arms)}


def slug(text: str) -> str:
    """Return text as part of a file's name: `IMDb: CNN` → `imdb-cnn`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-")[:60] or "untitled"


def named(document: Document) -> list[Section]:
    """Return the sections of a document, the slug of each part made its file's name: `<section>-<slug>`, told apart by
    a number."""
    taken: set[str] = set()

    def unique(name: str) -> str:
        names = itertools.chain([name], (f"{name}-{count}" for count in itertools.count(2)))
        found = next(own for own in names if own not in taken)
        taken.add(found)
        return found

    def within(section: str, parts: Iterable[_Part]) -> tuple[_Part, ...]:
        names = [slug(part.slug) for part in parts]
        names = [unique(name if name.startswith(f"{section}-") else f"{section}-{name}") for name in names]
        return tuple(replace(part, slug=name) for part, name in zip(parts, names, strict=True))

    sections = []
    for section in document.sections:
        own = unique(slug(section.title))
        kinds = ("charts", "tables", "summary", "maps")
        parts: dict[str, Any] = {kind: within(own, getattr(section, kind)) for kind in kinds}
        sections.append(replace(section, **parts))
    return sections
