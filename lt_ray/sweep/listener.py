"""What happens in a sweep, told once and in order to everyone whom it may concern."""

from __future__ import annotations

from collections.abc import Sequence

from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.sweep.outcome import Outcome
from lt_ray.sweep.plan import Plan, PlannedCycle
from lt_ray.sweep.search import State


class Listener:
    """Hears the events of one run of a sweep; each method is an event, and by itself does nothing.

    A cycle is planned, may be found with rounds of earlier runs, starts, finishes epochs and rounds, and ends. It may
    fall and start again. An exception in a listener reaches the sweep: what is only for show catches its own.
    """

    def begun(self, plan: Plan) -> None:
        """Hear the plan, before all else."""
        for planned in plan.cycles:
            self.planned(planned)

    def planned(self, planned: PlannedCycle) -> None:
        """Hear of a cycle: of the plan, or just asked by an adaptive search."""

    def found(self, planned: PlannedCycle, rounds: Sequence[tuple[RoundResult, Sequence[EpochResult]]]) -> None:
        """Hear of the rounds that the store had when a cycle was planned.

        - `rounds`: in order, each with its epochs; there is at least one
        """
        for result, epochs in rounds:
            self.finished(result, epochs)

    def started(self, cycle: str) -> None:
        """Hear that a cycle has a place to run; again after it fell."""

    def epoch(self, epoch: EpochResult) -> None:
        """Hear of an epoch that a running cycle finished."""

    def finished(self, result: RoundResult, epochs: Sequence[EpochResult] = ()) -> None:
        """Hear of a round that a running cycle finished, and of its epochs."""

    def ended(self, cycle: str, state: State, reason: str = "", detail: str = "") -> None:
        """Hear how a cycle ended, now or in an earlier run.

        - `reason`: of a stopped or failed one, in a line; `detail`: the traceback of one that failed now
        """

    def fell(self, cycle: str, what: str, then: str, detail: str) -> None:
        """Hear that a running cycle met a fault of the machines.

        - `what`: in a line; `then`: what becomes of it, empty where the sweep stops; `detail`: all that is known
        """

    def left(self, cycle: str, reason: str) -> None:
        """Hear that this run computes no more of a cycle."""

    def closed(self, outcome: Outcome) -> None:
        """Hear what the sweep came to, after all else."""
