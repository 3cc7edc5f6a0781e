"""Tables of texts and labels as people keep them, checked and turned into labelled texts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from lt_ray.cycle.metrics import Targets
from lt_ray.errors import DataError, nearest
from lt_ray.tasks.corpus import Texts

E = TypeVar("E")
SHOWN = 10
"""Names listed in a message before it says «…» [count]"""


@dataclass(frozen=True)
class Layout:
    """Columns of a table: those whose texts, joined by a space, are the text, in this order, and the label's."""

    texts: tuple[str, ...] = ("text",)
    label: str = "label"
    named: bool = False
    """Whether a user named them: then no others will do"""
    targets: Targets = "classes"
    """What the label's column holds: a class, several labels, a number"""
    separator: str = ","
    """Between several labels in one text"""

    def of(self, names: Collection[str]) -> Layout:
        """Return what a table with the columns `names` has.

        That is this one where a user named it; else `text` and `label` where both are there, and this one otherwise.
        """
        if self.named:
            return self
        plain, own = {*PLAIN.texts, PLAIN.label}, {*self.texts, self.label}
        # Where neither is whole, the one that is begun is what somebody meant: for the message.
        mine = not plain <= set(names) and (own <= set(names) or not plain & set(names))
        return self if mine else replace(self, texts=PLAIN.texts, label=PLAIN.label)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that may be read."""
        plain = [] if self.named else [*PLAIN.texts, PLAIN.label]
        return tuple(dict.fromkeys([*plain, *self.texts, self.label]))


PLAIN = Layout()
"""What any task's own files may have"""


@dataclass(frozen=True)
class Table:
    """Texts and their labels as given, a whole-number label as its digits; `source` names the file in messages."""

    source: str
    texts: list[str]
    labels: list[Any]
    """A class's name, the names of several labels, or a number"""
    rows: Sequence[int]
    """Row of each in the file, counted from 1"""
    classes: tuple[str, ...] | None = None
    """Names of the labels 0, 1, …, where the file itself has them"""
    notes: tuple[str, ...] = ()
    """What has to be told of it, in sentences"""


class Labelled(NamedTuple, Generic[E]):
    """Labelled examples by split, such as `Texts`, the class names in label order, and notes for the user."""

    splits: dict[str, E]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def layout_of(columns: tuple[str, ...] | None, otherwise: Layout = PLAIN) -> Layout:
    """Return the layout of named columns, the last of which is the label; without any, `otherwise`."""
    return otherwise if columns is None else Layout(columns[:-1], columns[-1], named=True)


def table(
    source: str,
    columns: Mapping[str, Sequence[object]],
    layout: Layout = PLAIN,
    classes: Mapping[str, tuple[str, ...]] | None = None,
) -> Table:
    """Return the texts and labels of a table, each row checked.

    - `columns`: name → one value a row.
    - `layout`: the columns that count; where they are others than `text` and `label`, a row may be without a text: it
      is left out, and a note says how many are.
    - `classes`: column → names of its values 0, 1, …

    Raises `DataError` for a missing column, no row, or a row without text or label; rows are counted from 1.
    """
    chosen = layout.of(columns)
    if missing := [name for name in (*chosen.texts, chosen.label) if name not in columns]:
        raise DataError(_lacks(source, missing[0], columns, layout))
    if not columns[chosen.label]:
        raise DataError(f"{source}: a split must hold at least one row, but it holds none.")
    rows: Sequence[int] = range(1, len(columns[chosen.label]) + 1)
    notes: tuple[str, ...] = ()
    if chosen.texts == PLAIN.texts:
        texts = [_text(source, row, value) for row, value in zip(rows, columns["text"], strict=True)]
    else:
        rows, texts, notes = _joined(source, [(name, columns[name]) for name in chosen.texts])
    labels = [_target(source, chosen, row, columns[chosen.label][row - 1]) for row in rows]
    return Table(source, texts, labels, rows, (classes or {}).get(chosen.label), notes)


