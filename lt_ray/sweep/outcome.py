"""What a sweep came to when a run of it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lt_ray.cycle.results import RoundResult
from lt_ray.sweep.plan import Plan
from lt_ray.sweep.search import AskedPoint


@dataclass
class Outcome:
    """How a sweep ended."""

    plan: Plan
    """All that was planned, the points of an adaptive search among them"""
    results: dict[str, list[RoundResult]] = field(default_factory=dict)
    """Cycle id → its finished rounds in order"""
    failures: dict[str, str] = field(default_factory=dict)
    """Cycle id → why it failed"""
    left: dict[str, str] = field(default_factory=dict)
    """Cycle id → why this run computes no more of it; the same command does"""
    why: str = ""
    """Why the sweep stopped before its end, where no signal did it"""
    stopped: dict[str, str] = field(default_factory=dict)
    """Cycle id → which rule ended it early"""
    best: list[AskedPoint] = field(default_factory=list)
    """The best point by the sweep's objective; with several objectives the Pareto front"""
    computed: int = 0
    """Rounds that this run added to the store [count]"""
    reused: int = 0
    """Rounds that were there when it began [count]"""
    seconds: float = 0.0
    interrupted: bool = False
    """Ended before every cycle was finished, stopped or failed"""
    report: Path | None = None
    """Where the report is; None where it could not be written"""
    unrecorded: str | None = None
    """Why MLflow was not told everything, as far as is known; None where it was, or was not to be told"""
