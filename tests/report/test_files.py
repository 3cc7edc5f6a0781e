"""A report's files: what is in them, that nothing of the data is lost or run, that equal reports are equal bytes."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from report_documents import (
    ARMS,
    LONG,
    a_document,
    a_point,
    charts,
    some_curves,
    some_encoders,
    some_settings,
    some_tickets,
)

from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.document import Column, Curves, Document, Line, ReportTable, Searched, Section
from lt_ray.report.pages.cells import as_csv, named, show
from lt_ray.report.pages.files import write
from lt_ray.report.pages.html import as_html
from lt_ray.report.pages.markdown import as_markdown
from lt_ray.report.pages.picture import colour, draw, value_range

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(1)> & "it\'s" | `x` *y* _z_ <!--'


def a_section(*, title="s", curves=(), tables=(), settings=(), texts=()) -> Section:
    return Section(title, " ".join(texts), texts, texts, (*curves, *settings), tables, headline=" ".join(texts))


class Found(HTMLParser):
    """Elements, their ids and outer addresses, the words between them, and each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags[-1:] == ["script"] and self.lasttag == "script":
            self.scripts[-1] += data
        self.words += data


def test_a_report_is_these_files(tmp_path):
    """Page, Markdown, a picture and its numbers for each curves, a CSV for each table and searched settings."""
    write(a_document(), tmp_path)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    long = "ag-news-lstm-an-unreasonably-long-name-of-a-sweep-that-someb"
    assert found == [
        f"curves/{long}-agnews.csv",
        f"curves/{long}-agnews.png",
        "curves/imdb-cnn-rewound-or-re-initialised-test-accuracy.csv",
        "curves/imdb-cnn-rewound-or-re-initialised-test-accuracy.png",
        "report.html",
        "report.md",
        "settings/imdb-lstm-settings-search.csv",
        f"tables/{long}-empty.csv",
        "tables/imdb-cnn-rewound-or-re-initialised-means.csv",
        "tables/imdb-cnn-rewound-or-re-initialised-tickets.csv",
    ]
    assert (tmp_path / "report.html").stat().st_size < 2.3e6
    linked = re.findall(r"\]\(((?:curves|tables|settings)/[^)]*)\)", (tmp_path / "report.md").read_text())
    assert len(linked) == 2 * 2 + 2 + 1, "an empty table has no link"
    assert set(linked) <= set(found)


def test_equal_documents_are_equal_bytes(tmp_path):
    """Written twice, into two folders, every file is the same."""
    for name in ("one", "two"):
        write(a_document(), tmp_path / name)
    one = sorted((tmp_path / "one").rglob("*.*"))
    assert len(one) == 10
    for path in one:
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path.name


