"""A report's files: one page, Markdown, pictures and tables."""

from __future__ import annotations

from pathlib import Path

from lt_ray.report.findings.document import Document
from lt_ray.report.pages.cells import (
    arm_places,
    as_csv,
    curve_table,
    front_table,
    heat_map_table,
    named,
    settings_table,
)
from lt_ray.report.pages.curve import draw_curves
from lt_ray.report.pages.front_picture import draw_front
from lt_ray.report.pages.heat_map_picture import draw_heat_map
from lt_ray.report.pages.html import as_html
from lt_ray.report.pages.markdown import as_markdown
from lt_ray.store.files import write_file


def write(document: Document, folder: Path) -> None:
    """Write a report into a folder, each file whole; equal documents make equal bytes.

    - `report.html`: everything in one page that needs no network
    - `report.md`: the same without charts of the settings, and with the pictures `curves/`, `fronts/`,
      `cka/<section>-<slug>.png`
    - `curves/`, `fronts/`, `cka/`, `tables/`, `settings/`: `<section>-<slug>.csv`, with every digit; of `cka/` also
      those that are not drawn

    Files of an earlier report under other names stay.
    """
    places = arm_places(document)
    for part in named(document):
        for name, curves in part.curves.items():
            write_file(folder / "curves" / f"{name}.png", draw_curves(curves, places))
            write_file(folder / "curves" / f"{name}.csv", as_csv(curve_table(curves)).encode())
        for name, front in part.fronts.items():
            write_file(folder / "fronts" / f"{name}.png", draw_front(front, places))
            write_file(folder / "fronts" / f"{name}.csv", as_csv(front_table(front)).encode())
        for name, heat_map in part.maps.items():
            write_file(folder / "cka" / f"{name}.png", draw_heat_map(heat_map))
        for name, heat_map in (*part.maps.items(), *part.further_maps.items()):
            write_file(folder / "cka" / f"{name}.csv", as_csv(heat_map_table(heat_map)).encode())
        for name, table in (*part.summary.items(), *part.tables.items()):
            write_file(folder / "tables" / f"{name}.csv", as_csv(table).encode())
        for name, settings in part.settings.items():
            write_file(folder / "settings" / f"{name}.csv", as_csv(settings_table(settings)).encode())
    write_file(folder / "report.md", as_markdown(document).encode())
    write_file(folder / "report.html", as_html(document).encode())
