"""Data sets of the hub: the cached revision where it is there, else the hub, asked once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lt_ray.cycle.pictures import PublicPictures
from lt_ray.cycle.tasks import PublicTexts
from lt_ray.errors import DataError
from lt_ray.tasks.corpus import Texts
from lt_ray.tasks.formats import line_of
from lt_ray.tasks.images_sources import Listed, Table, bytes_of, of_tables
from lt_ray.tasks.tables import Labelled, Layout, labelled, listed, table
from lt_ray.tasks.task import SPLITS

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

CONNECT_S = 10.0
"""Longest wait for the hub's first answer [s]"""
BRANCH = "main"
"""The one revision that moves: any cached copy will do for it"""


def read(task: PublicTexts, group: str, layout: Layout) -> Labelled[Texts]:
    """Return split → texts of the hub's data set of a task, `train` always among them, the class names, and notes for
    the user.

    - `group`: who asks, `task` or `source`: for messages
    - `layout`: the columns that count where `text` and `label` are not both there

    Raises `DataError` where the data set cannot be had or used.
    """
    splits = _splits(task, group, task.configuration)
    tables = {}
    for name, split in splits.items():
        wanted = [column for column in split.column_names if column in layout.columns]
        columns = dict.fromkeys(split.column_names, ()) | split.select_columns(wanted)[:]
        tables[name] = [table(f"{task.dataset} ({name})", columns, layout)]
    names = getattr(splits["train"].features[layout.of(splits["train"].column_names).label], "names", None)
    return labelled(tables, tuple(names) if names else None)


def pictures(task: PublicPictures, group: str) -> Listed:
    """Return the pictures of the hub's data set of a task, listed.

    - `group`: who asks, `task` or `source`: for messages

    Raises `DataError` where the data set cannot be had or used.
    """
    import datasets

    image, label = task.columns or task.hub_columns

    def table_of(name: str, split: Dataset) -> Table:
        if missing := [column for column in (image, label) if column not in split.column_names]:
            raise DataError(
                f"{task.dataset} ({name}): the column `{missing[0]}` must be there, but there is "
                f"{listed(split.column_names)}; name the picture's and the class's: "
                "--set task.columns=[PICTURE,CLASS]."
            )
        encoded = split.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        files = [Path(file["filename"]) for file in split.cache_files]
        names = getattr(split.features[label], "names", None)
        return Table(
            split[label],
            lambda row: f"{task.dataset} ({name}), row {row + 1}",
            lambda: (bytes_of(row[image]) for row in encoded),
            [task.dataset, task.revision, name, [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]],
            tuple(names) if names else None,
        )

    return of_tables({name: [table_of(name, split)] for name, split in _splits(task, group).items()})


def _splits(task: PublicTexts | PublicPictures, group: str, configuration: str | None = None) -> dict[str, Dataset]:
    """The official splits that a task uses, where they are there, `train` always among them.

    The task's `dataset` may be a folder laid out as on the hub; `revision` has no meaning then. Else the commit is read
    from the local cache where it is there; `main` = the cached copy, else the newest. IMDb's `unsupervised` has no
    labels.

    - `configuration`: which one of a data set that has several; of its cache, the library takes any that is there
    """
    wanted = SPLITS if task.tests_on == "test" else ("train", task.tests_on)
    try:
        builder = _builder(task.dataset, task.revision, configuration)
        builder.download_and_prepare()
        splits = {name: builder.as_dataset(split=name) for name in wanted if name in builder.info.splits}
    except Exception as error:  # the hub's clients raise what their transports raise
        folder = task.folders[0]
        raise DataError(
            f"{group}.dataset: `{task.dataset}` must be within reach, but it is not ({line_of(error)}).\n"
            f"Use --data-dir DIR with DIR/{folder}/train.parquet and DIR/{folder}/test.parquet, or --toy."
        ) from None
    if "train" not in splits:
        raise DataError(f"{task.dataset}: a data set must have a `train` split, but it has {list(splits)}.")
    return splits


def _builder(dataset: str, revision: str, name: str | None) -> DatasetBuilder:
    import datasets
    from huggingface_hub import HfApi

    if Path(dataset).is_dir():
        named = name if name in datasets.get_dataset_config_names(dataset) else None
        return datasets.load_dataset_builder(dataset, named)
    with _offline():
        try:
            cached = datasets.load_dataset_builder(dataset, name)
        except Exception:  # the library raises many kinds for "not cached"; the hub is asked next
            cached = None
    # Offline, the library takes the latest revision it finds, whichever was asked for.
    if cached is not None and revision in (BRANCH, cached.hash):
        return cached
    # It also tries a hub that cannot be reached six times over; this asks once.
    HfApi().dataset_info(dataset, revision=revision, timeout=CONNECT_S)
    return datasets.load_dataset_builder(dataset, name, revision=revision)


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
