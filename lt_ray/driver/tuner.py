"""Running cycles as Ray Tune trials on the connected cluster: what Tune is given, and what it tells."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from ray import tune
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.search import Searcher

from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.driver import cluster, ray_processes
from lt_ray.driver.faults import one_line
from lt_ray.driver.interruption import END_TRIALS, Interruption
from lt_ray.driver.relay import Relay
from lt_ray.driver.resources import Resources, at_once
from lt_ray.driver.trainable import CycleTrainable, trial_config
from lt_ray.rounds.inputs import Datasets
from lt_ray.sweep.directory import SweepDirectory

log = logging.getLogger("lt_ray")


class _Unkept:
    """Nothing of the driver goes into Ray's own files, which are never read back."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Feed(_Unkept, Searcher):  # type: ignore[misc] # ray is untyped
    """Gives Tune one trial after the other, as the agenda hands out cycles; Tune keeps nothing of it.

    - `next_trial`: returns the next trial's values, None where none can start now
    - `exhausted`: returns whether none ever will
    """

    def __init__(self, next_trial: Callable[[], dict[str, Any] | None], exhausted: Callable[[], bool]) -> None:
        super().__init__()
        self._next_trial, self._exhausted = next_trial, exhausted

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        """Accept that Tune knows neither space nor objective."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config, None to be asked again, or that the search is over."""
        trial = self._next_trial()
        if trial is not None:
            return {"trial": trial}
        return Searcher.FINISHED if self._exhausted() else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Learn nothing: events arrive elsewhere."""

    def save(self, checkpoint_path: str) -> None:
        """Write nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""


class Hearing(_Unkept, tune.Stopper, tune.Callback):  # type: ignore[misc] # ray is untyped
    """Tells the relay what trials do, and ends those that it wants ended.

    An exception in here would kill the sweep, so none leaves.

    - `over`: returns whether no further trial begins; those that run end by `END_TRIALS`
    """

    def __init__(self, relay: Relay, over: Callable[[], bool]) -> None:
        self._relay, self._over = relay, over

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Pass on a trial's event or failure; return whether it should end."""
        with _survived():
            for warning in result.get("warnings", ()):
                log.warning("%s", warning)
            if "failure" in result:
                self._relay.failed(result["cycle"], result["failure"], result["traceback"])
            elif "event" in result:
                kind = RoundResult if result["kind"] == "round" else EpochResult
                return self._relay.event(kind.model_validate_json(result["event"]))
        return False

    def stop_all(self) -> bool:
        """Never end the whole sweep: a signal does (`END_TRIALS`)."""
        return False

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Pass on that a trial has a place to run."""
        with _survived():
            self._relay.started(_cycle_id(trial))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Pass on that a trial met a fault, or its worker or node was lost."""
        with _survived():
            self._fell(trial, *_error_of(trial))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Pass on that a trial ended; where its end was not heard of, that is a fault."""
        with _survived():
            self._fell(trial, "its last event was not heard", "")

    def _fell(self, trial: Any, reason: str, detail: str) -> None:
        if not self._over():
            self._relay.fell(_cycle_id(trial), reason, detail)
            if self._over():
                signal.raise_signal(END_TRIALS)


def _error_of(trial: Any) -> tuple[str, str]:
    """The error by which a trial ended: in one line, and whole."""
    try:
        error = trial.get_pickled_error()
    except Exception:  # its class is unknown here, or the file cannot be read
        error = None
    if error is None:
        return "its worker was lost", ""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return one_line(error.cause), str(error)
    if isinstance(error, OutOfMemoryError):
        return "its worker was ended, for the node's memory was full", str(error)
    lost = isinstance(error, ActorDiedError | NodeDiedError | RayActorError)
    return "its worker was lost" if lost else one_line(error), str(error)


@contextlib.contextmanager
def _survived() -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("a trial's event could not be handled; the sweep goes on")


def _cycle_id(trial: Any) -> str:
    """The identity of the cycle that a Ray trial runs."""
    return str(trial.config["trial"]["id"])


def run_trials(
    relay: Relay, *, data: Datasets, directory: SweepDirectory, resources: Resources, interruption: Interruption
) -> None:
    """Run the cycles that the relay's agenda hands out, until it is exhausted; the relay is told what they do.

    A cycle that is handed out again repeats some events.

    - `data`, `directory`: on paths that every node sees
    - `interruption`: whether a signal asked for the end
    """
    directories = data.directories
    assert directories is not None  # there is a cache

    def over() -> bool:
        return interruption.came or bool(relay.outcome.why)

    def next_trial() -> dict[str, Any] | None:
        planned = None if over() else relay.agenda.next()
        if planned is None:
            return None
        keep = relay.agenda.plan.keep_epochs(planned)
        store = directory.path.resolve()
        return trial_config(planned.cycle, data=directories, store=store, keep_epochs=keep, resources=resources)

    # Tune asks a searcher for one trial at a time, and gives that one the first process that comes free: while trials
    # are shorter than a process takes to start, it would never get to a second one.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(1, at_once(resources, cluster.nodes())))
    # Tune's own snapshots are never read back; where it fails to write one, that is nobody's loss.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it would explain the signal, and list the trials
    feed = Feed(next_trial, lambda: over() or relay.agenda.exhausted)
    head = cluster.head_address()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lt_ray_tune_", ignore_cleanup_errors=True) as folder,
            ray_processes.written_to(directory.log),
            ray_processes.watched(head),
        ):
            _tuner(feed, Hearing(relay, over), resources, folder).fit()
    except ray_processes.HeadLost:
        relay.stop(f"the Ray cluster's head at {head} answers no longer")
    except Exception as error:
        relay.stop(f"Ray gave up ({one_line(error)})")


def _tuner(feed: Feed, hearing: Hearing, resources: Resources, folder: str) -> tune.Tuner:
    """What runs the trials.

    - `folder`: for Ray's own files, which are never read back
    """
    return tune.Tuner(
        CycleTrainable,
        tune_config=tune.TuneConfig(
            search_alg=feed,
            num_samples=-1,  # as many as the feed gives
            max_concurrent_trials=resources.max_concurrent,
            reuse_actors=resources.reuse_actors,
            trial_name_creator=_cycle_id,
            trial_dirname_creator=_cycle_id,
        ),
        run_config=tune.RunConfig(
            name=f"attempt-{uuid.uuid4().hex[:8]}",
            storage_path=folder,
            stop=hearing,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),  # the agenda hands the cycle out again
            callbacks=[hearing],
            verbose=0,
        ),
    )
