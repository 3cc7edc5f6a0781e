"""The table of a board: one line a cycle, fitted to the width and the height that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

from rich.text import Text

from lt_ray.board.row import STYLES, BoardRow, State
from lt_ray.cycle.names import arm_name
from lt_ray.cycle.results import ROUNDING, EpochResult, RoundResult
from lt_ray.cycle.settings import Scalar

_FAR_BELOW = 4
"""Tolerances below dense from which a difference is shown in red"""
_REASONS = 3
"""Most lines of reasons below a table that is too narrow to hold them, where the height is bounded"""
_REASON_WIDTH = 32
"""Least room beside a state from which reasons stand there [cells]"""
_NAME_LEAST, _HEADING_LEAST = 12, 5
"""What a narrow terminal leaves of names and headings [cells]"""
_MOST_GAP = 3
QUIET = "bright_black"


@dataclass(frozen=True)
class _Layout:
    """How much is shown of each row."""

    gap: int
    """Least between columns [cells]"""
    bar: int
    """Of the sparsity; 0 = none [cells]"""
    digits: int
    """Of a number among the settings"""
    wide: bool
    """With the identity, the dense and, where asked for, the test value"""
    epoch: bool
    """With the epoch in training, and headings as they are, not cut to what is below them"""


_WIDE = _Layout(gap=2, bar=12, digits=4, wide=True, epoch=True)
_USUAL = _Layout(gap=1, bar=6, digits=3, wide=False, epoch=True)
_NARROW = _Layout(gap=1, bar=0, digits=2, wide=False, epoch=False)


@dataclass
class _Column:
    heading: str
    cells: Sequence[Text]
    right: bool = True
    least: int = 0
    """Room for what is still to come, so that columns stay where they are [cells]"""

    def __post_init__(self) -> None:
        self.width = max([self.least, len(self.heading), *(cell.cell_len for cell in self.cells)])

    def cut(self) -> None:
        """Leave of the heading what is no wider than the cells."""
        self.width = max([self.least, min(_HEADING_LEAST, len(self.heading)), *(cell.cell_len for cell in self.cells)])
        if len(self.heading) > self.width:
            self.heading = f"{self.heading[: self.width - 1]}."


def table(
    rows: Sequence[BoardRow], width: int, height: int | None, *, tolerance: float, status: bool = False
) -> list[Text]:
    """Return rows below their heading, as lines; where not all fit, a last line counts the rest.

    - `width`, `height`: most cells of a line, most lines; None = as many as it takes
    - `tolerance`: what may be lost against the dense round, in the unit of the deciding metric
    - `status`: cycles by identity instead of a number, no epoch in training, and the test value where there is room
    """
    columns = _fitted(rows, width, tolerance, status=status)
    gap = max(1, min(_MOST_GAP, 1 + _spare(columns, width) // (len(columns) - 1)))
    reasons = sorted((row for row in rows if row.reason), key=lambda row: -row.changed)
    if _reasons_fit(columns, rows, _spare(columns, width, gap)):
        reasons = []
    shown, rest = list(range(len(rows))), Counter[State]()
    if height is not None:
        reasons = reasons[:_REASONS]
        room = max(0, height - 2)
        if len(rows) + len(reasons) > room:
            reasons = reasons[: room // 6]
            most = max(0, room - len(reasons) - 1)
            by_urgency = sorted(shown, key=lambda index: _urgency(rows[index]))
            shown, rest = by_urgency[:most], Counter(rows[index].state for index in by_urgency[most:])
    lines = [_line([Text(column.heading, QUIET) for column in columns], columns, gap), Text("─" * width, QUIET)]
    for index in shown:
        line = _line([column.cells[index] for column in columns], columns, gap)
        lines.append(Text(line.plain, QUIET) if rows[index].state == "waiting" else line)
    if rest:
        counts = [f"{rest[state]} {state}" for state in reversed(get_args(State)) if rest[state]]
        lines.append(Text(f"… {', '.join(counts)}", QUIET))
    for row in reasons:
        name = row.cycle.id if status else f"#{row.number}"
        lines.append(Text.assemble((f"{name} {row.state}: ", STYLES[row.state]), " ".join(row.reason.split())))
    return [cut(line, width) for line in lines]


def bar(share: float, width: int, style: str) -> Text:
    """Return a bar of `width` cells, the share in [0, 1] of it full; it can be read without colours."""
    halves = max(0, min(2 * width, round(2 * width * share)))
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((full, style), ("─" * (width - len(full)), QUIET))


def figure(row: EpochResult | RoundResult | None, split: str) -> str:
    """Return the deciding metric's value on a split as it is shown, `–` where it is not known."""
    value = None if row is None else row.value(split)
    return "–" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.6g}"


