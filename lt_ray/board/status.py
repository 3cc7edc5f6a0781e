"""A sweep as its files tell it; changes nothing, and may look on while the sweep runs."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from lt_ray.board import terminal
from lt_ray.board.board import Board
from lt_ray.board.face import face, fitted
from lt_ray.board.terminal import console
from lt_ray.cycle.results import RoundResult
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
    console.print(face(look.board, console.width, None, time.time()))
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
    return {"sweep": sweep, "settings": dict(recorded.settings), **result.model_dump()}


class _Look:
    """A look at a sweep's directory, which can be taken again."""

    def __init__(self, directory: SweepDirectory) -> None:
        self._directory = directory
        self._stored: dict[str, StoredRound] = {}
        """Key → round that was read"""
        self._plan: tuple[object, list[RecordedCycle]] = (None, [])
        """The planned cycles that were read, and a mark of their files at that time"""
        self._seen_driven = False
        self.ended = False
        """Whether nothing more will come: all cycles have ended, or their driver went away on its own"""
        self.board = Board("")
        self.cycles: list[tuple[RecordedCycle, list[RoundResult]]] = []
        """The planned cycles with their finished rounds"""

    def again(self) -> None:
        """Look again; raises `StorageError` where there is no sweep, or none that can be read."""
        driven = self._directory.driven()  # first: what a driver writes before it goes away is then seen
        tree = self._directory.read()
        snapshot = self._directory.kept("live") or {}
        over = bool(snapshot.get("over"))
        if driven is None:
            driven = not over and time.time() - float(snapshot.get("at", 0)) < _SILENT_S
        mark = self._directory.cycles_mark()
        if mark != self._plan[0]:
            self._plan = (mark, list(self._directory.cycles()))
        self.cycles = [(cycle, list(self._directory.results(cycle, self._stored))) for cycle in self._plan[1]]
        board = self._board(tree, snapshot)
        if not driven:
            board.abandoned()
        self.board = board
        self.ended = not driven and (board.ended or (self._seen_driven and over))
        self._seen_driven |= driven

    def _board(self, tree: Mapping[str, Any], snapshot: Mapping[str, Any]) -> Board:
        definition = tree["definition"]
        asked = definition["samples"] * definition["seeds"] if definition.get("search") == "optuna" else 0
        board = Board(tree["name"], tolerance=tree.get("tolerance", 0.005), expected=asked)
        for recorded, results in self.cycles:
            board.add(recorded)
            for result in results:
                board.found(result)
        if snapshot:
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                board.restore(snapshot)
        for recorded, results in self.cycles:
            state, reason = self._directory.how_ended(recorded, len(results))
            if state == "failed" or state == "stopped":
                board.end(recorded.cycle.id, state, reason)
        return board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the board as it was at the last look, at the time that it is now."""
        yield fitted(self.board, options)
