"""README's own task, model, criterion and metric, as printed: run, killed and resumed, recorded, exported."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from forking import AN_EPOCH, Moment, Process
from killing import KillableSweep
from readme import PLUGINS, SECTION, registries_kept

from lt_ray.cycle.tasks import TASKS
from lt_ray.sweep import export
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tasks import registry


@pytest.fixture(scope="module", autouse=True)
def _registries_as_they_were():
    with registries_kept():
        yield


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """The words of README's command, its plugins written as README prints them."""
    folder = tmp_path_factory.mktemp("plugins")
    (space,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
    files = {**PLUGINS, "taylor.yaml": space}
    assert len(files) == 5
    for name, text in files.items():
        assert text.count("\n") <= 25, f"{name} must be short"
        (folder / name).write_text(text)
    (command,) = re.findall(r"\$ python (.*?)\n```", SECTION, re.DOTALL)
    return [str(folder / word) if word in files else word for word in shlex.split(command.replace("\\\n", ""))]


@pytest.fixture(scope="module")
def undisturbed(words, tmp_path_factory) -> tuple[Path, str]:
    """The sweep's storage, and what it printed, in one process and told to nobody."""
    storage = tmp_path_factory.mktemp("undisturbed")
    return storage, sweep_of(words, "--tracking-uri", "none").run(storage, "--local")


def sweep_of(words: list[str], *more: str) -> KillableSweep:
    return KillableSweep([*words, "--set", "training.epochs=4", *more], "rings")


def test_readmes_plugins_run_as_printed(words, undisturbed, tmp_path):
    """In one process: the MLP learns the rings, the plugin's metric decides and is 1 − accuracy, and a round's model is
    exported and loaded with the accuracy that was recorded."""
    sweep, (storage, printed) = sweep_of(words), undisturbed
    rows = sweep.rows(storage)
    assert len(rows) == 16
    assert all(abs(row["test_missed"] + row["test_accuracy"] - 1) < 1e-12 for row in rows)
    assert all((row["metric"], row["best"]) == ("missed", "lowest") for row in rows)
    dense = [row for row in rows if row["round"] == 0]
    assert all(row["test_missed"] < 0.1 for row in dense)
    assert "share missed" in printed
    directory = SweepDirectory(storage / sweep.name)
    cycle = next(iter(directory.cycles()))
    chosen = export.export(directory, cycle.cycle.id, None, tmp_path / "out", tmp_path / "cache")
    module, tree = export.load(tmp_path / "out")
    assert tree["classes"] == ["inner", "outer"]
    with torch.no_grad():
        at_the_rings = module(torch.tensor([[1.0, 0.0], [0.0, -1.0], [2.2, 0.0], [0.0, 2.2]])).squeeze(1) >= 0
    assert at_the_rings.tolist() == [False, False, True, True]
    zeros = sum(int((p == 0).sum()) for p in module.parameters())
    assert zeros >= chosen.prunable - chosen.remaining


@pytest.mark.slow
def test_a_plugins_sweep_survives_a_kill(words, undisturbed, tmp_path):
    """Four trials on two processes, killed -9 and resumed by the same command, end with the rows of an undisturbed
    local run; the report from MLflow alone is the store's; an exported round measures what was recorded of it."""
    sweep, (expected, _), storage = sweep_of(words, "--partial-every", "0"), undisturbed, tmp_path / "killed"
    sweep.killed(storage, "--max-concurrent", "2", at=Moment(AN_EPOCH, 22))
    assert 0 < sweep.finished(storage) < sweep.finished(expected)
    assert sweep.partials(storage), "a round must be resumed"
    sweep.run(storage, "--max-concurrent", "2")
    rows = sweep.rows(expected)
    assert len({row["cycle"] for row in rows}) == 4
    assert sweep.rows(storage) == rows
    plugins = [word for word in words if word.endswith(".py") and "sweeps" not in word]
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    recorded = ["--tracking-uri", uri, *(f"--plugin={path}" for path in plugins)]
    for out, more in (("store", []), ("mlflow", recorded)):
        _lt_ray(tmp_path, "report", sweep.name, "--storage", storage, "--out", tmp_path / out, *more)
    report = (tmp_path / "store" / "report.md").read_text()
    assert report == (tmp_path / "mlflow" / "report.md").read_text()
    assert "share missed" in report
    row = rows[-1]
    _lt_ray(tmp_path, "export", sweep.name, row["cycle"], "--storage", storage, "--out", tmp_path / "model")
    module, tree = export.load(tmp_path / "model")
    task = TASKS.parse(tree["cycle"]["task"])
    rings, _ = registry.load(task, 1)
    meter = rings.meter(task.metrics)
    for batch in rings.measuring("test"):
        meter.add(module(batch.inputs).detach(), batch.targets)
    assert meter.values() == {metric.name: row[f"test_{metric.name}"] for metric in task.metrics}


def _lt_ray(folder: Path, *words) -> None:
    """A command of `lt-ray`, in a process that knows none of the plugins."""
    process = Process(["-m", "lt_ray", *map(str, words)], folder / "told.log")
    assert process.wait() == 0, process.told
