"""A report's files: one page, Markdown, pictures and tables."""

from __future__ import annotations

from pathlib import Path

from lt_ray.report.cells import arm_places, as_csv, curve_table, named, settings_table
from lt_ray.report.curve import draw_curves
from lt_ray.report.document import Document
from lt_ray.report.html import as_html
from lt_ray.report.markdown import as_markdown
from lt_ray.store import write_file


def write(document: Document, folder: Path) -> None:
    """Write a report into a folder, each file whole; equal documents make equal bytes.

    - `report.html`: everything in one page that needs no network
    - `report.md`: the same without charts of the settings, and with `curves/<section>-<slug>.png`
    - `curves/`, `tables/`, `settings/`: `<section>-<slug>.csv`, with every digit

    Files of an earlier report under other names stay.
    """
    places = arm_places(document)
    for part in named(document):
        for name, curves in part.curves.items():
            write_file(folder / "curves" / f"{name}.png", draw_curves(curves, places))
            write_file(folder / "curves" / f"{name}.csv", as_csv(curve_table(curves)).encode())
        for name, table in part.tables.items():
            write_file(folder / "tables" / f"{name}.csv", as_csv(table).encode())
        for name, settings in part.settings.items():
            write_file(folder / "settings" / f"{name}.csv", as_csv(settings_table(settings)).encode())
    write_file(folder / "report.md", as_markdown(document).encode())
    write_file(folder / "report.html", as_html(document).encode())
