"""The page of a report in a real browser: it stands alone, and what one does with it does what it says."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Frame, Locator, Page, expect, sync_playwright
from report_documents import (
    ARMS,
    a_document,
    a_search,
    charts,
    some_arms,
    some_curves,
    some_encoders,
    some_means,
    some_settings,
    some_tickets,
)

from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.document import Column, Document, ReportTable, Section
from lt_ray.report.pages.html import as_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WIDE, NARROW = (1280, 900), (390, 844)
WAIT_MS = 60_000
"""A busy machine draws a page in half a minute"""
DRAWN = "html[data-charts=drawn]"
BLACK, WHITE = "rgb(21, 23, 27)", "rgb(255, 255, 255)"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in the PATH: `apt-get install chromium`")

Open = Callable[..., Page]
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens a document's page from its file; whatever a page complains of or asks for fails the last test."""
    said: list[str] = []
    asked: list[str] = []
    written: set[str] = set()

    def open_page(document: Document, inside: str = "", *, folded: bool = False, **more: object) -> Page:
        folder = tmp_path_factory.mktemp("page")
        opened = folder / "report.html"
        opened.write_text(as_html(document))
        written.add(opened.as_uri())
        if inside:
            opened = folder / "frame.html"
            opened.write_text(inside)
            written.add(opened.as_uri())
        page = browser.new_page(viewport={"width": WIDE[0], "height": WIDE[1]}, **more)  # type: ignore[arg-type]
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(opened.as_uri())
        if more.get("java_script_enabled", True):
            page.frames[-1].wait_for_selector(DRAWN if "<figure" in opened.read_text() else "html.js", timeout=WAIT_MS)
        if not folded:
            unfold(page)
        return page

    yield open_page
    assert said == []
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == written


def unfold(page: Page) -> None:
    """Open every section of a page; what was folded is drawn then."""
    page.evaluate("() => { for (const fold of document.querySelectorAll('details.fold')) fold.open = true; }")
    if page.evaluate("document.documentElement.classList.contains('js')"):
        page.wait_for_function("() => [...document.querySelectorAll('.chart .drawing')].every(own => own.data)")


@pytest.fixture(scope="module")
def arms(open_page: Open) -> Page:
    """A page of curves and two tables: tests leave it as it was, but for the order of rows."""
    curves = some_curves()
    return open_page(Document("arms", (Section("s", "", (), (), (curves,), (some_means(curves), some_tickets())),)))


@pytest.fixture(scope="module")
def search(open_page: Open) -> Page:
    """A page of searched settings."""
    return open_page(Document("search", (Section("s", "", (), (), (some_settings(),), ()),)))


@pytest.fixture(scope="module")
def whole(open_page: Open) -> Page:
    """A page of three sweeps."""
    return open_page(a_document())


@pytest.fixture(scope="module")
def encoders(open_page: Open) -> Page:
    """A page of fronts and heat maps, and of nothing else."""
    found = assemble([some_encoders()]).sections[0]
    return open_page(Document("encoders", (replace(found, charts=tuple(charts(found, "front"))),)))


def point_at(page: Page, chart: Locator, trace: int, point: int) -> str:
    """Move the mouse to a point of a chart and return what is told of it."""
    chart.scroll_into_view_if_needed()
    x, y = chart.locator(".drawing").evaluate(
        """(drawing, [trace, point]) => {
            const {_fullLayout: {xaxis, yaxis, margin}, data} = drawing, box = drawing.getBoundingClientRect();
            const own = data.at(trace);
            return [box.x + xaxis._offset + xaxis.d2p(own.x[point]), box.y + yaxis._offset + yaxis.d2p(own.y[point])];
        }""",
        [trace, point],
    )
    page.mouse.move(x - 8, y - 4)
    page.mouse.move(x, y, steps=3)
    told = chart.locator(".hoverlayer .hovertext")
    expect(told).to_have_count(1)
    return "\n".join(told.locator("text .line").all_text_contents())


