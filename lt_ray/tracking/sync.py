"""`lt-ray sync`: deliver a sweep's record from its directory, whatever happened to the server while it ran."""

from __future__ import annotations

from pathlib import Path

from lt_ray.board import terminal
from lt_ray.errors import TrackingError
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tracking import target
from lt_ray.tracking.records import Record
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker

_TRIES = 4
"""A few: a server may be starting [count]"""


def sync(path: Path, uri: str | None) -> int:
    """Deliver all that the sweep's directory tells, and say how much that was.

    Returns 0, or 1 where MLflow left out a part for good.

    - `path`: the sweep's directory
    - `uri`: where to; None = where the sweep was recorded last, or else the storage's own database

    Raises `StorageError` where there is no sweep or it is being run, and `TrackingError` where MLflow does not answer.
    """
    directory = SweepDirectory(path)
    tree = directory.read()
    uri = target.checked(uri if uri is not None else directory.recorded_in() or target.default_uri(path.parent))
    if uri == "none":
        raise TrackingError("`--tracking-uri none` takes no record: name an MLflow server or a database")
    where = Target(uri, tree["name"], str(tree["id"]), target.artifacts(uri, path.parent))
    with directory.driving(), terminal.doing(f"delivering to {where.shown}"):
        record = Record(directory)
        record.write_report()
        tracker = Tracker(where, record.parent, warn=lambda _: None, tries=_TRIES)
        for event in record.events():
            tracker.put(event)
        complete = tracker.close(None)
        if not tracker.answers:
            raise TrackingError(
                f"{tracker.why}: nothing is lost, give the same command once it takes records, or another "
                "`--tracking-uri`"
            )
        directory.record_in(where.shown)
    runs, rounds = 1 + len(record.cycles), sum(len(reported.results) for _, reported in record.cycles)
    terminal.console.print(f"Delivered {runs} runs with {rounds} rounds to {where.shown}", soft_wrap=True)
    if not complete:
        terminal.show_warning(tracker.why)
    return 0 if complete else 1
