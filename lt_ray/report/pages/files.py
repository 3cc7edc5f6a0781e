"""A report's files: one page, Markdown, pictures and tables."""

from __future__ import annotations

from pathlib import Path

from lt_ray.report.findings.document import Curves, Document, Front
from lt_ray.report.pages.cells import arm_places, as_csv, named
from lt_ray.report.pages.html import as_html
from lt_ray.report.pages.markdown import as_markdown
from lt_ray.report.pages.picture import draw
from lt_ray.store.files import write_file


def write(document: Document, folder: Path) -> None:
    """Write a report into a folder, each file whole; equal documents make equal bytes.

    - `report.html`: everything in one page that needs no network
    - `report.md`: the same without charts of the settings
    - `curves/`, `fronts/`, `cka/`, `tables/`, `settings/`: `<section>-<slug>.csv`, with every digit; of the first two
      also `<section>-<slug>.png`

    Files of an earlier report under other names stay.
    """
    places = arm_places(document)
    for section in named(document):
        for part in (*section.charts, *section.maps, *section.summary, *section.tables):
            write_file(folder / part.folder / f"{part.slug}.csv", as_csv(part.table).encode())
            if isinstance(part, Curves | Front):
                write_file(folder / part.folder / f"{part.slug}.png", draw(part, places))
    write_file(folder / "report.md", as_markdown(document).encode())
    write_file(folder / "report.html", as_html(document).encode())
