"""Reading sweeps back, from their stores or from MLflow alone, and `lt-ray report` of them.

Both give equal `ReportedSweep`s: what MLflow is told of a cycle (`records.py`) is enough to make its rows again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_ray.cycle.cycle import Cycle, parse
from lt_ray.cycle.results import BlockDecision, RoundResult
from lt_ray.errors import StorageError, TrackingError, nearest
from lt_ray.report.pages import files
from lt_ray.report.reading.examples import NOT_TOLD
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep, reported_sweep
from lt_ray.store.storage import REPORT
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tracking.names import (
    CONFUSION_TAG,
    CYCLE_TAG,
    DECISION_TAG,
    FIELDS_TAG,
    KEYS_TAG,
    REASON_TAG,
    ROUND_MARK,
    SPACE_TAG,
    STATE_TAG,
    SWEEP_TAG,
    TASK_TAG,
    field_of,
    joined,
)
from lt_ray.tracking.records import Record, document
from lt_ray.tracking.server import prepare, quiet, search, unanswered
from lt_ray.tracking.target import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run


def report(
    names: Sequence[str], *, storage: Path, uri: str | None, out: Path | None, published_folder: Path | None
) -> Path:
    """Write one report of several sweeps and return its page.

    - `storage`: where the sweeps are; with `uri` they are read from MLflow alone
    - `out`: where it goes; None = the sweep's own report folder, or for several `STORAGE/report`
    - `published_folder`: tables to compare with; None = `reports/published/` of lt_ray's repository, where there is one

    Raises `StorageError` or `TrackingError` where there is no such sweep, `DataError` for tables that cannot be read.
    """
    if len(set(names)) < len(names):
        raise StorageError(f"`SWEEP…` must be different names, but got {' '.join(names)}: leave the repeated ones out")
    sweeps = [Record(SweepDirectory(storage / name)).sweep if uri is None else from_mlflow(uri, name) for name in names]
    if out is None:
        out = storage / names[0] / "report" if len(names) == 1 and uri is None else storage / REPORT
    files.write(document(sweeps, published_folder), out)
    return out / "report.html"


def from_mlflow(uri: str, name: str) -> ReportedSweep:
    """Return a sweep as MLflow was told of it; of several with this name the newest.

    Raises `TrackingError` where there is none, or MLflow does not answer.
    """
    prepare()
    with quiet():
        try:
            return _sweep(uri, name)
        except TrackingError:
            raise
        except Exception as error:  # MLflow raises what its stores and transports raise
            raise TrackingError(f"MLflow at {without_password(uri)} {unanswered(error)}") from None


def _sweep(uri: str, name: str) -> ReportedSweep:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    others = sorted(experiment.name for experiment in client.search_experiments())
    experiment = client.get_experiment_by_name(name)
    runs = [] if experiment is None else list(search(client, experiment.experiment_id))
    parents = [run for run in runs if SWEEP_TAG in run.data.tags and CYCLE_TAG not in run.data.tags]
    if not parents:
        known = f" There are: {', '.join(others)}." if others else " There is none."
        raise TrackingError(f"`SWEEP` must name a sweep in MLflow, but got {name!r}.{nearest(name, others)}{known}")
    parent = parents[-1]
    tags, params = _tags(parent), parent.data.params
    if SPACE_TAG not in tags:
        raise _older(name)
    cycles = [
        _cycle(client, run)
        for run in runs
        if run.data.tags.get(SWEEP_TAG) == tags[SWEEP_TAG] and CYCLE_TAG in run.data.tags
    ]
    return reported_sweep(
        name=parent.info.run_name,
        space=json.loads(tags[SPACE_TAG]),
        tolerance=float(params["tolerance"]),
        task=tags[TASK_TAG],
        cycles=cycles,
        examples=NOT_TOLD if any(own.cycle.task.inputs == "images" for own in cycles) else "",
        environment={key.removeprefix("env."): text for key, text in tags.items() if key.startswith("env.")},
        data={
            key.removeprefix("data."): int(text) if text.isdecimal() else text
            for key, text in params.items()
            if key.startswith("data.") and key != "data.digest"
        },
    )


def _tags(run: Run) -> dict[str, str]:
    try:
        return joined(run.data.tags)
    except ValueError as error:
        raise TrackingError(
            f"the record of {run.info.run_name!r} in MLflow is not whole: {error}. Deliver it again with "
            "`lt-ray sync`, or report from the store"
        ) from None


def _cycle(client: MlflowClient, run: Run) -> ReportedCycle:
    tags = _tags(run)
    fields = json.loads(tags[FIELDS_TAG])
    try:
        cycle = parse(fields["cycle"])
        decisions = {at: BlockDecision.model_validate_json(text) for at, text in _by_round(tags, DECISION_TAG)}
    except (KeyError, ValueError):
        raise _older(run.info.run_name) from None
    state = tags.get(STATE_TAG, "")
    points = {
        name: {point.step: point for point in client.get_metric_history(run.info.run_id, name)}
        for name in run.data.metrics
        if field_of(name)
    }
    results = tuple(_results(points, tags, cycle))
    return ReportedCycle(
        id=tags[CYCLE_TAG],
        cycle=cycle,
        settings=fields["settings"],
        state=state if state in ("finished", "stopped", "failed") else "unfinished",
        results=results,
        decisions=decisions,
        confusions={at: tuple(map(tuple, json.loads(text))) for at, text in _by_round(tags, CONFUSION_TAG)},
        epochs=_epochs(client.get_metric_history(run.info.run_id, f"training/val_{cycle.metric.name}"), results, cycle),
        reason=tags.get(REASON_TAG, ""),
    )


def _by_round(tags: Mapping[str, str], name: str) -> list[tuple[int, str]]:
    """Each round and what the tag `<name>.<round>` tells of it, in order."""
    rounds = {tag.removeprefix(f"{name}."): text for tag, text in tags.items() if tag.startswith(f"{name}.")}
    return sorted((int(round), text) for round, text in rounds.items())


def _epochs(points: Sequence[Metric], results: Sequence[RoundResult], cycle: Cycle) -> dict[int, tuple[float, ...]]:
    """What finished rounds came to after each epoch.

    - `points`: of all rounds, the later at higher steps
    """
    by_round: dict[int, dict[int, float]] = {}
    for point in points:
        by_round.setdefault((point.step - 1) // cycle.most_epochs, {})[point.step] = point.value
    own = {result.round: by_round.get(result.round, {}) for result in results}
    return {round: tuple(value for _, value in sorted(values.items())) for round, values in own.items() if values}


def _older(name: str) -> TrackingError:
    return TrackingError(
        f"the record of {name!r} in MLflow was written by an older lt_ray: give its store instead, or `lt-ray sync` it "
        "from there into a new database"
    )


def _results(
    points: Mapping[str, Mapping[int, Metric]], tags: Mapping[str, str], cycle: Cycle
) -> Iterator[RoundResult]:
    """The rounds of a cycle, made again of their metrics; one of which not all came yet is not there.

    - `points`: metric by round → step → point
    """
    metrics = [name.removeprefix("round/val_") for name in points if re.fullmatch(r"round/val_\w+(?<!_before)", name)]
    for round, key in zip(cycle.trained_rounds, tags[KEYS_TAG].split(), strict=True):
        if round not in points.get(ROUND_MARK, {}):
            return
        # Where it trained nothing, or was measured once, these were not told.
        values: dict[str, Any] = {
            f"{split}_{m}": None for m in metrics for split in ("train", "before_val", "before_test")
        }
        values |= {str(field_of(name)): steps[round].value for name, steps in points.items() if round in steps}
        if "accepted" in values:
            values["accepted"] = values["accepted"] > 0
        if values["restart_epoch"] < 0:
            values["restart_epoch"] = None
        values |= {
            "density": values["remaining"] / values["prunable"] if values["prunable"] else 1.0,
            "source": "reused" if values["source"] else "computed",
            "round": round,
            "finished_at": points[ROUND_MARK][round].timestamp / 1000,
            "cycle": tags[CYCLE_TAG],
            "seed": cycle.seed,
            "metric": cycle.metric.name,
            "best": cycle.metric.best,
            "key": key,
        }
        yield RoundResult(**values)
