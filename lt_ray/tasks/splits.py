"""Which files of a folder are which split: by their names, and nothing that looks like a split is passed over."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lt_ray.errors import DataError, nearest
from lt_ray.tasks.formats import FORMATS, OPENERS, format_of, line_of
from lt_ray.tasks.tables import listed

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
"""A list of the class names in label order (`class_names`)"""

_NAMED = re.compile(rf"({'|'.join(SPLITS)})(?:-(\d+)-of-(\d+)(?:-[0-9a-f]+)?)?")
"""A split's whole file, or one of its shards as the hub names them"""
_WORD = re.compile(
    r"(train(ing)?|valid(ation)?|val|dev(elopment)?|tests?|testing|eval(uation)?|hold(out)?|held(out)?)(set|data|split)?"
)
"""A word that makes a name look like a split's"""
_NO_TABLES = frozenset({
    ".py", ".pyc", ".ipynb", ".sh", ".md", ".rst", ".log", ".yaml", ".yml", ".toml", ".html", ".png", ".jpg", ".svg",
    ".pdf", ".bin", ".pt", ".safetensors",
})  # fmt: skip
"""Suffixes of what nobody takes for a table, whatever its name"""

Shards = Mapping[str, Sequence[Path]]


def find(directory: Path) -> tuple[Shards, list[str]]:
    """Return split → its files in order, and notes for the user on other files there.

    Raises `DataError` where train is not there, a split is there twice or in part, or something looks like a split and
    cannot be read as one.
    """
    paths = data_files(directory)
    for path in sorted(directory.iterdir()):
        if path not in paths and _looks_like_a_split(path):
            kind = "a folder" if path.is_dir() else "none of these"
            raise DataError(
                f"{path}: a split must be a file of a known kind ({_kinds()}), but this looks like a split and is "
                f"{kind}; give it as a file like `{_split_of(path) or 'test'}.csv` there, or move it away."
            )
    if not paths:
        raise DataError(
            f"{directory}: a data directory must hold a file `train` ({_kinds()}), but it holds "
            f"{listed(sorted(path.name for path in directory.iterdir()))}."
        )
    named: dict[str, list[tuple[Path, re.Match[str]]]] = defaultdict(list)
    unnamed = []
    for path in paths:
        if match := _NAMED.fullmatch(stem(path).lower()):
            named[SPLITS[match[1]]].append((path, match))
        else:
            unnamed.append(path)
    if len(paths) == 1 and unnamed and _split_of(paths[0]) in (None, "train"):
        return {"train": paths}, []
    _check_unnamed(unnamed, named)
    if "train" not in named:
        raise DataError(
            f"{directory}: one file must be named `train`, but there are only {listed(path.name for path in paths)}; "
            "rename the one to train on."
        )
    ignored = f"{directory}: {listed(path.name for path in unnamed)} is not read: it is named as no split."
    splits = [split for split in dict.fromkeys(SPLITS.values()) if split in named]
    return {split: _in_order(directory, split, named[split]) for split in splits}, [ignored] if unnamed else []


class ClassName(NamedTuple):
    """What `labels.json` calls a class, and by what else its folder may be called; empty = nothing."""

    name: str
    wnid: str = ""


def class_names(directory: Path) -> list[ClassName] | None:
    """Return the names in a folder's `labels.json`, in label order, each once; None where there is no such file.

    It lists names, or objects with a `name` and perhaps a `wnid` (WordNet's id), which tells two classes of one name
    apart. Raises `DataError` for anything else.
    """
    path = directory / CLASSES
    if not path.exists():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the file must be JSON, but it is not ({line_of(error)}).") from None
    rule = f"{path}: the file must be a list of two or more different class names"
    entries = [each if isinstance(each, dict) else {"name": each} for each in tree] if isinstance(tree, list) else []
    if not entries or not all(isinstance(entry.get("name"), str | int) for entry in entries):
        raise DataError(f'{rule}, like ["bad", "good"], but it is {type(tree).__name__} {str(tree)[:60]}.')
    names = [ClassName(str(entry["name"]), str(entry.get("wnid", ""))) for entry in entries]
    times = Counter(each.name for each in names)  # ImageNet has two cranes
    names = [each._replace(name=f"{each.name} ({each.wnid})") if times[each.name] > 1 and each.wnid else each
             for each in names]  # fmt: skip
    if len({each.name for each in names}) < max(2, len(names)):
        raise DataError(f"{rule}, but it lists {listed(each.name for each in names)}.")
    return names


