"""`lt-ray sync`: deliver a sweep's record from its directory, whatever happened to the server while it ran."""

from __future__ import annotations

import time
from pathlib import Path

from lt_ray.board import terminal
from lt_ray.errors import TrackingError
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tracking import target
from lt_ray.tracking.delivery import Delivery, Silent
from lt_ray.tracking.events import Event, Reported
from lt_ray.tracking.records import Record
from lt_ray.tracking.server import prepare, quiet
from lt_ray.tracking.target import Target

_PAUSES_S = (0.5, 1.0, 2.0)
"""Between tries: a server may be starting [s]"""


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
    prepare()
    with directory.driving(), quiet():
        record, delivery = Record(directory), Delivery(where)
        with terminal.doing(f"delivering to {where.shown}"):
            record.write_report()
            refused = [reason for event in record.events() if (reason := _send(delivery, event)) is not None]
        directory.record_in(where.shown)
    runs = 1 + len(record.cycles)
    terminal.console.print(f"Delivered {runs} runs with {record.rounds} rounds to {where.shown}", soft_wrap=True)
    if refused:
        terminal.show_warning(f"MLflow left out a part of the record ({refused[0]})")
    return 1 if refused else 0


def _send(delivery: Delivery, event: Event) -> str | None:
    for pause_s in (*_PAUSES_S, None):
        try:
            return delivery.send(event)
        except Silent as silent:
            if pause_s is None:
                if isinstance(event, Reported):
                    return silent.cause
                raise TrackingError(
                    f"MLflow at {delivery.target.shown} {silent}: nothing is lost, "
                    "give the same command once it takes records, or another `--tracking-uri`"
                ) from None
            time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")
