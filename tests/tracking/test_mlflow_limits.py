"""What is longer than MLflow takes at once reaches the report from MLflow whole, or the report says what is missing."""

import warnings
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from planted import a_round

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import Measurement, RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import TrackingError
from lt_ray.rounds.chain import chain
from lt_ray.store.store import StoredRound
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.plan import Plan, PlannedCycle
from lt_ray.sweep.sweep import Sweep
from lt_ray.tracking import reading as reports
from lt_ray.tracking.names import FIELDS_TAG, KEYS_TAG, joined, whole_tags
from lt_ray.tracking.records import Record, document
from lt_ray.tracking.sync import sync

ROUNDS = 251
"""Rounds of the planted cycle, round 0 among them: their keys are more than one tag holds [count]"""
EXCLUDED = [f"encoder.layer.{i}.attention.output.dense.weight" for i in range(200)]
"""Names in one field, more than one parameter or tag holds"""
CYCLE = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=1, batch_size=30),
    schedule=(Magnitude(exclude=tuple(EXCLUDED)),) * (ROUNDS - 1),
)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planted sweep of one long cycle, delivered to the storage's own database."""
    path = tmp_path_factory.mktemp("limits")
    directory = SweepDirectory(path / "long")
    rounds = chain(CYCLE, "d")
    keys = tuple(round.key for round in rounds)
    planned = PlannedCycle(
        order=0, point=0, asked={}, settings={}, keys=keys, prunable=("w",), cycle=CYCLE, rounds=rounds, forecast=()
    )
    sweep = Sweep(name="long", cycle=CYCLE)
    directory.define(Plan(sweep, (planned,), 1, 0), sweep.definition("d"))
    ran_on = {"commit": "c" * 40, "command": "x" * 7000}
    directory.keep("environment", {"environment": ran_on, "data": {"train": 60, "classes": 2}})
    for round in rounds:
        directory.store.put(*a_stored_round(round.key, round.index))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert sync(directory.path, None) == 0
    return path


def a_stored_round(key: str, index: int) -> tuple[StoredRound, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A planted round, whose numbers differ from those of any other."""
    share = 1 - index / 1000
    measurement = a_round("c", index, val=share, test=share - 0.01, sparsity=1 - share)
    fields = measurement.model_dump(exclude=RoundResult.model_fields.keys() - Measurement.model_fields.keys())
    fields |= {"before_val_accuracy": None, "before_test_accuracy": None}  # as a round says it that was measured once
    stored = StoredRound(
        key=key,
        inputs={},
        measurement=Measurement(**fields),
        epochs=(),
        counts={"w": (1000 - index, 1000)},
        computed_by=CYCLE.id,
        made_with={},
    )
    return stored, {}, {"w": torch.ones(8, dtype=torch.bool)}


@pytest.mark.slow
def test_a_report_from_mlflow_has_every_round_and_every_name(storage):
    """251 rounds and 200 excluded names are one report, byte for byte, from the store and from MLflow."""
    uri = f"sqlite:///{storage}/mlflow.db"
    ours, theirs = Record(SweepDirectory(storage / "long")).sweep, reports.from_mlflow(uri, "long")
    assert len(ours.cycles[0].results) == ROUNDS
    assert ours == theirs
    assert document([ours]) == document([theirs])
    written = []
    for name, source in (("a", None), ("b", uri)):
        reports.report(["long"], storage=storage, uri=source, out=storage / name, published_folder=None)
        files = {path.relative_to(storage / name): path.read_bytes() for path in (storage / name).rglob("*.*")}
        written.append(files)
    assert len(written[0]) > 3
    assert written[0] == written[1]


@pytest.mark.slow
def test_a_missing_part_is_named(storage):
    """A record that lacks a part is no shorter report, but an error that names the part and the way out."""
    client = MlflowClient(tracking_uri=f"sqlite:///{storage}/mlflow.db")
    experiment = client.get_experiment_by_name("long")
    assert experiment is not None
    (run,) = (run for run in client.search_runs([experiment.experiment_id]) if FIELDS_TAG in run.data.tags)
    part = f"{KEYS_TAG}.part2"
    client.delete_tag(run.info.run_id, part)
    try:
        with pytest.raises(TrackingError, match=r"part 2 of 2 of its tag `lt_ray.rounds` is missing.*lt-ray sync"):
            reports.from_mlflow(f"sqlite:///{storage}/mlflow.db", "long")
    finally:
        client.set_tag(run.info.run_id, part, run.data.tags[part])


@pytest.mark.parametrize("value", ["", "x", "y" * 6000, "z" * 6001, "ä😀" * 9000, "in parts: 2 0"])
def test_tags_are_given_back(value):
    """Any text comes back from the tags it became, each of which MLflow takes."""
    tags = whole_tags({"lt_ray.x": value, "other": "1"})
    assert max(map(len, tags.values())) <= 6000
    assert joined(tags) == {"lt_ray.x": value, "other": "1"}


def test_parts_of_two_texts_are_not_joined():
    """A part that another text left is no part of this one."""
    tags = whole_tags({"t": "a" * 7000}) | {"t.part2": "b" * 1000}
    with pytest.raises(ValueError, match="do not belong together"):
        joined(tags)
