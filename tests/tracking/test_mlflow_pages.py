"""MLflow's pages, in a real browser: a sweep is found where one looks for it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page, expect, sync_playwright
from servers import free_port, serving

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TINY = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=2, batch_size=30),
    schedule=(Magnitude(),) * 2,
)
CHILDREN = ["random reinit@0 s0", "random reinit@0 s1", "rewind@0 s0", "rewind@0 s1"]
WAIT_MS = 60_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium in the PATH: `apt-get install chromium`"),
]


@pytest.fixture(scope="module")
def runs_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the list of runs of a small finished sweep on a real server."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "space.yaml").write_text(
        "magnitude.restart: {grid: [rewind, random]}\n"
        "magnitude.rewind_epoch: {grid: [0], when: {magnitude.restart: rewind}}\n"
    )
    with serving(folder, free_port()) as uri:
        words = ["--local", "--seeds", "2", "--tracking-uri", uri, "--storage", str(folder / "runs")]
        with pytest.raises(SystemExit) as ended:
            main(name="tickets", cycle=TINY, space=Path(folder / "space.yaml"), argv=words)
        assert ended.value.code == 0
        experiment = MlflowClient(tracking_uri=uri).get_experiment_by_name("tickets")
        assert experiment is not None
        yield f"{uri}/#/experiments/{experiment.experiment_id}/runs"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=CHROMIUM, headless=True, args=FLAGS, viewport={"width": 1600, "height": 1400}
        )
        yield context.new_page()
        context.close()


def expand(page: Page, address: str) -> None:
    """Open a page of runs and unfold the sweep."""
    page.goto(address, wait_until="load", timeout=WAIT_MS)
    cells = page.get_by_role("gridcell").filter(has=page.get_by_role("link"))
    expect(cells.filter(has_text="tickets")).to_have_count(1, timeout=WAIT_MS)
    assert cells.filter(has_text="s0").count() == 0
    cells.filter(has_text="tickets").locator("button").first.click()


def test_the_list_shows_the_sweep_and_under_it_its_cycles(page: Page, runs_page: str):
    """The list has one row, the sweep's; unfolded, its children follow, called by arm and seed, none cut off."""
    expand(page, runs_page)
    names = page.locator("[col-id*='Run Name'][role=gridcell] a")
    expect(names).to_have_count(1 + len(CHILDREN), timeout=WAIT_MS)
    assert sorted(names.all_inner_texts()) == sorted(["tickets", *CHILDREN])
    assert not names.evaluate_all("links => links.some(link => link.scrollWidth > link.clientWidth + 1)")


def test_charts_are_by_round_without_set_up(page: Page, runs_page: str):
    """On the chart page of the unfolded sweep the first section is `round`, before the curves within rounds."""
    expand(page, f"{runs_page}?compareRunsMode=CHART")
    expect(page.get_by_text("round/test_accuracy", exact=True).first).to_be_visible(timeout=WAIT_MS)
    headers = page.get_by_test_id("experiment-view-compare-runs-section-header").all_inner_texts()
    assert [header.split()[0] for header in headers][:5] == ["round", "summary", "training", "weights", "work"]
