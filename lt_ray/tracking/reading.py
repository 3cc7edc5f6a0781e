"""`lt-ray report`: sweeps, from their stores or from MLflow alone, → one report.

Both give equal `ReportedSweep`s: what MLflow is told of a cycle (`records.py`) is enough to make its rows again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_ray.cycle.results import BlockDecision, RoundResult
from lt_ray.errors import StorageError, TrackingError, nearest
from lt_ray.report import files
from lt_ray.report.rows import ReportedCycle, ReportedSweep, reported_sweep
from lt_ray.store.storage import REPORT
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tracking.events import (
    CYCLE_TAG,
    DECISION_TAG,
    FIELDS_TAG,
    KEYS_TAG,
    OPTIONAL,
    REASON_TAG,
    ROUND_METRICS,
    SPACE_TAG,
    STATE_TAG,
    TASK_TAG,
)
from lt_ray.tracking.records import Record, document

if TYPE_CHECKING:
    from lt_ray.tracking.runs import ReadRun


def report(
    names: Sequence[str], *, storage: Path, uri: str | None, out: Path | None, published_folder: Path | None
) -> Path:
    """Write one report of several sweeps and return its page.

    - `storage`: where the sweeps are; with `uri` they are read from MLflow alone
    - `out`: where it goes; None = the sweep's own report folder, or for several `STORAGE/report`
    - `published_folder`: tables to compare with; None = the logs', where lt_ray's repository is

    Raises `StorageError` or `TrackingError` where there is no such sweep, `DataError` for tables that cannot be read.
    """
    if len(set(names)) < len(names):
        raise StorageError(f"`SWEEP…` must be different names, but got {' '.join(names)}: leave the repeated ones out")
    sweeps = [from_store(SweepDirectory(storage / name)) if uri is None else from_mlflow(uri, name) for name in names]
    if out is None:
        out = storage / names[0] / "report" if len(names) == 1 and uri is None else storage / REPORT
    files.write(document(sweeps, published_folder), out)
    return out / "report.html"


def from_store(directory: SweepDirectory) -> ReportedSweep:
    """Return a sweep as its store tells it, running or not; raises `StorageError` where there is none."""
    return Record(directory).sweep


def from_mlflow(uri: str, name: str) -> ReportedSweep:
    """Return a sweep as MLflow was told of it; of several with this name the newest.

    Raises `TrackingError` where there is none, or MLflow does not answer.
    """
    from lt_ray.tracking.runs import prepare, quiet, read_runs

    prepare()
    with quiet():
        runs, others = read_runs(uri, name)
    if not runs:
        known = f" There are: {', '.join(others)}." if others else " There is none."
        raise TrackingError(f"`SWEEP` must name a sweep in MLflow, but got {name!r}.{nearest(name, others)}{known}")
    (own,) = (run for run in runs if CYCLE_TAG not in run.tags)
    if SPACE_TAG not in own.tags:
        raise TrackingError(
            f"the record of {name!r} in MLflow lacks what a report needs: it was written by an older lt_ray; give its "
            "store instead, or `lt-ray sync` it from there"
        )
    return reported_sweep(
        name=own.name,
        space=json.loads(own.tags[SPACE_TAG]),
        tolerance=float(own.params["tolerance"]),
        task=own.tags[TASK_TAG],
        cycles=[_cycle(run) for run in runs if CYCLE_TAG in run.tags],
        environment={key.removeprefix("env."): value for key, value in own.tags.items() if key.startswith("env.")},
        data={
            key.removeprefix("data."): json.loads(value)
            for key, value in own.params.items()
            if key.startswith("data.") and key != "data.digest"
        },
    )


def _cycle(run: ReadRun) -> ReportedCycle:
    fields = json.loads(run.tags[FIELDS_TAG])
    state = run.tags.get(STATE_TAG, "")
    return ReportedCycle(
        id=run.tags[CYCLE_TAG],
        settings=fields["settings"],
        seed=fields["params"]["seed"],
        state=state if state in ("finished", "stopped", "failed") else "unfinished",
        results=tuple(_results(run, fields["params"])),
        params=fields["params"],
        decisions=_decisions(run),
        reason=run.tags.get(REASON_TAG, ""),
    )


def _decisions(run: ReadRun) -> dict[int, BlockDecision]:
    """How rounds that compared blocks decided."""
    found = {}
    for name, text in run.tags.items():
        if name.startswith(f"{DECISION_TAG}."):
            round = name.removeprefix(f"{DECISION_TAG}.")
            if not round.isdecimal():  # an older lt_ray's parts, of which none could be missed
                raise TrackingError(
                    f"the record of {run.name!r} in MLflow was written by an older lt_ray: give its store instead, or "
                    "`lt-ray sync` it from there into a new database"
                )
            found[int(round)] = BlockDecision.model_validate_json(text)
    return dict(sorted(found.items()))


def _results(run: ReadRun, params: dict[str, Any]) -> list[RoundResult]:
    """The rounds of a cycle, made again of their metrics; one of which not all came yet is not there."""
    every = params["ticket_every"] or 1
    found = []
    for place, key in enumerate(run.tags[KEYS_TAG].split()):
        round = place * every
        points = {field: run.points[name].get(round) for name, field in ROUND_METRICS.items() if name in run.points}
        values: dict[str, Any] = {field: point[0] for field, point in points.items() if point is not None}
        if not (set(ROUND_METRICS.values()) - OPTIONAL) <= values.keys():
            break
        if "accepted" in values:
            values["accepted"] = values["accepted"] > 0
        values |= {name: None for name in ("train_loss", "train_accuracy") if name not in values}
        finished_at = next(point[1] for point in points.values() if point is not None) / 1000
        reused, restart = values.pop("reused"), values.pop("restart_epoch")
        found.append(
            RoundResult(
                **values,
                restart_epoch=None if restart < 0 else restart,
                density=values["remaining"] / values["prunable"] if values["prunable"] else 1.0,
                round=round,
                finished_at=finished_at,
                cycle=run.tags[CYCLE_TAG],
                seed=params["seed"],
                key=key,
                source="reused" if reused else "computed",
            )
        )
    return found
