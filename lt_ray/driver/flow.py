"""The driver: from a sweep to its results, by Ray Tune or in this process."""

from __future__ import annotations

import contextlib
import shlex
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from lt_ray.board import terminal
from lt_ray.board.progress import Progress
from lt_ray.cycle.names import arm_keys
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.driver.faults import PATIENCE, Faults, Verdict, is_fault, one_line
from lt_ray.driver.interruption import Interruption
from lt_ray.driver.tuner import (
    END_TRIALS,
    Resources,
    check_cluster,
    cluster,
    cluster_nodes,
    describe_resources,
    run_trials,
)
from lt_ray.errors import LtRayError
from lt_ray.rounds.inputs import Datasets, Directories
from lt_ray.rounds.run import Event, round_result, run_cycle
from lt_ray.sweep.agenda import Agenda, Standing
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.retention import Retention
from lt_ray.sweep.stopping import first_reason
from lt_ray.sweep.sweep import Plan, PlannedCycle, Planner
from lt_ray.tracking.events import Status
from lt_ray.tracking.records import Record, child, first_start
from lt_ray.tracking.tracker import Tracker

Keep = Literal["needed", "all"]
_LOOK_S = 0.1
"""How long this process sleeps before it looks again whether a round may be computed [s]"""


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
    best: list[Standing] = field(default_factory=list)
    """The best point by the sweep's objective; with several objectives the Pareto front"""
    computed: int = 0
    """Rounds that this run added to the store [count]"""
    reused: int = 0
    """Rounds that were there when it began [count]"""
    seconds: float = 0.0
    interrupted: bool = False
    """Ended before every cycle was finished, stopped or failed"""
    recorded: bool = True
    """MLflow was told everything, or was not to be told"""
    unrecorded: str = ""
    """Else why it was not, as far as is known"""

    @property
    def asked_epochs(self) -> int:
        """Epochs of all planned rounds, had each been trained alone and to its last epoch [epochs]."""
        return sum(p.cycle.epochs_of(round.pruning) for p in self.plan.cycles for round in p.rounds)

    @property
    def trained_epochs(self) -> int:
        """Epochs that were trained for these results, now or before [epochs]."""
        return sum({result.key: result.epochs for results in self.results.values() for result in results}.values())


