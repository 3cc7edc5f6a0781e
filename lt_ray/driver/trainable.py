"""The Ray Tune trainable, one trial of which runs one cycle in a process of its own."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import torch
from ray import tune

from lt_ray.cycle import plugins
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.results import RoundResult
from lt_ray.driver.faults import is_fault, one_line
from lt_ray.driver.resources import Resources
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

    _warnings: BufferingHandler
    """What its process warns of; a reused actor keeps it, as it keeps its data"""
    _data: Datasets | None = None

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what one trial takes."""
        resources: Resources = config["trial"]["resources"]
        return tune.PlacementGroupFactory([{"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}])

    def setup(self, config: dict[str, Any]) -> None:
        """Start the cycle that `config["trial"]` describes; see `trial_config`."""
        trial = config["trial"]
        resources: Resources = trial["resources"]
        torch.set_num_threads(resources.threads)
        if not hasattr(self, "_warnings"):
            self._warnings = BufferingHandler(sys.maxsize)
            self._warnings.setLevel(logging.WARNING)
            log.addHandler(self._warnings)
        for digest, text in trial["plugins"].items():
            plugins.run(text, f"plugin {digest[:12]}")
        self._cycle = Cycle.model_validate(trial["cycle"])
        if self._data is None or self._data.directories != trial["data"]:
            self._data = trial["data"].load()
        data = self._data
        self._events: Iterator[Event] = run_cycle(
            self._cycle,
            data.of(self._cycle),
            RoundStore(trial["store"]),
            source=data.source,
            base=data.base,
            keep_epochs=trial["keep_epochs"],
            device=_device(resources.gpus_per_trial),
            partial_every_s=resources.partial_every_s,
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
                "warnings": self._warned(),
                "done": True,
            }
        is_round = isinstance(event, RoundResult)
        return {
            "warnings": self._warned(),
            "kind": "round" if is_round else "epoch",
            "event": event.model_dump_json(),
            "done": is_round and event.round == self._cycle.trained_rounds[-1],
        }

    def _warned(self) -> list[str]:
        """What its process warned of since the last result, for the driver and its terminal."""
        messages = [record.getMessage() for record in self._warnings.buffer]
        self._warnings.flush()
        return messages

    def cleanup(self) -> None:
        """Let go of the running round; its partial state stays."""
        close = getattr(self._events, "close", None)
        if close is not None:
            close()


def trial_config(
    cycle: Cycle, *, data: Directories, store: Path, keep_epochs: frozenset[RewindEpoch], resources: Resources
) -> dict[str, Any]:
    """Return what a trial is told, by whichever process runs it.

    - `data`, `store`: on paths that every node sees
    - `keep_epochs`: of round 0, whose weights this cycle or another one rewinds to
    """
    return {
        "id": cycle.id,
        "plugins": plugins.texts(cycle.plugins),
        "cycle": cycle.model_dump(mode="json"),  # whose classes a worker may only know by its plugins
        "data": data,
        "store": store,
        "keep_epochs": keep_epochs,
        "resources": resources,
    }


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
