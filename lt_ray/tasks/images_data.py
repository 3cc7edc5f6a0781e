"""Pictures as data: kept decoded where they are small, else encoded; cropped, flipped and normalised.

What an epoch makes of a picture depends on (seed, epoch, example) alone: not on the batch it is in, on where the epoch
was taken up again, or on how many threads decode.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic.dataclasses
import torch

from lt_ray.cycle.facts import Facts
from lt_ray.errors import DamagedError
from lt_ray.tasks import images_decode as decode
from lt_ray.tasks.corpus import uniform_rows, uniforms
from lt_ray.tasks.images_decode import Numbers, Pixels
from lt_ray.tasks.task import SPLITS, Data, Integers, SplitName
from lt_ray.training.batch import Batch

MEASURED = 2**24
"""Numbers of a batch that is measured, unless one picture alone has more [count]"""


@pydantic.dataclasses.dataclass(frozen=True)
class View:
    """What a model sees of a picture; fields as those of `cycle.tasks.Pictures`."""

    size: int
    crop: Literal["none", "padded", "resized"] = "none"
    padding: int = 0
    least_area: float = 1.0
    flip: bool = False
    centre: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Of each channel, of brightness in [0, 1]"""
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Of each channel"""

    @property
    def changes(self) -> bool:
        """Whether an epoch's pictures are others than those that are measured."""
        return self.flip or self.crop != "none"

    def normalised(self, pixels: Pixels) -> torch.Tensor:
        """Return float32 (B, 3, S, S) of pixels, uint8 (B, 3, S, S)."""
        deviation, mean = (torch.tensor(of, dtype=torch.float64)[:, None, None] for of in (self.deviation, self.mean))
        scale, shift = 1 / (255 * deviation), mean / deviation
        return torch.from_numpy(pixels).float().mul_(scale.float()).sub_(shift.float())


def check_of(data: bytes) -> int:
    """Return the first 63 bits of the SHA-256 of a picture's bytes."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1


class Encoded:
    """Encoded pictures, one after the other in a file for each split, which every worker maps.

    - `arrays`: `{split}.lengths` and `{split}.checks`, int64 `(n,)`

    Raises `DamagedError` where a file is not as long as its pictures.
    """

    def __init__(self, directory: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.directory = directory
        self._arrays = arrays
        self._ends = {split: np.cumsum(arrays[f"{split}.lengths"]) for split in SPLITS}
        for split, path in zip(SPLITS, self.paths, strict=True):
            if not path.exists() or path.stat().st_size != self._ends[split][-1]:
                raise DamagedError(f"{directory}: not a whole encoded data set (the pictures of {split}).")
        self._bytes = {split: np.memmap(self.path(directory, split), np.uint8, "r") for split in SPLITS}

    @staticmethod
    def path(directory: Path, split: str) -> Path:
        """Return the file of a split."""
        return directory / f"{split}.pictures"

    @property
    def paths(self) -> list[Path]:
        """The files of all splits."""
        return [self.path(self.directory, split) for split in SPLITS]

    def read(self, split: SplitName, example: int) -> bytes:
        """Return a picture's bytes; raises `DamagedError` where they are not those that were kept."""
        end = self._ends[split][example]
        data: bytes = self._bytes[split][end - self._arrays[f"{split}.lengths"][example] : end].tobytes()
        if check_of(data) != self._arrays[f"{split}.checks"][example]:
            raise DamagedError(f"{self.directory}: picture {example} of {split} is not the one that was kept.")
        return data