class _Record:
    """Takes in every event once and hands it to whom it concerns."""

    def __init__(
        self,
        directory: SweepDirectory,
        planner: Planner,
        plan: Plan,
        tracker: Tracker | None,
        progress: Progress,
        *,
        keep: Keep,
        retry_errored: bool,
    ) -> None:
        self._directory, self._tracker, self._progress = directory, tracker, progress
        self._retention = Retention(plan, directory.store) if keep == "needed" else None
        self._retry_errored = retry_errored
        self._faults = Faults()
        self._rules = plan.sweep.rules()
        self._planned = {planned.id: planned for planned in plan.cycles}
        self._arm_keys = arm_keys({key: d.model_dump() for key, d in plan.sweep.space.distributions.items()})
        self._seen: set[tuple[str, int, int]] = set()
        self._epochs: dict[tuple[str, int], list[EpochResult]] = {}
        self._unopened: set[str] = set()
        """Cycles of which MLflow was not told yet"""
        self.outcome = Outcome(plan)
        self.agenda = Agenda(planner, plan, self._add)
        self._take_in(plan.cycles)

    def started(self, cycle: str) -> None:
        """Take in that a cycle has a place to run."""
        self._open(cycle)
        self._progress.started(cycle)

    def event(self, event: Event) -> bool:
        """Take in one event, a repeated one is nothing new; return whether its cycle should end here."""
        self.started(event.cycle)
        epoch = event.epoch if isinstance(event, EpochResult) else -1
        mark = (event.cycle, event.round, epoch)
        if mark in self._seen:
            return event.cycle in self.outcome.stopped
        self._seen.add(mark)
        self._progress.event(event)
        if isinstance(event, EpochResult):
            self._epochs.setdefault((event.cycle, event.round), []).append(event)
            return False
        self._faults.finished(event.key)
        self._finished(event, self._epochs.pop((event.cycle, event.round), []))
        self._decided(event)
        return event.cycle in self.outcome.stopped

    def broke(self, cycle: str, error: Exception) -> None:
        """Take in what a cycle raised: its own error, or a fault of the machines."""
        detail = "".join(traceback.format_exception(error))
        if is_fault(error):
            self.fell(cycle, one_line(error), detail)
        else:
            self.failed(cycle, one_line(error), detail)

    def fell(self, cycle: str, reason: str, detail: str = "") -> None:
        """Take in that a cycle's round was not finished through no fault of the cycle: it is computed again.

        A round that falls too often is left for a later run; where nothing is finished any more, the sweep stops.

        - `reason`: in one line; `detail`: for the log
        """
        key = self.agenda.needed(self._planned[cycle])
        if not self.agenda.runs(cycle) or key is None:
            return
        verdict, falls, pause_s = self._faults.fell(key)
        index = next((round.index for round in self._planned[cycle].rounds if round.key == key), 0)
        what = f"round {index} fell to a fault that is not its own ({reason}), {falls} of {PATIENCE}"
        self._directory.explain(f"cycle {cycle}: {what}", detail or reason)
        if verdict is Verdict.AGAIN:
            self.agenda.again(cycle, pause_s)
            self._progress.fell(cycle, f"{what}; again in {pause_s:g} s; more in {self._directory.log}")
            return
        left = self.agenda.leave(cycle)
        for planned in left:
            self.outcome.left[planned.id] = f"round {index} fell to faults {falls} times, at last to {reason}"
            self._progress.left(planned.id, self.outcome.left[planned.id])
        if verdict is Verdict.LEFT:
            self._progress.fell(cycle, f"{what}; left for the next run of the command; more in {self._directory.log}")
        else:
            self.stop(f"no round was finished between {falls} faults, the last of them {reason}")

    def stop(self, why: str) -> None:
        """Take in that the sweep cannot go on now."""
        self.outcome.why = self.outcome.why or why

    @property
    def over(self) -> bool:
        """Whether no further cycle should be run."""
        return bool(self.outcome.why) or self.agenda.exhausted

    def failed(self, cycle: str, reason: str, detail: str = "") -> None:
        """Take in that a cycle failed.

        - `reason`: in one line; `detail`: its traceback, for the log; none where it failed in an earlier run
        """
        try:
            self._directory.fail(cycle, reason)
        except OSError as error:
            terminal.show_warning(f"that cycle {cycle} failed could not be written down ({one_line(error)})")
        if detail:
            self._directory.explain(f"cycle {cycle} failed", detail)
            reason_shown = f"{reason}; traceback in {self._directory.log}"
        else:
            reason_shown = reason
        self.outcome.failures[cycle] = reason
        self.agenda.ended(cycle, "failed")
        self._progress.failed(cycle, reason_shown)
        self._open(cycle)
        if self._tracker is not None:
            self._tracker.finish(cycle, "FAILED", reason)

    def close(self, *, before: Collection[str], seconds: float) -> None:
        """Complete the outcome, and end the sweep's record in MLflow.

        - `before`: keys of the rounds that were there when this run began
        """
        outcome = self.outcome
        outcome.plan = self.agenda.plan
        self._catch_up()
        ended = outcome.failures.keys() | outcome.stopped.keys()
        outcome.interrupted = (
            bool(outcome.why)
            or not self.agenda.exhausted
            or any(
                planned.id not in ended and len(outcome.results.get(planned.id, ())) < len(planned.rounds)
                for planned in outcome.plan.cycles
            )
        )
        outcome.best = self.agenda.best()
        outcome.computed = len(finished_keys(outcome.plan, self._directory)) - len(before)
        outcome.reused = len(before)
        outcome.seconds = seconds
        for cycle in sorted(self._unopened):
            self._open(cycle, begun=False)
        _close(self._tracker, outcome, self._directory)

    def _catch_up(self) -> None:
        """Take in rounds that were finished while nobody listened any more."""
        for item in self.agenda.plan.cycles:
            known = len(self.outcome.results.get(item.id, ()))
            for result, epochs in self._stored(item)[known:] if known < len(item.rounds) else ():
                self._progress.event(result)
                self._finished(result, epochs)

    def _add(self, planned: Sequence[PlannedCycle]) -> None:
        """Take in the cycles of a point that an adaptive search has just asked."""
        for item in planned:
            self._directory.record(item)
            self._planned[item.id] = item
            self._progress.add(item)
            if self._retention is not None:
                self._retention.add(item)
        self._take_in(planned)

    def _take_in(self, planned: Sequence[PlannedCycle]) -> None:
        """Take in what the store has of these cycles, decide as was decided then, and queue those still to run."""
        found: list[tuple[float, RoundResult]] = []
        for item in planned:
            self._unopened.add(item.id)
            latest = 0.0  # a round that was damaged and computed again is younger than those after it
            stored = self._stored(item)
            if stored:
                self._open(item.id, first_start([result for result, _ in stored], otherwise=0.0))
            for result, epochs in stored:
                self._progress.found(result)
                self._finished(result, epochs)
                latest = max(latest, result.finished_at)
                found.append((latest, result))
        for _, result in sorted(found, key=lambda pair: pair[0]):
            self._decided(result)
        for item in planned:
            self._resume(item)

    def _open(self, cycle: str, began: float | None = None, *, begun: bool = True) -> None:
        """Tell MLflow of a cycle, once: as late as can be, since a run's start cannot be changed."""
        if cycle not in self._unopened:
            return
        self._unopened.remove(cycle)
        if self._tracker is not None:
            item = self._planned[cycle]
            name, params, tags = child(item.cycle, item.settings, [round.key for round in item.rounds], self._arm_keys)
            self._tracker.cycle(cycle, name, params, tags, began=began, begun=begun)

    def _stored(self, planned: PlannedCycle) -> list[tuple[RoundResult, list[EpochResult]]]:
        """A cycle's finished rounds, from round 0 on."""
        found: list[tuple[RoundResult, list[EpochResult]]] = []
        for round in planned.rounds:
            stored = self._directory.store.find(round.key, thorough=True)
            if stored is None:
                break
            epochs = [
                EpochResult(**epoch.model_dump(), cycle=planned.id, seed=planned.cycle.seed, round=round.index)
                for epoch in stored.epochs
            ]
            found.append((round_result(planned.cycle, round.key, stored, planned.prunable), epochs))
        return found

    def _resume(self, planned: PlannedCycle) -> None:
        """Queue a cycle, unless it is known to have ended."""
        failure = self._directory.failure(planned.id)
        if len(self.outcome.results.get(planned.id, ())) == len(planned.rounds):
            self._directory.forgive(planned.id)
        elif (reason := self._directory.stopped(planned.id)) is not None:
            self._stopped(planned.id, reason)
        elif failure is not None and not self._retry_errored:
            self.failed(planned.id, failure)
        else:
            self._directory.forgive(planned.id)
            self.agenda.queue(planned)

    def _finished(self, result: RoundResult, epochs: list[EpochResult]) -> None:
        """Take in one finished round, just computed or found."""
        self._open(result.cycle, first_start([result], otherwise=0.0))
        self._seen.add((result.cycle, result.round, -1))
        self._seen.update((result.cycle, result.round, epoch.epoch) for epoch in epochs)
        self.outcome.results.setdefault(result.cycle, []).append(result)
        self.agenda.finished(result)
        if self._tracker is not None:
            # Only what compared blocks has a stride, and only its record tells how it decided.
            stored = self._directory.store.find(result.key) if result.stride is not None else None
            self._tracker.round(result, epochs, None if stored is None else stored.decision)
        if self._retention is not None:
            self._retention.finished(result)
        if result.round == self._planned[result.cycle].rounds[-1].index:
            self.agenda.ended(result.cycle, "complete")
            if self._tracker is not None:
                self._tracker.finish(result.cycle, "FINISHED")

    def _decided(self, result: RoundResult) -> None:
        """Tell the rules of a finished round, and end its cycle here if one of them says so."""
        planned = self._planned[result.cycle]
        if planned.finds_tickets:  # others need all of its rounds, and none is compared with it
            return
        reason = first_reason(self._rules, result)
        is_last = result.round == planned.rounds[-1].index
        latest = self.outcome.results[result.cycle][-1]
        if reason is not None and not is_last and result.round == latest.round:  # else it went on then
            try:
                self._directory.stop(result.cycle, reason)
            except OSError as error:
                terminal.show_warning(f"that cycle {result.cycle} was ended could not be written down ({error})")
            self._stopped(result.cycle, reason)

    def _stopped(self, cycle: str, reason: str) -> None:
        if cycle not in self.outcome.stopped:
            self.outcome.stopped[cycle] = reason
            self.agenda.ended(cycle, "pruned")
            self._progress.stopped(cycle, reason)
            self._open(cycle)
            if self._tracker is not None:
                self._tracker.finish(cycle, "FINISHED", reason)


