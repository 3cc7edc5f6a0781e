"""Where pictures come from: folders of classes, or tables of encoded pictures, listed before any is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lt_ray.cycle.identity import digest
from lt_ray.errors import DataError, nearest
from lt_ray.tasks import formats, splits
from lt_ray.tasks.splits import CLASSES, ClassName
from lt_ray.tasks.tables import Labelled, listed
from lt_ray.tasks.task import Integers

SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
"""Of files that are taken for pictures"""
TABLES = frozenset({".parquet", ".arrow"})
"""Suffixes of tables that may hold encoded pictures"""
COLUMNS = (("image", "label"), ("img", "label"))
"""Columns of the picture and of its class, where a task names none"""


@dataclass(frozen=True)
class Listing:
    """The pictures of a split, named and labelled, their bytes not read yet."""

    labels: Integers
    name: Callable[[int], str]
    """What messages call a picture"""
    read: Callable[[], Iterator[bytes]]
    """All pictures' bytes in order"""
    stamp: str
    """Another one where a file is another: names, sizes and times"""


Listed = Labelled[Listing]


def read(directory: Path, columns: Sequence[tuple[str, str]] = COLUMNS) -> Listed:
    """Return what a folder holds: `SPLIT/CLASS/*`, or `SPLIT.parquet` or `.arrow` and shards of them.

    - `columns`: pairs of columns, the picture's and its class's; the first pair that a table has is read

    Splits are called as files of texts are (`splits.find`). `labels.json` lists the class names in label order, or
    objects with a `name` and perhaps a `wnid`, by which folders may be called; without it they are those that tables
    of Hugging Face's library hold, or those of train, sorted.

    Raises `DataError` for what breaks a rule.
    """
    if not directory.is_dir():
        what = "this is a file" if directory.is_file() else "there is none"
        raise DataError(f"{directory}: a data directory must be a folder, but {what}; name its folder with --data-dir.")
    folders = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    if any(path.name.lower() in splits.SPLITS for path in folders):
        return _folders(directory, folders)
    if not any(path.suffix.lower() in TABLES for path in directory.iterdir()):
        raise DataError(
            f"{directory}: pictures must be in folders `train/CLASS/` and `test/CLASS/`, or in `train.parquet` and "
            f"`test.parquet`, but there is {listed(sorted(path.name for path in directory.iterdir()))}."
        )
    return _tables(directory, columns)


def _folders(directory: Path, folders: Sequence[Path]) -> Listed:
    found: dict[str, Path] = {}
    notes = []
    for path in folders:
        split = splits.SPLITS.get(path.name.lower())
        if split in found:
            raise DataError(
                f"{directory}: a split must have one folder, but {split} has {listed([found[split].name, path.name])}; "
                "keep one of them."
            )
        if split is not None:
            found[split] = path
        elif near := nearest(path.name.lower(), splits.SPLITS):
            raise DataError(f"{path}: a folder's name must say its split, but `{path.name}` is none.{near}")
        else:
            notes.append(f"{directory}: `{path.name}` is not read: it is named as no split.")
    if "train" not in found:
        there = listed(path.name for path in folders)
        raise DataError(f"{directory}: one folder must be named `train`, but there is {there}.")
    classes, labels = _classes_of(directory, found["train"])
    listings = {}
    for split, path in found.items():
        listings[split], skipped = _folder(path, labels)
        if skipped:
            notes.append(f"{path}: {listed(skipped)}: no pictures by their names, and left out.")
    return Listed(listings, classes, tuple(notes))


