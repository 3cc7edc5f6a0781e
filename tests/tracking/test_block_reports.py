"""A sweep of encoders as it is recorded: MLflow alone tells all that the store tells."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from mlflow import MlflowClient
from servers import database

from lt_ray.cli.main import app, main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.prunings import Similarity, Wanda
from lt_ray.cycle.results import BlockDecision
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tracking import reading as reports
from lt_ray.tracking.events import RoundDone
from lt_ray.tracking.names import DECISION_TAG, VALUE_LENGTH, joined, whole_tags
from lt_ray.tracking.records import Record, document
from lt_ray.tracking.runs import round_tags

COMPARED = {"calibration": 64, "calibration_batch": 32}
CYCLE = Cycle(
    task=Toy(train=300, validation=60, test=60),
    model=Encoder(path="toy"),
    training=Training(optimizer="adamw", lr=0.002, batch_size=20, epochs=1),
    schedule=(
        Similarity(threshold=0.01, max_drop=0.0, epochs=2, **COMPARED),
        Similarity(threshold=0.01, max_drop=0.0, epochs=0, **COMPARED),
        Wanda(calibration=32, epochs=0),
    ),
)
SPACE = {"similarity.max_drop": {"grid": [0.0, 0.9]}, "wanda.sparsity": {"grid": [0.3, 0.5]}}


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Path:
    """Four cycles: removals that are rolled back where nothing may be lost, and that stand where much may."""
    path = tmp_path_factory.mktemp("blocks")
    database(path / "mlflow.db")
    (path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    threads = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit) as ended:
            main(name="blocks", cycle=CYCLE, space=path / "space.yaml", argv=["--local", "--storage", str(path)])
    finally:
        torch.set_num_threads(threads)
    assert ended.value.code == 0
    return path


def test_both_sources_tell_the_same(storage):
    """Blocks, decisions, what was measured before retraining, what was rolled back: equal from store and MLflow, and
    so is every file of the report, heat maps and fronts among them."""
    uri = f"sqlite:///{storage}/mlflow.db"
    ours, theirs = Record(SweepDirectory(storage / "blocks")).sweep, reports.from_mlflow(uri, "blocks")
    assert ours == theirs
    results = [result for cycle in ours.cycles for result in cycle.results]
    assert {result.accepted for result in results} >= {True, None}
    assert any(result.train_loss is None for result in results)
    assert all(1 in cycle.decisions for cycle in ours.cycles)
    assert {len(epochs) for cycle in ours.cycles for epochs in cycle.epochs.values()} == {1, 2}
    assert document([ours]) == document([theirs])
    for out, more in (("a", []), ("b", ["--tracking-uri", uri])):
        with pytest.raises(SystemExit) as ended:
            app(["report", "blocks", "--storage", str(storage), "--out", str(storage / out), *more])
        assert ended.value.code in (0, None)
    files = sorted(path.relative_to(storage / "a") for path in (storage / "a").rglob("*") if path.is_file())
    assert {path.parts[0] for path in files} >= {"cka", "fronts", "tables", "report.html", "report.md"}
    for file in files:
        assert (storage / "a" / file).read_bytes() == (storage / "b" / file).read_bytes(), file


def test_heat_maps_are_artifacts_of_the_sweeps_run(storage):
    """MLflow has the numbers of each compared model beside the page."""
    client = MlflowClient(tracking_uri=f"sqlite:///{storage}/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name == "blocks")
    (parent,) = (
        run for run in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" not in run.data.tags
    )
    names = {Path(item.path).suffix for item in client.list_artifacts(parent.info.run_id, "cka")}
    assert names == {".csv"}


def test_a_long_decision_is_cut_into_tags_and_put_together_again(storage):
    """A matrix of 60 blocks is longer than a tag may be; what MLflow gives back is the decision, to the last digit."""
    cka = tuple(tuple(round(1 - abs(i - j) / 61, 6) for j in range(60)) for i in range(60))
    decision = BlockDecision(
        cka=cka, threshold=0.9, stride=1, clusters=((0,),), removed=(), frozen=(), origins=(0,), reason="x"
    )
    sweep = Record(SweepDirectory(storage / "blocks")).sweep
    event = RoundDone(result=sweep.cycles[0].results[1], epochs=(), epochs_a_round=2, decision=decision)
    tags = whole_tags(round_tags(event))
    assert len(tags) > 1
    assert all(len(value) <= VALUE_LENGTH for value in tags.values())
    ((at, text),) = reports._by_round(joined(tags), DECISION_TAG)
    assert (at, BlockDecision.model_validate_json(text)) == (1, decision)


def test_status_lists_blocks(storage, capsys):
    """`lt-ray status --json` has a line a round with its blocks and what was measured before retraining."""
    with pytest.raises(SystemExit):
        app(["status", "blocks", "--storage", str(storage), "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 4 * 4
    assert {"blocks", "frozen_blocks", "nonzero", "before_test_accuracy", "accepted", "start_round"} <= rows[0].keys()
