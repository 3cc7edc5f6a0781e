"""How the rows of a board look: a table that fits the width and the height it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rich.text import Text

from lt_ray.cycle.names import cycle_name
from lt_ray.cycle.results import RoundResult
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
_FAR_BELOW = 4
"""Tolerances below dense from which an accuracy is shown in red"""
_REASONS = 3
"""Most lines of reasons below a table that is too narrow to hold them, where the height is bounded"""
_REASON_WIDTH = 32
"""Least room beside a state from which reasons stand there [cells]"""
_BAR_GROWS_TO = 24
_SETTINGS_LEAST = 12
_ABBREVIATED = 5
"""Cells that an abbreviated heading may always take"""
_QUIET = "bright_black"


@dataclass(frozen=True)
class Training:
    """The latest epoch of a round that is being trained."""

    round: int
    epoch: int
    seconds: float
    """Spent training and measuring [s]"""
    val_accuracy: float


@dataclass(frozen=True)
class Row:
    """What is shown of one cycle."""

    number: int
    """Place among the cycles, from 1"""
    id: str
    settings: Mapping[str, Scalar]
    seed: int
    rounds: int
    """Prunings after round 0 [count]"""
    epochs: int
    """Most epochs of a round [count]"""
    dense: RoundResult | None
    latest: RoundResult | None
    """The last of the unbroken chain of finished rounds, whoever computed them"""
    training: Training | None
    state: State
    reason: str
    changed: int
    """Rank of the last change: the highest changed last"""


@dataclass(frozen=True)
class _Layout:
    """How much is shown of each row."""

    gap: int
    """Between columns [cells]"""
    digits: int
    """Of a setting"""
    bar: int
    """Of the sparsity; 0 = none [cells]"""
    ids: bool = False
    """The cycle's identity beside its number"""
    dense: bool = False
    """The dense accuracy beside the difference"""
    test: bool = False
    fields: bool = True
    """A column for each searched field; else all in one, cut where needed"""
    short: bool = False
    """Headings of fields abbreviated to what their values take, others in two lines"""
    epoch: bool = True
    """The epoch in training"""
    seconds: bool = True


_LAYOUTS = (
    _Layout(gap=3, digits=4, bar=12, ids=True, dense=True, test=True),
    _Layout(gap=2, digits=4, bar=10, ids=True, dense=True, test=True),
    _Layout(gap=2, digits=4, bar=8, dense=True, test=True),
    _Layout(gap=2, digits=3, bar=6, test=True),
    _Layout(gap=2, digits=2, bar=4),
    _Layout(gap=1, digits=2, bar=4),
    _Layout(gap=1, digits=2, bar=4, short=True),
    _Layout(gap=1, digits=2, bar=4, short=True, epoch=False),
    _Layout(gap=1, digits=2, bar=0, short=True, epoch=False),
    _Layout(gap=1, digits=2, bar=4, short=True, epoch=False, fields=False),
    _Layout(gap=1, digits=2, bar=0, short=True, epoch=False, fields=False),
    _Layout(gap=1, digits=2, bar=0, short=True, epoch=False, fields=False, seconds=False),
)
"""From the roomiest to the narrowest"""


@dataclass
class _Column:
    heading: tuple[str, ...]
    cells: Sequence[Text]
    right: bool = True
    least: int = 0
    """Room for what is still to come, so that columns stay where they are [cells]"""

    def __post_init__(self) -> None:
        self.width = max([self.least, *map(len, self.heading), *(cell.cell_len for cell in self.cells)])


