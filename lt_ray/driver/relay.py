"""What the cycles of a sweep do, from wherever they run, to the listeners of the sweep."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence

from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.driver.faults import PATIENCE, Faults, is_fault, one_line
from lt_ray.rounds.outcome import epoch_result, round_result
from lt_ray.rounds.run import Event
from lt_ray.sweep.agenda import Agenda
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.outcome import Outcome
from lt_ray.sweep.plan import Plan, PlannedCycle, Planner
from lt_ray.sweep.search import State
from lt_ray.sweep.stopping import first_reason


class Relay:
    """Takes in what happens, often told twice, and tells each thing once to every listener; decides which cycles end.

    - `listeners`: hear each event in this order, the agenda before them
    - `retry_errored`: whether cycles that failed in an earlier run are to run again
    """

    def __init__(
        self,
        directory: SweepDirectory,
        planner: Planner,
        plan: Plan,
        listeners: Sequence[Listener],
        *,
        retry_errored: bool,
    ) -> None:
        self._began = time.monotonic()
        self._directory = directory
        self._retry_errored = retry_errored
        self._faults = Faults()
        self._rules = plan.sweep.rules()
        self._planned: dict[str, PlannedCycle] = {}
        self._started: set[str] = set()
        """Cycles that were started and have not fallen since"""
        self._seen: set[tuple[str, int, int]] = set()
        """(cycle, round, epoch) that was told of; epoch −1 = the round itself"""
        self._epochs: dict[tuple[str, int], list[EpochResult]] = {}
        self.outcome = Outcome(plan)
        self.agenda = Agenda(planner, plan, self._add)
        self._listeners = (self.agenda, *listeners)
        for listener in self._listeners:
            listener.begun(plan)
        self._take_in(plan.cycles)
        self._before = self._finished_keys()  # after damaged rounds were set aside

    @property
    def over(self) -> bool:
        """Whether no further cycle should be run."""
        return bool(self.outcome.why) or self.agenda.exhausted

    def started(self, cycle: str) -> None:
        """Take in that a cycle has a place to run."""
        if cycle not in self._started:
            self._started.add(cycle)
            for listener in self._listeners:
                listener.started(cycle)

    def event(self, event: Event) -> bool:
        """Take in one event, a repeated one is nothing new; return whether its cycle should end here."""
        self.started(event.cycle)
        mark = (event.cycle, event.round, event.epoch if isinstance(event, EpochResult) else -1)
        if mark not in self._seen:
            self._seen.add(mark)
            if isinstance(event, EpochResult):
                self._epochs.setdefault((event.cycle, event.round), []).append(event)
                for listener in self._listeners:
                    listener.epoch(event)
                return False
            self._faults.finished(event.key)
            self._finished(event, self._epochs.pop((event.cycle, event.round), []))
            self._decide(event)
        return event.cycle in self.outcome.stopped

    def broke(self, cycle: str, error: Exception) -> None:
        """Take in what a cycle raised: its own error, or a fault of the machines."""
        detail = "".join(traceback.format_exception(error))
        (self.fell if is_fault(error) else self.failed)(cycle, one_line(error), detail)

    def failed(self, cycle: str, reason: str, detail: str = "") -> None:
        """Take in that a cycle failed.

        - `reason`: in one line; `detail`: its traceback, for the log; none where it failed in an earlier run
        """
        self.outcome.failures[cycle] = reason
        self._ended(cycle, "failed", reason, detail)

    def fell(self, cycle: str, reason: str, detail: str = "") -> None:
        """Take in that a cycle's round was not finished through no fault of the cycle: it is computed again.

        A round that falls too often is left for a later run; where nothing is finished any more, the sweep stops.

        - `reason`: in one line; `detail`: for the log
        """
        key = self.agenda.needed(self._planned[cycle])
        if not self.agenda.runs(cycle) or key is None:
            return
        self._started.discard(cycle)
        verdict, falls, pause_s = self._faults.fell(key)
        index = next((round.index for round in self._planned[cycle].rounds if round.key == key), 0)
        if verdict == "again":
            self.agenda.again(cycle, key, pause_s)
            then = f"again in {pause_s:g} s"
        else:
            for planned in self.agenda.leave(cycle, key):
                self._left(planned.id, f"round {index} fell to faults {falls} times, at last to {reason}")
            then = "left for the next run of the command" if verdict == "left" else ""
        what = f"round {index} fell to a fault that is not its own ({reason}), {falls} of {PATIENCE}"
        for listener in self._listeners:
            listener.fell(cycle, what, then, detail or reason)
        if verdict == "stop":
            self.stop(f"no round was finished between {falls} faults, the last of them {reason}")

    def stop(self, why: str) -> None:
        """Take in that the sweep cannot go on now."""
        self.outcome.why = self.outcome.why or why

    def close(self) -> None:
        """Complete the outcome and tell it."""
        outcome = self.outcome
        outcome.plan = self.agenda.plan
        self._catch_up()
        ended = outcome.failures.keys() | outcome.stopped.keys()
        going_on = [planned for planned in outcome.plan.cycles if planned.id not in ended]
        is_short = any(len(outcome.results.get(planned.id, ())) < len(planned.rounds) for planned in going_on)
        outcome.interrupted = bool(outcome.why) or not self.agenda.exhausted or is_short
        outcome.best = self.agenda.best()
        outcome.computed = len(self._finished_keys()) - len(self._before)
        outcome.reused = len(self._before)
        outcome.seconds = time.monotonic() - self._began
        for listener in self._listeners:
            listener.closed(outcome)

    def _catch_up(self) -> None:
        """Take in rounds that were finished while nobody listened any more."""
        for planned in self.agenda.plan.cycles:
            known = len(self.outcome.results.get(planned.id, ()))
            for result, epochs in self._stored(planned)[known:] if known < len(planned.rounds) else ():
                self._finished(result, epochs)

    def _add(self, planned: Sequence[PlannedCycle]) -> None:
        """Take in the cycles of a point that an adaptive search has just asked."""
        for item in planned:
            for listener in self._listeners:
                listener.planned(item)
        self._take_in(planned)

    def _take_in(self, planned: Sequence[PlannedCycle]) -> None:
        """Take in what the store has of these cycles, decide as was decided then, and queue those still to run."""
        known: list[tuple[float, RoundResult]] = []
        for item in planned:
            self._planned[item.id] = item
            latest = 0.0  # a round that was damaged and computed again is younger than those after it
            rounds = self._stored(item)
            for result, epochs in rounds:
                latest = max(latest, result.finished_at)
                known.append((latest, result))
                self._note(result, epochs)
            for listener in self._listeners if rounds else ():
                listener.found(item, rounds)
            if len(rounds) == len(item.rounds):
                self._ended(item.id, "finished")
        for _, result in sorted(known, key=lambda pair: pair[0]):
            self._decide(result)
        for item in planned:
            state, reason = self._directory.how_ended(item, len(self.outcome.results.get(item.id, ())))
            if state == "stopped":
                self._stopped(item.id, reason)
            elif state == "failed" and not self._retry_errored:
                self.failed(item.id, reason)
            else:
                self._directory.forgive(item.id)
                if state != "finished":
                    self.agenda.queue(item)

    def _stored(self, planned: PlannedCycle) -> list[tuple[RoundResult, list[EpochResult]]]:
        """A cycle's finished rounds, from round 0 on."""
        rounds: list[tuple[RoundResult, list[EpochResult]]] = []
        for round in planned.rounds:
            stored = self._directory.store.find(round.key, thorough=True)
            if stored is None:
                break
            epochs = [epoch_result(planned.cycle, round.index, epoch) for epoch in stored.epochs]
            rounds.append((round_result(planned.cycle, round.key, stored, planned.prunable), epochs))
        return rounds

    def _note(self, result: RoundResult, epochs: Sequence[EpochResult]) -> None:
        """Remember a round, so that it is told once."""
        self._seen.add((result.cycle, result.round, -1))
        self._seen.update((result.cycle, result.round, epoch.epoch) for epoch in epochs)
        self.outcome.results.setdefault(result.cycle, []).append(result)

    def _finished(self, result: RoundResult, epochs: Sequence[EpochResult]) -> None:
        """Tell of a round that was just finished, and of its cycle's end with the last one."""
        self._note(result, epochs)
        for listener in self._listeners:
            listener.finished(result, epochs)
        if result.round == self._planned[result.cycle].rounds[-1].index:
            self._ended(result.cycle, "finished")

    def _decide(self, result: RoundResult) -> None:
        """Tell the rules of a finished round, and end its cycle here if one of them says so."""
        planned = self._planned[result.cycle]
        if planned.finds_tickets:  # others need all of its rounds, and none is compared with it
            return
        reason = first_reason(self._rules, result)
        is_last = result.round == planned.rounds[-1].index
        latest = self.outcome.results[result.cycle][-1]
        if reason is not None and not is_last and result.round == latest.round:  # else it went on then
            self._stopped(result.cycle, reason)

    def _stopped(self, cycle: str, reason: str) -> None:
        if cycle not in self.outcome.stopped:
            self.outcome.stopped[cycle] = reason
            self._ended(cycle, "stopped", reason)

    def _ended(self, cycle: str, state: State, reason: str = "", detail: str = "") -> None:
        for listener in self._listeners:
            listener.ended(cycle, state, reason, detail)

    def _left(self, cycle: str, reason: str) -> None:
        self.outcome.left[cycle] = reason
        for listener in self._listeners:
            listener.left(cycle, reason)

    def _finished_keys(self) -> set[str]:
        """Keys of the planned rounds that the store has."""
        return {key for key in self.agenda.plan.keys if self._directory.store.has(key)}
