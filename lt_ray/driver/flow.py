"""The driver: from a sweep to its results, by Ray Tune or in this process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import torch

from lt_ray.board.live import LiveBoard
from lt_ray.driver import cluster
from lt_ray.driver.interruption import END_TRIALS, Interruption
from lt_ray.driver.relay import Relay
from lt_ray.driver.resources import Resources, describe_resources
from lt_ray.rounds.inputs import Datasets
from lt_ray.rounds.run import run_cycle
from lt_ray.store.storage import Keep
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.outcome import Outcome
from lt_ray.sweep.plan import Plan, Planner
from lt_ray.sweep.retention import Retention
from lt_ray.tracking.recording import Recording, Reporting
from lt_ray.tracking.records import Record
from lt_ray.tracking.tracker import Tracker

_LOOK_S = 0.1
"""How long this process sleeps before it looks again whether a round may be computed [s]"""


def run(
    planner: Planner,
    plan: Plan,
    data: Datasets,
    directory: SweepDirectory,
    *,
    tracker: Callable[[str], Tracker | None],
    on_cluster: bool,
    resources: Resources,
    interruption: Interruption,
    keep: Keep = "needed",
    retry_errored: bool = False,
) -> Outcome:
    """Run what is left of a sweep and return how it ended.

    - `planner`, `plan`: the sweep on this data set, and its plan at the beginning
    - `data`: what its cycles train on
    - `tracker`: sweep id → where to record, or None
    - `on_cluster`: whether to run trials on the connected Ray cluster (`cluster.connected`), or cycles in this process
    - `keep`: `needed` drops trained weights that nothing starts from any more, `all` drops nothing
    - `retry_errored`: run cycles again that failed before
    - `interruption`: ends the trials once a signal came, wherever its exception was swallowed

    Raises `InputError` before anything is written where the directory is not usable.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(directory.driving())
        if plan.sweep.search == "optuna" and directory.exists():
            plan = planner.plan(directory.points())
        sweep_id = directory.define(plan, plan.sweep.definition(data.task.digest, data.source_digest))
        directory.store.clear_leftovers()
        share = describe_resources(resources, cluster.nodes() if on_cluster else None)
        board = stack.enter_context(LiveBoard(plan, directory, share))
        listeners = _listeners(directory, board, tracker(sweep_id), None if keep == "all" else plan.sweep.tolerance)
        relay = Relay(directory, planner, plan, listeners, retry_errored=retry_errored)
        with contextlib.suppress(KeyboardInterrupt):
            if not on_cluster:
                _run_here(relay, data, directory, resources)
        with interruption.noted(then=END_TRIALS):
            if on_cluster and not relay.agenda.exhausted:
                from lt_ray.driver.tuner import run_trials  # Ray takes seconds to import

                run_trials(relay, data=data, directory=directory, resources=resources, interruption=interruption)
            interruption.leaves = on_cluster and bool(relay.outcome.why)
            relay.close()
        return relay.outcome


def _listeners(
    directory: SweepDirectory, board: LiveBoard, tracker: Tracker | None, tolerance: float | None
) -> list[Listener]:
    """Who hears what happens, in this order.

    - `tolerance`: by which winning tickets keep their weights; None = all rounds keep them
    """
    record = Record(directory)
    listeners: list[Listener] = [directory, board, Reporting(record)]
    if tracker is not None:
        listeners.append(Recording(tracker, record))
    if tolerance is not None:
        listeners.append(Retention(directory.store, tolerance))
    return listeners


def _run_here(relay: Relay, data: Datasets, directory: SweepDirectory, resources: Resources) -> None:
    """Run the cycles one after the other in this process, with as many threads as a trial would have."""
    torch.set_num_threads(resources.threads)
    device = "cuda" if resources.gpus_per_trial and torch.cuda.is_available() else "cpu"
    while not relay.over:
        planned = relay.agenda.next()
        if planned is None:  # a round waits after a fault
            time.sleep(_LOOK_S)
            continue
        relay.started(planned.id)
        events = run_cycle(
            planned.cycle,
            data.of(planned.cycle),
            directory.store,
            source=data.source,
            base=data.base,
            keep_epochs=relay.agenda.plan.keep_epochs(planned),
            device=device,
            partial_every_s=resources.partial_every_s,
        )
        while True:
            try:
                event = next(events, None)
            except Exception as error:
                relay.broke(planned.id, error)
                break
            if event is None or relay.event(event):
                break
