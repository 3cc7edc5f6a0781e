"""The Ray Tune trainable, one trial of which runs one cycle, and what feeds and hears it in the driver."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.search import Searcher

from lt_ray.cycle import plugins
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.driver.faults import is_fault, one_line
from lt_ray.rounds.chain import RewindEpoch
from lt_ray.rounds.inputs import Datasets, Directories
from lt_ray.rounds.run import Event, run_cycle
from lt_ray.store.store import RoundStore

log = logging.getLogger("lt_ray")

_CONTEXT_BYTES = 512 * 2**20
"""What a CUDA context takes beside the memory that torch counts"""


class CycleTrainable(tune.Trainable):  # type: ignore[misc] # ray is untyped
    """Runs one cycle; a reused actor goes on to the next with its imports and its data in place.

    Nothing is checkpointed by Ray: the rounds are in the store. A cycle that lost its worker is another trial, which
    forwards the events of its finished rounds again; the driver knows them.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what one trial takes."""
        return tune.PlacementGroupFactory([{"CPU": config["trial"]["cpus"], "GPU": config["trial"]["gpus"]}])

    def setup(self, config: dict[str, Any]) -> None:
        """Start the cycle that `config["trial"]` describes; see `trial_config`."""
        trial = config["trial"]
        torch.set_num_threads(trial["threads"])
        self._warnings = _warnings(self)
        for digest, text in trial["plugins"].items():
            plugins.run(text, f"plugin {digest[:12]}")
        self._cycle = Cycle.model_validate(trial["cycle"])
        data = _data(self, trial["data"])
        self._events: Iterator[Event] = run_cycle(
            self._cycle,
            data.of(self._cycle),
            RoundStore(Path(trial["store"])),
            source=data.source,
            base=data.base,
            keep_epochs=trial["keep_epochs"],
            device=_device(trial["gpus"]),
            partial_every_s=trial["partial_every_s"],
        )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another cycle in the same process."""
        self.cleanup()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Forward one event; an error of the cycle's own is a result too, since running it again would not help.

        A fault of the machines is raised: it ends the trial, and with it this process, whose state nobody knows.
        """
        try:
            event = next(self._events)
        except Exception as error:
            if is_fault(error):
                raise
            return {
                "cycle": self._cycle.id,
                "failure": one_line(error),
                "traceback": traceback.format_exc(),
                "warnings": self._warnings.drained(),
                "done": True,
            }
        is_round = isinstance(event, RoundResult)
        return {
            "warnings": self._warnings.drained(),
            "kind": "round" if is_round else "epoch",
            "event": event.model_dump_json(),
            "round": event.round,
            "score": event.score("val"),
            "done": is_round and event.round == self._cycle.trained_rounds[-1],
        }

    def cleanup(self) -> None:
        """Let go of the running round; its partial state stays."""
        close = getattr(self._events, "close", None)
        if close is not None:
            close()


def trial_config(
    cycle: Cycle,
    *,
    data: Directories,
    store: Path,
    keep_epochs: frozenset[RewindEpoch],
    threads: int,
    cpus: float,
    gpus: float,
    partial_every_s: float,
) -> dict[str, Any]:
    """Return the plain values that a trial is told, by whichever process runs it."""
    return {
        "id": cycle.id,
        "plugins": {digest: text for digest, text in plugins.texts().items() if digest in cycle.plugins},
        "cycle": cycle.model_dump(mode="json"),
        "data": [None if path is None else str(path) for path in (data.own, data.source, data.base)],
        "store": str(store),
        "keep_epochs": sorted(keep_epochs, key=str),
        "threads": threads,
        "cpus": cpus,
        "gpus": gpus,
        "partial_every_s": partial_every_s,
    }


def cycle_id(trial: Any) -> str:
    """Return the identity of the cycle that a Ray trial runs."""
    return str(trial.config["trial"]["id"])


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


class Forwarding(_Unkept, tune.Stopper):  # type: ignore[misc] # ray is untyped
    """Hands every trial's events to the driver and ends the trials that it wants ended.

    An exception in here would kill the sweep, so none leaves.

    - `on_event`: returns whether the event's cycle should end here
    """

    def __init__(self, on_event: Callable[[Event], bool], on_failure: Callable[[str, str, str], None]) -> None:
        self._on_event, self._on_failure = on_event, on_failure

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Pass an event or a failure on; return whether its trial should end."""
        with _survived():
            for warning in result.get("warnings", ()):
                log.warning("%s", warning)
            if "failure" in result:
                self._on_failure(result["cycle"], result["failure"], result["traceback"])
            elif "event" in result:
                kind = RoundResult if result["kind"] == "round" else EpochResult
                return self._on_event(kind.model_validate_json(result["event"]))
        return False

    def stop_all(self) -> bool:
        """Never end the whole sweep: a signal does (`END_TRIALS`)."""
        return False


class Watching(_Unkept, tune.Callback):  # type: ignore[misc] # ray is untyped
    """Tells the driver which trials start and which end by a fault; its methods raise nothing.

    - `on_fault`: called with a cycle's id, the reason in one line, and all that is known of it
    """

    def __init__(self, on_start: Callable[[str], None], on_fault: Callable[[str, str, str], None]) -> None:
        self._on_start, self._on_fault = on_start, on_fault

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Pass on that a trial has a place to run."""
        with _survived():
            self._on_start(cycle_id(trial))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Pass on that a trial met a fault, or its worker or node was lost."""
        with _survived():
            self._on_fault(cycle_id(trial), *_told(trial))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Pass on that a trial ended; where its end was not heard of, that is a fault."""
        with _survived():
            self._on_fault(cycle_id(trial), "its last event was not heard", "")


def _told(trial: Any) -> tuple[str, str]:
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


class _Warnings(logging.Handler):
    """Holds what a trial's process warns of, until a result takes it to the driver and its terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._held: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._held.append(record.getMessage())

    def drained(self) -> list[str]:
        """Return what was held, and hold it no longer."""
        held, self._held = self._held, []
        return held


def _warnings(trainable: CycleTrainable) -> _Warnings:
    """The process's one handler; a reused actor keeps it."""
    held: _Warnings | None = getattr(trainable, "_warnings", None)
    if held is None:
        held = _Warnings()
        log.addHandler(held)
    return held


def _data(trainable: CycleTrainable, paths: list[str | None]) -> Datasets:
    """The data at these paths; a reused actor that has it keeps it."""
    held: tuple[list[str | None], Datasets] | None = getattr(trainable, "_held", None)
    if held is None or held[0] != paths:
        own, source, base = (None if path is None else Path(path) for path in paths)
        assert own is not None
        held = (paths, Directories(own, source, base).load())
        trainable._held = held
    return held[1]


def _device(gpus: float) -> torch.device:
    """The trial's device; a fraction of a GPU gets that fraction of its memory and no more."""
    if not gpus or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    if gpus < 1:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(max(gpus - _CONTEXT_BYTES / total, 0.01))
    return torch.device("cuda")
