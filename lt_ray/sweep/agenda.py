"""The agenda: which cycle runs next.

A cycle is held back while another one computes the round it needs next, so that no trial keeps a slot to wait for a
trial; and an adaptive search is asked for its next point only when the results are there that the point depends on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.plan import Plan, PlannedCycle, Planner
from lt_ray.sweep.search import AskedPoint, PointResult, State, best, by_point, point_result


class Agenda(Listener):
    """Hands out the cycles of a sweep, each once; an adaptive search's as their points are asked.

    - `plan`: what is planned so far; grows with an adaptive search
    - `take_in`: called with newly planned cycles before any of them is handed out; must `queue` those that are to run
      and tell what is already known of the others
    """

    def __init__(self, planner: Planner, plan: Plan, take_in: Callable[[Sequence[PlannedCycle]], None]) -> None:
        self._planner, self._take_in = planner, take_in
        self.plan = plan
        self._pending: list[PlannedCycle] = []
        self._running: dict[str, PlannedCycle] = {}
        self._results: dict[str, list[RoundResult]] = {}
        """Cycle → its finished rounds in order"""
        self._finished: set[str] = set()
        """Keys of finished rounds"""
        self._not_before: dict[str, float] = {}
        """Key of a round that waits → until when [s, monotonic]"""
        self._left: set[str] = set()
        """Keys of rounds that this run computes no more"""
        self._ended: dict[str, State] = {}
        self._point_results: dict[int, PointResult] = {}
        self._no_more = False

    def queue(self, planned: PlannedCycle) -> None:
        """Add a cycle that is to run."""
        self._pending.append(planned)

    def finished(self, result: RoundResult, epochs: Sequence[EpochResult] = ()) -> None:
        """Take in a finished round, found or computed."""
        self._finished.add(result.key)
        self._results.setdefault(result.cycle, []).append(result)

    def ended(self, cycle: str, state: State, reason: str = "", detail: str = "") -> None:
        """Take in how a cycle ended; a failed one may be told so twice."""
        self._running.pop(cycle, None)
        self._ended[cycle] = state

    def again(self, cycle: str, key: str, pause_s: float) -> None:
        """Take back a cycle that did not finish the round it needed; that waits before anybody computes it.

        - `key`: of the round; `pause_s`: how long [s]
        """
        self._not_before[key] = time.monotonic() + pause_s
        self._pending.append(self._running.pop(cycle))

    def leave(self, cycle: str, key: str) -> list[PlannedCycle]:
        """Take back a cycle whose round is left for another run; return all cycles that wait for that round now."""
        self._left.add(key)
        self._pending.append(self._running.pop(cycle))
        return [waiting for waiting in self._pending if self.needed(waiting) == key]

    def runs(self, cycle: str) -> bool:
        """Return whether a cycle was handed out and has not ended since."""
        return cycle in self._running

    def next(self) -> PlannedCycle | None:
        """Return a cycle to run now; None where none can be, or none is left: `exhausted` tells."""
        while True:
            held = {self.needed(planned) for planned in self._running.values()} | self._left
            held |= {key for key, until in self._not_before.items() if until > time.monotonic()}
            for planned in self._pending:
                needed = self.needed(planned)
                if needed is None or needed not in held:
                    self._pending.remove(planned)
                    self._running[planned.id] = planned
                    return planned
            if not self._may_ask():
                return None
            self._ask()

    @property
    def exhausted(self) -> bool:
        """Whether `next` will never return a cycle again; one that runs may come back."""
        if self._running or any(self.needed(planned) not in self._left for planned in self._pending):
            return False
        return not self._is_asking or (bool(self._left) and not self._may_ask())

    def points(self) -> list[AskedPoint]:
        """Return every point in order, with what it came to."""
        return [AskedPoint(cycles[0].asked, self._result(cycles), cycles) for cycles in by_point(self.plan.cycles)]

    def best(self) -> list[AskedPoint]:
        """Return the finished points that no other one beats: the best, or with several objectives the Pareto front."""
        points = self.points()
        return [points[place] for place in best([point.result for point in points])]

    @property
    def _is_asking(self) -> bool:
        sweep = self.plan.sweep
        return sweep.search == "optuna" and not self._no_more and self.plan.points < sweep.samples

    def _may_ask(self) -> bool:
        if not self._is_asking:
            return False
        needed = self.plan.points - self.plan.sweep.delay + 1
        return all(point.result is not None for point in self.points()[: max(needed, 0)])

    def _ask(self) -> None:
        point = self.plan.sweep.suggestion(self.points(), {planned.id for planned in self.plan.cycles})
        if point is None:
            self._no_more = True
            return
        before = len(self.plan.cycles)
        self.plan = self._planner.extended(self.plan, [point])
        self._take_in(self.plan.cycles[before:])

    def _result(self, cycles: Sequence[PlannedCycle]) -> PointResult | None:
        """What a point came to; kept once it is known, since it is asked for again and again."""
        point, sweep = cycles[0].point, self.plan.sweep
        if point not in self._point_results:
            told = [(self._ended.get(planned.id), self._results.get(planned.id, [])) for planned in cycles]
            result = point_result(told, sweep.objectives, sweep.tolerance)
            if result is None:
                return None
            self._point_results[point] = result
        return self._point_results[point]

    def needed(self, planned: PlannedCycle) -> str | None:
        """Return the key of the first round that a cycle takes and that is not finished."""
        return next((key for key in planned.needed if key not in self._finished), None)
