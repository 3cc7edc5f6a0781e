"""A sweep as its files tell it; changes nothing, and may look on while the sweep runs."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lt_ray.board import terminal
from lt_ray.board.board import Board
from lt_ray.board.face import face, fitted
from lt_ray.board.layout import table
from lt_ray.board.terminal import console
from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.errors import StorageError
from lt_ray.store.store import StoredRound
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.recorded import RecordedCycle

_LOOK_EVERY_S = 1.0
_SILENT_S = 30.0
"""Without locks, a driver that told nothing for so long is taken for dead [s]"""


def show(path: Path, *, as_json: bool) -> int:
    """Print a sweep's cycles, or one JSON line a finished round; raises `StorageError` where there is no sweep."""
    look = _Look(SweepDirectory(path))
    look.again()
    if as_json:
        for recorded, results in look.cycles:
            for result in results:
                print(json.dumps(row(look.board.title, recorded, result)))
        return 0
    running = " · running" if look.driven else ""
    to_ask = f", {look.board.to_ask} to ask" if look.board.to_ask else ""
    console.print(Text(f"{look.board.title}: {len(look.cycles)} cycles{to_ask}{running}", "italic"))
    for part in table(look.board.rows(), console.width, None, tolerance=look.board.tolerance, status=True):
        console.print(part)
    rounds = sum(len(results) for _, results in look.cycles)
    keys = {result.key for _, results in look.cycles for result in results}
    planned = sum(len(recorded.keys) for recorded, _ in look.cycles)
    console.print(f"{rounds} of {planned} rounds finished; {len(keys)} computed, {rounds - len(keys)} shared")
    return 0


def watch(path: Path) -> int:
    """Show a sweep's board until the sweep has ended or Ctrl-C; raises `StorageError` where there is no sweep.

    A sweep that nobody runs is watched too, since the same command may go on with it at any time.
    """
    look = _Look(SweepDirectory(path))
    look.again()
    with contextlib.suppress(KeyboardInterrupt), terminal.live(look):
        while not look.ended:
            time.sleep(_LOOK_EVERY_S)
            with contextlib.suppress(StorageError):  # it is being set aside and defined anew
                look.again()
    console.print(face(look.board, console.width, max(1, console.height - 3), time.time()))
    return 0


def row(sweep: str, recorded: RecordedCycle, result: RoundResult) -> dict[str, object]:
    """Return a finished round as a flat JSON row; `settings` holds the searched fields."""
    settings: dict[str, Scalar] = dict(recorded.settings)
    return {"sweep": sweep, "settings": settings, **result.model_dump()}


class _Look:
    """A look at a sweep's directory, which can be taken again."""

    def __init__(self, directory: SweepDirectory) -> None:
        self._directory = directory
        self._rounds: dict[str, StoredRound] = {}
        """Key → round that was read"""
        self._plan: tuple[object, list[RecordedCycle]] = (None, [])
        """The planned cycles that were read, and a mark of their files at that time"""
        self._seen_driven = False
        self.driven = False
        """Whether a driver is at work"""
        self.ended = False
        """Whether nothing more will come: all cycles have ended, or their driver went away on its own"""
        self.board = Board("")
        self.cycles: list[tuple[RecordedCycle, list[RoundResult]]] = []
        """The planned cycles with their finished rounds"""

    def again(self) -> None:
        """Look again; raises `StorageError` where there is no sweep, or none that can be read."""
        driven = self._directory.driven()  # first: what a driver writes before it goes away is then seen
        tree = self._directory.read()
        snapshot = self._directory.told()
        if driven is None:
            age_s = time.time() - float(snapshot.get("at", 0)) if snapshot else _SILENT_S
            driven = age_s < _SILENT_S and not (snapshot or {}).get("over")
        mark = self._directory.cycles_mark()
        if mark != self._plan[0]:
            self._plan = (mark, list(self._directory.cycles()))
        cycles = [(recorded, list(self._directory.results(recorded, self._rounds))) for recorded in self._plan[1]]
        definition = tree["definition"]
        asked = definition["samples"] * definition["seeds"] if definition.get("search") == "optuna" else 0
        board = Board(tree["name"], tolerance=tree.get("tolerance", 0.005), expected=asked)
        for recorded, results in cycles:
            board.add(recorded)
            for result in results:
                board.found(result)
        if snapshot is not None:
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                board.restore(snapshot)
        for recorded, results in cycles:
            if len(results) < len(recorded.keys):
                self._end(board, recorded.cycle.id)
        if not driven:
            board.abandoned()
        went = self._seen_driven and not driven and bool(snapshot and snapshot.get("over"))
        self._seen_driven |= driven
        self.board, self.cycles, self.driven = board, cycles, driven
        self.ended = not driven and (board.ended or went)

    def _end(self, board: Board, cycle: str) -> None:
        """Tell the board of a cycle that failed or was stopped."""
        if (reason := self._directory.failure(cycle)) is not None:
            board.end(cycle, "failed", reason)
        if (reason := self._directory.stopped(cycle)) is not None:
            board.end(cycle, "stopped", reason)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the board as it was at the last look, at the time that it is now."""
        yield fitted(self.board, options)
