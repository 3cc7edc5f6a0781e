"""What a running sweep shows: the board in a terminal, one line a finished round elsewhere, a snapshot for watchers."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from lt_ray.board import terminal
from lt_ray.board.board import Board
from lt_ray.board.face import figure, fitted
from lt_ray.board.terminal import console
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.report.findings.words import numbered
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.plan import Plan, PlannedCycle
from lt_ray.sweep.search import State

log = logging.getLogger("lt_ray")

_SHOW_EPOCHS_FROM_S = 5.0
"""Epochs shorter than this get no line of their own"""
_SNAPSHOT_EVERY_S = 1.0
_SIGN_OF_LIFE_S = 10.0


class LiveBoard(Listener):
    """What a running sweep shows; a context manager, entered before the first round is taken in.

    - `directory`: the sweep's, which keeps the snapshot that `lt-ray status --watch` reads
    - `resources`: what a trial takes and how many run at once, in a few words

    Nothing in here can end the sweep: what goes wrong is warned of.
    """

    def __init__(self, plan: Plan, directory: SweepDirectory, resources: str) -> None:
        self._directory = directory
        sweep = plan.sweep
        asked = sweep.samples * sweep.seeds if sweep.search == "optuna" else 0
        begun = time.time()
        self._board = Board(sweep.name, resources, tolerance=sweep.tolerance, begun=begun, expected=asked)
        self._lock = threading.Lock()
        self._stored_shown = False
        self._epochs_shown: set[tuple[int, int, float, float]] = set()
        self._changed = True
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._keep_snapshot, name="live.json", daemon=True)
        self._live: Live | None = None
        for planned in plan.cycles:
            self._board.add(planned)

    def __enter__(self) -> LiveBoard:
        if terminal.is_live():
            self._live = terminal.live(self)
            self._live.start()
        else:
            cycles = sum(self._board.states().values())
            _print(Text(f"{self._board.title}: {cycles} cycles, {self._board.rounds} rounds · {self._board.resources}"))
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._writer.join(timeout=5)
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self._live.stop()

    def planned(self, planned: PlannedCycle) -> None:
        """Take in a cycle that is to run; also while the sweep runs."""
        with self._board_changes() as board:
            board.add(planned)

    def found(self, planned: PlannedCycle, rounds: Sequence[tuple[RoundResult, Sequence[EpochResult]]]) -> None:
        """Take in rounds that were in the store when this run began."""
        with self._board_changes() as board:
            for result, _ in rounds:
                board.found(result)

    def started(self, cycle: str) -> None:
        """Take in that a cycle runs; repeated calls are nothing new."""
        with self._board_changes() as board:
            new = board.started(cycle, time.time())
            name = board.row(cycle).name
        if new:
            self._print(Text(f"started  {name}", "dim"))

    def ended(self, cycle: str, state: State, reason: str = "", detail: str = "") -> None:
        """Take in that a rule ended a cycle early, or that it failed."""
        if state == "finished":  # known from its last round
            return
        more = f"; traceback in {self._directory.log}" if detail else ""
        with self._board_changes() as board:
            board.end(cycle, state, reason + more)
            name = board.row(cycle).name
        if state == "failed":
            terminal.show_warning(f"cycle {cycle} failed: {reason}{more}")
        else:
            self._print(Text(f"stopped  {name}: {' '.join(reason.split())}"))

    def fell(self, cycle: str, what: str, then: str, detail: str) -> None:
        """Take in that a cycle's round was not finished, through no fault of its own, and what becomes of it."""
        if then:
            with self._board_changes() as board:
                board.fell(cycle)
            terminal.show_warning(f"cycle {cycle}: {what}; {then}; more in {self._directory.log}")

    def left(self, cycle: str, reason: str) -> None:
        """Take in that this run computes no more of a cycle."""
        with self._board_changes() as board:
            board.end(cycle, "interrupted", reason)

    def epoch(self, epoch: EpochResult) -> None:
        """Take in an epoch that was just trained."""
        with self._board_changes() as board:
            board.event(epoch)
            line = _line(board, epoch) if epoch.train_s >= _SHOW_EPOCHS_FROM_S else None
        # Cycles that share a round hand on the same epochs, each under its own name.
        mark = (epoch.round, epoch.epoch, epoch.finished_at, epoch.train_loss)
        if line is not None and mark not in self._epochs_shown:
            self._print(line)
        self._epochs_shown.add(mark)

    def finished(self, result: RoundResult, epochs: Sequence[EpochResult] = ()) -> None:
        """Take in a round that was just finished."""
        with self._board_changes() as board:
            board.event(result)
            line = _line(board, result)
        self._print(line, counted=True)

    def _print(self, line: Text, *, counted: bool = False) -> None:
        """Print a line where there is no board; the first one comes after what was found."""
        if self._live is not None:
            return
        width = len(str(self._board.rounds))
        if not self._stored_shown:
            self._stored_shown = True
            before = self._board.finished - counted
            if before:
                _print(Text(f"{numbered(before, 'round')} found in the store"))
        mark = f"[{self._board.finished:>{width}}/{self._board.rounds}] " if counted else " " * (2 * width + 4)
        _print(Text.assemble(mark, line))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the board as it is now."""
        with self._lock:
            shown = fitted(self._board, options)
        yield shown

    @contextlib.contextmanager
    def _board_changes(self) -> Iterator[Board]:
        with self._lock:
            yield self._board
            self._changed = True

    def _keep_snapshot(self) -> None:
        """Keep the snapshot up to date until the end, at most about once a second."""
        last = 0.0
        while True:
            over = self._over.wait(_SNAPSHOT_EVERY_S)
            now = time.time()
            if self._changed or over or now - last >= _SIGN_OF_LIFE_S:
                last = now
                with contextlib.suppress(Exception):  # nothing hangs on it, and the disk may be full
                    with self._lock:
                        self._changed = False
                        tree = self._board.snapshot(now)
                    self._directory.keep("live", {**tree, "over": over})
            if over:
                return


def _line(board: Board, event: EpochResult | RoundResult) -> Text:
    row = board.row(event.cycle)
    cost = f"{event.train_s + event.eval_s:.1f} s" if board.computed_now(event) else "found"
    line = Text(f"round {event.round}/{row.cycle.rounds}  ", "dim" if isinstance(event, EpochResult) else "")
    if isinstance(event, EpochResult):
        line.append(f"epoch {event.epoch}/{row.cycle.epochs_in(event.round)}  val {figure(event, 'val')}  ")
        line.append(f"loss {event.train_loss:.4f}")
    else:
        cost = "shared" if event.source == "reused" else cost
        line.append("" if event.blocks is None else f"blocks {event.blocks}  ")
        line.append(f"sparsity {event.sparsity:.3f}  val {figure(event, 'val')}  test ")
        line.append(figure(event, "test"), "bold").append("  rolled back" if event.accepted is False else "", "yellow")
    return line.append(f"  {cost:>7}  {row.name}")


def _print(line: Text) -> None:
    """Print one line that never becomes two."""
    console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