def run(
    planner: Planner,
    plan: Plan,
    data: Datasets,
    data_directories: Directories,
    directory: SweepDirectory,
    *,
    tracker: Callable[[str], Tracker | None],
    on_cluster: bool,
    resources: Resources,
    keep: Keep = "needed",
    retry_errored: bool = False,
    interruption: Interruption | None = None,
) -> Outcome:
    """Run what is left of a sweep and return how it ended.

    - `planner`, `plan`: the sweep on this data set, and its plan at the beginning
    - `data`, `data_directories`: the tokenised data, and where workers read it
    - `tracker`: sweep id → where to record, or None
    - `on_cluster`: whether to run trials on the connected Ray cluster (`connected`), or cycles in this process
    - `keep`: `needed` drops trained weights that nothing starts from any more, `all` drops nothing
    - `retry_errored`: run cycles again that failed before
    - `interruption`: ends the trials once a signal came, wherever its exception was swallowed

    Raises `InputError` before anything is written where the directory is not usable.
    """
    started = time.monotonic()
    interruption = interruption or Interruption()
    with contextlib.ExitStack() as stack:
        stack.enter_context(directory.driving())
        if plan.sweep.search == "optuna" and directory.exists():
            plan = planner.resumed(directory.points())
        sweep_id = directory.define(plan, plan.sweep.definition(data.own.digest, data.source_digest))
        directory.store.clear_leftovers()
        share = describe_resources(resources, cluster_nodes() if on_cluster else None)
        progress = stack.enter_context(Progress(plan, directory, share))
        record = _Record(directory, planner, plan, tracker(sweep_id), progress, keep=keep, retry_errored=retry_errored)
        before = finished_keys(plan, directory)  # after damaged ones were set aside
        with contextlib.suppress(KeyboardInterrupt):
            if not on_cluster:
                _run_here(record, data, directory, resources)
        with interruption.noted(then=END_TRIALS):
            if on_cluster and not record.agenda.exhausted:
                run_trials(
                    record.agenda,
                    data=data_directories,
                    directory=directory.path,
                    resources=resources,
                    on_event=record.event,
                    on_failure=record.failed,
                    on_fault=record.fell,
                    on_start=record.started,
                    on_stop=record.stop,
                    log=directory.log,
                    ended=lambda: interruption.came or bool(record.outcome.why),
                )
            interruption.leaves = on_cluster and bool(record.outcome.why)
            record.close(before=before, seconds=time.monotonic() - started)
        return record.outcome


