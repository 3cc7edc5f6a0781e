"""Where pictures come from: folders of classes, or tables of encoded pictures, listed before any is decoded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lt_ray.cycle.identity import digest
from lt_ray.errors import DataError, nearest
from lt_ray.tasks import formats, splits
from lt_ray.tasks.splits import CLASSES
from lt_ray.tasks.tables import listed
from lt_ray.tasks.task import Integers

SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
"""Of files that are taken for pictures"""
TABLES = frozenset({".parquet", ".arrow"})
"""Suffixes of tables that may hold encoded pictures"""
COLUMNS = (("image", "label"), ("img", "label"))
"""Columns of the picture and of its class, where a task names none"""
ROWS = 256
"""Rows of a table that are read at once [count]"""


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


class Listed(NamedTuple):
    """Listings by split, the class names in label order, and notes for the user."""

    splits: dict[str, Listing]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


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


def names_in(path: Path) -> list[dict[str, str]] | None:
    """Return what `labels.json` says of each class, `name` among it; None where there is no such file."""
    if not path.exists():
        return None
    rule = f"{path}: the file must be a list of two or more class names, or of objects with a `name`"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        entries = [{"name": str(e["name"]), "wnid": str(e.get("wnid", ""))} if isinstance(e, dict) else {"name": str(e)}
                   for e in tree]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{rule}, but it is not ({formats.line_of(error)}).") from None
    said = [entry["name"] for entry in entries]
    for entry in entries:  # ImageNet has two cranes
        if said.count(entry["name"]) > 1 and entry.get("wnid"):
            entry["name"] += f" ({entry['wnid']})"
    if len({entry["name"] for entry in entries}) < max(2, len(entries)):
        raise DataError(f"{rule}, all different, but it lists {listed(said)}.")
    return entries


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
    told = names_in(directory / CLASSES)
    if told is None:
        return tuple(folders), {name: label for label, name in enumerate(folders)}
    labels = {entry[key]: label for label, entry in enumerate(told) for key in ("name", "wnid") if entry.get(key)}
    for name in folders:
        if name not in labels:
            raise DataError(
                f"{train / name}: a class must be one of those in {CLASSES}, but `{name}` is not."
                f"{nearest(name, labels)}"
            )
    return tuple(entry["name"] for entry in told), labels


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
    told = names_in(directory / CLASSES)
    tables = {split: [_Table(shard, columns) for shard in shards] for split, shards in paths.items()}
    names = None if told is None else tuple(entry["name"] for entry in told)
    own = next((table.names for shards in tables.values() for table in shards if table.names), None)
    classes, codes = classes_among([label for table in tables["train"] for label in table.labels], names or own)
    listings = {split: _listing(shards, classes, codes) for split, shards in tables.items()}
    return Listed(listings, classes, tuple(notes))


def _listing(shards: Sequence[_Table], classes: tuple[str, ...], codes: Mapping[Any, int]) -> Listing:
    ends = np.cumsum([len(table.labels) for table in shards])

    def name(place: int) -> str:
        shard = int(np.searchsorted(ends, place, side="right"))
        return f"{shards[shard].path}, row {place - int(ends[shard]) + len(shards[shard].labels) + 1}"

    labels = [label for table in shards for label in table.labels]
    return Listing(
        coded(labels, codes, classes, name),
        name,
        lambda: (data for table in shards for data in table.pictures()),
        digest([table.stamp for table in shards]),
    )


def classes_among(train: Sequence[Any], names: tuple[str, ...] | None) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Return the class names, and label as it stands in a table → its number.

    - `train`: labels of train; `names`: in label order, where they are told; else train's own, sorted
    """
    distinct = {label for label in train if label is not None}
    whole = all(isinstance(label, int) for label in distinct)
    if names is None:
        rising = sorted(distinct, key=None if whole else str)
        names = tuple(map(str, range(max(rising, default=0) + 1))) if whole else tuple(map(str, rising))
        return names, {label: label if whole else place for place, label in enumerate(rising)}
    return names, {place if whole else name: place for place, name in enumerate(names)}


def coded(
    labels: Sequence[Any], codes: Mapping[Any, int], classes: Sequence[str], name: Callable[[int], str]
) -> Integers:
    """Return the numbers of labels, int64 (n,); raises `DataError`, which names the first that is no class."""
    for place, label in enumerate(labels):
        if label not in codes:
            raise DataError(
                f"{name(place)}: a label must be one of the {len(classes)} classes ({listed(classes)}), but it is "
                f"{label!r}; correct or remove it."
            )
    return np.array([codes[label] for label in labels], dtype=np.int64)


def bytes_of(value: object) -> bytes:
    """Return a picture's bytes as a table holds them: plain, or in a struct as Hugging Face's library writes it."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else b""


def _label(value: object) -> object:
    """A label as it stands in a table; whole numbers are so where a gap has made a column of fractions."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value


class _Table:
    """A table of encoded pictures in one file."""

    def __init__(self, path: Path, columns: Sequence[tuple[str, str]]) -> None:
        self.path = path
        schema, _ = next(self._read([]))
        found = next((pair for pair in columns if set(pair) <= set(schema.names)), None)
        if found is None:
            raise DataError(
                f"{path}: the columns {listed(columns[0])} must be there, but there is {listed(schema.names)}; name "
                "them, the class's last: --set task.columns=[PICTURE,CLASS]."
            )
        self._image, label = found
        self.names = formats.class_labels(schema.metadata).get(label)
        self.labels = [_label(value) for _, values in self._read([label]) for value in values]
        if not self.labels:
            raise DataError(f"{path}: a split must hold at least one row, but it holds none.")
        state = path.stat()
        self.stamp = [str(path.resolve()), state.st_size, state.st_mtime_ns]

    def pictures(self) -> Iterator[bytes]:
        """Yield each row's bytes."""
        return (bytes_of(value) for _, values in self._read([self._image]) for value in values)

    def _read(self, columns: Sequence[str]) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Yield the schema and nothing; then, part by part, the schema and the values of a column."""
        import pyarrow
        from pyarrow import parquet

        try:
            with self.path.open("rb") as file:
                if self.path.suffix.lower() == ".arrow":
                    reader = formats.arrow_reader(file)
                    schema, batches = reader.schema, formats.arrow_batches(reader)
                else:
                    reader = parquet.ParquetFile(file)
                    schema = reader.schema_arrow
                    batches = reader.iter_batches(ROWS, columns=list(columns))
                if not columns:
                    yield schema, iter(())
                    return
                for batch in batches:
                    yield schema, (value.as_py() for value in batch.column(columns[0]))
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(
                f"{self.path}: the file must be readable as {self.path.suffix[1:]}, but it is not "
                f"({formats.line_of(error)})."
            ) from None
