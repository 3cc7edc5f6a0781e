"""What a board looks like: its head, its table, its foot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import get_args

from rich.console import ConsoleOptions, Group
from rich.text import Text

from lt_ray.board.board import STYLES, Board, State
from lt_ray.board.layout import bar, figure, one_line, table

_HEAD = 3
_LEAST_ROWS = 6
"""Lines for the table from which there is room for what stands below it"""


def face(board: Board, width: int, height: int | None, now: float) -> Group:
    """Return the board in at most `height` lines of at most `width` cells.

    - `height`: None = as many as it takes [lines]
    - `now`: Unix time [s]
    """
    rows, foot = board.rows(), list(_foot(board))
    room = None if height is None else height - _HEAD - len(foot)
    if room is not None and room < _LEAST_ROWS:
        room, foot = max(0, (height or 0) - _HEAD), []
    share = board.finished / board.rounds if board.rounds else 0.0
    head = [_head(board, now), bar(share, width, "green"), Text()]
    drawn = table(rows, width, room, tolerance=board.tolerance) if room is None or room > 2 else []
    return Group(*head[:height], *drawn, *foot)


def fitted(board: Board, options: ConsoleOptions) -> Group | Text:
    """Return the board as it is now in the terminal, one line of which is left free, so that it never scrolls."""
    try:
        return face(board, options.max_width, max(1, options.size.height - 1), time.time())
    except Exception as error:  # nothing optional can kill a sweep
        return Text(f"the board cannot be shown: {type(error).__name__}: {error}")


def clock(seconds: float) -> str:
    """Return a duration as 0:42, 1:10:22 or 2 d 3 h."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _head(board: Board, now: float) -> Text:
    head = one_line((board.title, "bold"), "   ", (f"{board.finished}/{board.rounds} rounds", "bold"))
    if board.note:
        head.append(f"   {board.note}", "yellow")
    elif board.begun is not None:
        head.append("   elapsed ", "dim").append(clock(now - board.begun))
        if not board.ended:
            eta = board.eta_s(now)
            shown = "–" if eta is None else ("≤ " if eta[1] else "") + clock(eta[0])
            head.append("   ETA ", "dim").append(shown)
    return head


def _foot(board: Board) -> Iterator[Text]:
    counts = board.states()
    words = [Text(f"{counts[state]} {state}", STYLES[state]) for state in get_args(State) if counts[state]]
    if board.to_ask:
        words.append(Text(f"{board.to_ask} to ask", STYLES["waiting"]))
    if board.begun is not None and not board.note and not board.most_at_once and counts["waiting"]:
        words.append(Text("the first trials start", STYLES["running"]))
    yield Text()
    yield one_line(("cycles     ", "dim"), Text(" · ").join(words))
    best = board.best()
    if best is not None:
        row, result = best
        yield one_line(
            ("best val   ", "dim"),
            (figure(result, "val"), "bold"),
            f" in round {result.round}/{row.cycle.rounds}, sparsity {result.sparsity:.3f}",
            f", dense {figure(row.dense, 'val')}" if row.dense else "",
            (f"  {row.cycle.id} {row.name}", "dim"),
        )
    if board.resources:
        yield one_line(("resources  ", "dim"), board.resources)
