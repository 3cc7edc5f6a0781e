"""What a board looks like: its head; its table, one row a cycle, fitted to the width and the height given; its foot."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from rich.box import SIMPLE_HEAD
from rich.console import ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lt_ray.board.board import STYLES, Board, BoardRow, State
from lt_ray.cycle.names import arm_name, is_number
from lt_ray.cycle.results import ROUNDING, EpochResult, RoundResult

_HEAD = 3
_LEAST_ROWS = 6
"""Lines for the table from which there is room for what stands below it"""
_FAR_BELOW = 4
"""Tolerances below dense from which a difference is shown in red"""
_REASONS = 3
"""Most lines of reasons below a table whose height is bounded"""
_NAME_LEAST, _ID_LEAST = 12, 4
"""What a narrow terminal leaves of a name, and of an identity as far as it tells cycles apart [cells]"""
QUIET = "bright_black"
Justify = Literal["left", "right"]


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


class _Layout(NamedTuple):
    """How much is shown of each row."""

    gap: int = 1
    """Between columns [cells]"""
    bar: int = 0
    """Of the sparsity; 0 = none [cells]"""
    digits: int = 0
    """Of a number among the settings; 0 = numbers and the seed are in the name, not in columns of their own"""
    heading: int = 5
    """Most that a heading takes where the cells below it are narrower [cells]"""
    epoch: bool = False
    """With the epoch in training"""
    wide: bool = False
    """With the whole identity, the dense and the test value"""


_LAYOUTS = (
    _Layout(gap=2, bar=12, digits=4, heading=99, epoch=True, wide=True),
    _Layout(bar=6, digits=3, heading=99, epoch=True),
    _Layout(digits=2),
    _Layout(),
)
"""The roomiest first"""


class _Column(NamedTuple):
    heading: str
    cells: Sequence[Text]
    """One for each row"""
    justify: Justify = "right"
    least: int = 0
    """Room for what is still to come, so that columns stay where they are [cells]"""

    def width(self, layout: _Layout) -> int:
        """Return how wide it is [cells]."""
        return max([self.least, min(layout.heading, len(self.heading)), *(cell.cell_len for cell in self.cells)])


def table(rows: Sequence[BoardRow], width: int, height: int | None, *, tolerance: float) -> list[RenderableType]:
    """Return a table of rows, and lines below it: how many rows do not fit, and reasons.

    - `width`, `height`: most cells of a line, most lines; None = as many as it takes
    - `tolerance`: what may be lost against the dense round, in the unit of the deciding metric
    """
    shown, rest = list(range(len(rows))), Counter[State]()
    reasons = sorted((row for row in rows if row.reason), key=lambda row: -row.changed)
    if height is not None:
        reasons = reasons[:_REASONS]
        room = max(0, height - 2)
        if len(rows) + len(reasons) > room:
            reasons = reasons[: room // 6]
            most = max(0, room - len(reasons) - 1)
            by_urgency = sorted(shown, key=lambda index: _urgency(rows[index]))
            shown, rest = by_urgency[:most], Counter(rows[index].state for index in by_urgency[most:])
    lines = []
    if rest:
        counts = [f"{rest[state]} {state}" for state in reversed(get_args(State)) if rest[state]]
        lines.append(one_line((f"… {', '.join(counts)}", QUIET)))
    for row in reasons:
        said = " ".join(row.reason.split())
        lines.append(one_line((f"{row.cycle.id} {row.state}: ", STYLES[row.state]), said))
    return [_drawn(rows, shown, width, tolerance), *lines]


def _drawn(rows: Sequence[BoardRow], shown: Sequence[int], width: int, tolerance: float) -> Table:
    """The table in the roomiest layout that fits, or the last one with its names cut.

    - `shown`: places of the rows that it has; all of them make its columns, so that these stay where they are
    """
    for layout in _LAYOUTS:
        columns = _columns(rows, layout, tolerance)
        spare = width - sum(column.width(layout) + layout.gap for column in columns) + layout.gap
        if spare >= 0:
            break
    rooms = [column.width(layout) for column in columns]
    if not layout.digits:
        rooms[1] = max(_NAME_LEAST, rooms[1] + min(0, spare))
    drawn = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, padding=(0, layout.gap - 1),
        width=sum(rooms) + layout.gap * (len(rooms) - 1), header_style=QUIET, border_style=QUIET,
    )  # fmt: skip
    for column, room in zip(columns, rooms, strict=True):
        drawn.add_column(column.heading, justify=column.justify, no_wrap=True, width=room)
    for index in shown:
        cells = [column.cells[index] for column in columns]
        drawn.add_row(*([Text(cell.plain, QUIET) for cell in cells] if rows[index].state == "waiting" else cells))
    return drawn


def one_line(*parts: str | Text | tuple[str, str]) -> Text:
    """Return a line of parts, which ends with `…` where it is wider than what it is shown in."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def bar(share: float, width: int, style: str) -> Text:
    """Return a bar of `width` cells, the share in [0, 1] of it full; it can be read without colours."""
    halves = max(0, min(2 * width, round(2 * width * share)))
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((full, style), ("─" * (width - len(full)), QUIET))


