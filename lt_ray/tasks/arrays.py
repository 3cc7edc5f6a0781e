"""Arrays of numbers: the plainest task, and what a plugin's own data usually are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from lt_ray.cycle.facts import Facts
from lt_ray.errors import DataError
from lt_ray.tasks.task import SPLITS, Data, Integers, SplitName, asked
from lt_ray.training.batch import Batch

Pair = tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True, eq=False)
class ArrayData(Data, kind="arrays"):
    """Examples that are arrays of one shape, whole in memory or mapped from a file.

    - `arrays`: `{split}.inputs`, float32 `(n, …)`, and `{split}.targets`: classes int64 `(n,)`, labels float32
      `(n, L)` of 0 and 1, or numbers float32 `(n, W)`
    """

    PARTS: ClassVar[tuple[str, ...]] = ("inputs", "targets")

    @classmethod
    def of(cls, splits: Mapping[str, Pair], classes: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> Self:
        """Return data made of arrays.

        - `splits`: `train`, `validation` and `test` → (inputs, targets)
        - `classes`: names; without any, whole-number targets are classes named by their numbers

        Raises `DataError` where arrays do not fit together.
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        for split in SPLITS:
            if split not in splits:
                raise DataError(f"arrays must have the splits {', '.join(SPLITS)}, but there is no {split}; give it.")
            inputs, targets = np.asarray(splits[split][0], dtype=np.float32), np.asarray(splits[split][1])
            whole = targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)
            targets = targets.astype(np.int64) if whole else targets.astype(np.float32)
            targets = targets if whole or targets.ndim == 2 else targets.reshape(len(targets), -1)
            if len(inputs) != len(targets) or not len(inputs):
                raise DataError(
                    f"{split}: `inputs` and `targets` must be as many, one or more, but got {len(inputs)} and "
                    f"{len(targets)}; give one target for each input."
                )
            arrays |= {f"{split}.inputs": inputs, f"{split}.targets": targets}
        if not classes and arrays["train.targets"].ndim == 1:
            classes = tuple(map(str, range(int(max(arrays[f"{split}.targets"].max() for split in SPLITS)) + 1)))
        return cls(arrays, classes, notes=notes)

    @property
    def facts(self) -> Facts:
        """What a model must know of it."""
        kind, width = asked(self.arrays["train.targets"], self.classes)
        return Facts("arrays", kind, width, shape=self.arrays["train.inputs"].shape[1:])

    def some(self, split: SplitName, examples: Integers, size: int) -> Iterator[Batch]:
        """Yield some examples of a split, in the order given."""
        for first in range(0, len(examples), size):
            chosen = examples[first : first + size]
            inputs, targets = self.arrays[f"{split}.inputs"][chosen], self.arrays[f"{split}.targets"][chosen]
            yield Batch(torch.from_numpy(inputs), torch.from_numpy(targets))
