"""The sweep's record: what happens in it goes to MLflow, and the report is written at its end."""

from __future__ import annotations

from collections.abc import Sequence

from lt_ray.board import terminal
from lt_ray.cycle.names import arm_keys
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.errors import LtRayError
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.outcome import Outcome
from lt_ray.sweep.search import State
from lt_ray.sweep.sweep import Plan, PlannedCycle
from lt_ray.tracking.events import Status
from lt_ray.tracking.records import Record, child, first_start
from lt_ray.tracking.tracker import Tracker


class Reporting(Listener):
    """Writes the report when a run of the sweep ends; nothing that is for show can end a sweep."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def closed(self, outcome: Outcome) -> None:
        """Write it, or warn."""
        try:
            self._record.write_report()
            outcome.report = self._record.directory.report
        except Exception as error:  # drawing uses a large library
            terminal.show_warning(f"the report could not be written ({type(error).__name__}: {error})")


class Recording(Listener):
    """Tells MLflow of each cycle as late as can be, since a run's start cannot be changed."""

    def __init__(self, tracker: Tracker, record: Record) -> None:
        self._tracker, self._record = tracker, record
        self._unopened: dict[str, PlannedCycle] = {}
        """Cycles of which MLflow was not told yet"""
        self._arm_keys: Sequence[str] = ()

    def begun(self, plan: Plan) -> None:
        """Learn by which settings runs are grouped."""
        self._arm_keys = arm_keys({key: d.model_dump() for key, d in plan.sweep.space.distributions.items()})
        super().begun(plan)

    def planned(self, planned: PlannedCycle) -> None:
        """Wait until the cycle starts."""
        self._unopened[planned.id] = planned

    def found(self, planned: PlannedCycle, rounds: Sequence[tuple[RoundResult, Sequence[EpochResult]]]) -> None:
        """Record a cycle that began when the first of its rounds did."""
        self._open(planned.id, first_start([result for result, _ in rounds], otherwise=0.0))
        super().found(planned, rounds)

    def started(self, cycle: str) -> None:
        """Record that a cycle begins."""
        self._open(cycle)

    def finished(self, result: RoundResult, epochs: Sequence[EpochResult] = ()) -> None:
        """Record a round."""
        self._open(result.cycle, first_start([result], otherwise=0.0))
        # Only what compared blocks has a stride, and only its record tells how it decided.
        stored = self._record.directory.store.find(result.key) if result.stride is not None else None
        self._tracker.round(result, epochs, None if stored is None else stored.decision)

    def ended(self, cycle: str, state: State, reason: str = "", detail: str = "") -> None:
        """Record how a cycle ended."""
        self._open(cycle)
        self._tracker.finish(cycle, "FAILED" if state == "failed" else "FINISHED", reason)

    def closed(self, outcome: Outcome) -> None:
        """Sum the sweep up and wait until MLflow knows all; the runs of unfinished cycles end as KILLED."""
        for cycle in sorted(self._unopened):
            self._open(cycle, begun=False)
        status: Status = "KILLED" if outcome.interrupted else "FAILED" if outcome.failures else "FINISHED"
        try:
            self._tracker.sum_up(self._record.summaries())
        except (LtRayError, OSError) as error:
            terminal.show_warning(f"the sweep could not be summed up ({error})")
        patience_s = 60 if self._tracker.answers and not outcome.interrupted else 5
        with terminal.doing("telling MLflow the rest"):
            recorded = self._tracker.close(status, timeout_s=patience_s, report=outcome.report)
        outcome.unrecorded = None if recorded else self._tracker.why

    def _open(self, cycle: str, began: float | None = None, *, begun: bool = True) -> None:
        planned = self._unopened.pop(cycle, None)
        if planned is not None:
            keys = [round.key for round in planned.rounds]
            name, params, tags = child(planned.cycle, planned.settings, keys, self._arm_keys)
            self._tracker.cycle(cycle, name, params, tags, began=began, begun=begun)
