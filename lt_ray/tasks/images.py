"""The task of pictures: from what is listed to data, decoded or encoded, made once."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lt_ray.cycle.identity import digest
from lt_ray.cycle.pictures import FilePictures, Images, Pictures, PublicPictures
from lt_ray.errors import DataError
from lt_ray.tasks import hub, notes
from lt_ray.tasks import images_decode as decode
from lt_ray.tasks import images_sources as sources
from lt_ray.tasks.corpus import cut_indices, share_sizes
from lt_ray.tasks.images_data import Encoded, ImageData, View, check_of
from lt_ray.tasks.images_sources import Listed, Listing
from lt_ray.tasks.public import check_classes
from lt_ray.tasks.splits import place
from lt_ray.tasks.tables import listed
from lt_ray.tasks.task import SPLITS, Integers, Unmade

DECODED = 2**31
"""Bytes up to which all pictures of a task are kept decoded [count]"""
ENCODING = 2
"""Raised when the same files become other data; part of their name in a cache"""
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's channel means and deviations, as torchvision's and transformers' models expect them"""
SHOWN = 5
"""Broken pictures that a message names [count]"""
AT_ONCE = 256
"""Pictures that are read before they are decoded together [count]"""


@dataclass(frozen=True)
class _Part:
    """Some pictures of a listing, which become a split."""

    origin: Listing
    places: Integers
    """Of the pictures in the listing, rising"""


def data(task: FilePictures, data_dir: Path | None, group: str = "task") -> Unmade:
    """Return the task's pictures, listed and cut.

    - `data_dir`: a folder with the pictures, or with a folder that is named as the task; None = the hub's, of a task
      that has a place there
    - `group`: who asks, `task` or `source`: the key that messages name

    A split that is not there is cut from train by the task's shares and seed, each class in its proportion; where the
    task says that another official split tests, that one is the test.

    Raises `DataError` where they cannot be had or break a rule.
    """
    where, found = _listed(task, data_dir, group)
    splits = dict(found.splits)
    if isinstance(task, PublicPictures):
        _check_public(task, where, found)
        splits = {"train": splits["train"], "test": splits[task.tests_on]} | (
            {"validation": splits["validation"]} if task.tests_on == "test" and "validation" in splits else {}
        )
    deciding = task.metrics[0]
    if len(found.classes) < deciding.least_width:
        raise DataError(
            f"{where}: `{group}.metric` {deciding.name} must have {deciding.least_width} classes or more, but there "
            f"are {len(found.classes)}; let another decide."
        )
    parts = {split: _Part(listing, np.arange(len(listing.labels))) for split, listing in splits.items()}
    shares = {"validation": task.validation_share} | ({"test": task.test_share} if isinstance(task, Images) else {})
    missing = {split: share for split, share in shares.items() if split not in splits}
    if missing:
        train = splits["train"]
        sizes = share_sizes(where, len(train.labels), missing, group)
        cut = cut_indices(train.labels, sizes, task.split_seed)
        parts |= {split: _Part(train, np.sort(cut[split])) for split in ("train", *missing)}
    stamps = {split: parts[split].origin.stamp for split in SPLITS}
    made_of = {"task": task.meaning() | {"metric": None}, "files": stamps, "classes": list(found.classes)}
    return Unmade(digest(made_of | {"encoding": ENCODING}), partial(_make, task, parts, found))


