"""The sweep's record: what happens in it goes to MLflow, and the report is written at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lt_ray.board import terminal
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.outcome import Outcome
from lt_ray.sweep.plan import PlannedCycle
from lt_ray.sweep.search import State
from lt_ray.tracking.events import Ended, Reported, Status
from lt_ray.tracking.names import milliseconds
from lt_ray.tracking.records import Record, first_start
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
        self._planned: dict[str, PlannedCycle] = {}
        self._unopened: set[str] = set()
        """Cycles of which MLflow was not told yet"""
        self._finished_at: dict[str, float] = {}
        """Cycle → when its latest round was finished [Unix s]"""

    def planned(self, planned: PlannedCycle) -> None:
        """Wait until the cycle starts."""
        self._planned[planned.id] = planned
        self._unopened.add(planned.id)

    def found(self, planned: PlannedCycle, rounds: Sequence[tuple[RoundResult, Sequence[EpochResult]]]) -> None:
        """Record a cycle that began when the first of its rounds did."""
        self._open(planned.id, first_start([result for result, _ in rounds], otherwise=0.0))
        super().found(planned, rounds)

    def started(self, cycle: str) -> None:
        """Record that a cycle begins."""
        self._open(cycle, time.time())

    def finished(self, result: RoundResult, epochs: Sequence[EpochResult] = ()) -> None:
        """Record a round."""
        cycle = result.cycle
        self._open(cycle, first_start([result], otherwise=0.0))
        self._finished_at[cycle] = max(result.finished_at, self._finished_at.get(cycle, 0.0))
        self._tracker.put(self._record.round_done(self._planned[cycle].cycle, result, epochs))

    def ended(self, cycle: str, state: State, reason: str = "", detail: str = "") -> None:
        """Record how a cycle ended: one that did not fail, when its last round was finished."""
        self._open(cycle, time.time())
        status: Status = "FAILED" if state == "failed" else "FINISHED"
        at = self._finished_at.get(cycle, time.time()) if status == "FINISHED" else time.time()
        self._tracker.put(Ended(cycle=cycle, status=status, reason=reason, at_ms=milliseconds(at)))

    def closed(self, outcome: Outcome) -> None:
        """Sum the sweep up and wait until MLflow knows all; the runs of unfinished cycles end as KILLED."""
        for cycle in sorted(self._unopened):
            self._open(cycle, time.time(), begun=False)
        status: Status = "KILLED" if outcome.interrupted else "FAILED" if outcome.failures else "FINISHED"
        try:
            for summed in self._record.summaries():
                self._tracker.put(summed)
        except Exception as error:  # a report is made for it, which uses large libraries
            terminal.show_warning(f"the sweep could not be summed up ({error})")
        at = max(self._finished_at.values(), default=time.time()) if status == "FINISHED" else time.time()
        self._tracker.put(Ended(cycle=None, status=status, at_ms=milliseconds(at)))
        if outcome.report is not None:
            self._tracker.put(Reported(folder=str(outcome.report.resolve())))
        with terminal.doing("telling MLflow the rest"):
            recorded = self._tracker.close(60 if self._tracker.answers and not outcome.interrupted else 5)
        outcome.unrecorded = None if recorded else self._tracker.why

    def _open(self, cycle: str, began: float, *, begun: bool = True) -> None:
        if cycle in self._unopened:
            self._unopened.remove(cycle)
            self._tracker.put(self._record.opened(self._planned[cycle], began, begun=begun))