def labelled(
    tables: Mapping[str, Sequence[Table]], names: tuple[str, ...] | None, targets: Targets = "classes"
) -> Labelled[Texts]:
    """Return the texts of each split with what is asked of them, as `Texts` keeps it.

    - `tables`: split → its tables, in order; `train` is one of them.
    - `names`: of the classes or labels, in order. Classes are positions in it where all are whole numbers, else names.
      None = of labels those of train, sorted; of classes what the tables say, else the distinct ones of train, sorted,
      by value where all are whole numbers.

    Raises `DataError` for fewer than two classes or labels in train, for one that is not known there, and for classes
    that only blanks or case tell apart.
    """
    every = [table for parts in tables.values() for table in parts]
    rows: Callable[[Table], npt.NDArray[Any]]
    if targets == "numbers":
        names, rows = (), _numbers
    elif targets == "labels":
        names = _label_names(tables["train"], names)
        rows = partial(_labels, names=names)
    else:
        names, places, rule = _class_places(every, tables["train"], names)
        rows = partial(_classes, places=places, rule=rule)
    splits = {
        split: Texts([text for table in parts for text in table.texts], np.concatenate([*map(rows, parts)]))
        for split, parts in tables.items()
    }
    return Labelled(splits, names, tuple(note for table in every for note in table.notes))


def _numbers(table: Table) -> npt.NDArray[np.float32]:
    """A table's numbers, float32 `(n, 1)`."""
    return np.array(table.labels, dtype=np.float32).reshape(-1, 1)


def _label_names(train: Sequence[Table], names: tuple[str, ...] | None) -> tuple[str, ...]:
    names = names or tuple(sorted({name for table in train for labels in table.labels for name in labels}))
    if len(names) < 2:
        raise DataError(
            f"{train[0].source}: there must be at least two labels, but train has {listed(names)}; is the separator "
            "right (--set task.separator=…)?"
        )
    return tuple(name.strip() for name in names)


