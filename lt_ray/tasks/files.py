"""A user's own files: one a split, with the columns `text` and `label`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from lt_ray.cycle import Folder
from lt_ray.errors import DataError, nearest
from lt_ray.tasks.corpus import Corpus, Texts, cut_shares
from lt_ray.tasks.tables import PLAIN, Layout, Table, labelled, listed, table

SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""File stem → split"""
CLASSES = "labels.json"
"""A list of the class names in label order"""

Columns = Mapping[str, Sequence[object]]


def corpus(task: Folder, directory: Path, group: str = "task") -> Corpus:
    """Return the texts in `directory`; a split without a file is cut from train by the task's shares and seed.

    A folder with one data file, of any name but another split's, holds train alone. `group`, `task` or `source`, is
    the key that messages name.

    Raises `DataError`, which names the file, the rule it breaks, the value, and the way out.
    """
    splits, classes = read(directory)
    shares = {"validation": task.validation_share, "test": task.test_share}
    missing = {name: share for name, share in shares.items() if name not in splits}
    if missing:
        splits |= cut_shares(str(directory), splits["train"], missing, task.split_seed, group)
    return Corpus(splits["train"], splits["validation"], splits["test"], classes)


def read(directory: Path, layout: Layout = PLAIN) -> tuple[dict[str, Texts], tuple[str, ...]]:
    """Return split → texts for the files in `directory`, `train` always among them, and the class names.

    The stem names the split (`train`, `validation` = `valid` = `val` = `dev`, `test`), the suffix the format:
    `.parquet`, `.csv`, `.tsv` (both with a header; quoted as spreadsheets do), `.jsonl` or `.json` (objects, one a
    line or in one array). The columns are `text` and `label`, or those of `layout`; other columns and other files are
    left alone. `labels.json` lists the class names in label order; without it they are the sorted labels of train.

    Raises `DataError` for a folder or a file that breaks a rule.
    """
    if directory.is_file():
        raise DataError(
            f"{directory}: a data directory must be a folder, but this is a file; name its folder with --data-dir."
        )
    if not directory.is_dir():
        raise DataError(f"{directory}: a data directory must exist, but there is none; name another with --data-dir.")
    tables = {split: _table(path, layout) for split, path in _find(directory).items()}
    return labelled(tables, _class_names(directory / CLASSES))


def place(data_dir: Path) -> Path:
    """Return the folder with the task `folder`'s files: `data_dir`, or its `folder` where it holds none itself."""
    folder = data_dir / "folder"
    return folder if folder.is_dir() and not holds_data(data_dir) else data_dir


def holds_data(directory: Path) -> bool:
    """Return whether `directory` is a folder with a file of texts, whatever its name."""
    return directory.is_dir() and bool(_data_files(directory))


def _data_files(directory: Path) -> list[Path]:
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix.lower() in READERS and path.name != CLASSES and not path.name.startswith(".")
    )


def _find(directory: Path) -> dict[str, Path]:
    paths = _data_files(directory)
    if not paths:
        raise DataError(
            f"{directory}: a data directory must hold a file `train` ({', '.join(READERS)}), but it holds "
            f"{listed(sorted(path.name for path in directory.iterdir()))}."
        )
    named = defaultdict(list)
    for path in paths:
        named[SPLITS.get(path.stem.lower())].append(path)
    unnamed = named.pop(None, [])
    if len(paths) == 1 and unnamed:
        return {"train": paths[0]}
    for split, found in named.items():
        if len(found) > 1:
            raise DataError(
                f"{directory}: a split must have one file, but {split} has {listed(path.name for path in found)}; "
                "keep one of them."
            )
    for path in unnamed:
        # A misspelt split must not be cut from train instead.
        guess = nearest(path.stem.lower(), [stem for stem, split in SPLITS.items() if split not in named])
        if guess:
            raise DataError(f"{path}: a file's name must say its split, but `{path.stem}` is none.{guess}")
    if "train" not in named:
        raise DataError(
            f"{directory}: one file must be named `train`, but there are only {listed(path.name for path in paths)}; "
            "rename the one to train on."
        )
    return {str(split): found[0] for split, found in named.items()}


def _table(path: Path, layout: Layout) -> Table:
    import pyarrow

    try:
        columns = READERS[path.suffix.lower()](path, layout.columns)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        kind = path.suffix.lower().removeprefix(".")
        raise DataError(f"{path}: the file must be readable as {kind}, but it is not ({_line(error)}).") from None
    return table(str(path), columns, layout)


def _class_names(path: Path) -> tuple[str, ...] | None:
    if not path.exists():
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the file must be JSON, but it is not ({_line(error)}).") from None
    rule = f"{path}: the file must be a list of two or more different class names"
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise DataError(f'{rule}, like ["bad", "good"], but it is {type(names).__name__} {str(names)[:60]}.')
    if len(set(map(str, names))) != len(names) or len(names) < 2:
        raise DataError(f"{rule}, but it lists {listed(names)}.")
    return tuple(map(str, names))


def _parquet(path: Path, read: Collection[str]) -> Columns:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        wanted = [name for name in names if name in read]
        # The others are only named in messages; a column of pictures is not worth reading for that.
        columns: dict[str, Sequence[object]] = dict.fromkeys(names, ())
        columns |= file.read(columns=wanted).to_pydict()
    return columns


def _separated(path: Path, read: Collection[str], delimiter: str) -> Columns:
    from pyarrow import csv

    content = csv.read_csv(
        path,
        # One block: the reader cannot carry a quoted line break from one block to the next.
        read_options=csv.ReadOptions(block_size=max(1, path.stat().st_size + 1)),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        # Without these a text "NA" would be no text, and a label "1.0" a float.
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(read, "string"), strings_can_be_null=False),
    )
    columns: dict[str, Sequence[object]] = content.to_pydict()
    return columns


def _json(path: Path, read: Collection[str]) -> Columns:
    content = path.read_text(encoding="utf-8-sig")
    if content.lstrip().startswith("["):
        rows = json.loads(content)
    else:
        rows = [_json_line(i, line) for i, line in enumerate(content.split("\n"), 1) if line.strip()]
    for i, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"row {i} must be an object, but is {type(row).__name__}")
    if not rows:
        raise ValueError("it holds no row")
    if len(rows) == 1 and _is_columns(rows[0]):
        raise ValueError(
            "it must hold one object a row, but holds one table by columns: write it with pandas' "
            '`to_json(…, orient="records", lines=True)`'
        )
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _is_columns(row: object) -> bool:
    """Whether a row is a whole table, column by column, as pandas' `to_json` writes it unless told otherwise."""
    return isinstance(row, dict) and bool(row) and all(isinstance(value, dict | list) for value in row.values())


def _json_line(number: int, line: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


READERS: dict[str, Callable[[Path, Collection[str]], Columns]] = {
    ".parquet": _parquet,
    ".csv": lambda path, read: _separated(path, read, ","),
    ".tsv": lambda path, read: _separated(path, read, "\t"),
    ".jsonl": _json,
    ".json": _json,
}
"""Suffix → reader of a file: its columns, with values at least for those of the given names"""