def _make(task: FilePictures, parts: Mapping[str, _Part], found: Listed, scratch: Path | None) -> ImageData:
    """The data, every picture looked at once: decoded, or encoded in a folder of `scratch`.

    Raises `DataError` where more pictures are broken than the task allows, and where a class is left with none.
    """
    pictures = sum(len(part.places) for part in parts.values())
    if task.crop != "resized" and pictures * 3 * task.size**2 <= DECODED:
        return _made(task, parts, found, None)
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=scratch, prefix=".pictures-"))
    try:
        made = _made(task, parts, found, directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    weakref.finalize(made.encoded, shutil.rmtree, directory, ignore_errors=True)
    return made


def _made(task: FilePictures, parts: Mapping[str, _Part], found: Listed, directory: Path | None) -> ImageData:
    making: dict[str, _Making] = {
        split: _Making(task, found.classes, split, parts[split], directory) for split in SPLITS
    }
    with ThreadPoolExecutor(os.cpu_count(), "decoding") as pool:
        for origin in {id(part.origin): part.origin for part in parts.values()}.values():
            _read(origin, [split for split in making.values() if split.part.origin is origin], pool)
    told = [note for split in making.values() for note in split.told()]
    arrays = {name: array for split in making.values() for name, array in split.arrays().items()}
    name, checks = f"task `{task.name}`", {split: own.checks.tolist() for split, own in making.items()}
    told += notes.of_classes(name, {split: arrays[f"{split}.targets"] for split in SPLITS}, found.classes, "pictures")
    told += notes.of_examples(name, checks, "pictures")
    encoded = None if directory is None else Encoded(directory, arrays)
    return ImageData(arrays, found.classes, _view(task, making["train"]), encoded, notes=(*found.notes, *told))


def _listed(task: FilePictures, data_dir: Path | None, group: str) -> tuple[str, Listed]:
    """Where a task's pictures are, and what is there."""
    columns = sources.COLUMNS if task.columns is None else ((task.columns[0], task.columns[1]),)
    if data_dir is not None:
        directory = place(data_dir, task.folders if isinstance(task, PublicPictures) else (task.name,))
        return str(directory), sources.read(directory, columns)
    if isinstance(task, PublicPictures):
        return task.dataset, hub.pictures(task, group)
    raise DataError(
        f"{group} `{task.name}` must have a data directory, but got none; name the folder of your pictures with "
        "--data-dir DIR, or use --toy."
    )


def _check_public(task: PublicPictures, where: str, found: Listed) -> None:
    if task.tests_on not in found.splits:
        raise DataError(
            f"{where}: task `{task.name}` must have a split `{task.tests_on}` besides `train`, but there is "
            f"{listed(found.splits)}; add it, or use task `images`, which cuts a test from train."
        )
    check_classes(where, task, found.classes, "images")


@dataclass
class _Making:
    """A split on its way from bytes to arrays."""

    task: FilePictures
    classes: Sequence[str]
    split: str
    part: _Part
    directory: Path | None
    """Where encoded pictures are written; None = they are kept decoded"""
    broken: list[tuple[int, str]] = field(default_factory=list)
    """Place in the listing, and why"""
    sums: Integers = field(default_factory=lambda: np.zeros((2, 3), dtype=np.int64))
    """Of each channel's values, and of their squares"""

    def __post_init__(self) -> None:
        n, size = len(self.part.places), self.task.size
        self._whole = np.zeros(n, dtype=np.bool_)
        self._checks, self._lengths = np.zeros((2, n), dtype=np.int64)
        self._pixels = np.empty((n, 3, size, size), np.uint8) if self.directory is None else None
        self._file = None if self.directory is None else Encoded.path(self.directory, self.split).open("wb")

    def take(self, place: int, raw: bytes, seen: decode.Pixels | str) -> None:
        """Take in a picture: what is seen of it, or why it is broken."""
        own = int(np.searchsorted(self.part.places, place))
        if isinstance(seen, str):
            self.broken.append((place, seen))
            return
        self._whole[own], self._checks[own], self._lengths[own] = True, check_of(raw), len(raw)
        if self.split == "train":
            values = seen.reshape(3, -1).astype(np.int64)
            self.sums += np.stack([values.sum(axis=1), (values**2).sum(axis=1)])
        if self._pixels is not None:
            self._pixels[own] = seen
        if self._file is not None:
            self._file.write(raw)

    @property
    def checks(self) -> Integers:
        """Checks of the whole pictures' bytes, int64 (n,)."""
        checks: Integers = self._checks[self._whole]
        return checks

    def told(self) -> Iterator[str]:
        """Yield what is said of broken pictures; raises `DataError` where there are more than the task allows."""
        if not self.broken:
            return
        origin, n = self.part.origin, len(self.part.places)
        shown = "; ".join(
            f"{origin.name(place)} (class `{self.classes[origin.labels[place]]}`): {why}"
            for place, why in self.broken[:SHOWN]
        )
        more = "; …" if len(self.broken) > SHOWN else ""
        said = f"{self.split}: {len(self.broken):,} of {n:,} pictures are broken: {shown}{more}"
        if len(self.broken) > self.task.broken_share * n:
            raise DataError(
                f"{said}. At most a share of {self.task.broken_share:g} may be; mend or remove them, or leave them out "
                f"with --set task.broken_share={-(-len(self.broken) * 1000 // n) / 1000:g}."
            )
        yield f"{said}. They are left out."

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of `ImageData`."""
        if self._file is not None:
            self._file.close()
        whole = slice(None) if self._whole.all() else self._whole
        found: dict[str, Any] = {"targets": self.part.origin.labels[self.part.places][whole]}
        if self._pixels is not None:
            found["pixels"] = self._pixels[whole]
        else:
            found |= {"lengths": self._lengths[whole], "checks": self.checks}
        return {f"{self.split}.{name}": array for name, array in found.items()}


def _read(origin: Listing, makings: Sequence[_Making], pool: ThreadPoolExecutor) -> None:
    """Read a listing once, and hand each picture to the split that has it."""
    owner = np.full(len(origin.labels), -1)
    for number, making in enumerate(makings):
        owner[making.part.places] = number
    task = makings[0].task
    looked = partial(_seen, size=task.size, centre=task.centre)
    first, coming = 0, origin.read()
    while raws := list(islice(coming, AT_ONCE)):
        for number, (raw, seen) in enumerate(zip(raws, pool.map(looked, raws), strict=True), first):
            makings[owner[number]].take(number, raw, seen)
        first += len(raws)


def _seen(raw: bytes, size: int, centre: float) -> decode.Pixels | str:
    try:
        return decode.middle(decode.opened(raw), size, centre)
    except decode.BrokenPictureError as error:
        return str(error)


def _view(task: Pictures, train: _Making) -> View:
    if task.normalisation == "imagenet":
        mean, deviation = IMAGENET
    else:
        many = len(train.checks) * task.size**2
        means = train.sums[0] / (255 * many)
        squares = train.sums[1] / (255**2 * many) - means**2
        mean = tuple(means.tolist())
        deviation = tuple(np.sqrt(np.maximum(squares, 1e-12)).tolist())
    fields = ("size", "crop", "padding", "least_area", "flip", "centre")
    return View(**{name: task.meaning()[name] for name in fields}, mean=mean, deviation=deviation)
