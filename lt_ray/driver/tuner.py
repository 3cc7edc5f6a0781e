"""Running cycles as Ray Tune trials on the connected cluster."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable
from typing import Any

from ray import tune

from lt_ray.driver import cluster, ray_processes
from lt_ray.driver.faults import one_line
from lt_ray.driver.interruption import END_TRIALS
from lt_ray.driver.relay import Relay
from lt_ray.driver.resources import Resources, at_once
from lt_ray.driver.trainable import CycleTrainable, Feed, Forwarding, Watching, cycle_id, trial_config
from lt_ray.rounds.inputs import Directories
from lt_ray.sweep.directory import SweepDirectory


class _Trials:
    """The trials of one run of a sweep: what Tune is given, and what it tells."""

    def __init__(
        self,
        relay: Relay,
        data: Directories,
        directory: SweepDirectory,
        resources: Resources,
        interrupted: Callable[[], bool],
    ) -> None:
        self._relay, self._data, self._directory = relay, data, directory
        self._resources, self._interrupted = resources, interrupted

    def tuner(self, folder: str) -> tune.Tuner:
        """Return what runs them.

        - `folder`: for Ray's own files, which are never read back
        """
        return tune.Tuner(
            CycleTrainable,
            tune_config=tune.TuneConfig(
                search_alg=Feed(self._next, lambda: self._over or self._relay.agenda.exhausted),
                num_samples=-1,  # as many as the feed gives
                max_concurrent_trials=self._resources.max_concurrent,
                reuse_actors=self._resources.reuse_actors,
                trial_name_creator=cycle_id,
                trial_dirname_creator=cycle_id,
            ),
            run_config=tune.RunConfig(
                name=f"attempt-{uuid.uuid4().hex[:8]}",
                storage_path=folder,
                stop=Forwarding(self._relay.event, self._relay.failed),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),  # the agenda hands the cycle out again
                callbacks=[Watching(self._relay.started, self._fell)],
                verbose=0,
            ),
        )

    @property
    def _over(self) -> bool:
        """Whether to begin no further trial; those that run end by `END_TRIALS`."""
        return self._interrupted() or bool(self._relay.outcome.why)

    def _next(self) -> dict[str, Any] | None:
        planned = None if self._over else self._relay.agenda.next()
        if planned is None:
            return None
        return trial_config(
            planned.cycle,
            data=self._data.resolved(),
            store=self._directory.path.resolve(),
            keep_epochs=self._relay.agenda.plan.keep_epochs(planned),
            threads=self._resources.threads,
            cpus=self._resources.cpus_per_trial,
            gpus=self._resources.gpus_per_trial,
            partial_every_s=self._resources.partial_every_s,
        )

    def _fell(self, cycle: str, reason: str, detail: str) -> None:
        if not self._over:
            self._relay.fell(cycle, reason, detail)
            if self._over:
                signal.raise_signal(END_TRIALS)


def run_trials(
    relay: Relay,
    *,
    data: Directories,
    directory: SweepDirectory,
    resources: Resources,
    interrupted: Callable[[], bool],
) -> None:
    """Run the cycles that the relay's agenda hands out, until it is exhausted; the relay is told what they do.

    A cycle that is handed out again repeats some events.

    - `data`: where the tokenised data is, on paths that every node sees
    - `directory`: the sweep's, likewise
    - `interrupted`: whether a signal asked for the end
    """
    # Tune asks a searcher for one trial at a time, and gives that one the first process that comes free: while trials
    # are shorter than a process takes to start, it would never get to a second one.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(1, at_once(resources, cluster.nodes())))
    # Tune's own snapshots are never read back; where it fails to write one, that is nobody's loss.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it would explain the signal, and list the trials
    folder = tempfile.mkdtemp(prefix="lt_ray_tune_")
    tuner = _Trials(relay, data, directory, resources, interrupted).tuner(folder)
    head = cluster.head_address()
    try:
        with ray_processes.written_to(directory.log), ray_processes.watched(head):
            tuner.fit()
    except ray_processes.HeadLost:
        relay.stop(f"the Ray cluster's head at {head} answers no longer")
    except Exception as error:
        relay.stop(f"Ray gave up ({one_line(error)})")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
