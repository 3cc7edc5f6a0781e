"""The runs of one sweep in MLflow: one parent, one nested run a cycle, brought up to date by events."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_ray.cycle.identity import canonical
from lt_ray.tracking.events import Dataset, Ended, Event, Opened, Point, Reported, RoundDone, Summed
from lt_ray.tracking.names import (
    CONFUSION_TAG,
    CYCLE_TAG,
    DECISION_TAG,
    NAME_LENGTH,
    REASON_TAG,
    ROUND_MARK,
    STATE_TAG,
    SWEEP_TAG,
    WAITING_TAG,
    epoch_values,
    legal,
    milliseconds,
    parameter,
    round_values,
    shortened,
    whole_tags,
)
from lt_ray.tracking.server import search
from lt_ray.tracking.target import Target

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# MLflow's limit of one log_batch [count]
_METRICS_A_BATCH = 1000
# It takes 100 parameters and 100 tags in one, but a request of at most 10^6 bytes [count, bytes]
_TEXTS_A_BATCH = 100
_BYTES_A_BATCH = 800_000
_DIGEST_LENGTH = 8  # MLflow takes 36, and shows them all in a column
_STATES = {"FAILED": "failed", "KILLED": "interrupted", "FINISHED": "finished"}


def round_points(event: RoundDone) -> list[Point]:
    """Return a round and its epochs as points of curves, that of `ROUND_MARK` last."""
    result = event.result
    at_ms = milliseconds(result.finished_at)
    *points, mark = [Point(name, value, at_ms, result.round) for name, value in round_values(result).items()]
    for epoch in event.epochs:
        at_ms, step = milliseconds(epoch.finished_at), epoch.round * event.epochs_a_round + epoch.epoch
        points += [Point(name, value, at_ms, step) for name, value in epoch_values(epoch)]
    return [*points, mark]


def round_tags(event: RoundDone) -> dict[str, str]:
    """Return what a run's tags tell of a round: how it compared blocks, and what its classes were taken for."""
    tags = {}
    if event.decision is not None:
        tags[f"{DECISION_TAG}.{event.result.round}"] = canonical(event.decision.model_dump(mode="json"))
    if event.confusion is not None:
        tags[f"{CONFUSION_TAG}.{event.result.round}"] = canonical(event.confusion)
    return tags