def cut(line: Text, width: int) -> Text:
    """Return a line, with `…` in place of what is beyond a width [cells]."""
    line.truncate(width, overflow="ellipsis")
    return line


def _fitted(rows: Sequence[BoardRow], width: int, tolerance: float, *, status: bool) -> list[_Column]:
    """The columns of the roomiest layout that fits; where none does, those of the narrowest with the names cut."""
    for layout in (_WIDE, _USUAL, _NARROW):
        columns = _columns(rows, layout, tolerance, status=status)
        if _spare(columns, width, layout.gap) >= 0:
            return columns
    columns = _columns(rows, _NARROW, tolerance, status=status, numbers=False)
    name = next(column for column in columns if column.heading == "name")
    name.width = max(_NAME_LEAST, min(name.width, name.width + _spare(columns, width)))
    return columns


def _reasons_fit(columns: Sequence[_Column], rows: Sequence[BoardRow], spare: int) -> bool:
    """Put reasons beside the states where there is room, and return whether there was."""
    if spare < _REASON_WIDTH:
        return False
    for cell, row in zip(columns[-1].cells, rows, strict=True):
        if row.reason:
            cell.append(f"  {' '.join(row.reason.split())}", "default not bold")
    columns[-1].width += spare
    return True


def _spare(columns: Sequence[_Column], width: int, gap: int = 1) -> int:
    return width - sum(column.width for column in columns) - gap * (len(columns) - 1)


def _columns(
    rows: Sequence[BoardRow], layout: _Layout, tolerance: float, *, status: bool, numbers: bool = True
) -> list[_Column]:
    """- `numbers`: in columns of their own, with the seed; else in the name"""

    def column(heading: str, cell: Callable[[BoardRow], Text], *, right: bool = True, least: int = 0) -> _Column:
        return _Column(heading, [cell(row) for row in rows], right, least)

    rounds = max((len(str(row.cycle.rounds)) for row in rows), default=1)
    epochs = max((len(str(row.cycle.most_epochs)) for row in rows), default=1)
    columns = [] if status else [column("#", lambda row: Text(str(row.number), QUIET))]
    if status or layout.wide:
        columns.append(column("cycle", lambda row: Text(row.cycle.id, "cyan"), right=False))
    if numbers:
        columns += _settings(rows, layout.digits)
    else:
        columns.append(column("name", lambda row: Text(row.name), right=False))
    columns.append(
        column(
            "round",
            lambda row: Text(f"{row.latest.round if row.latest else '–'}/{row.cycle.rounds}"),
            least=2 * rounds + 1,
        )
    )
    if layout.epoch and not status:
        columns.append(column("epoch", _training, right=False, least=rounds + 2 * epochs + 3))
    columns.append(
        column("sparsity", lambda row: _sparsity(row, layout.bar), right=False, least=max(8, layout.bar + 6))
    )
    columns.append(column("val", _val, least=6))
    if layout.wide:
        columns.append(column("dense", lambda row: Text(figure(row.dense, "val"), QUIET), least=6))
    columns.append(column("± dense", lambda row: _difference(row, tolerance), least=7))
    if status and layout.wide:
        columns.append(column("test", lambda row: Text(figure(row.latest, "test")), least=6))
    columns.append(column("s/epoch", _seconds))
    columns.append(column("state", lambda row: Text(row.state, STYLES[row.state]), right=False, least=7))
    if not layout.epoch:
        for each in columns:
            each.cut()
    return columns


def _settings(rows: Sequence[BoardRow], digits: int) -> list[_Column]:
    """What makes up the cycles' names: the arm's words, the seed, and a column for each number."""

    def is_number(key: str, value: Scalar) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and not key.endswith(".rewind_epoch")

    names = [arm_name({k: v for k, v in row.settings.items() if not is_number(k, v)}) for row in rows]
    columns = [_Column("arm", [Text(name) for name in names], right=False)] if any(names) else []
    columns.append(_Column("seed", [Text(str(row.cycle.seed)) for row in rows]))
    keys = dict.fromkeys(key for row in rows for key, value in row.settings.items() if is_number(key, value))
    for key in keys:
        last = key.rpartition(".")[2]
        alone = sum(other.rpartition(".")[2] == last for other in keys) == 1
        values = [row.settings.get(key) for row in rows]
        shown = [f"{v:.{digits}g}" if isinstance(v, float) else str(v) if is_number(key, v) else "" for v in values]
        columns.append(_Column(last if alone else key, [Text(value) for value in shown]))
    return columns


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


def _line(cells: Sequence[Text], columns: Sequence[_Column], gap: int) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for cell, column in zip(cells, columns, strict=True):
        shown = cut(cell.copy(), column.width)
        fill = " " * (column.width - shown.cell_len)
        line.append(fill if column.right else "").append_text(shown)
        line.append(("" if column.right else fill) + " " * gap)
    line.rstrip()
    return line
