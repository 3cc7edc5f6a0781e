"""A report: the same from the store and from MLflow alone, and true of a sweep that went wrong in parts."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from servers import database

from lt_ray.cli.main import app, main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import StorageError, TrackingError
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tracking import reading as reports
from lt_ray.tracking.names import legal
from lt_ray.tracking.records import Record, document

CYCLE = Cycle(
    task=Toy(train=2000, validation=200, test=200),
    model=Cnn(vocabulary=500, embedding=12, filters=6, widths=(2,), dropout=0.1),
    training=Training(lr=0.02, batch_size=50, epochs=4),
    schedule=(Magnitude(fraction=0.45),) * 3,
)
SPACE = {
    "training.lr": {"grid": [0.02, 1e30]},
    "magnitude.restart": {"grid": ["final", "random"]},
}


def sweep(storage: Path, *options: str) -> int:
    """Run four cycles of two seeds in this process: with one learning rate all of them diverge."""
    space = storage / "space.yaml"
    space.write_text(yaml.safe_dump(SPACE))
    threads = torch.get_num_threads()
    words = ["--local", "--storage", str(storage), "--seeds", "2", *options]
    try:
        with pytest.raises(SystemExit) as ended:
            main(name="broken", cycle=CYCLE, space=space, argv=words)
    finally:
        torch.set_num_threads(threads)
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Path:
    """A sweep with finished, stopped and failed cycles, recorded in a database of its own."""
    path = tmp_path_factory.mktemp("reports")
    database(path / "mlflow.db")
    assert sweep(path, "--max-drop", "0.1", "--drop-rounds", "1") == 1
    return path


def report(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["report", *words])
    return int(ended.value.code or 0)


def test_both_sources_tell_the_same(storage):
    """A sweep read from its store and from MLflow alone is one and the same, to the bit, and so is its report."""
    directory = SweepDirectory(storage / "broken")
    uri = f"sqlite:///{storage}/mlflow.db"
    ours, theirs = Record(directory).sweep, reports.from_mlflow(uri, "broken")
    assert ours == theirs
    assert {cycle.state for cycle in ours.cycles} == {"finished", "stopped", "failed"}
    assert document([ours]) == document([theirs])
    assert report("broken", "--storage", str(storage), "--out", str(storage / "a")) == 0
    assert report("broken", "--storage", str(storage), "--tracking-uri", uri, "--out", str(storage / "b")) == 0
    files = sorted(path.relative_to(storage / "a") for path in (storage / "a").rglob("*") if path.is_file())
    assert Path("report.html") in files
    assert Path("report.md") in files
    for file in files:
        assert (storage / "a" / file).read_bytes() == (storage / "b" / file).read_bytes(), file


def test_the_report_is_an_artifact_of_the_sweeps_run(storage):
    """MLflow has the page and the tables, as the store has them."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{storage}/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name == "broken")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "report.md", "tables", "curves", "sweep.json"} <= names
    page = storage / "broken" / "report" / "report.html"
    logged = Path(client.download_artifacts(parent.info.run_id, "report.html"))
    assert logged.read_bytes() == page.read_bytes()


def test_the_sweeps_own_run_has_one_curve_an_arm(storage):
    """The parent's curves are means over an arm's seeds, and none is a mean over arms."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{storage}/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name == "broken")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    curves = [name for name in parent.data.metrics if name.startswith("round/test_accuracy")]
    assert "round/test_accuracy" not in curves
    arms: dict[str, list[float]] = {}
    for run in runs:
        first = [point.value for point in client.get_metric_history(run.info.run_id, "round/test_accuracy")]
        arm = run.data.tags.get("lt_ray.arm", "")
        # Those that find tickets for others are no arm, and bear their task.
        if "mlflow.parentRunId" in run.data.tags and first and not arm.startswith("toy "):
            arms.setdefault(legal(f"round/test_accuracy {arm}"), []).append(first[0])
    assert sorted(curves) == sorted(arms)
    assert len(arms) == 2
    for name, dense in arms.items():
        found = {point.step: point.value for point in client.get_metric_history(parent.info.run_id, name)}
        assert found[0] == sum(dense) / len(dense)


def test_what_went_wrong_is_said(storage, tmp_path):
    """Failed cycles are named with their reason, stopped ones with their rule, unfinished ones with what is there."""
    shutil.copytree(storage / "broken", tmp_path / "broken")
    directory = SweepDirectory(tmp_path / "broken")
    recorded = list(directory.cycles())
    finished = next(item for item in recorded if len(list(directory.results(item, {}))) == len(item.keys))
    shutil.rmtree(directory.store.root / "rounds" / finished.keys[-1])
    found = Record(SweepDirectory(tmp_path / "broken")).sweep
    states = [cycle.state for cycle in found.cycles]
    assert states.count("unfinished") >= 1
    (section,) = document([found]).sections
    told = " ".join(section.warnings)
    assert "the training loss became" in told
    assert "max-drop" in told
    assert f"{states.count('failed')}" in told
    assert "unfinished" in told or "still running" in told
    assert report("broken", "--storage", str(tmp_path)) == 0
    page = (tmp_path / "broken" / "report" / "report.html").read_text()
    assert "the training loss became" in page


def test_a_report_of_several_sweeps(storage, tmp_path):
    """Two sweeps make one report with a section each."""
    shutil.copytree(storage / "broken", tmp_path / "broken")
    shutil.copytree(storage / "broken", tmp_path / "other")
    tree = json.loads((tmp_path / "other" / "sweep.json").read_text())
    (tmp_path / "other" / "sweep.json").write_text(json.dumps(tree | {"name": "other"}))
    assert report("broken", "other", "--storage", str(tmp_path)) == 0
    told = (tmp_path / "report" / "report.md").read_text()
    assert "## broken" in told
    assert "## other" in told


@pytest.mark.parametrize(
    ("names", "options", "error", "says"),
    [
        (["brokn"], {}, StorageError, "there are broken"),
        (["broken", "broken"], {}, StorageError, "must be different names"),
        (["brokn"], {"uri": "database"}, TrackingError, "Did you mean `broken`?"),
        (["broken"], {"uri": "http://127.0.0.1:9"}, TrackingError, "does not answer"),
    ],
)
def test_a_sweep_that_is_not_there_is_one_clear_error(names, options, error, says, storage):
    """An unknown name, a repeated one and a silent server are told with the way out."""
    uri = {"database": f"sqlite:///{storage}/mlflow.db"}.get(options.get("uri"), options.get("uri"))
    with pytest.raises(error, match=says.replace("?", r"\?")):
        reports.report(names, storage=storage, uri=uri, out=None, published_folder=None)
