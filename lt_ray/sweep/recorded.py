"""A planned cycle as its file keeps it: enough to read the sweep without its data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.settings import Settings


class RecordedCycle(Settings):
    """A planned cycle, without what follows from it."""

    order: int
    """Place among the sweep's cycles, before they were spread [count]"""
    point: int
    """Place of its point among the space's points; one point has a cycle for each seed; −1 for a cycle that finds
    tickets for others [count]"""
    asked: Mapping[str, Any]
    """The point: searched fields as they were drawn or suggested"""
    settings: Mapping[str, Any]
    """The searched fields, as this cycle has them; its task, where it finds tickets for others; and what names say of
    every cycle (`names.always_said`)"""
    keys: tuple[str, ...]
    """Keys of its rounds, round 0 first"""
    prunable: tuple[str, ...]
    """Parameters over which sparsity counts"""
    cycle: Cycle
