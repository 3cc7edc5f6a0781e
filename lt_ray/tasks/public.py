"""Public text sets, from a folder or from the hub: their classes and their cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add, itemgetter
from pathlib import Path

import numpy as np

from lt_ray.cycle.pictures import PublicPictures
from lt_ray.cycle.tasks import PublicTexts
from lt_ray.errors import DataError
from lt_ray.tasks import files, hub
from lt_ray.tasks.corpus import Corpus, Texts, cut, share_sizes, with_rest
from lt_ray.tasks.splits import place
from lt_ray.tasks.tables import Labelled, Layout, layout_of, listed
from lt_ray.tasks.task import SPLITS

STARS = (tuple("12345"), tuple("01234"))
"""First words of the class names that are stars, and become polarity"""
POLARITY = ("negative", "positive")
"""Class names of stars 1–2 and 4–5"""


def corpus(task: PublicTexts, data_dir: Path | None, group: str = "task") -> Corpus:
    """Return the task's texts, cut as it says.

    - `data_dir`: a folder with `task.folders/train.*` and `test.*`, or with these files themselves; None = the
      hub's `task.dataset` at `task.revision`.
    - `group`: who asks, `task` or `source`: the key that messages name.

    Reviews by stars become polarity where the task is `yelp_polarity`: 1–2 negative, 4–5 positive, 3 dropped. A row is
    its `text` and `label`, or what the task's `columns` name; Yahoo's without either is its title and its topic. The
    few without a text in such columns are left out of every split, and a note says how many.

    Raises `DataError` where the texts cannot be had, have other classes than the task, or are too few for its cut.
    """
    if data_dir is None:
        source, (splits, classes, notes) = task.dataset, hub.read(task, group, _layout(task))
    else:
        directory = place(data_dir, task.folders)
        source, (splits, classes, notes) = str(directory), _from_folder(task, directory)
    if "test" not in splits and task.tests_on in splits:
        splits = {"train": splits["train"], "test": splits[task.tests_on]}
    if "test" not in splits:
        raise DataError(
            f"{source}: task `{task.name}` must have a `test` split besides `train`, but there is none; add a file "
            "for it, or use task `folder`, which cuts one from train."
        )
    if task.name == "yelp_polarity" and len(classes) == len(STARS[0]):
        splits, classes = _polarity(source, splits, classes), POLARITY
    also = f" (or {len(STARS[0])}, the stars)" if task.name == "yelp_polarity" else ""
    check_classes(source, task, classes, "folder", also)
    train, validation, test = _cut(task, source, splits, group)
    return Corpus(train, validation, test, classes, notes)


def check_classes(
    source: str, task: PublicTexts | PublicPictures, classes: Sequence[str], general: str, also: str = ""
) -> None:
    """Raise `DataError` where there are not as many classes as a public task has.

    - `source`: where they are; `general`: the task that takes any; `also`: what else would do
    """
    if len(classes) != task.class_count:
        raise DataError(
            f"{source}: task `{task.name}` must have {task.class_count} classes{also}, but there are {len(classes)}: "
            f"{listed(classes)}; name another folder with --data-dir, or use task `{general}`."
        )


def _from_folder(task: PublicTexts, directory: Path) -> Labelled[Texts]:
    if directory.is_dir() and not files.holds_data(directory):
        wanted = " or ".join(f"`{name}`" for name in task.folders)
        raise DataError(
            f"{directory}: task `{task.name}` must have its files there, or in a folder {wanted} there, but it holds "
            f"{listed(sorted(path.name for path in directory.iterdir()))}; name another with --data-dir."
        )
    return files.read(directory, _layout(task))


def _layout(task: PublicTexts) -> Layout:
    return layout_of(task.columns, Layout(task.hub_columns[:-1], task.hub_columns[-1]))


def _polarity(source: str, splits: Mapping[str, Texts], classes: tuple[str, ...]) -> dict[str, Texts]:
    if tuple(name.partition(" ")[0] for name in classes) not in STARS:
        raise DataError(
            f"{source}: five classes become polarity where they are stars, named `1 star`, …, `5 stars` or by their "
            f"numbers, but they are {listed(classes)}; name them so in labels.json."
        )
    middle = len(classes) // 2
    polar = {}
    for name, texts in splits.items():
        kept = texts.take(np.flatnonzero(texts.labels != middle))
        if not len(kept):
            raise DataError(f"{source}: a split must hold a review with other than 3 stars, but {name} holds none.")
        polar[name] = Texts(kept.texts, (kept.labels > middle).astype(np.int64))
    return polar


def _cut(task: PublicTexts, source: str, splits: dict[str, Texts], group: str) -> list[Texts]:
    """Train, validation and test: of the official splits, or of all of them pooled, as the task says."""
    pooled = task.split == "pooled"
    sizes: Sequence[int] | None = task.sizes
    if pooled:
        pool = reduce(add, [splits[name] for name in SPLITS if name in splits])
        test = round(task.test_share * len(pool))
        parts = {"validation": round(task.validation_share * (len(pool) - test)), "test": test}
        splits, sizes = {"train": pool}, sizes or itemgetter(*SPLITS)(with_rest(source, len(pool), parts, group))
    if sizes is not None:
        return _drawn(sizes, task.split_seed, source, splits, group, pooled=pooled)
    if "validation" not in splits:
        parts = share_sizes(source, len(splits["train"]), {"validation": task.validation_share}, group)
        splits = splits | cut(splits["train"], parts, task.split_seed)
    return [splits[name] for name in SPLITS]


def _drawn(
    sizes: Sequence[int], seed: int, source: str, splits: Mapping[str, Texts], group: str, *, pooled: bool
) -> list[Texts]:
    """Return as many of each split as asked for; those that are not there come from train."""
    origins: dict[str, str] = {name: name if name in splits else "train" for name in SPLITS}
    drawn: dict[str, dict[str, int]] = {
        origin: {name: size for name, size in zip(SPLITS, sizes, strict=True) if origins[name] == origin}
        for origin in dict.fromkeys(origins.values())
    }
    for origin, parts in drawn.items():
        if len(splits[origin]) < sum(parts.values()):
            most = {name: min(1.0, len(splits[name]) / sum(parts.values())) for name, parts in drawn.items()}
            fewer = [max(1, int(most[origins[name]] * size)) for name, size in zip(SPLITS, sizes, strict=True)]
            where, other = ("documents", "") if pooled else (f"in {origin}", f", or use --set {group}.split=pooled")
            raise DataError(
                f"{source}: `{group}.sizes` must be no more than there are, but {' and '.join(parts)} ask for "
                f"{sum(parts.values())} of the {len(splits[origin])} {where}; ask for fewer with --set "
                f"{group}.sizes=[{','.join(map(str, fewer))}]{other}."
            )
    return [part for origin, parts in drawn.items() for part in cut(splits[origin], parts, seed).values()]
