"""IMDb reviews, from a folder or from the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lt_ray.cycle import Imdb
from lt_ray.errors import DataError
from lt_ray.tasks import files
from lt_ray.tasks.corpus import Corpus, Texts, cut, cut_shares
from lt_ray.tasks.tables import labelled, table

if TYPE_CHECKING:
    from datasets import DatasetBuilder

CONNECT_S = 10.0
"""Longest wait for the hub's first answer [s]"""
OFFICIAL = ("train", "validation", "test")
"""Splits that are read; the hub's `unsupervised` has no labels"""


def corpus(task: Imdb, data_dir: Path | None) -> Corpus:
    """Return the reviews, cut as the task says.

    - `data_dir`: a folder with `imdb/train.*` and `imdb/test.*`, or with these files themselves; None = the hub's
      `task.dataset`, from the local cache where that revision is there. `task.dataset` may be a folder laid out as
      on the hub; `task.revision` has no meaning then.

    Raises `DataError` where the reviews cannot be had, or are fewer than `task.sizes`.
    """
    if data_dir is None:
        source, (splits, classes) = task.dataset, _from_hub(task)
    else:
        directory = data_dir / "imdb" if (data_dir / "imdb").is_dir() else data_dir
        source, (splits, classes) = str(directory), files.read(directory)
    if "test" not in splits:
        raise DataError(f"{source}: IMDb must have a `test` split besides `train`, but there is only train.")
    if task.split == "pooled":
        train, validation, test = cut(_pool(source, splits, task.sizes), task.sizes, task.split_seed)
        return Corpus(train, validation, test, classes)
    if "validation" not in splits:
        shares = {"validation": task.validation_share}
        splits |= cut_shares(source, splits["train"], shares, task.split_seed)
    return Corpus(splits["train"], splits["validation"], splits["test"], classes)


def _pool(source: str, splits: Mapping[str, Texts], sizes: tuple[int, int, int]) -> Texts:
    pool = splits["train"]
    for name in OFFICIAL[1:]:
        if name in splits:
            pool = pool + splits[name]
    if len(pool) < sum(sizes):
        a, b, c = (len(pool) * size // sum(sizes) for size in sizes)
        raise DataError(
            f"{source}: `sum(task.sizes) <= documents` must hold, but got (sizes={list(sizes)}, "
            f"sum={sum(sizes)}, documents={len(pool)}); ask for fewer with --set task.sizes=[{a},{b},{c}]."
        )
    return pool


def _from_hub(task: Imdb) -> tuple[dict[str, Texts], tuple[str, ...]]:
    try:
        builder = _builder(task)
        builder.download_and_prepare()
        splits = {name: builder.as_dataset(split=name) for name in OFFICIAL if name in builder.info.splits}
    except Exception as error:  # the hub's clients raise what their transports raise
        reason = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
        raise DataError(
            f"task.dataset: `{task.dataset}` must be within reach, but it is not ({reason}).\n"
            "Use --data-dir DIR with DIR/imdb/train.parquet and DIR/imdb/test.parquet, or --toy."
        ) from None
    if "train" not in splits:
        raise DataError(f"{task.dataset}: a data set must have a `train` split, but it has {list(splits)}.")
    tables = {}
    for name, split in splits.items():
        wanted = [column for column in split.column_names if column in ("text", "label")]
        columns = dict.fromkeys(split.column_names, ()) | split.select_columns(wanted)[:]
        tables[name] = table(f"{task.dataset} ({name})", columns)
    names = getattr(splits["train"].features["label"], "names", None)
    return labelled(tables, tuple(names) if names else None)


def _builder(task: Imdb) -> DatasetBuilder:
    import datasets
    from huggingface_hub import HfApi

    if Path(task.dataset).is_dir():
        return datasets.load_dataset_builder(task.dataset)
    with _offline():
        try:
            cached = datasets.load_dataset_builder(task.dataset)
        except Exception:  # the library raises many kinds for "not cached"; the hub is asked next
            cached = None
    # Offline, the library takes the latest revision it finds, whichever was asked for.
    if cached is not None and cached.hash == task.revision:
        return cached
    # It also tries a hub that cannot be reached six times over; this asks once.
    HfApi().dataset_info(task.dataset, revision=task.revision, timeout=CONNECT_S)
    return datasets.load_dataset_builder(task.dataset, revision=task.revision)


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub's library to its cache, and quiet about it; both are restored on exit."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE, datasets.logging.get_verbosity()
    datasets.config.HF_HUB_OFFLINE = True
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before[0]
        datasets.logging.set_verbosity(before[1])