def shown(chart: Locator) -> set[tuple[str, str]]:
    """The visible traces of a chart as (arm, kind)."""
    traces = chart.locator(".drawing").evaluate(
        "drawing => drawing._fullData.filter(t => t.visible === true).map(t => [t.meta.arm, t.meta.kind])"
    )
    return {(arm, kind) for arm, kind in traces}


def column(table: Locator, index: int) -> list[str]:
    return table.locator(f"tbody td:nth-child({index + 1})").all_inner_texts()


def test_pointing_at_a_mean_tells_its_numbers(arms):
    """At the mean of the second arm after round 12: arm, round, sparsity, mean, interval, cycles, distance to dense."""
    told = point_at(arms, arms.locator(".chart.curves"), -2, 12)
    curves = some_curves()
    point = curves.lines[1].points[12]
    away = f"{point.mean - curves.dense:+.4f}".replace("-", "− ")
    assert told.splitlines() == [
        "rewind@0",
        "round 12, sparsity 93.1 %",
        f"test accuracy {point.mean:.4f} [{point.low:.4f}, {point.high:.4f}]",
        f"n = 3 cycles, dense {away}",
    ]


def test_an_arm_is_hidden_by_mouse_and_by_keyboard(arms):
    """Its button says pressed or not; its line, band and points go and come back; the other arms stay."""
    page, chart = arms, arms.locator(".chart.curves")
    everything = {(arm, kind) for arm in ARMS for kind in ("mean", "band", "cycles")}
    assert shown(chart) == everything
    button = page.get_by_role("button", name="rewind@0 (3)")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert shown(chart) == {(arm, kind) for arm, kind in everything if arm != "rewind@0"}
    assert chart.locator(".scatterlayer .trace").count() == 6
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert shown(chart) == everything
    page.get_by_role("button", name="95 % intervals").press("Space")
    assert shown(chart) == {(arm, kind) for arm, kind in everything if kind != "band"}
    page.get_by_role("button", name="95 % intervals").click()
    assert shown(chart) == everything


def test_a_chart_can_be_seen_near_the_dense_line(arms):
    """With a tolerance of 0.005 `near dense` shows 0.025 to each side of it where there is that much, and goes back."""
    accuracies = "drawing => drawing._fullLayout.yaxis.range"
    drawing = arms.locator(".chart.curves .drawing")
    before = drawing.evaluate(accuracies)
    button = arms.get_by_role("button", name="near dense")
    button.click()
    low, high = drawing.evaluate(accuracies)
    assert low == pytest.approx(some_curves().dense - 0.025)
    assert before[0] < low < high <= before[1]
    button.click()
    assert drawing.evaluate(accuracies) == before


def test_a_table_is_sorted_by_click_and_by_keyboard(arms):
    """Numbers by value (9 before 10, −0.01 before 0), the other way round at the second time, nothing always last."""
    table = arms.get_by_role("region", name="Winning tickets")
    assert column(table, 2) == ["–", "2", "4", "9", "10", "12", "11", "14", "–"]
    head = table.get_by_role("columnheader", name="round")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert column(table, 2) == ["2", "4", "9", "10", "11", "12", "14", "–", "–"]
    head.get_by_role("button").press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert column(table, 2) == ["14", "12", "11", "10", "9", "4", "2", "–", "–"]
    table.get_by_role("button", name="difference").press("Space")
    expect(head).to_have_attribute("aria-sort", "none")
    values = [float(text.replace("−", "-")) for text in column(table, 5)[:-2]]
    assert values == sorted(values)
    assert values[0] < 0 < values[-1]
    table.get_by_role("button", name="arm").click()
    assert column(table, 0) == [arm for arm in ARMS for _ in range(3)]


def test_numbers_that_look_equal_are_sorted_by_all_their_digits(open_page):
    """0.12341 and 0.12344 both show as 0.1234; infinity is above all, what is not a number below nothing."""
    values = (0.12344, float("nan"), 0.12341, float("inf"), 1e-9, None, -2.0)
    table = ReportTable(
        "t", "T", (Column("value", 4), Column("name")), tuple((v, str(i)) for i, v in enumerate(values))
    )
    page = open_page(Document("d", (Section("s", "", (), (), (), (table,)),)))
    found = page.get_by_role("region", name="T", exact=True)
    found.get_by_role("button", name="value").click()
    assert column(found, 1) == ["6", "4", "2", "0", "3", "1", "5"]
    assert column(found, 0) == ["−2.0000", "0.0000", "0.1234", "0.1234", "∞", "not a number", "–"]