def _classes_of(directory: Path, train: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """The class names, and folder name → label."""
    folders = [path.name for path in _class_folders(train)]
    if len(folders) < 2:
        raise DataError(f"{train}: there must be folders of two or more classes, but there is {listed(folders)}.")
    names = splits.class_names(directory)
    if names is None:
        return tuple(folders), {name: label for label, name in enumerate(folders)}
    labels = {word: label for label, each in enumerate(names) for word in each if word}
    for name in folders:
        if name not in labels:
            raise DataError(
                f"{train / name}: a class must be one of those in {CLASSES}, but `{name}` is not."
                f"{nearest(name, labels)}"
            )
    return tuple(each.name for each in names), labels


def _class_folders(split: Path) -> list[Path]:
    folders = sorted(path for path in split.iterdir() if path.is_dir() and not path.name.startswith("."))
    first: dict[str, Path] = {}
    for path in folders:
        other = first.setdefault(path.name.strip().casefold(), path)
        if other != path:
            raise DataError(
                f"{split}: classes must differ by more than case and outer blanks, but there are `{other.name}` and "
                f"`{path.name}`; put them into one folder."
            )
    return folders


def _folder(split: Path, labels: Mapping[str, int]) -> tuple[Listing, list[str]]:
    """The pictures of a split's class folders, and names of files there that are none."""
    paths: list[Path] = []
    stamps: list[tuple[str, int, int]] = []
    numbers: list[int] = []
    skipped: list[str] = []
    for folder in _class_folders(split):
        if folder.name not in labels:
            raise DataError(
                f"{folder}: a class must be there in train, but `{folder.name}` is not; move it away, or add it to "
                f"train.{nearest(folder.name, labels)}"
            )
        own = sorted(
            Path(place, name) for place, _, names in os.walk(folder) for name in names if not name.startswith(".")
        )
        skipped += [str(path.relative_to(split)) for path in own if path.suffix.lower() not in SUFFIXES]
        own = [path for path in own if path.suffix.lower() in SUFFIXES]
        if not own:
            raise DataError(f"{folder}: a class must have pictures, but there is none; fill or remove the folder.")
        paths += own
        numbers += [labels[folder.name]] * len(own)
    for path in paths:
        state = path.stat()
        stamps.append((str(path.relative_to(split)), state.st_size, state.st_mtime_ns))
    return Listing(
        np.array(numbers, dtype=np.int64),
        lambda place: str(paths[place]),
        lambda: (path.read_bytes() for path in paths),
        digest([str(split.resolve()), stamps]),
    ), skipped


def _tables(directory: Path, columns: Sequence[tuple[str, str]]) -> Listed:
    paths, notes = splits.find(directory)
    for shard in (shard for shards in paths.values() for shard in shards):
        if shard.suffix.lower() not in TABLES:
            raise DataError(
                f"{shard}: pictures must be in a table that holds bytes ({', '.join(sorted(TABLES))}), but this is "
                "another; write it as Parquet."
            )
    tables = {split: [_table(shard, columns) for shard in shards] for split, shards in paths.items()}
    return of_tables(tables, splits.class_names(directory), tuple(notes))


@dataclass(frozen=True)
class Table:
    """Encoded pictures in the rows of one table."""

    labels: Sequence[Any]
    """As they stand there"""
    name: Callable[[int], str]
    """What messages call a row, counted from 0"""
    read: Callable[[], Iterator[bytes]]
    """All rows' bytes in order"""
    stamp: object
    """Plain values; others where the table is another"""
    classes: tuple[str, ...] | None
    """Names of the labels 0, 1, …, where the table itself has them"""


def of_tables(
    tables: Mapping[str, Sequence[Table]], names: Sequence[ClassName] | None = None, notes: tuple[str, ...] = ()
) -> Listed:
    """Return the pictures of splits that are tables, or shards in order; raises `DataError` for a label of no class.

    - `names`: of the classes, where they are told; else those in the tables, or the labels of train, sorted
    """
    every = [table for parts in tables.values() for table in parts]
    classes = next((table.classes for table in every if table.classes), None)
    if names is not None:
        classes = tuple(each.name for each in names)
    distinct = {label for table in tables["train"] for label in table.labels if label is not None}
    whole = all(isinstance(label, int) for label in distinct)
    if classes is not None:
        numbers: dict[Any, int] = {place if whole else name: place for place, name in enumerate(classes)}
    else:
        rising = sorted(distinct, key=None if whole else str)
        classes = tuple(map(str, range(max(rising, default=0) + 1))) if whole else tuple(map(str, rising))
        numbers = {label: label if whole else place for place, label in enumerate(rising)}
    return Listed({split: _listing(parts, classes, numbers) for split, parts in tables.items()}, classes, notes)


def _listing(parts: Sequence[Table], classes: tuple[str, ...], numbers: Mapping[Any, int]) -> Listing:
    ends = np.cumsum([len(table.labels) for table in parts])

    def name(place: int) -> str:
        part = int(np.searchsorted(ends, place, side="right"))
        return parts[part].name(place - int(ends[part]) + len(parts[part].labels))

    labels = [label for table in parts for label in table.labels]
    for place, label in enumerate(labels):
        if label not in numbers:
            raise DataError(
                f"{name(place)}: a label must be one of the {len(classes)} classes ({listed(classes)}), but it is "
                f"{label!r}; correct or remove it."
            )
    return Listing(
        np.array([numbers[label] for label in labels], dtype=np.int64),
        name,
        lambda: (data for table in parts for data in table.read()),
        digest([table.stamp for table in parts]),
    )


def bytes_of(value: object) -> bytes:
    """Return a picture's bytes as a table holds them: plain, or in a struct as Hugging Face's library writes it."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else b""


def _label(value: object) -> object:
    """A label as it stands in a table; whole numbers are so where a gap has made a column of fractions."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value


def _table(path: Path, columns: Sequence[tuple[str, str]]) -> Table:
    schema = next(_read(path))
    pair = next((pair for pair in columns if set(pair) <= set(schema.names)), None)
    if pair is None:
        raise DataError(
            f"{path}: the columns {listed(columns[0])} must be there, but there is {listed(schema.names)}; name "
            "them, the class's last: --set task.columns=[PICTURE,CLASS]."
        )
    image, label = pair
    labels = [_label(value) for value in _read(path, label)]
    if not labels:
        raise DataError(f"{path}: a split must hold at least one row, but it holds none.")
    state = path.stat()
    return Table(
        labels,
        lambda row: f"{path}, row {row + 1}",
        lambda: map(bytes_of, _read(path, image)),
        [str(path.resolve()), state.st_size, state.st_mtime_ns],
        formats.class_labels(schema.metadata).get(label),
    )


def _read(path: Path, column: str | None = None) -> Iterator[Any]:
    """Yield the values of a column of a table; without one, the table's schema."""
    from pyarrow import ArrowException

    form = path.suffix.lower()
    try:
        with path.open("rb") as file:
            schema, batches = formats.columnar(file, form)
            if column is None:
                yield schema
                return
            for batch in batches([column]):
                yield from (value.as_py() for value in batch.column(0))
    except (OSError, ValueError, ArrowException) as error:
        raise DataError(
            f"{path}: the file must be readable as {form[1:]}, but it is not ({formats.line_of(error)})."
        ) from None