@dataclass(frozen=True, eq=False)
class ImageData(Data, kind="images"):
    """Pictures of several classes.

    - `arrays`: `{split}.targets`, int64 `(n,)`; and either `{split}.pixels`, uint8 `(n, 3, S, S)`: the middles, or
      `{split}.lengths` and `{split}.checks`, int64 `(n,)`, of pictures that are `encoded`
    """

    PARTS: ClassVar[tuple[str, ...]] = ("targets", "pixels", "lengths", "checks")
    SHOWS: ClassVar[bool] = True

    view: View
    encoded: Encoded | None = None
    workers: int | None = field(default=None, kw_only=True)
    """Threads that decode ahead; 0 = none; None = as many as torch computes with: `--cpus-per-trial` [count]"""

    @property
    def described(self) -> dict[str, Any]:
        """What it has besides arrays and notes."""
        return {**super().described, "view": asdict(self.view)}

    @classmethod
    def fields(
        cls, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any], place: Path
    ) -> dict[str, Any]:
        """Return the view, and the encoded pictures, each of which is looked at when it is read."""
        return {
            "view": View(**described["view"]),
            "encoded": Encoded(place, arrays) if "train.lengths" in arrays else None,
        }

    @property
    def files(self) -> Sequence[Path]:
        """Files of encoded pictures."""
        return () if self.encoded is None else self.encoded.paths

    @property
    def facts(self) -> Facts:
        """What a model must know of it."""
        return Facts("images", "classes", len(self.classes), shape=(3, self.view.size, self.view.size))

    def some(self, split: SplitName, examples: Integers, size: int) -> Iterator[Batch]:
        """Yield some pictures of a split as they are measured, in the order given."""
        return self._batches(split, examples, size, None)

    def shown(self, split: SplitName, example: int) -> str:
        """Return a picture as it is measured, but small."""
        (pixels,) = self._pixels(split, np.array([example]))
        return decode.address(pixels)

    def measuring(self, split: SplitName) -> Iterator[Batch]:
        """Yield every picture of a split once, without augmentation."""
        size = max(1, min(512, MEASURED // (3 * self.view.size**2)))
        return self.some(split, np.arange(self.examples(split)), size)

    def epoch(
        self, order: Integers, size: int, *, by_length: bool = False, first: int = 0, seed: int = 0, epoch: int = 0
    ) -> Iterator[Batch]:
        """Yield one epoch of train, augmented; see `Data.epoch`."""
        numbers = _drawn(seed, epoch, len(order), self.view.crop) if self.view.changes else None
        return self._batches("train", order[first * size :], size, numbers)

    def _batches(
        self, split: SplitName, examples: Integers, size: int, numbers: Callable[[Integers], Numbers] | None
    ) -> Iterator[Batch]:
        def made(first: int) -> Batch:
            chosen = examples[first : first + size]
            drawn = None if numbers is None else numbers(chosen)
            return Batch(self._seen(split, chosen, drawn), torch.from_numpy(self.targets(split)[chosen]))

        firsts = range(0, len(examples), size)
        workers = torch.get_num_threads() if self.workers is None else self.workers
        # Small pictures are cut out of memory: faster than handing them from thread to thread.
        return map(made, firsts) if self.encoded is None or not workers else _ahead(made, firsts, workers)

    def _seen(self, split: SplitName, examples: Integers, drawn: Numbers | None) -> torch.Tensor:
        """Some pictures as a model sees them, float32 (B, 3, S, S); `drawn` for training, None for measuring."""
        view = self.view
        if self.encoded is not None and drawn is not None and view.crop == "resized":
            pairs = zip(self._opened(split, examples), drawn, strict=True)
            pixels = np.stack([decode.part(picture, view.size, own, view.least_area) for picture, own in pairs])
        else:
            pixels = self._pixels(split, examples)
        if drawn is not None:
            pixels = decode.moved(pixels, drawn, view.padding) if view.crop == "padded" else pixels
            pixels = decode.flipped(pixels, drawn) if view.flip else pixels
        return view.normalised(pixels)

    def _pixels(self, split: SplitName, examples: Integers) -> Pixels:
        """Some pictures as they are measured, uint8 (B, 3, S, S)."""
        if self.encoded is None:
            pixels: Pixels = self.arrays[f"{split}.pixels"][examples]
            return pixels
        view = self.view
        return np.stack([decode.middle(p, view.size, view.centre) for p in self._opened(split, examples)])

    def _opened(self, split: SplitName, examples: Integers) -> Iterator[Any]:
        assert self.encoded is not None
        for example in examples.tolist():
            yield decode.opened(self.encoded.read(split, example))


def _drawn(seed: int, epoch: int, examples: int, crop: str) -> Callable[[Integers], Numbers]:
    """Some examples → the numbers that an epoch's augmentation uses, whichever others are asked for: rows in [0, 1).

    - `examples`: there are [count]; `crop`: as in `View`, which says how many numbers are used
    """
    purpose = f"pictures of epoch {epoch}"
    if crop == "resized":  # of many large pictures a table would take as much memory as it saves time
        return lambda some: uniform_rows(seed, purpose, some, decode.DRAWS)
    return uniforms(seed, purpose, (examples, decode.FEW_DRAWS)).__getitem__


def _ahead(made: Callable[[int], Batch], firsts: range, workers: int) -> Iterator[Batch]:
    """Yield what is made of each in turn, a batch for each thread ahead and one more."""
    waiting: collections.deque[Future[Batch]] = collections.deque()
    pool = ThreadPoolExecutor(workers, "pictures")
    try:
        coming = iter(firsts)
        waiting.extend(pool.submit(made, first) for first in itertools.islice(coming, workers + 1))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(made, first) for first in itertools.islice(coming, 1))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