def test_settings_are_ranked_and_a_cycle_is_followed(search):
    """Pointing at a cycle's lr lights its whole line and tells its settings; the slider dims all but the best ten."""
    page, settings = search, some_settings()
    chart = page.locator(".chart.parallel")
    row = max(settings.rows, key=lambda row: row.get("val_accuracy", 0))
    told = point_at(page, chart, -2, 8 * 4)  # the last drawn are the five best, the best one at the end
    assert f"{row['arm']}, {row['cycle']}" in told
    assert f"val_accuracy {row['val_accuracy']:.4f}" in told
    drawing = chart.locator(".drawing")
    assert drawing.evaluate("drawing => drawing.data.at(-1).y.length") == len(settings.keys) + 2 + 1
    page.mouse.move(1, 1)
    expect(chart.locator(".hovertext")).to_have_count(0)
    assert drawing.evaluate("drawing => drawing.data.at(-1).y") == []
    page.get_by_role("slider").fill("10")
    counts = "drawing => drawing.data.map(t => [t.meta.kind, t.x.filter(x => x === null).length])"
    lines = drawing.evaluate(counts)
    assert sum(count for kind, count in lines if kind == "rest") == 30
    assert sum(count for kind, count in lines if kind == "best") == 10
    page.get_by_role("combobox").select_option("winning_sparsity")
    expect(page.get_by_text("winning_sparsity against each field")).to_be_visible()


def test_a_field_of_several_decades_has_a_logarithmic_axis(search):
    """lr from 3e-5 to 1e-2: 0.0001 and 0.001 are as far apart as 0.001 and 0.01; a field that some cycles lack has
    fewer points; choices stand in their order."""
    fields = search.locator(".chart.field .drawing")
    ticks = fields.nth(0).evaluate("d => [d._fullLayout.xaxis.ticktext, d._fullLayout.xaxis.tickvals]")
    assert ticks[0] == ["0.0001", "0.001"]
    points = fields.nth(0).evaluate("d => d.data.flatMap(t => t.x)")
    assert len(points) == 39, "one cycle came to nothing"
    last = fields.nth(4)
    assert last.evaluate("d => d._fullLayout.xaxis.ticktext") == ["0", "1", "last"]
    assert 0 < last.evaluate("d => d.data.flatMap(t => t.x).length") < 39


def test_it_is_light_or_dark(arms):
    """It is as the system is and turns with it; the button turns ground, charts and arms against it, and is kept."""

    def looks() -> tuple[str, ...]:
        script = """() => { const style = selector => getComputedStyle(document.querySelector(selector));
            return [style("body").backgroundColor, style(".curves .main-svg").backgroundColor,
                    style(".curves .trace:last-child .points path").fill]; }"""
        return tuple(arms.evaluate(script))

    light, dark = (WHITE, WHITE, "rgb(0, 158, 115)"), (BLACK, BLACK, "rgb(31, 181, 138)")
    assert looks() == light
    arms.emulate_media(color_scheme="dark")
    expect(arms.locator("body")).to_have_css("background-color", BLACK)
    assert looks() == dark
    arms.get_by_role("button", name="Light theme").click()
    assert looks() == light
    arms.reload()
    arms.wait_for_selector(DRAWN)
    assert looks() == light
    arms.get_by_role("button", name="Dark theme").click()
    arms.emulate_media(color_scheme="light")
    assert looks() == dark


def test_paper_is_white(arms):
    """Printed while dark, ground and charts are those of the light page, and what only a screen needs is gone."""
    arms.emulate_media(color_scheme="dark", media="print")
    try:
        expect(arms.locator(".curves .main-svg").first).to_have_css("background-color", WHITE)
        expect(arms.locator("body")).to_have_css("background-color", WHITE)
        expect(arms.get_by_text("near dense")).to_be_hidden()
    finally:
        arms.emulate_media(color_scheme="light", media="screen")