def test_fronts_and_heat_maps_have_folders_of_their_own(tmp_path):
    """Numbers of each, of fronts a picture; Markdown links them, and a second writing makes the same bytes."""
    found = assemble([some_encoders(1)]).sections[0]
    document = Document("d", (replace(found, title="s", charts=tuple(charts(found, "front")), tables=(), summary=()),))
    for name in ("one", "two"):
        write(document, tmp_path / name)
    files = sorted(path for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert [str(path.relative_to(tmp_path / "one")) for path in files] == [
        *(f"cka/s-cka-seed-0-round-{name}" for name in ("1.csv", "2-2.csv", "2.csv")),
        "fronts/s-front-latency.csv", "fronts/s-front-latency.png",
        "fronts/s-front-parameters.csv", "fronts/s-front-parameters.png",
        "report.html", "report.md",
    ]  # fmt: skip
    for path in files:
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path.name
    linked = re.findall(r"\]\(((?:cka|fronts)/[^)]*)\)", (tmp_path / "one" / "report.md").read_text())
    assert len(set(linked)) == 7
    page = Found((tmp_path / "one" / "report.html").read_text())
    assert len(page.ids) == len(set(page.ids))


def test_names_of_files_are_plain_and_never_meet():
    """Sweeps of one name and tables of one slug are numbered; a slug that has its section's name keeps it once."""
    twice = ReportTable("../a/b", "", (), ())
    parts = named(Document("", (a_section(title="s", tables=(twice, twice)), a_section(title="S!", tables=(twice,)))))
    assert [[table.slug for table in part.tables] for part in parts] == [["s-a-b", "s-a-b-2"], ["s-2-a-b"]]
    (part,) = named(Document("", (a_section(title="imdb lt", tables=(replace(twice, slug="imdb-lt-means"),)),)))
    assert [table.slug for table in part.tables] == ["imdb-lt-means"]


def test_a_table_comes_back_from_its_csv():
    """Every digit, commas, quotes and line breaks survive; nothing is empty."""
    rows = ((1 / 3, 'a,"b"\nc', None, True), (-1e-17, "–", 7, False))
    text = as_csv(ReportTable("t", "T", tuple(map(Column, "abcd")), rows))
    head, *back = csv.reader(io.StringIO(text))
    assert head == list("abcd")
    assert [(float(a), b, int(c) if c else None, d == "True") for a, b, c, d in back] == list(rows)


@pytest.mark.parametrize(
    ("cell", "digits", "text"),
    [
        (0.9, 4, "0.9000"), (1, 2, "1.00"), (1, None, "1"), (1 / 3, None, "0.333333"), (-0.25, None, "−0.25"),
        (-1e-9, 3, "0.000"), (2e-5, None, "2e−5"), (1e30, None, "1e30"), (True, None, "yes"), (False, 4, "no"),
        (None, 4, "–"), ("", None, "–"), ("a-b", 2, "a-b"), (math.nan, 4, "not a number"), (math.inf, None, "∞"),
        (-math.inf, 2, "−∞"),
    ],
)  # fmt: skip
def test_cells_are_shown_as_people_write_them(cell, digits, text):
    """Digits as asked, a true minus, no negative zero, a dash for nothing."""
    assert show(cell, digits) == text


def test_markdown_says_what_the_document_says():
    """Titles, verdicts, warnings, pictures, tables with numbers to the right, importance by size."""
    lines = as_markdown(a_document()).splitlines()
    assert lines[0] == "# Lottery tickets of the first week"
    assert "## IMDb, CNN: rewound or re-initialised" in lines
    assert "- At 89.3 % sparsity rewinding is better by 0.0161 \\[0.0102, 0.0220\\], 3 pairs of 3 seeds." in lines
    assert "> - 6 cycles are unfinished; the sweep may still run." in lines
    picture = "![Test accuracy](curves/imdb-cnn-rewound-or-re-initialised-test-accuracy.png)"
    assert picture in lines
    head = lines.index("| arm | seed | round | sparsity | test | difference | shared | cycle |")
    assert lines[head + 1] == "|:--|--:|--:|--:|--:|--:|:--|:--|"
    assert lines[head + 2].startswith("| random | 0 | – | – | – | – | yes | ")
    assert lines[head + 3].startswith("| random | 1 | 2 | 0.360 | 0.8848 | −0.0053 | no | ")
    first, second = lines.index("| training.lr | 0.62 |"), lines.index("| model.dropout | 0.17 |")
    assert second == first + 1
    assert "No rows." in lines


def test_long_tables_are_cut_in_markdown_alone():
    """Of 100 rows Markdown shows 60 and says where the others are; the page and the CSV have all."""
    table = ReportTable("t", "T", (Column("a"),), tuple((i,) for i in range(100)))
    document = Document("d", (a_section(tables=(table,)),))
    text = as_markdown(document)
    assert "| 59 |" in text
    assert "| 60 |" not in text
    assert "[All 100 rows](tables/s-t.csv)" in text
    assert ">99</td>" in as_html(document)
    assert as_csv(table).count("\n") == 101


def full_of(word: str) -> Document:
    """A document that says one word wherever it can."""
    curves = some_curves((word, LONG), slug=word, title=word)
    settings = some_settings(4)
    rows = tuple({**row, "arm": word, "cycle": word, word: word} for row in settings.rows)
    own = Searched(word, word, (word,), settings.objectives, rows, {word: 1.0}, word)
    table = ReportTable(word, word, (Column(word),), ((word,),), word)
    return Document(word, (a_section(title=word, curves=(curves,), tables=(table,), settings=(own,), texts=(word,)),))


def test_markup_in_the_data_stays_text(tmp_path):
    """A page with markup in every name has the elements of one without, no address but its own, and the words whole."""
    write(full_of(EVIL), tmp_path)
    assert all(re.fullmatch(r"[a-z0-9_.-]+", path.name) for path in tmp_path.rglob("*"))
    page = Found((tmp_path / "report.html").read_text())
    assert len(page.scripts) == 4
    assert not set("<>&") & set(page.scripts[1])
    assert page.tags == Found(as_html(full_of("word"))).tags
    assert "img" not in page.tags
    assert page.words.count(EVIL) >= 8
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith(("#", "data:text/csv")) for address in page.addresses)
    assert json.loads(page.scripts[1])[0]["arms"][0]["arm"] == EVIL
    markdown = (tmp_path / "report.md").read_text()
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert "\\| \\`x\\` \\*y\\* \\_z\\_" in markdown


