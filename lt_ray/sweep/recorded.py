"""A planned cycle as its file keeps it: enough to read the sweep without its data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.settings import Settings
from lt_ray.store.files import write_file
from lt_ray.sweep.plan import PlannedCycle


class RecordedCycle(Settings):
    """A planned cycle, without what follows from it."""

    order: int
    """Place among the sweep's cycles, before they were spread [count]"""
    point: int
    """Place of its point among the space's points; −1 for a cycle that finds tickets for others [count]"""
    asked: Mapping[str, Any]
    """The point: searched fields as they were drawn or suggested"""
    settings: Mapping[str, Any]
    """The searched fields, as this cycle has them"""
    keys: tuple[str, ...]
    """Keys of its rounds, round 0 first"""
    prunable: tuple[str, ...]
    cycle: Cycle


def write(path: Path, planned: PlannedCycle) -> None:
    """Write a planned cycle's file."""
    recorded = RecordedCycle(
        order=planned.order,
        point=planned.point,
        asked=planned.asked,
        settings=planned.settings,
        keys=tuple(round.key for round in planned.rounds),
        prunable=planned.prunable,
        cycle=planned.cycle,
    )
    write_file(path, recorded.model_dump_json(indent=1).encode())


def read(path: Path) -> RecordedCycle:
    """Return what a cycle's file keeps; raises `OSError` or ValueError where it is not there or damaged."""
    return RecordedCycle.model_validate_json(path.read_bytes())


def whole(path: Path) -> RecordedCycle | None:
    """Return what a cycle's file keeps; None where it is not there or damaged."""
    try:
        return read(path)
    except (OSError, ValueError):
        return None