def test_a_phone_shows_it_without_scrolling_sideways(whole):
    """At 390 px nothing is wider than the page; wide tables and parallel coordinates scroll within themselves."""
    page = whole
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    expect(page.locator(".chart.curves .main-svg").first).to_have_css("width", "358px")
    for details in page.locator("details").all():
        details.evaluate("details => details.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW[0]
    for chart in page.locator(".chart.curves, .chart.field").all():
        assert chart.locator(".main-svg").first.bounding_box()["width"] <= NARROW[0] - 32
    for inner in (page.get_by_role("region", name="Winning tickets"), page.locator(".chart.parallel")):
        assert inner.evaluate("own => own.scrollWidth > own.clientWidth")
    page.set_viewport_size({"width": 800, "height": 900})
    expect(page.locator(".chart.curves .main-svg").first).to_have_css("width", "736px")


def test_names_are_shown_and_never_run(open_page):
    """Markup in titles, arms, reasons, fields and cells is text, on the page and in charts."""
    evil = "</script><script>document.title = 'run'</script><b>&amp;</b>"
    curves = some_curves((evil, "random"), title=evil)
    settings = some_settings()
    rows = tuple({**row, "arm": evil, "cycle": evil, evil: index} for index, row in enumerate(settings.rows))
    own = type(settings)("x", evil, (evil,), settings.objectives, rows, {evil: 1.0}, evil)
    table = ReportTable("t", evil, (Column(evil),), ((evil,),), evil)
    page = open_page(Document(evil, (Section(evil, evil, (evil,), (evil,), (curves, own), (table,)),)))
    assert page.title() == evil
    assert page.locator("b:not(dd b)").count() == 0
    expect(page.get_by_role("heading", level=1)).to_have_text(evil)
    expect(page.locator("button[data-arm]").first).to_have_text(f"{evil} (3)")
    assert evil in point_at(page, page.locator(".chart.curves"), -2, 3)
    assert evil in page.locator(".chart.parallel .annotation-text").first.text_content().replace("\u200b", "")


SIZES = ((1400, 900), NARROW)


@pytest.mark.parametrize("size", SIZES)
def test_the_first_screen_answers(open_page, size):
    """Of each kind of sweep the headline and the whole chart below it are in the first viewport, and nothing is wider
    than the page; the rest is folded, the small table is not."""
    kinds = [assemble([sweep]) for sweep in (some_arms(3), some_encoders(), a_search())]
    for document in kinds:
        page = open_page(document, folded=True)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        expect(page.locator(".drawing .main-svg").first).to_be_visible()
        (section,) = document.sections
        expect(page.locator(".headline")).to_have_text(section.headline)
        expect(page.locator(".headline")).to_be_in_viewport(ratio=1)
        drawn = page.locator(".chart").first.bounding_box()
        assert drawn["y"] > page.locator(".headline").bounding_box()["y"]
        assert drawn["y"] + drawn["height"] <= size[1]
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        assert page.locator("details[open]").count() == 0
        assert page.locator("details.fold").count() >= 4
        expect(page.get_by_role("region", name="In short")).to_be_visible()
        for table in section.tables:
            expect(page.get_by_role("region", name=table.title, exact=True)).to_be_hidden()
        page.close()


def test_a_folded_chart_is_drawn_when_it_is_opened(open_page):
    """The second front of encoders is hidden until its section is opened, and its points then tell their arm."""
    page = open_page(assemble([some_encoders()]), folded=True)
    chart = page.locator(".chart.front").nth(1)
    expect(chart.locator(".drawing")).to_be_hidden()
    page.get_by_text("emotion_bert: test accuracy against latency").first.click()
    expect(chart.locator(".main-svg").first).to_be_visible()
    assert "t=0.99" in point_at(page, chart, -1, 0)
    page.close()


@pytest.mark.parametrize(("seeds", "bands"), [(2, 0), (3, 2)])
def test_an_interval_is_drawn_from_three_seeds_on(open_page, seeds, bands):
    """Two seeds have no band and no button for it; their dots are there."""
    page = open_page(assemble([some_arms(seeds)]), folded=True)
    kinds = page.locator(".curves .drawing").evaluate(
        "drawing => drawing.data.filter(own => own.x.some(x => x !== null)).map(own => own.meta.kind)"
    )
    assert kinds.count("band") == bands
    assert kinds.count("cycles") == 2
    assert page.get_by_role("button", name="95 % intervals").count() == (1 if bands else 0)
    page.close()


def test_a_wide_table_keeps_its_first_column(whole):
    """At 390 px, scrolled to its end, a table still shows the arms at its left."""
    whole.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    table = whole.get_by_role("region", name="Winning tickets")
    table.evaluate("table => table.scrollTo(9999, 0)")
    left = table.bounding_box()["x"]
    assert table.evaluate("table => table.scrollLeft") > 0
    assert table.locator("tbody td").first.bounding_box()["x"] == pytest.approx(left, abs=1)
    whole.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


def test_it_is_read_without_scripts(open_page):
    """Without JavaScript there are no dead buttons; verdicts, tables and the numbers of each chart are there."""
    page = open_page(a_document(), java_script_enabled=False)
    expect(page.get_by_text("Rewound to epoch 1, tickets win").first).to_be_visible()
    expect(page.get_by_role("region", name="Winning tickets")).to_be_visible()
    expect(page.get_by_text("The chart needs JavaScript").first).to_be_visible()
    assert page.get_by_role("button").filter(visible=True).count() == 0
    page.get_by_text("Numbers of this chart").first.click()
    expect(page.get_by_role("cell", name="rewind@1").first).to_be_visible()


def test_it_works_in_a_frame_without_storage(open_page):
    """Sandboxed as MLflow does it, where `localStorage` throws: charts are drawn, the theme and the links work."""
    html = '<iframe sandbox="allow-scripts" src="report.html" width="1000" height="800"></iframe>'
    frame: Frame = open_page(a_document(), inside=html).frames[1]
    frame.get_by_role("button", name="Dark theme").click()
    expect(frame.locator("body")).to_have_css("background-color", BLACK)
    frame.get_by_role("link", name="IMDb, LSTM: settings").click()
    expect(frame.get_by_role("heading", name="IMDb, LSTM: settings")).to_be_in_viewport()


def test_headings_are_in_order_and_landmarks_named(whole):
    """h1, then h2 for each sweep and h3 within it; the first Tab is the way past the head."""
    page = whole
    levels = [int(name[1]) for name in page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => h.tagName)")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("[id]").evaluate_all("all => all.length === new Set(all.map(e => e.id)).size")
    page.reload()
    page.wait_for_selector(DRAWN)
    unfold(page)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the results")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert page.get_by_role("link", name=re.compile("^CSV$")).count() == 2


def test_pointing_at_a_front_tells_what_a_point_costs(encoders):
    """Arm, round and blocks, test accuracy with its interval, nonzero parameters, cycles, and whether it is on it."""
    front = charts(assemble([some_encoders()]).sections[0], "front")[0]
    chart = encoders.locator(".chart.front").first
    arms = [arm.arm for arm in front.lines]
    point = front.lines[arms.index("t=0.99")].points[0]
    told = point_at(encoders, chart, -1, 0)
    assert told.splitlines() == [
        "t=0.99",
        "round 1, 10 blocks",
        f"test accuracy {point.mean:.4f} [{point.low:.4f}, {point.high:.4f}]",
        "95,311,110 nonzero parameters",
        "n = 3 cycles, on the front",
    ]
    rejected = point_at(encoders, chart, -4, 1)
    assert "round 2, 6 blocks, rejected" in rejected
    assert "latency 27.00 ms [26.50, 27.50]" in point_at(encoders, encoders.locator(".chart.front").nth(1), -1, 0)
    assert "dense\nnot pruned, 12 blocks" in point_at(encoders, chart, 1, 0)


def test_an_arm_of_a_front_is_hidden_by_keyboard(encoders):
    """Its points, its path and what it rejected go and come back; the dense point and the front stay."""
    chart = encoders.locator(".chart.front").first
    everything = shown(chart)
    assert {("dense", "dense"), (None, "front"), ("t=0.98", "rejected")} <= everything
    button = encoders.get_by_role("button", name="freeze t=0.98 (3)").first
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert everything - shown(chart) == {("freeze t=0.98", kind) for kind in ("points", "path", "rejected")}
    button.press("Space")
    assert shown(chart) == everything
    bars = "drawing => drawing._fullData.filter(t => t.error_y && t.error_y.visible).length"
    assert chart.locator(".drawing").evaluate(bars) == 5
    interval = encoders.get_by_role("button", name="95 % intervals").first
    interval.press("Enter")
    assert chart.locator(".drawing").evaluate(bars) == 0
    interval.press("Enter")


def test_fronts_and_heat_maps_are_light_or_dark(encoders):
    """Points take the arms' colours on the ground; a heat map keeps its colours, and its words turn."""
    ground = "document.querySelector('.front .main-svg').style.backgroundColor"
    words = "getComputedStyle(document.querySelector('.heat .fates td')).color"
    cell = "getComputedStyle(document.querySelector('.heat td[title]')).backgroundColor"
    arm = "document.querySelectorAll('.front .drawing')[0].data.at(-1).marker.color[0]"
    looks = f"() => [{ground}, {words}, {cell}, {arm}]"
    light = encoders.evaluate(looks)
    encoders.emulate_media(color_scheme="dark")
    expect(encoders.locator("body")).to_have_css("background-color", BLACK)
    dark = encoders.evaluate(looks)
    encoders.emulate_media(color_scheme="light")
    assert (light[0], dark[0]) == ("rgb(255, 255, 255)", BLACK)
    assert light[1] != dark[1]
    assert light[2] == dark[2]
    assert (light[3], dark[3]) == ("#CC79A7", "#d98bb8")


def test_a_phone_shows_fronts_and_heat_maps(encoders):
    """At 390 px nothing is wider than the page, and a map of 12 blocks fits without scrolling."""
    encoders.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    expect(encoders.locator(".chart.front .main-svg").first).to_have_css("width", "358px")
    for details in encoders.locator("details").all():
        details.evaluate("details => details.open = true")
    assert encoders.evaluate("document.documentElement.scrollWidth") == NARROW[0]
    assert encoders.locator(".heat").first.bounding_box()["width"] <= NARROW[0] - 32
    encoders.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


def test_heat_maps_need_no_script(open_page):
    """Without JavaScript the picture is there, named by its heading, with a value in each cell."""
    found = assemble([some_encoders(1)]).sections[0]
    found = replace(found, charts=tuple(charts(found, "front")))
    page = open_page(Document("maps", (found,)), java_script_enabled=False)
    heat = page.locator(".heat").first
    expect(heat).to_be_visible()
    expect(heat).to_have_accessible_name("Similarity of blocks: the dense model, seed 0")
    assert heat.locator("td").filter(has_text=re.compile(r"^(\.\d{3}|1|1\.000)$")).count() >= 144


def test_names_in_fronts_and_heat_maps_are_shown_and_never_run(open_page):
    """Markup in arms and readings is text."""
    evil = "</script><script>document.title = 'run'</script><b>&amp;</b>"
    found = assemble([some_encoders(1)]).sections[0]
    front = charts(found, "front")[0]
    front = replace(front, title=evil, note=evil, lines=(replace(front.lines[0], arm=evil),))
    heat = replace(found.maps[0], title=evil, note=evil, readings=(replace(found.maps[0].readings[0], who=evil),))
    page = open_page(Document("d", (Section("s", "", (), (), (front,), (), (heat,)),)))
    assert page.title() == "d"
    assert page.locator("b").count() == 0
    assert evil in point_at(page, page.locator(".chart.front"), -2, 0)
    expect(page.locator(".heat .reading").first).to_contain_text("</script><script>")