def table(
    rows: Sequence[Row], width: int, height: int | None, *, tolerance: float, ids: bool = False, test: bool = False
) -> list[Text]:
    """Return rows below their heading, as lines; where not all fit, a last line counts the rest.

    - `width`, `height`: most cells of a line, most lines; None = as many as it takes
    - `tolerance`: accuracy that may be lost against the dense round [0, 1]
    - `ids`: name cycles by identity, at any width
    - `test`: with the test accuracy where there is room
    """
    layout, columns, reasons_beside = _fitted(rows, width, tolerance, ids=ids, test=test)
    told = [] if reasons_beside else sorted((row for row in rows if row.reason), key=lambda row: -row.changed)
    heading = max(len(column.heading) for column in columns)
    shown = list(range(len(rows)))
    rest: list[Row] = []
    if height is not None:
        told = told[:_REASONS]
        room = max(0, height - heading - 1)
        if len(rows) + len(told) > room:
            told = told[: room // 6]
            shown = sorted(shown, key=lambda index: _urgency(rows[index]))
            most = max(0, room - len(told) - 1)
            shown, rest = shown[:most], [rows[index] for index in shown[most:]]
    lines = []
    for index in range(heading):
        above = [heading - len(column.heading) for column in columns]
        words = [column.heading[index - a] if index >= a else "" for column, a in zip(columns, above, strict=True)]
        lines.append(_line([Text(word, _QUIET) for word in words], columns, layout.gap))
    lines.append(Text("─" * width, _QUIET))
    for index in shown:
        lines.append(_line([column.cells[index] for column in columns], columns, layout.gap))
        if rows[index].state == "waiting":
            lines[-1] = Text(lines[-1].plain, _QUIET)
    if rest:
        counts = Counter(row.state for row in rest)
        words = [f"{counts[state]} {state}" for state in reversed(get_args(State)) if counts[state]]
        lines.append(Text(f"… {', '.join(words)}", _QUIET))
    for row in told:
        name = row.id if ids else f"#{row.number}"
        lines.append(Text.assemble((f"{name} {row.state}: ", STYLES[row.state]), " ".join(row.reason.split())))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def bar(share: float, width: int, style: str) -> Text:
    """Return a bar of `width` cells, the share in [0, 1] of it full; it can be read without colours."""
    halves = max(0, min(2 * width, round(2 * width * share)))
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((full, style), ("─" * (width - len(full)), _QUIET))


def clock(seconds: float) -> str:
    """Return a duration as 0:42, 1:10:22 or 2 d 3 h."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _fitted(
    rows: Sequence[Row], width: int, tolerance: float, *, ids: bool, test: bool
) -> tuple[_Layout, list[_Column], bool]:
    """The roomiest layout that fits, its columns, and whether reasons stand beside the states."""
    reasons = any(row.reason for row in rows)
    for layout in _LAYOUTS:
        columns = _columns(rows, layout, tolerance, ids=ids, test=test)
        if layout.fields and _total(columns, layout.gap) <= width:
            break
        if not layout.fields:
            spare = width - _total(columns, layout.gap)
            settings = next(column for column in columns if column.heading == ("settings",))
            if settings.width + spare >= min(settings.width, _SETTINGS_LEAST):
                settings.width = min(settings.width, settings.width + spare)
                break
    else:
        settings.width = max(_ABBREVIATED, settings.width + width - _total(columns, layout.gap))
    spare = width - _total(columns, layout.gap)
    for column in columns:
        if column.heading[-1] == "sparsity" and layout.bar and not ids:
            grown = min(
                _BAR_GROWS_TO, layout.bar + max(0, spare - (_REASON_WIDTH if reasons and spare >= _REASON_WIDTH else 0))
            )
            if grown > layout.bar:
                column.cells = [_sparsity(row, grown) for row in rows]
                column.width += grown - layout.bar
    spare = width - _total(columns, layout.gap)
    beside = reasons and spare >= _REASON_WIDTH
    if beside:
        columns[-1].cells = [_state(row, with_reason=True) for row in rows]
        columns[-1].width += spare
    return layout, columns, beside


def _total(columns: Sequence[_Column], gap: int) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def _columns(rows: Sequence[Row], layout: _Layout, tolerance: float, *, ids: bool, test: bool) -> list[_Column]:
    def column(heading: str, cell: Callable[[Row], Text], *, right: bool = True, least: int = 0) -> _Column:
        return _Column(tuple(heading.split("\n")), [cell(row) for row in rows], right, least)

    rounds = max((len(str(row.rounds)) for row in rows), default=1)
    epochs = max((len(str(row.epochs)) for row in rows), default=1)

    columns = [] if ids else [column("#", lambda row: Text(str(row.number), _QUIET))]
    if ids or layout.ids:
        columns.append(column("cycle", lambda row: Text(row.id, "cyan"), right=False))
    if layout.fields:
        keys = dict.fromkeys(key for row in rows for key, value in row.settings.items() if value is not None)
        for key in keys:
            values = [_value(row.settings.get(key), layout.digits) for row in rows]
            number = any(isinstance(row.settings.get(key), float) for row in rows)
            columns.append(
                _Column(
                    _heading(key, keys, max(map(len, values)), short=layout.short), [Text(v) for v in values], number
                )
            )
        columns.append(column("seed", lambda row: Text(str(row.seed))))
    else:
        columns.append(
            column(
                "settings",
                lambda row: Text(cycle_name(row.settings, row.seed)),
                right=False,
            )
        )
    columns.append(
        column(
            "round", lambda row: Text(f"{row.latest.round if row.latest else '–'}/{row.rounds}"), least=2 * rounds + 1
        )
    )
    if layout.epoch and not ids:
        columns.append(column("epoch", _training, right=False, least=rounds + 2 * epochs + 3))
    columns.append(
        column("sparsity", lambda row: _sparsity(row, layout.bar), right=False, least=layout.bar + 5 + (layout.bar > 0))
    )
    columns.append(column("val", _val, least=6))
    if layout.dense:
        columns.append(
            column("dense", lambda row: Text(f"{row.dense.val_accuracy:.4f}" if row.dense else "–", _QUIET), least=6)
        )
    columns.append(column("±\ndense" if layout.short else "± dense", lambda row: _difference(row, tolerance), least=7))
    if test and layout.test:
        columns.append(
            column("test", lambda row: Text(f"{row.latest.test_accuracy:.4f}" if row.latest else "–"), least=6)
        )
    if layout.seconds:
        columns.append(column("s per\nepoch" if layout.short else "s/epoch", _seconds))
    columns.append(column("state", lambda row: _state(row, with_reason=False), right=False, least=7))
    return columns


def _heading(key: str, keys: Iterable[str], room: int, *, short: bool) -> tuple[str, ...]:
    """A field's own name, with its group where two have one name, and in two lines where it is wide."""
    name = key.removesuffix(".name").rpartition(".")[2]
    words = [name]
    if sum(other.rpartition(".")[2] == name for other in keys) > 1:
        words = key.rsplit(".", 1)
    elif "_" in name and (short or len(name) > max(room, 8)):
        words = name.rsplit("_", 1)
    if not short:
        return tuple(words)
    most = max(room, _ABBREVIATED)
    return tuple(word if len(word) <= most else f"{word[: most - 1]}." for word in words)


def _value(value: Scalar, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _training(row: Row) -> Text:
    if row.training is None:
        if row.state != "running":
            return Text()
        return Text(f"r{row.latest.round + 1 if row.latest else 0}", "cyan")
    return Text(f"r{row.training.round} {row.training.epoch}/{row.epochs}", "cyan")


def _sparsity(row: Row, width: int) -> Text:
    if row.latest is None:
        return Text("─" * width + "     –"[not width :], _QUIET)
    value = Text(f"{row.latest.sparsity:.3f}")
    return Text.assemble(bar(row.latest.sparsity, width, "magenta"), " ", value) if width else value


def _val(row: Row) -> Text:
    if row.latest is not None:
        return Text(f"{row.latest.val_accuracy:.4f}", "bold")
    if row.training is not None:
        return Text(f"{row.training.val_accuracy:.4f}", _QUIET)
    return Text("–", _QUIET)


def _difference(row: Row, tolerance: float) -> Text:
    if row.latest is None or row.dense is None or row.latest.round == 0:
        return Text("–", _QUIET)
    gained = row.latest.val_accuracy - row.dense.val_accuracy
    bound = tolerance + 1e-12
    style = "green" if gained >= -bound else "yellow" if gained >= -_FAR_BELOW * bound else "red"
    return Text(f"{gained:+.4f}".replace("-", "−"), style)


def _seconds(row: Row) -> Text:
    if row.training is not None:
        seconds = row.training.seconds
    elif row.latest is not None and row.latest.epochs:
        seconds = (row.latest.train_s + row.latest.eval_s) / row.latest.epochs
    else:
        return Text("–", _QUIET)
    return Text(f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}")


def _state(row: Row, *, with_reason: bool) -> Text:
    text = Text(row.state, STYLES[row.state])
    if with_reason and row.reason:
        text.append(f"  {' '.join(row.reason.split())}", "default not bold")
    return text


def _urgency(row: Row) -> tuple[int, int]:
    order = {"failed": 1, "stopped": 1, "interrupted": 1, "running": 0, "done": 2, "waiting": 3}[row.state]
    return order, row.number if row.state in ("running", "waiting") else -row.changed


def _line(cells: Sequence[Text], columns: Sequence[_Column], gap: int) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for index, (cell, column) in enumerate(zip(cells, columns, strict=True)):
        shown = cell.copy()
        shown.truncate(column.width, overflow="ellipsis")
        fill = " " * (column.width - shown.cell_len)
        if column.right:
            line.append(fill)
        line.append_text(shown)
        if index < len(columns) - 1:
            line.append(("" if column.right else fill) + " " * gap)
    line.rstrip()
    return line