def figure(row: EpochResult | RoundResult | None, split: str) -> str:
    """Return the deciding metric's value on a split as it is shown, `–` where it is not known."""
    value = None if row is None else row.value(split)
    return "–" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.6g}"


def _columns(rows: Sequence[BoardRow], layout: _Layout, tolerance: float) -> list[_Column]:
    def add(heading: str, cell: Callable[[BoardRow], Text], justify: Justify = "right", least: int = 0) -> None:
        columns.append(_Column(heading, [cell(row) for row in rows], justify, least))

    columns: list[_Column] = []
    rounds = max((len(str(row.cycle.rounds)) for row in rows), default=1)
    epochs = max((len(str(row.cycle.most_epochs)) for row in rows), default=1)
    digits = None if layout.wide else _telling_apart([row.cycle.id for row in rows])
    add("cycle", lambda row: Text(row.cycle.id[:digits], "cyan"), "left")
    if layout.digits:
        columns += _settings(rows, layout.digits)
    else:
        add("name", lambda row: Text(row.name), "left")
    add("round", _round, least=2 * rounds + 1)
    if layout.epoch:
        add("epoch", _training, "left", rounds + 2 * epochs + 3)
    add("sparsity", lambda row: _sparsity(row, layout.bar), "left", max(8, layout.bar + 6))
    add("val", _val, least=6)
    if layout.wide:
        add("dense", lambda row: Text(figure(row.dense, "val"), QUIET), least=6)
    add("± dense", lambda row: _difference(row, tolerance), least=7)
    if layout.wide:
        add("test", lambda row: Text(figure(row.latest, "test")), least=6)
    add("s/epoch", _seconds)
    add("state", lambda row: Text(row.state, STYLES[row.state]), "left", 7)
    return columns


def _telling_apart(ids: Sequence[str]) -> int:
    """How many digits tell all identities apart."""
    enough = (digits for digits in range(_ID_LEAST, 64) if len({id[:digits] for id in ids}) == len(ids))
    return next(enough, 64)


def _settings(rows: Sequence[BoardRow], digits: int) -> Iterator[_Column]:
    """What makes up the cycles' names: the arm's words, the seed, and a column for each number."""
    names = [arm_name({k: v for k, v in row.settings.items() if not is_number(k, v)}) for row in rows]
    if any(names):
        yield _Column("arm", [Text(name) for name in names], "left")
    yield _Column("seed", [Text(str(row.cycle.seed)) for row in rows])
    keys = dict.fromkeys(key for row in rows for key, value in row.settings.items() if is_number(key, value))
    for key in keys:
        last = key.rpartition(".")[2]
        alone = sum(other.rpartition(".")[2] == last for other in keys) == 1
        values = [row.settings.get(key) for row in rows]
        shown = [f"{v:.{digits}g}" if isinstance(v, float) else str(v) if is_number(key, v) else "" for v in values]
        yield _Column(last if alone else key, [Text(value) for value in shown])


def _round(row: BoardRow) -> Text:
    return Text(f"{row.latest.round if row.latest else '–'}/{row.cycle.rounds}")


def _training(row: BoardRow) -> Text:
    if row.training is not None:
        return Text(f"r{row.training.round} {row.training.epoch}/{row.epochs}", "cyan")
    return Text(f"r{row.latest.round + 1 if row.latest else 0}" if row.state == "running" else "", "cyan")


def _sparsity(row: BoardRow, width: int) -> Text:
    if row.latest is None:
        return Text("─" * width + "     –"[not width :], QUIET)
    value = Text(f"{row.latest.sparsity:.3f}")
    return Text.assemble(bar(row.latest.sparsity, width, "magenta"), " ", value) if width else value


def _val(row: BoardRow) -> Text:
    if row.latest is not None:
        return Text(figure(row.latest, "val"), "bold")
    return Text(figure(row.training, "val"), QUIET)


def _difference(row: BoardRow, tolerance: float) -> Text:
    if row.latest is None or row.dense is None or row.latest.round == 0:
        return Text("–", QUIET)
    lost = row.latest.lost(row.dense)
    bound = tolerance + ROUNDING
    style = "green" if lost <= bound else "yellow" if lost <= _FAR_BELOW * bound else "red"
    shown = lost if row.latest.best == "lowest" else -lost or 0.0
    return Text(f"{shown:+.4f}".replace("-", "−"), style)


def _seconds(row: BoardRow) -> Text:
    if row.training is not None:
        seconds = row.training.train_s + row.training.eval_s
    elif row.latest is not None and row.latest.epochs:
        seconds = (row.latest.train_s + row.latest.eval_s) / row.latest.epochs
    else:
        return Text("–", QUIET)
    return Text(f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}")


def _urgency(row: BoardRow) -> tuple[int, int]:
    order = {"running": 0, "failed": 1, "stopped": 1, "interrupted": 1, "done": 2, "waiting": 3}[row.state]
    return order, row.number if row.state in ("running", "waiting") else -row.changed
