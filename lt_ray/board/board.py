"""The state of a sweep's cycles while it runs, and how long it will still take.

The driver, or whoever reads a sweep's files, tells it what happens; it looks at no clock, store or cluster itself.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.names import cycle_name
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.sweep.recorded import RecordedCycle

_ENDED = ("failed", "stopped", "done")


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


@dataclass
class Board:
    """The state of a sweep's cycles."""

    title: str
    """The sweep's name"""
    resources: str = ""
    """What a trial takes and how many run at once, in a few words"""
    tolerance: float = field(default=0.005, kw_only=True)
    """What may be lost against the dense round, in the unit of the deciding metric"""
    begun: float | None = field(default=None, kw_only=True)
    """When this run of the sweep began; None where none is running [Unix s]"""
    expected: int = field(default=0, kw_only=True)
    """Cycles that there will be, those an adaptive search is still to ask included [count]"""
    note: str = field(default="", init=False)
    """What is shown in place of elapsed time and ETA, such as that nobody runs the sweep"""
    most_at_once: int = field(default=0, init=False)
    """Most cycles that ran at the same time [count]"""
    _rows: dict[str, BoardRow] = field(default_factory=dict, init=False)
    _results: dict[str, RoundResult] = field(default_factory=dict, init=False)
    _ranks: Iterator[int] = field(default_factory=lambda: itertools.count(1), init=False)

    # What it is told

    def add(self, planned: RecordedCycle) -> None:
        """Take in a cycle of the sweep; a known one is nothing new."""
        cycle = planned.cycle
        if cycle.id not in self._rows:
            self._rows[cycle.id] = BoardRow(len(self._rows) + 1, cycle, planned.settings, planned.keys)

    def found(self, result: RoundResult) -> None:
        """Take in a round that was in the store when this run began."""
        row = self._rows[result.cycle]
        row.results[result.key] = result
        self._results.setdefault(result.key, result)
        row.changed = next(self._ranks)
        if row.complete:
            self.end(result.cycle, "done")

    def started(self, cycle: str, at: float | None = None) -> bool:
        """Take in that a cycle runs; return whether that is news. What has ended stays ended.

        - `at`: when [Unix s]
        """
        row = self._rows[cycle]
        if row.state not in ("waiting", "interrupted"):
            return False
        row.state, row.reason, row.since, row.training = "running", "", at, None
        row.changed = next(self._ranks)
        self.most_at_once = max(self.most_at_once, self.states()["running"])
        return True

    def end(self, cycle: str, state: State, reason: str = "") -> None:
        """Take in that a cycle failed, that a rule stopped it early, or that this run computes no more of it."""
        row = self._rows[cycle]
        row.state, row.reason, row.training = state, reason, None
        row.changed = next(self._ranks)

    def fell(self, cycle: str) -> None:
        """Take in that a cycle lost its place before its round was finished: it waits again."""
        row = self._rows[cycle]
        if row.state == "running":
            row.since = None
            self.end(cycle, "waiting")

    def abandoned(self) -> None:
        """Take in that nobody runs the sweep: a cycle that runs, or computed a round, is interrupted."""
        for cycle, row in self._rows.items():
            begun = any(result.source == "computed" for result in row.results.values())
            if row.state == "running" or (row.state == "waiting" and begun):
                self.end(cycle, "interrupted")
        self.note = "ended" if self.ended else "not running"

    def event(self, event: EpochResult | RoundResult) -> None:
        """Take in what a running cycle just finished."""
        self.started(event.cycle)
        row = self._rows[event.cycle]
        if isinstance(event, EpochResult):
            row.training = event
            return
        if self.computed_now(event):
            row.timed += 1
            row.timed_s += (
                event.train_s + event.eval_s if row.since is None else max(0.0, event.finished_at - row.since)
            )
        row.since, row.training = max(row.since or 0.0, event.finished_at), None
        self.found(event)

    # What it knows

    def rows(self) -> list[BoardRow]:
        """Return the cycles as they are now, in the order in which they were taken in."""
        for row in self._rows.values():
            row.see(self._results)
        return list(self._rows.values())

    def row(self, cycle: str) -> BoardRow:
        """Return what is known of one cycle."""
        return self._rows[cycle]

    def computed_now(self, event: EpochResult | RoundResult) -> bool:
        """Return whether the event is work of this run, not of an earlier one or of another cycle."""
        others = isinstance(event, RoundResult) and event.source == "reused"
        return not others and (self.begun is None or event.finished_at >= self.begun)

    @property
    def finished(self) -> int:
        """Distinct rounds of the sweep that are finished [count]."""
        return len(self._results)

    @property
    def rounds(self) -> int:
        """Distinct rounds that the sweep has or will have: what failed or was stopped has no more [count]."""
        going_on = {key for row in self._rows.values() if row.state not in ("failed", "stopped") for key in row.keys}
        return len(going_on | self._results.keys()) + self.to_ask * self._usual_rounds

    @property
    def to_ask(self) -> int:
        """Cycles of points that are still to be asked [count]."""
        return max(0, self.expected - len(self._rows))

    @property
    def _usual_rounds(self) -> int:
        """Rounds of a cycle on average, of those that ended where there are some [count]."""
        ended = [len(row.results) for row in self._rows.values() if row.state in ("done", "stopped")]
        return round(statistics.fmean(ended or [len(row.keys) for row in self._rows.values()] or [0]))

    @property
    def ended(self) -> bool:
        """Whether no cycle waits or runs."""
        return all(row.state in _ENDED for row in self._rows.values())

    def states(self) -> Counter[State]:
        """Return how many cycles are in each state."""
        return Counter(row.state for row in self._rows.values())

    def best(self) -> tuple[BoardRow, RoundResult] | None:
        """Return the cycle that is best on validation in the latest round that any cycle finished, and that round."""
        latest = [(row, row.latest) for row in self.rows() if row.latest is not None]
        furthest = max((result.round for _, result in latest), default=0)
        candidates = [pair for pair in latest if pair[1].round == furthest]
        return max(candidates, key=lambda pair: pair[1].score("val"), default=None)

    def eta_s(self, now: float) -> tuple[float, bool] | None:
        """Return the seconds until the sweep ends and whether that is a bound from above, or None while unknown.

        The rounds still to compute take what this run's rounds took on average (of the same cycle where it has some),
        as many at once as ran at once; and it cannot end before its longest cycle. Before the first round is finished,
        the epochs seen and the most epochs a round may have give a bound.

        - `now`: Unix time [s]
        """
        running, waiting = ([row for row in self._rows.values() if row.state == s] for s in ("running", "waiting"))
        ahead = [*running, *waiting]
        rounds = sum(row.timed for row in self._rows.values())
        bounds = [(row.training.train_s + row.training.eval_s) * row.cycle.most_epochs for row in ahead if row.training]
        if not rounds and not bounds:
            return None
        usual = sum(row.timed_s for row in self._rows.values()) / rounds if rounds else statistics.fmean(bounds)
        counted = set(self._results)
        total, longest = 0.0, 0.0
        for row in ahead:
            each = row.timed_s / row.timed if row.timed else usual
            left = [key for key in row.keys if key not in self._results]
            spent = 0.0
            if left and row.state == "running" and row.since is not None:
                spent = min(max(now - row.since, 0.0), each)
            total += max(0.0, each * len(set(left) - counted) - spent)
            longest = max(longest, each * len(left) - spent)
            counted.update(left)
        total += usual * self.to_ask * self._usual_rounds
        at_once = max(1, len(running), min(self.most_at_once, len(ahead) + self.to_ask))
        return max(total / at_once, longest), not rounds

    # What another process needs beside the store

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return what the store does not tell, as a tree of plain values."""
        cycles = {cycle: row.snapshot() for cycle, row in self._rows.items()}
        numbers = {"begun": self.begun, "most_at_once": self.most_at_once, "expected": self.expected}
        return {"at": now, **numbers, "resources": self.resources, "cycles": cycles}

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Take up a snapshot; raises KeyError, TypeError or ValueError for what is none."""
        self.begun, self.resources = float(tree["begun"]), str(tree["resources"])
        self.most_at_once, self.expected = int(tree["most_at_once"]), int(tree["expected"])
        for cycle, row in self._rows.items():
            if cycle in tree["cycles"]:
                row.restore(tree["cycles"][cycle])