def place(data_dir: Path, folders: Iterable[str]) -> Path:
    """Return the folder with a task's files: the first of `folders` that `data_dir` has, else `data_dir` itself."""
    return next((data_dir / name for name in folders if (data_dir / name).is_dir()), data_dir)


def data_files(directory: Path) -> list[Path]:
    """Return the files of a folder that may hold texts, by name."""
    return sorted(
        path
        for path in directory.iterdir()
        if format_of(path) and path.is_file() and path.name != CLASSES and not path.name.startswith(".")
    )


def stem(path: Path) -> str:
    """Return a data file's name without the suffixes of its format and of its compression."""
    name = path.name
    for suffix in (*OPENERS, format_of(path) or ""):
        name = name[: -len(suffix)] if suffix and name.lower().endswith(suffix) else name
    return name


def _check_unnamed(unnamed: Sequence[Path], named: Mapping[str, object]) -> None:
    for path in unnamed:
        own = stem(path)
        if _looks_like_a_split(path):
            split = _split_of(path) or "test"
            raise DataError(
                f"{path}: a file's name must say its split alone, but `{own}` looks like one and says more; rename it "
                f"to `{split}`, or to `{split}-00000-of-00002` and so on where a split has several files, or move it "
                "away."
            )
        # A misspelt split must not be cut from train instead.
        guess = nearest(own.lower(), [stem for stem, split in SPLITS.items() if split not in named])
        if guess:
            raise DataError(f"{path}: a file's name must say its split, but `{own}` is none.{guess}")


def _in_order(directory: Path, split: str, files: Sequence[tuple[Path, re.Match[str]]]) -> list[Path]:
    """Return a split's one file, or all its shards in order."""
    names = listed(path.name for path, _ in files)
    totals = {match[3] and int(match[3]) for _, match in files}
    shards = {int(match[2]): path for path, match in files if match[2]}
    if len(totals) > 1 or len(files) > max(1, len(shards)):
        raise DataError(
            f"{directory}: a split must have one file, or one set of shards, but {split} has {names}; keep one of them."
        )
    (total,) = totals
    missing = [index for index in range(total or 0) if index not in shards]
    if missing or len(shards) > (total or 0):
        lacking = f"there is no shard {missing[0]}" if missing else "there are more"
        raise DataError(
            f"{directory}: a split must have all its shards, numbered from 0, but of the {total} of {split} {lacking}: "
            f"there are {names}; add what is missing, or give the split as one file `{split}`."
        )
    return [shards[index] for index in sorted(shards)] if shards else [files[0][0]]


def _looks_like_a_split(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.name == CLASSES
    return not hidden and path.suffix.lower() not in _NO_TABLES and bool(_words(path))


def _split_of(path: Path) -> str | None:
    """The split that a name looks like, None where it looks like none; train only where nothing else is said."""
    splits = {"train" if word.startswith("train") else SPLITS.get(word, "test") for word in _words(path)}
    return next((split for split in ("test", "validation", "train") if split in splits), None)


def _words(path: Path) -> list[str]:
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", path.name)
    return [match[1] for part in parts if (match := _WORD.fullmatch(part.lower()))]


def _kinds() -> str:
    return f"{', '.join(FORMATS)}; also with {', '.join(OPENERS)}"
