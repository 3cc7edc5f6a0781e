"""A user's own files: one a split, or its shards, with the columns `text` and `label` or those that the task names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lt_ray.cycle.tasks import Folder
from lt_ray.errors import DataError
from lt_ray.tasks import formats
from lt_ray.tasks.corpus import Corpus, Texts, cut, share_sizes
from lt_ray.tasks.splits import class_names, data_files, find
from lt_ray.tasks.tables import PLAIN, Labelled, Layout, Table, labelled, layout_of, table


def corpus(task: Folder, data_dir: Path | None, group: str = "task") -> Corpus:
    """Return the texts in `data_dir`, or in its `folder`; a split without a file is cut from train by the task's shares
    and seed.

    A folder with one data file, of any name but another split's, holds train alone. `group`, `task` or `source`, is
    the key that messages name.

    Raises `DataError`, which names the file, the rule it breaks, the value, and the way out.
    """
    if data_dir is None:
        raise DataError(
            f"{group} `folder` must have a data directory, but got none; name the folder of your train file with "
            "--data-dir DIR, or use --toy."
        )
    directory = place(data_dir)
    layout = replace(layout_of(task.columns), targets=task.targets, separator=task.separator)
    splits, classes, notes = read(directory, layout)
    shares = {"validation": task.validation_share, "test": task.test_share}
    missing = {name: share for name, share in shares.items() if name not in splits}
    if missing:
        train = splits["train"]
        splits |= cut(train, share_sizes(str(directory), len(train), missing, group), task.split_seed)
    return Corpus(splits["train"], splits["validation"], splits["test"], classes, notes)


def read(directory: Path, layout: Layout = PLAIN) -> Labelled[Texts]:
    """Return split → texts for the files in `directory`, `train` always among them, the class names, and
    notes for the user.

    The stem names the split (`train`, `validation` = `valid` = `val` = `dev`, `test`), or one of its shards
    (`train-00000-of-00002`, read in order); the suffix the format: `.parquet`, `.csv`, `.tsv` (both with a header;
    quoted as spreadsheets do), `.jsonl` = `.ndjson` or `.json` (objects, one a line or in one array), and then, where
    it is compressed, `.gz`, `.bz2` or `.xz`. The columns are `text` and `label`, or those of `layout`; other columns
    are left alone. `labels.json` lists the class names in label order; without it they are those that Parquet files
    of Hugging Face's library hold, or the sorted labels of train.

    Raises `DataError` for a folder or a file that breaks a rule.
    """
    if directory.is_file():
        raise DataError(
            f"{directory}: a data directory must be a folder, but this is a file; name its folder with --data-dir."
        )
    if not directory.is_dir():
        raise DataError(f"{directory}: a data directory must exist, but there is none; name another with --data-dir.")
    paths, ignored = find(directory)
    tables = {split: [_table(path, layout) for path in shards] for split, shards in paths.items()}
    names = class_names(directory)
    given = None if names is None else tuple(each.name for each in names)
    splits, classes, notes = labelled(tables, given, layout.targets)
    return Labelled(splits, classes, (*ignored, *notes))


def place(data_dir: Path) -> Path:
    """Return the folder with the task `folder`'s files: `data_dir`, or its `folder` where it holds none itself."""
    folder = data_dir / "folder"
    return folder if folder.is_dir() and not holds_data(data_dir) else data_dir


def holds_data(directory: Path) -> bool:
    """Return whether `directory` is a folder with a file of texts, whatever its name."""
    return directory.is_dir() and bool(data_files(directory))


def _table(path: Path, layout: Layout) -> Table:
    content = formats.read(path, layout)
    return table(str(path), content.columns, layout, content.classes)