class Runs:
    """The runs of a sweep, found by tag, created where missing; raises what MLflow raises.

    An event can be taken in again, and leaves what it leaves once.
    """

    def __init__(self, target: Target) -> None:
        from mlflow import MlflowClient

        _make_database(target.uri)
        self._client = MlflowClient(tracking_uri=target.uri)
        self._sweep_id = target.sweep_id
        self._experiment_id = _experiment_id(self._client, target)
        self._ids: dict[str | None, str] = {}
        """Cycle → run id; None → the parent's"""
        self._rounds: dict[str, set[int]] = {}
        """Cycle → rounds that its run has, as far as was asked"""
        self._waiting: set[str | None] = set()
        """Cycles whose run was made before they had begun"""
        # Of several runs of one cycle, the oldest that has metrics.
        for run in sorted(self._search(), key=lambda run: not run.data.metrics):
            cycle = run.data.tags.get(CYCLE_TAG)
            if cycle not in self._ids:
                self._ids[cycle] = run.info.run_id
                if WAITING_TAG in run.data.tags:
                    self._waiting.add(cycle)

    def take(self, event: Event) -> None:
        """Bring the runs up to date."""
        match event:
            case Opened():
                self._open(event)
            case RoundDone():
                self._tag(event.result.cycle, round_tags(event))
                self._log_round(event.result.cycle, event.result.round, round_points(event))
            case Ended():
                self._end(event)
            case Summed():
                self._log(event.cycle, event.points)
                self._tag(event.cycle, event.tags)
            case Reported():
                self._client.log_artifacts(self._id(None), event.folder)

    def _open(self, event: Opened) -> None:
        """Make a run be there and be RUNNING; a known parameter keeps its value.

        A run that is there keeps its start, since MLflow can change none. One that was made before its cycle had begun
        is therefore deleted, and another one made, once that begins.
        """
        cycle, name = event.cycle, shortened(event.name, NAME_LENGTH)
        identity = {SWEEP_TAG: self._sweep_id}
        if cycle is not None:
            identity |= {CYCLE_TAG: cycle, "mlflow.parentRunId": self._id(None)}
        if event.begun and cycle in self._waiting:
            self._client.delete_run(self._ids.pop(cycle))
            self._waiting.remove(cycle)
        if cycle in self._ids:
            self._client.update_run(self._ids[cycle], status="RUNNING", name=name)
        else:
            made = identity if event.begun else identity | {WAITING_TAG: "true"}
            run = self._client.create_run(self._experiment_id, start_time=event.at_ms, run_name=name, tags=made)
            self._ids[cycle] = run.info.run_id
            if cycle is not None:
                self._rounds[cycle] = set()
            if not event.begun:
                self._waiting.add(cycle)
        run_id = self._ids[cycle]
        known = self._client.get_run(run_id)
        if REASON_TAG in known.data.tags:
            self._client.delete_tag(run_id, REASON_TAG)
        params = {legal(name): parameter(value) for name, value in event.params.items()}
        new = {name: value for name, value in params.items() if name not in known.data.params}
        self._tag(cycle, {**event.tags, STATE_TAG: "running", **identity}, new)
        if event.dataset is not None and not known.inputs.dataset_inputs:
            self._log_dataset(run_id, event.dataset)

    def _log_round(self, cycle: str, round: int, points: Sequence[Point]) -> None:
        """Log a round's points unless the run has them; `ROUND_MARK` tells, since it comes last."""
        if cycle not in self._rounds:
            history = self._client.get_metric_history(self._id(cycle), ROUND_MARK)
            self._rounds[cycle] = {metric.step for metric in history}
        if round not in self._rounds[cycle]:
            self._log(cycle, points)
            self._rounds[cycle].add(round)

    def _log(self, cycle: str | None, points: Sequence[Point]) -> None:
        """Log points; the same point again is the same row."""
        from mlflow.entities import Metric

        for i in range(0, len(points), _METRICS_A_BATCH):
            metrics = [Metric(*point) for point in points[i : i + _METRICS_A_BATCH]]
            self._client.log_batch(self._id(cycle), metrics=metrics, synchronous=True)

    def _tag(self, cycle: str | None, tags: Mapping[str, str], params: Mapping[str, str] | None = None) -> None:
        """Log tags and parameters in requests that MLflow takes."""
        from mlflow.entities import Param, RunTag

        run_id = self._id(cycle)
        texts = [*starmap(Param, (params or {}).items()), *starmap(RunTag, whole_tags(tags).items())]
        for part in _batches(texts):
            sent = {kind: [text for text in part if isinstance(text, kind)] for kind in (Param, RunTag)}
            self._client.log_batch(run_id, params=sent[Param], tags=sent[RunTag], synchronous=True)

    def _end(self, event: Ended) -> None:
        """End a run; with the sweep's, end those of cycles still RUNNING as KILLED, and delete what came twice."""
        for run in list(self._search("attributes.status = 'RUNNING'")) if event.cycle is None else ():
            run_id, cycle = run.info.run_id, run.data.tags.get(CYCLE_TAG)
            if run_id != self._ids.get(cycle, run_id) and not run.data.metrics:
                self._client.delete_run(run_id)  # created, but the answer came too late: another one is used
            elif run_id != self._id(None):
                self._client.set_tag(run_id, STATE_TAG, "interrupted")
                self._client.set_terminated(run_id, "KILLED", event.at_ms)
        state = "stopped" if event.status == "FINISHED" and event.reason else _STATES[event.status]
        self._tag(event.cycle, {STATE_TAG: state} | ({REASON_TAG: event.reason} if event.reason else {}))
        self._client.set_terminated(self._id(event.cycle), event.status, event.at_ms)

    def _id(self, cycle: str | None) -> str:
        if cycle not in self._ids:
            raise LookupError(f"cycle {cycle} was not opened" if cycle else "the sweep's own run is missing")
        return self._ids[cycle]

    def _log_dataset(self, run_id: str, dataset: Dataset) -> None:
        from mlflow.entities import Dataset as LoggedDataset
        from mlflow.entities import DatasetInput
        from mlflow.exceptions import MlflowException

        logged = LoggedDataset(
            name=dataset.name,
            digest=dataset.digest[:_DIGEST_LENGTH],
            source_type="lt_ray",
            source="{}",
            profile=dataset.profile,
        )
        inputs = [DatasetInput(dataset=logged, tags=[])]
        try:
            self._client.log_inputs(run_id, datasets=inputs)
        except MlflowException:  # sweeps share an experiment's data sets: another one may have made it at this moment
            self._client.log_inputs(run_id, datasets=inputs)

    def _search(self, condition: str = "") -> Iterator[Run]:
        """Yield the sweep's runs that are not deleted, oldest first."""
        wanted = " AND ".join(filter(None, [f"tags.`{SWEEP_TAG}` = '{self._sweep_id}'", condition]))
        return search(self._client, self._experiment_id, wanted)


def _batches(texts: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Parameters and tags in parts that fit one request."""
    part: list[Any] = []
    size = 0
    for text in texts:
        length = len(json.dumps([text.key, text.value]))  # as JSON escapes it
        if part and (len(part) == _TEXTS_A_BATCH or size + length > _BYTES_A_BATCH):
            yield part
            part, size = [], 0
        part.append(text)
        size += length
    if part:
        yield part


def _make_database(uri: str) -> None:
    """Make the SQLite database that a URI names, whole or not at all.

    MLflow makes its tables in some fifty steps, each kept at once: killed between two, it could never open them again.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or "?" in uri or path.exists():
        return
    from mlflow import MlflowClient

    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments()
        try:
            os.link(unfinished, path)
        except FileExistsError:  # another sweep of this storage was faster
            pass
        except OSError:  # a file system without hard links
            unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _experiment_id(client: MlflowClient, target: Target) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(target.experiment)
    if experiment is None:
        # else the page shows what belongs to language-model applications
        kind = {"mlflow.experimentKind": "custom_model_development"}
        try:
            return str(client.create_experiment(target.experiment, target.artifact_location, tags=kind))
        except MlflowException:
            experiment = client.get_experiment_by_name(target.experiment)
            if experiment is None:  # else another process was faster
                raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)