def _labels(table: Table, names: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Which labels each row of a table has, float32 `(n, L)` of 0 and 1."""
    chosen = np.zeros((len(table.labels), len(names)), dtype=np.float32)
    for place, (row, labels) in enumerate(zip(table.rows, table.labels, strict=True)):
        for name in labels:
            if name.strip() not in names:
                raise DataError(
                    f"{table.source}: a label must occur in train or in labels.json, but row {row} has `{name}`, "
                    f"not one of {listed(names)}; correct or remove it.{nearest(name, names)}"
                )
            chosen[place, names.index(name.strip())] = 1
    return chosen


def _class_places(
    every: Sequence[Table], train: Sequence[Table], names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], dict[str, int], str]:
    """The classes' names, the class of each label as it is written, and the rule that a label must keep."""
    numbers = all(_is_whole(label) for table in every for label in table.labels)
    there = sorted({label for table in train for label in table.labels}, key=int if numbers else str)
    if len(there) < 2:
        raise DataError(
            f"{train[0].source}: the labels must name at least two classes, but every row has {there[0]!r}."
        )
    names = names or (_own_names(every) if numbers else None)
    if names is None:
        _check_distinct(every)
        return tuple(there), {label: i for i, label in enumerate(there)}, "a label must occur in train"
    places = {str(i) if numbers else name: i for i, name in enumerate(names)}
    return names, places, "a label must be one of the named classes"


def _classes(table: Table, places: Mapping[str, int], rule: str) -> npt.NDArray[np.int64]:
    """The class of each row of a table, int64 `(n,)`."""
    for row, label in zip(table.rows, table.labels, strict=True):
        if label not in places:
            raise DataError(
                f"{table.source}: {rule}, but row {row} has `{label}`, not one of {listed(places)}; "
                f"correct or remove it.{nearest(label, places)}"
            )
    return np.array([places[label] for label in table.labels], dtype=np.int64)


def _own_names(tables: Sequence[Table]) -> tuple[str, ...] | None:
    """The class names that tables hold themselves, None where they hold none that could be."""
    named = [table for table in tables if table.classes is not None and len(set(table.classes)) > 1]
    for table in named:
        if table.classes != named[0].classes:
            raise DataError(
                f"{table.source}: the class names in a file must be the same in every file, but here they are "
                f"{listed(table.classes or ())} and in {named[0].source} {listed(named[0].classes or ())}; write the "
                "files with one order of classes."
            )
    return named[0].classes if named else None


def _check_distinct(tables: Sequence[Table]) -> None:
    """Raise `DataError` where two labels differ by outer blanks or by case alone: a slip makes no class."""
    first: dict[str, tuple[str, Table, int]] = {}
    for table in tables:
        for label in dict.fromkeys(table.labels):
            row = table.rows[table.labels.index(label)]
            other, there, other_row = first.setdefault(label.strip().casefold(), (label, table, row))
            if other != label:
                raise DataError(
                    f"{table.source}: labels must differ by more than outer blanks and case, but row {row} has "
                    f"{label!r}, and row {other_row} of {there.source} {other!r}; write them alike, or list the "
                    "classes in labels.json."
                )


def _lacks(source: str, name: str, columns: Collection[str], layout: Layout) -> str:
    if layout.named:
        return (
            f"{source}: the columns {listed((*layout.texts, layout.label))} that the task names must be there, but "
            f"`{name}` is not among {listed(columns)}.{nearest(name, columns)} Name others: texts first, the label "
            "last (--set task.columns=[TEXT,LABEL])."
        )
    either = "" if layout == PLAIN else f", or {listed((*layout.texts, layout.label))},"
    return (
        f"{source}: the columns `text` and `label`{either} must be there, but `{name}` is not among "
        f"{listed(columns)}.{nearest(name, columns)} Rename the column to `{name}`, or name the columns, the label "
        "last: --set task.columns=[TEXT,LABEL]."
    )


def listed(names: Iterable[object]) -> str:
    """Return `` `a`, `b`, … `` for a message; «nothing» where there is none."""
    shown = [f"`{name}`" for name in names]
    return ", ".join([*shown[:SHOWN], "…"] if len(shown) > SHOWN else shown) or "nothing"


def _joined(
    source: str, columns: Sequence[tuple[str, Sequence[object]]]
) -> tuple[list[int], list[str], tuple[str, ...]]:
    """Return the rows that have a text, counted from 1, their texts (the parts not empty, joined), and notes."""
    rows, texts = [], []
    for row, values in enumerate(zip(*(values for _, values in columns), strict=True), 1):
        for (name, _), value in zip(columns, values, strict=True):
            if value is not None and not isinstance(value, str):
                raise DataError(f"{source}: `{name}` must be a text, but row {row} has {value!r}; correct it.")
        parts = [value for value in values if isinstance(value, str) and value.strip()]
        if parts:
            rows.append(row)
            texts.append(_text(source, row, " ".join(parts), columns[0][0]))
    names, all_rows = listed(name for name, _ in columns), len(columns[0][1])
    if not rows:
        raise DataError(
            f"{source}: a row must have a text in {names}, but none of {all_rows:,} has; name other columns."
        )
    left_out = f"{all_rows - len(rows):,} of {all_rows:,} rows have no text in {names}; they are left out."
    return rows, texts, (f"{source}: {left_out}",) if len(rows) < all_rows else ()


def _text(source: str, row: int, value: object, name: str = "text") -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(
            f"{source}: `{name}` must be a text that is not empty, but row {row} has {value!r}; fill or remove it."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{source}: `{name}` must be valid Unicode, but row {row} is not ({error}).") from None
    return value


def _target(source: str, layout: Layout, row: int, value: object) -> Any:
    """What a row's label is: a name, several names, or a number."""
    if layout.targets == "numbers":
        number = value if isinstance(value, int | float) else _number(value)
        if number is None or not math.isfinite(number):
            raise DataError(f"{source}: `{layout.label}` must be a number, but row {row} has {value!r}; correct it.")
        return float(number)
    if layout.targets == "labels":
        parts = value.split(layout.separator) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            parts = [] if value is None else [value]
        return tuple(dict.fromkeys(_label(source, layout.label, row, part) for part in parts if str(part).strip()))
    return _label(source, layout.label, row, value)


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _label(source: str, name: str, row: int, value: object) -> str:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, str) and value.strip():
        return value
    raise DataError(
        f"{source}: `{name}` must be a whole number or a name, but row {row} has {value!r}; fill or remove it."
    )


def _is_whole(label: str) -> bool:
    return re.fullmatch(r"0|-?[1-9][0-9]*", label) is not None
