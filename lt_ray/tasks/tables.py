"""Tables of texts and labels as people keep them, checked and turned into labelled texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lt_ray.errors import DataError, nearest
from lt_ray.tasks.corpus import Texts

SHOWN = 10
"""Names listed in a message before it says «…» [count]"""


@dataclass(frozen=True)
class Table:
    """Texts and their labels as given, a whole-number label as its digits; `source` names the file in messages."""

    source: str
    texts: list[str]
    labels: list[str]


def table(source: str, columns: Mapping[str, Sequence[object]]) -> Table:
    """Return the columns `text` and `label`, each row checked; `columns`: name → one value a row.

    Raises `DataError` for a missing column, no row, or a row without text or label; rows are counted from 1.
    """
    for name in ("text", "label"):
        if name not in columns:
            raise DataError(
                f"{source}: the columns `text` and `label` must be there, but `{name}` is not among "
                f"{listed(columns)}.{nearest(name, columns)} Rename the column to `{name}`."
            )
    if not columns["text"]:
        raise DataError(f"{source}: a split must hold at least one row, but it holds none.")
    texts = [_text(source, row, value) for row, value in enumerate(columns["text"], 1)]
    labels = [_label(source, row, value) for row, value in enumerate(columns["label"], 1)]
    return Table(source, texts, labels)


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
    for row, label in enumerate(table.labels, 1):
        if label not in classes:
            raise DataError(
                f"{table.source}: {rule}, but row {row} has `{label}`, not one of {listed(classes)}; "
                f"correct or remove it.{nearest(label, classes)}"
            )
    return np.array([classes[label] for label in table.labels], dtype=np.int64)


def _text(source: str, row: int, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(
            f"{source}: `text` must be a text that is not empty, but row {row} has {value!r}; fill or remove it."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{source}: `text` must be valid Unicode, but row {row} is not ({error}).") from None
    return value


def _label(source: str, row: int, value: object) -> str:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, str) and value.strip():
        return value
    raise DataError(
        f"{source}: `label` must be a whole number or a name, but row {row} has {value!r}; fill or remove it."
    )


def _is_whole(label: str) -> bool:
    return re.fullmatch(r"0|-?[1-9][0-9]*", label) is not None