def test_what_is_no_number_is_drawn_as_nothing(tmp_path):
    """NaN and infinity in curves, rows and importance become null in the page and gaps in the picture."""
    bad = replace(a_point(1, (0.9, 0.8)), mean=math.nan, low=-math.inf, high=math.inf, members=(math.nan, 0.8))
    curves = Curves("c", "C", (Line("a", (a_point(0, (0.9,)), bad)), Line("none", ())), math.nan, 0.005)
    own = some_settings(9)
    rows = (own.rows[0] | {"val_accuracy": math.nan}, *own.rows[1:])
    own = replace(own, rows=rows, importance={"training.lr": math.nan})
    write(Document("d", (a_section(curves=(curves,), settings=(own,)),)), tmp_path)
    figures = json.loads(Found((tmp_path / "report.html").read_text()).scripts[1])
    assert figures[0]["dense"] is None
    assert [point["mean"] for point in figures[0]["arms"][0]["points"]] == [0.9, None]
    assert figures[1]["rows"][0]["val_accuracy"] is None


@pytest.mark.parametrize(
    "document",
    [
        Document("", ()),
        Document("d", (a_section(),)),
        Document("d", (a_section(curves=(Curves("c", "C", (), None, 0.1),)),)),
        Document("d", (a_section(curves=(Curves("e", "E", (Line("a", ()),), 0.9, 0.1),)),)),
        Document("d", (a_section(tables=(ReportTable("t", "T", (), ()),)),)),
        Document("d", (a_section(settings=(Searched("s", "S", (), (), (), None),)),)),
    ],
)  # fmt: skip
def test_a_report_of_nothing_can_be_written(document, tmp_path):
    """No sweep, a sweep without results, curves without points, tables without columns: all are a page."""
    write(document, tmp_path)
    page = Found((tmp_path / "report.html").read_text())
    assert page.tags.count("main") == 1
    assert "nothing to report" in page.words or document.sections


def test_the_page_has_plotly_once_and_only_for_charts():
    """Two curves and a search share one plotly.js; a page without a chart has none and is small."""
    page = as_html(a_document())
    assert page.count('id="plotly"') == 1
    assert len(as_html(Document("d", (a_section(tables=(some_tickets(),)),)))) < 60_000


def test_arms_have_their_colour_in_every_picture():
    """An arm that stands second in one picture and first in another has one colour and marker in both."""
    first, second = some_curves(ARMS), some_curves(("rewind@0",), slug="other")
    page = as_html(Document("d", (a_section(curves=(first,)), a_section(title="t", curves=(second,)))))
    swatches = re.findall(r'data-arm="rewind@0">(<svg.*?</svg>)', page)
    assert len(swatches) == 2
    assert swatches[0] == swatches[1]
    assert "var(--arm-1)" in swatches[0]


def test_the_picture_has_bands_and_members():
    """The band of an arm is its colour at 15 %; without intervals there is none, and its place says the colour."""

    def pixels(curves: Curves, places=None) -> set[str]:
        image = imread(io.BytesIO(draw(curves, places)))[..., :3].reshape(-1, 3)
        return {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.unique((image * 255).round().astype(int), axis=0)}

    curves = some_curves(("a",))
    band = "#" + "".join(f"{round(255 - 0.15 * (255 - int(colour(0, 0)[i : i + 2], 16))):02x}" for i in (1, 3, 5))
    assert {colour(0, 0), band} <= pixels(curves)
    alone = tuple(replace(point, low=None, high=None) for point in curves.lines[0].points)
    without = pixels(replace(curves, lines=(Line("a", alone),)), {"a": 1})
    assert band not in without
    assert colour(1, 0) in without
    assert colour(0, 0) not in without


def test_long_names_leave_room_for_the_picture():
    """A name of 100 letters is broken into lines: the plot keeps more than half of the width."""
    image = imread(io.BytesIO(draw(some_curves((LONG, "random")))))[..., :3]
    line = (abs(image - np.array(to_rgb(colour(1, 0)))) < 0.01).all(axis=2).any(axis=0).nonzero()[0]
    assert line.max() - line.min() > 1350 / 2


def test_an_interval_of_few_seeds_does_not_flatten_the_rest():
    """Accuracies of 0.80 to 0.90 and an interval of ±0.9 are drawn from 0.76 to 0.94, a third more to each side; that
    of two seeds is not drawn at all."""
    two = (a_point(0, (0.9, 0.9)), replace(a_point(1, (0.8, 0.8)), low=-0.1, high=1.7))
    assert value_range(Curves("c", "C", (Line("a", two),), None, 0.005)) == pytest.approx((0.796, 0.904))
    points = (a_point(0, (0.9,) * 3), replace(a_point(1, (0.8,) * 3), low=-0.1, high=1.7))
    curves = Curves("c", "C", (Line("a", points),), None, 0.005)
    low, high = value_range(curves)
    assert low == pytest.approx(0.8 - 0.1 / 3 - 0.04 * (0.1 + 0.2 / 3))
    assert high == pytest.approx(0.9 + 0.1 / 3 + 0.04 * (0.1 + 0.2 / 3))
