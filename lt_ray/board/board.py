"""The board of a running sweep: what is known of each cycle, and a table of it that fits the terminal.

It is told what happens, by a driver or by who reads a sweep's files, and asks no clock, no store and no cluster itself.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from rich.console import Group
from rich.text import Text

from lt_ray.board import frame
from lt_ray.board.frame import STYLES, State, Training
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.names import cycle_name
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.sweep.directory import RecordedCycle
from lt_ray.sweep.sweep import PlannedCycle

_ENDED = ("failed", "stopped", "done")
_LEAST_ROWS = 6
"""Lines for the table from which there is room for what stands below it"""


@dataclass
class _Row:
    """What is known of one cycle."""

    number: int
    cycle: Cycle
    settings: Mapping[str, Scalar]
    keys: tuple[str, ...]
    id: str
    state: State = "waiting"
    reason: str = ""
    training: Training | None = None
    since: float | None = None
    """When the round now computed began [Unix s]"""
    changed: int = 0
    """Rank of the last change: the highest changed last"""
    measured_s: list[float] = field(default_factory=list)
    """Of each round computed in this run [s]"""
    own: dict[str, RoundResult] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return cycle_name(self.settings, self.cycle.seed)


class Board:
    """The state of a sweep's cycles, and the table of it.

    - `title`: the sweep's name
    - `resources`: what a trial takes and how many run at once, in a few words
    - `tolerance`: accuracy that may be lost against the dense round [0, 1]
    - `begun`: when this run of the sweep began; None where none is running [Unix s]
    - `expected`: cycles that there will be, those an adaptive search is still to ask included [count]
    """

    def __init__(
        self,
        title: str,
        resources: str = "",
        *,
        tolerance: float = 0.005,
        begun: float | None = None,
        expected: int = 0,
    ) -> None:
        self.title = title
        self.resources = resources
        self.tolerance = tolerance
        self.begun = begun
        self.expected = expected
        self.note = ""
        """What is shown in place of elapsed time and ETA, such as that nobody runs the sweep"""
        self._rows: dict[str, _Row] = {}
        self._results: dict[str, RoundResult] = {}
        self._ranks = itertools.count(1)
        self._peak = 0

    # What it is told

    def add(self, planned: PlannedCycle | RecordedCycle) -> None:
        """Take in a cycle of the sweep; a known one is nothing new."""
        cycle = planned.cycle
        keys = planned.keys if isinstance(planned, RecordedCycle) else tuple(round.key for round in planned.rounds)
        if cycle.id not in self._rows:
            self._rows[cycle.id] = _Row(len(self._rows) + 1, cycle, planned.settings, keys, cycle.id)

    def found(self, result: RoundResult) -> None:
        """Take in a round that was in the store when this run began."""
        row = self._finish(result)
        if len(row.own) == len(row.keys):
            self._end(row, "done")

    def started(self, cycle: str, at: float | None = None) -> bool:
        """Take in that a cycle runs; return whether that is news. What has ended stays ended.

        - `at`: when [Unix s]
        """
        row = self._rows[cycle]
        if row.state not in ("waiting", "interrupted"):
            return False
        row.state, row.reason, row.since, row.training = "running", "", at, None
        row.changed = next(self._ranks)
        self._peak = max(self._peak, sum(row.state == "running" for row in self._rows.values()))
        return True

    def stopped(self, cycle: str, reason: str) -> None:
        """Take in that a rule ended a cycle early."""
        self._end(self._rows[cycle], "stopped", reason)

    def failed(self, cycle: str, reason: str) -> None:
        """Take in that a cycle failed."""
        self._end(self._rows[cycle], "failed", reason)

    def fell(self, cycle: str) -> None:
        """Take in that a cycle lost its place before its round was finished: it waits again."""
        row = self._rows[cycle]
        if row.state == "running":
            row.state, row.since, row.training = "waiting", None, None
            row.changed = next(self._ranks)

    def left(self, cycle: str, reason: str) -> None:
        """Take in that this run computes no more of a cycle."""
        self._end(self._rows[cycle], "interrupted", reason)

    def abandoned(self) -> None:
        """Take in that nobody runs the sweep: what runs, or was begun by this cycle itself, is interrupted."""
        for row in self._rows.values():
            begun = any(result.source == "computed" for result in row.own.values())
            if row.state == "running" or (row.state == "waiting" and begun):
                self._end(row, "interrupted")
        self.note = "ended" if self.ended else "not running"

    def event(self, event: EpochResult | RoundResult) -> None:
        """Take in what a running cycle just finished."""
        self.started(event.cycle)
        row = self._rows[event.cycle]
        if isinstance(event, EpochResult):
            row.training = Training(event.round, event.epoch, event.train_s + event.eval_s, event.val_accuracy)
            return
        if self.computed_now(event):
            began = row.since
            row.measured_s.append(
                event.train_s + event.eval_s if began is None else max(0.0, event.finished_at - began)
            )
        row.since, row.training = max(row.since or 0.0, event.finished_at), None
        self._finish(event)
        if len(row.own) == len(row.keys):
            self._end(row, "done")

    # What it knows

    def computed_now(self, event: EpochResult | RoundResult) -> bool:
        """Return whether the event is work of this run, not of an earlier one or of another cycle."""
        others = isinstance(event, RoundResult) and event.source == "reused"
        return not others and (self.begun is None or event.finished_at >= self.begun)

    def name(self, cycle: str) -> str:
        """Return a cycle's settings and seed in a few words."""
        return self._rows[cycle].name

    def rounds_of(self, cycle: str) -> int:
        """Return a cycle's prunings [count]."""
        return self._rows[cycle].cycle.rounds

    def epochs_of(self, cycle: str, round: int) -> int:
        """Return the most epochs that a round of a cycle may have [count]."""
        return self._rows[cycle].cycle.epochs_in(round)

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
        ended = [len(row.own) for row in self._rows.values() if row.state in ("done", "stopped")]
        return round(statistics.fmean(ended or [len(row.keys) for row in self._rows.values()] or [0]))

    @property
    def ended(self) -> bool:
        """Whether no cycle waits or runs."""
        return all(row.state in _ENDED for row in self._rows.values())

    def states(self) -> Counter[State]:
        """Return how many cycles are in each state."""
        return Counter(row.state for row in self._rows.values())

    def eta_s(self, now: float) -> tuple[float, bool] | None:
        """Return the seconds until the sweep ends and whether that is a bound from above, or None while unknown.

        The rounds still to compute take what this run's rounds took on average (of the same cycle where it has some),
        as many at once as ran at once; and it cannot end before its longest cycle. Before the first round is finished,
        the epochs seen and the most epochs a round may have give a bound.

        - `now`: Unix time [s]
        """
        ahead = [row for row in self._rows.values() if row.state == "running"]
        running = len(ahead)
        ahead += [row for row in self._rows.values() if row.state == "waiting"]
        measured = [seconds for row in self._rows.values() for seconds in row.measured_s]
        if measured:
            usual = statistics.fmean(measured)
        else:
            bounds = [row.training.seconds * row.cycle.most_epochs for row in ahead if row.training is not None]
            if not bounds:
                return None
            usual = statistics.fmean(bounds)
        counted = set(self._results)
        total, longest = 0.0, 0.0
        for row in ahead:
            each = statistics.fmean(row.measured_s) if row.measured_s else usual
            left = [key for key in row.keys if key not in self._results]
            spent = 0.0
            if left and row.state == "running" and row.since is not None:
                spent = min(max(now - row.since, 0.0), each)
            total += max(0.0, each * len(set(left) - counted) - spent)
            longest = max(longest, each * len(left) - spent)
            counted.update(left)
        total += usual * self.to_ask * self._usual_rounds
        at_once = max(1, running, min(self._peak, len(ahead) + self.to_ask))
        return max(total / at_once, longest), not measured

    # What another process needs beside the store

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return what the store does not tell, as a tree of plain values."""
        cycles = {
            row.id: {
                "state": row.state,
                "reason": row.reason,
                "changed": row.changed,
                "since": row.since,
                "measured_s": [len(row.measured_s), sum(row.measured_s)],
                "training": row.training and vars(row.training),
            }
            for row in self._rows.values()
        }
        numbers = {"begun": self.begun, "peak": self._peak, "expected": self.expected}
        return {"at": now, **numbers, "resources": self.resources, "cycles": cycles}

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Take up a snapshot; raises KeyError, TypeError or ValueError for what is none.

        A round that the store has counts more than what the snapshot says of it.
        """
        self.begun, self.resources, self._peak = float(tree["begun"]), str(tree["resources"]), int(tree["peak"])
        self.expected = int(tree["expected"])
        for id, told in tree["cycles"].items():
            row = self._rows.get(id)
            if row is None:
                continue
            count, seconds = told["measured_s"]
            row.measured_s = [seconds / count] * count if count else []
            row.since, row.changed = told["since"], int(told["changed"])
            training = told["training"] and Training(**told["training"])
            row.training = training if training and training.round >= len(row.own) else None
            if row.state != "done" and told["state"] in get_args(State) and told["state"] != "done":
                row.state, row.reason = told["state"], str(told["reason"])

    # What it shows

    def render(self, width: int, height: int | None, now: float) -> Group:
        """Return the board in at most `height` lines of at most `width` cells.

        - `height`: None = as many as it takes [lines]
        - `now`: Unix time [s]
        """
        head = self._head(width, now)
        foot = self._foot(width)
        room = None if height is None else height - len(head) - len(foot)
        if room is not None and room < _LEAST_ROWS:
            head, foot = head[:-1], []
            room = (height or 0) - len(head)
        table = frame.table(self.rows(), width, room, tolerance=self.tolerance)
        lines = [*head, *table, *foot]
        return Group(*(lines if height is None else lines[:height]))

    def rows(self) -> list[frame.Row]:
        """Return what is shown of each cycle, in the order in which they were taken in."""
        return [
            frame.Row(
                number=row.number,
                id=row.cycle.id,
                settings=row.settings,
                seed=row.cycle.seed,
                rounds=row.cycle.rounds,
                epochs=row.cycle.epochs_in(row.training.round) if row.training else row.cycle.most_epochs,
                dense=self._results.get(row.keys[0]),
                latest=self._latest(row),
                training=row.training,
                state=row.state,
                reason=row.reason,
                changed=row.changed,
            )
            for row in self._rows.values()
        ]

    def _latest(self, row: _Row) -> RoundResult | None:
        """The last round of a cycle's unbroken chain of finished rounds, whoever computed them."""
        last = None
        for key in row.keys:
            if key not in self._results:
                break
            last = row.own.get(key) or self._results[key]
        return last

    def _finish(self, result: RoundResult) -> _Row:
        row = self._rows[result.cycle]
        row.own[result.key] = result
        self._results.setdefault(result.key, result)
        row.changed = next(self._ranks)
        return row

    def _end(self, row: _Row, state: State, reason: str = "") -> None:
        row.state, row.reason, row.training = state, reason, None
        row.changed = next(self._ranks)

    def _head(self, width: int, now: float) -> list[Text]:
        done, total = self.finished, self.rounds
        words = Text.assemble((f"{done}/{total} rounds", "bold"))
        if self.note:
            words.append(f"   {self.note}", "yellow")
        elif self.begun is not None:
            eta = self.eta_s(now)
            told = "–" if eta is None else ("≤ " if eta[1] else "") + frame.clock(eta[0])
            words.append("   elapsed ", "dim").append(frame.clock(now - self.begun))
            if not self.ended:
                words.append("   ETA ", "dim").append(told)
        title = Text(self.title, "bold")
        share = done / total if total else 0.0
        left = width - title.cell_len - words.cell_len - 6
        if left >= 10:
            return [Text.assemble(title, "   ", frame.bar(share, left, "green"), "   ", words), Text()]
        return [_cut(Text.assemble(title, "   ", words), width), frame.bar(share, width, "green"), Text()]

    def _foot(self, width: int) -> list[Text]:
        counts = self.states()
        known = [state for state in get_args(State) if counts[state]]
        words = [Text(f"{counts[state]} {state}", STYLES[state]) for state in known]
        if self.to_ask:
            words.append(Text(f"{self.to_ask} to ask", STYLES["waiting"]))
        if self.begun is not None and not self.note and not self._peak and counts["waiting"]:
            words.append(Text("the first trials start", STYLES["running"]))
        lines = [Text(), Text.assemble(("cycles     ", "dim"), Text(" · ").join(words))]
        best = self._best()
        if best is not None:
            row, result = best
            dense = self._results.get(row.keys[0])
            lines.append(
                Text.assemble(
                    ("best val   ", "dim"),
                    (f"{result.val_accuracy:.4f}", "bold"),
                    f" in round {result.round}/{row.cycle.rounds}, sparsity {result.sparsity:.3f}",
                    f", dense {dense.val_accuracy:.4f}" if dense else "",
                    (f"  #{row.number} {row.name}", "dim"),
                )
            )
        if self.resources:
            lines.append(Text.assemble(("resources  ", "dim"), self.resources))
        return [_cut(line, width) for line in lines]

    def _best(self) -> tuple[_Row, RoundResult] | None:
        """The cycle with the highest validation accuracy in the latest round that any cycle finished."""
        last = [(row, result) for row in self._rows.values() if (result := self._latest(row)) is not None]
        furthest = max((result.round for _, result in last), default=0)
        candidates = [pair for pair in last if pair[1].round == furthest]
        return max(candidates, key=lambda pair: pair[1].val_accuracy, default=None)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line
