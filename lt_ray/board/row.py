"""What is known of one cycle of a running or finished sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.names import cycle_name
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.cycle.settings import Scalar

State = Literal["running", "failed", "stopped", "interrupted", "done", "waiting"]
"""What a cycle is doing, in the order in which rows are shown where not all fit"""

STYLES: Mapping[State, str] = {
    "running": "bold cyan",
    "failed": "bold red",
    "stopped": "yellow",
    "interrupted": "yellow",
    "done": "green",
    "waiting": "bright_black",
}


@dataclass
class BoardRow:
    """One cycle on the board."""

    number: int
    """Place among the cycles, from 1"""
    cycle: Cycle
    settings: Mapping[str, Scalar]
    keys: tuple[str, ...]
    """Of its rounds"""
    state: State = "waiting"
    reason: str = ""
    training: EpochResult | None = None
    """The latest epoch of the round that is being trained"""
    since: float | None = None
    """When the round now computed began [Unix s]"""
    changed: int = 0
    """Rank of the last change: the highest changed last"""
    timed: int = 0
    """Rounds computed in this run [count]"""
    timed_s: float = 0.0
    """Seconds that they took [s]"""
    results: dict[str, RoundResult] = field(default_factory=dict)
    """Key → round that this cycle itself finished"""
    dense: RoundResult | None = None
    latest: RoundResult | None = None
    """The last of the unbroken chain of finished rounds, whoever computed them"""

    @property
    def name(self) -> str:
        """The cycle's arm, seed and numbers in a few words."""
        return cycle_name(self.settings, self.cycle.seed)

    @property
    def epochs(self) -> int:
        """Most epochs of the round that is being trained, or of any [count]."""
        return self.cycle.epochs_in(self.training.round) if self.training else self.cycle.most_epochs

    @property
    def complete(self) -> bool:
        """Whether every round was finished."""
        return len(self.results) == len(self.keys)

    def see(self, finished: Mapping[str, RoundResult]) -> None:
        """Bring `dense` and `latest` up to date.

        - `finished`: key → round, of all cycles
        """
        self.dense, self.latest = finished.get(self.keys[0]), None
        for key in self.keys:
            if key not in finished:
                break
            self.latest = self.results.get(key) or finished[key]

    def snapshot(self) -> dict[str, Any]:
        """Return what the store does not tell, as a tree of plain values."""
        fields = {name: getattr(self, name) for name in ("state", "reason", "changed", "since", "timed", "timed_s")}
        return fields | {"training": self.training and self.training.model_dump()}

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Take up a snapshot; a round that the store has counts more than what the snapshot says of it."""
        self.since, self.changed = tree["since"], int(tree["changed"])
        self.timed, self.timed_s = int(tree["timed"]), float(tree["timed_s"])
        training = tree["training"] and EpochResult(**tree["training"])
        self.training = training if training and training.round >= len(self.results) else None
        if self.state != "done" and tree["state"] in get_args(State) and tree["state"] != "done":
            self.state, self.reason = tree["state"], str(tree["reason"])
