"""The contract of a task: what the core knows of data, whatever they are of.

A task has two parts. Its settings (`cycle/tasks.py`, or a plugin's own) are a group of fields with a name; they say
what is asked of an example (`targets`), what an example is (`inputs`) and which class makes the data
(`implementation`). Its data are a `Data`: encoded once, kept under their digest, mapped by every worker.

Laws, which `tests/tasks/test_contract.py` holds every task to: the same settings give the same digest; saved and loaded
they are the same data; an epoch's batches from a step on are the rest of the epoch's; every example of a split is
measured once; batches depend on the order that is given, and augmented ones on (seed, epoch, example), and on nothing
else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.metrics import Metric, Targets
from lt_ray.errors import DamagedError
from lt_ray.tasks import kept
from lt_ray.tasks.metrics import Meter
from lt_ray.training.batch import Batch

Integers = npt.NDArray[np.int64]
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def asked(targets: npt.NDArray[Any], classes: tuple[str, ...]) -> tuple[Targets, int]:
    """Return what kind of targets an array holds, and how many classes, labels or numbers there are [count]."""
    if targets.ndim == 1:
        return "classes", len(classes)
    return ("labels" if classes else "numbers"), targets.shape[1]


class Unmade(NamedTuple):
    """Data that take long to make, and are made only where a cache does not have them."""

    key: str
    """What they are made of, as a digest"""
    make: Callable[[Path | None], Data]
    """(a directory on the file system on which they will be kept, or None) → the data; raises `DataError`"""


@dataclass(frozen=True, eq=False)
class Data(ABC):
    """A task's data: all of it that reaches a model."""

    KINDS: ClassVar[dict[str, type[Data]]] = {}
    """Name → class, by which saved ones are loaded"""
    KIND: ClassVar[str]
    PARTS: ClassVar[tuple[str, ...]]
    """Of a split's arrays, in the order of their digest"""
    TARGETS: ClassVar[str] = "targets"
    """Which of the parts is asked of the examples"""
    OWN: ClassVar[tuple[str, ...]] = ()
    """Of the fields of this class alone, those that are kept with its arrays, plain values"""
    SHOWS: ClassVar[bool] = False
    """Whether an example can be shown (`shown`); classes are then asked, and a split is measured in its own order"""

    arrays: Mapping[str, npt.NDArray[Any]]
    """`{split}.{part}` → what is kept on disk, and mapped by every worker"""
    classes: tuple[str, ...]
    """Names of the classes or labels; of numbers empty"""
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    """What has to be told before anything is trained on it, in sentences; no part of `digest`"""

    def __init_subclass__(cls, *, kind: str, **more: object) -> None:
        super().__init_subclass__(**more)
        cls.KIND = kind
        cls.KINDS[kind] = cls

    @property
    def described(self) -> dict[str, Any]:
        """What it has besides arrays and notes, as plain values: its class names, and what `fields` reads."""
        return {"classes": list(self.classes)} | {name: getattr(self, name) for name in self.OWN}

    @classmethod
    def fields(
        cls, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any], place: Path
    ) -> dict[str, Any]:
        """Return the fields of this class alone as data saved in a directory have them; a KeyError, TypeError or
        ValueError says that they are not whole."""
        return {name: described[name] for name in cls.OWN}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that reaches a model."""
        return kept.digest(self.described, self.arrays)

    @property
    def files(self) -> Sequence[Path]:
        """Files that are kept beside its arrays, under the same names."""
        return ()

    @property
    def longest(self) -> int:
        """Tokens of the longest document of train; 0 where examples have no length [count]."""
        return 0

    def save(self, directory: Path) -> None:
        """Write it so that `load` returns it; the directory appears whole or not at all.

        Several processes may save the same data at once: the first wins. A damaged or other directory is replaced.
        """
        description = {**self.described, "kind": self.KIND, "digest": self.digest, "notes": list(self.notes)}
        kept.save(directory, self.arrays, description, self.files, lambda: Data.load(directory).digest == self.digest)

    @staticmethod
    def load(directory: Path) -> Data:
        """Return what `save` wrote, of whatever kind, its arrays mapped from their file and read-only.

        Raises `DamagedError` if a file is missing, cut short, or not what its digest says.
        """
        arrays, description = kept.load(directory)
        try:
            kind = Data.KINDS[description.get("kind", "text")]
            names = [f"{split}.{part}" for split in SPLITS for part in kind.PARTS]
            # Data of an earlier release have no notes; what was trained on them can still be exported.
            notes = tuple(map(str, description.get("notes", ())))
            own = {name: arrays[name] for name in names if name in arrays}
            fields = kind.fields(own, description, directory)
            data = kind(own, tuple(description["classes"]), notes=notes, **fields)
            actual = data.digest
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DamagedError(f"{directory}: not a whole encoded data set ({error}).") from error
        if actual != description["digest"]:
            raise DamagedError(f"{directory}: the arrays' digest must be {description['digest']}, but is {actual}.")
        for array in data.arrays.values():
            array.flags.writeable = False
        return data

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """The shape of the examples and of what is asked of them, from which a model is built."""

    def targets(self, split: SplitName) -> npt.NDArray[Any]:
        """Return what is asked of a split's examples: classes int64 `(n,)`, labels float32 `(n, L)`, numbers float32
        `(n, W)`."""
        return self.arrays[f"{split}.{self.TARGETS}"]

    @abstractmethod
    def some(self, split: SplitName, examples: Integers, size: int) -> Iterator[Batch]:
        """Yield some examples of a split, in the order given.

        - `examples`: indices, int64 of shape `(m,)`; one may come more than once
        - `size`: examples of each batch but the last [count]
        """

    def epoch(
        self, order: Integers, size: int, *, by_length: bool = False, first: int = 0, seed: int = 0, epoch: int = 0
    ) -> Iterator[Batch]:
        """Yield one epoch of train.

        - `order`: the epoch's permutation of the examples, int64 `(n,)`
        - `size`: examples of a batch [count]
        - `by_length`: batch examples of like length together, where they have one
        - `first`: batches skipped without being built [count]
        - `seed`, `epoch`: what augmentation draws from, together with the example
        """
        yield from self.some("train", order[first * size :], size)

    def measuring(self, split: SplitName) -> Iterator[Batch]:
        """Yield every example of a split once, in batches of a size that suits measuring."""
        yield from self.some(split, np.arange(self.examples(split)), 512)

    def shown(self, split: SplitName, example: int) -> str:
        """Return the address of an example's small picture, `data:image/…`, of data that `SHOWS` any."""
        raise NotImplementedError

    def examples(self, split: SplitName) -> int:
        """Return the examples of a split [count]."""
        return len(self.targets(split))

    def largest(self, split: SplitName) -> int | None:
        """Return the examples of a split's largest class [count]; None where there are no classes."""
        if self.facts.targets != "classes":
            return None
        return int(np.unique(self.targets(split), return_counts=True)[1].max())

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the batch's mean loss, in float32, over what `weight` counts.

        - `outputs`: of a model. Classes: float (B, C), cross-entropy; C = 1 means two classes, binary cross-entropy on
          the logit of class 1. Labels: float (B, L), binary cross-entropy of each. Numbers: float (B, W), squared error
        """
        outputs, targets = outputs.float(), batch.targets
        if self.facts.targets == "numbers":
            return F.mse_loss(outputs, targets)
        if self.facts.targets == "labels":
            return F.binary_cross_entropy_with_logits(outputs, targets)
        if outputs.shape[1] == 1:
            return F.binary_cross_entropy_with_logits(outputs.squeeze(1), targets.to(outputs.dtype))
        return F.cross_entropy(outputs, targets)

    def weight(self, batch: Batch) -> float:
        """Return by how much a batch's mean loss counts in a split's: its examples."""
        return float(len(batch))

    def meter(self, metrics: Sequence[Metric]) -> Meter:
        """Return what adds up a split for these metrics."""
        return Meter(metrics, self.facts)