@contextlib.contextmanager
def connected(address: str, resources: Resources, interruption: Interruption) -> Iterator[None]:
    """Be connected to a Ray cluster that has room for a trial; raises `ClusterError` where there is none."""
    with contextlib.ExitStack() as stack:
        with (
            terminal.doing("starting Ray" if address == "local" else f"joining the Ray cluster at {address}"),
            interruption.postponed(),
        ):
            stack.enter_context(cluster(address))
            check_cluster(resources)
        yield


def _run_here(record: _Record, data: Datasets, directory: SweepDirectory, resources: Resources) -> None:
    """Run the cycles one after the other in this process, with as many threads as a trial would have."""
    torch.set_num_threads(resources.threads)
    device = "cuda" if resources.gpus_per_trial and torch.cuda.is_available() else "cpu"
    while not record.over:
        planned = record.agenda.next()
        if planned is None:  # a round waits after a fault
            time.sleep(_LOOK_S)
            continue
        record.started(planned.id)
        events = run_cycle(
            planned.cycle,
            data.of(planned.cycle),
            directory.store,
            source=data.source,
            base=data.base,
            keep_epochs=record.agenda.plan.keep_epochs(planned),
            device=device,
            partial_every_s=resources.partial_every_s,
        )
        while True:
            try:
                event = next(events, None)
            except Exception as error:
                record.broke(planned.id, error)
                break
            if event is None or record.event(event):
                break


def finished_keys(plan: Plan, directory: SweepDirectory) -> set[str]:
    """Return the keys of a plan's rounds that the store has."""
    return {key for key in plan.keys if directory.store.has(key)}


def _close(tracker: Tracker | None, outcome: Outcome, directory: SweepDirectory) -> None:
    """Write the report and end the sweep's record; the runs of unfinished cycles end as KILLED."""
    record, report = Record(directory), None
    try:
        record.write_report()
        report = directory.report
    except Exception as error:  # drawing uses a large library, and nothing that is for show can end a sweep
        terminal.show_warning(f"the report could not be written ({type(error).__name__}: {error})")
    if tracker is None:
        return
    status: Status = "KILLED" if outcome.interrupted else "FAILED" if outcome.failures else "FINISHED"
    try:
        tracker.sum_up(record.summaries())
    except (LtRayError, OSError) as error:
        terminal.show_warning(f"the sweep could not be summed up ({error})")
    patience_s = 60 if tracker.answers and not outcome.interrupted else 5
    with terminal.doing("telling MLflow the rest"):
        outcome.recorded = tracker.close(status, timeout_s=patience_s, report=report)
    outcome.unrecorded = "" if outcome.recorded else tracker.why


def exit_code(outcome: Outcome) -> int:
    """Return 0 all done · 1 some cycles failed · 75 interrupted."""
    return 75 if outcome.interrupted else 1 if outcome.failures else 0


def mlflow_command(uri: str) -> str:
    """Return the command that shows the records."""
    local = "://" in uri and not uri.startswith("http")
    return shlex.join(["mlflow", "ui", "--backend-store-uri", uri]) if local else uri
