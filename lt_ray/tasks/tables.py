"""Tables of texts and labels as people keep them, checked and turned into labelled texts."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lt_ray.errors import DataError, nearest
from lt_ray.tasks.corpus import Texts

SHOWN = 10
"""Names listed in a message before it says «…» [count]"""

log = logging.getLogger("lt_ray")


@dataclass(frozen=True)
class Layout:
    """Columns of a table: those whose texts, joined by a space, are the text, in this order, and the label's."""

    texts: tuple[str, ...] = ("text",)
    label: str = "label"

    def of(self, names: Collection[str]) -> Layout:
        """Return what a table with the columns `names` has: `text` and `label` where both are there, else this."""
        plain, own = {*PLAIN.texts, PLAIN.label}, {*self.texts, self.label}
        # Where neither is whole, the one that is begun is what somebody meant: for the message.
        return self if not plain <= set(names) and (own <= set(names) or not plain & set(names)) else PLAIN

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that may be read, `text` and `label` among them."""
        return tuple(dict.fromkeys([*PLAIN.texts, PLAIN.label, *self.texts, self.label]))


PLAIN = Layout()
"""What any task's own files may have"""


@dataclass(frozen=True)
class Table:
    """Texts and their labels as given, a whole-number label as its digits; `source` names the file in messages."""

    source: str
    texts: list[str]
    labels: list[str]
    rows: Sequence[int]
    """Row of each in the file, counted from 1"""


def table(source: str, columns: Mapping[str, Sequence[object]], layout: Layout = PLAIN) -> Table:
    """Return the texts and labels of a table, each row checked.

    - `columns`: name → one value a row.
    - `layout`: the columns that count where `text` and `label` are not both there. In these, a row may be without
      a text: it is left out, and a warning says how many are.

    Raises `DataError` for a missing column, no row, or a row without text or label; rows are counted from 1.
    """
    found = layout.of(columns)
    if missing := [name for name in (*found.texts, found.label) if name not in columns]:
        either = "" if layout == PLAIN else f", or {listed((*layout.texts, layout.label))},"
        raise DataError(
            f"{source}: the columns `text` and `label`{either} must be there, but `{missing[0]}` is not among "
            f"{listed(columns)}.{nearest(missing[0], columns)} Rename the column to `{missing[0]}`."
        )
    if not columns[found.label]:
        raise DataError(f"{source}: a split must hold at least one row, but it holds none.")
    rows: Sequence[int] = range(1, len(columns[found.label]) + 1)
    if found == PLAIN:
        texts = [_text(source, row, value) for row, value in zip(rows, columns["text"], strict=True)]
    else:
        rows, texts = _joined(source, [(name, columns[name]) for name in found.texts])
    labels = [_label(source, found.label, row, columns[found.label][row - 1]) for row in rows]
    return Table(source, texts, labels, rows)


def labelled(tables: Mapping[str, Table], names: tuple[str, ...] | None) -> tuple[dict[str, Texts], tuple[str, ...]]:
    """Return the texts of each split with labels 0, 1, …, and the class names in that order.

    - `tables`: split → its table; `train` is one of them.
    - `names`: the class names in label order; labels are positions in it where all are whole numbers, else names.
      None = the distinct labels of train, sorted, by value where all are whole numbers.

    Raises `DataError` for a label that is no class, and for fewer than two classes in train.
    """
    numbers = all(_is_whole(label) for table in tables.values() for label in table.labels)
    train = sorted(set(tables["train"].labels), key=int if numbers else str)
    if len(train) < 2:
        raise DataError(
            f"{tables['train'].source}: the labels must name at least two classes, but every row has {train[0]!r}."
        )
    if names is None:
        names, classes = tuple(train), {label: i for i, label in enumerate(train)}
        rule = "a label must occur in train"
    else:
        classes = {str(i) if numbers else name: i for i, name in enumerate(names)}
        rule = "a label must be one of the named classes"
    splits = {split: Texts(table.texts, _codes(table, classes, rule)) for split, table in tables.items()}
    return splits, names


def listed(names: Iterable[object]) -> str:
    """Return `` `a`, `b`, … `` for a message; «nothing» where there is none."""
    shown = [f"`{name}`" for name in names]
    return ", ".join([*shown[:SHOWN], "…"] if len(shown) > SHOWN else shown) or "nothing"


def _codes(table: Table, classes: Mapping[str, int], rule: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    for row, label in zip(table.rows, table.labels, strict=True):
        if label not in classes:
            raise DataError(
                f"{table.source}: {rule}, but row {row} has `{label}`, not one of {listed(classes)}; "
                f"correct or remove it.{nearest(label, classes)}"
            )
    return np.array([classes[label] for label in table.labels], dtype=np.int64)


def _joined(source: str, columns: Sequence[tuple[str, Sequence[object]]]) -> tuple[list[int], list[str]]:
    """Return the rows that have a text, counted from 1, and their texts: the parts that are not empty, joined."""
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
    if len(rows) < all_rows:
        log.warning(
            "%s: %s of %s rows have no text in %s; they are left out.",
            source, f"{all_rows - len(rows):,}", f"{all_rows:,}", names,
        )  # fmt: skip
    return rows, texts


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
