"""Data sets of the hub: the cached revision where it is there, else the hub, asked once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lt_ray.cycle.identity import digest
from lt_ray.cycle.pictures import PublicPictures
from lt_ray.errors import DataError
from lt_ray.tasks.images_sources import Listed, Listing, bytes_of, classes_among, coded
from lt_ray.tasks.tables import PLAIN, Labelled, Layout, labelled, listed, table
from lt_ray.tasks.task import SPLITS

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

CONNECT_S = 10.0
"""Longest wait for the hub's first answer [s]"""
BRANCH = "main"
"""The one revision that moves: any cached copy will do for it"""


def read(
    dataset: str,
    revision: str,
    group: str,
    folder: str,
    layout: Layout = PLAIN,
    configuration: str | None = None,
    wanted: Sequence[str] = SPLITS,
) -> Labelled:
    """Return split → texts of the hub's `dataset`, `train` always among them, the class names, and
    notes for the user.

    - `dataset`: its name there, or a folder laid out as on the hub; `revision` has no meaning then.
    - `revision`: its commit, read from the local cache where it is there; `main` = the cached copy, else the newest.
    - `group`, `folder`: who asks (`task` or `source`), and where its files could be instead: for the message.
    - `layout`: the columns that count where `text` and `label` are not both there.
    - `wanted`: the splits that are read, where they are there; IMDb's `unsupervised` has no labels.
    - `configuration`: which one of a data set that has several; of its cache, the library takes any that is there.

    Raises `DataError` where the data set cannot be had or used.
    """
    splits = _splits(dataset, revision, group, folder, configuration, wanted)
    tables = {}
    for name, split in splits.items():
        read_ = [column for column in split.column_names if column in layout.columns]
        columns = dict.fromkeys(split.column_names, ()) | split.select_columns(read_)[:]
        tables[name] = [table(f"{dataset} ({name})", columns, layout)]
    names = getattr(splits["train"].features[layout.of(splits["train"].column_names).label], "names", None)
    return labelled(tables, tuple(names) if names else None)


def pictures(task: PublicPictures, group: str) -> Listed:
    """Return the pictures of the hub's data set of a task, listed; a folder laid out as there will do, too.

    - `group`: who asks, `task` or `source`: for messages

    Raises `DataError` where the data set cannot be had or used.
    """
    import datasets

    wanted = SPLITS if task.tests_on == "test" else ("train", task.tests_on)
    splits = _splits(task.dataset, task.revision, group, task.folders[0], None, wanted)
    image, label = task.columns or task.hub_columns
    for name, split in splits.items():
        if missing := [column for column in (image, label) if column not in split.column_names]:
            raise DataError(
                f"{task.dataset} ({name}): the column `{missing[0]}` must be there, but there is "
                f"{listed(split.column_names)}; name the picture's and the class's: "
                "--set task.columns=[PICTURE,CLASS]."
            )
    told = getattr(splits["train"].features[label], "names", None)
    classes, codes = classes_among(splits["train"][label], tuple(told) if told else None)

    def listing(name: str) -> Listing:
        split = splits[name].select_columns([image]).cast_column(image, datasets.Image(decode=False))
        files = [Path(file["filename"]) for file in split.cache_files]
        stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]

        def called(place: int) -> str:
            return f"{task.dataset} ({name}), row {place + 1}"

        return Listing(
            coded(splits[name][label], codes, classes, called),
            called,
            lambda: (bytes_of(row[image]) for row in split),
            digest([task.dataset, task.revision, name, stamps]),
        )

    return Listed({name: listing(name) for name in splits}, classes)


def _splits(
    dataset: str, revision: str, group: str, folder: str, configuration: str | None, wanted: Sequence[str]
) -> dict[str, Dataset]:
    """The wanted splits of a data set that are there, `train` among them; see `read`."""
    try:
        builder = _builder(dataset, revision, configuration)
        builder.download_and_prepare()
        splits = {name: builder.as_dataset(split=name) for name in wanted if name in builder.info.splits}
    except Exception as error:  # the hub's clients raise what their transports raise
        reason = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
        raise DataError(
            f"{group}.dataset: `{dataset}` must be within reach, but it is not ({reason}).\n"
            f"Use --data-dir DIR with DIR/{folder}/train.parquet and DIR/{folder}/test.parquet, or --toy."
        ) from None
    if "train" not in splits:
        raise DataError(f"{dataset}: a data set must have a `train` split, but it has {list(splits)}.")
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
