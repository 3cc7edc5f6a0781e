"""A corpus: labelled texts in three splits, before they become tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lt_ray.errors import DataError

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts and what is asked of each: `labels[i]` is the class of `texts[i]`, int64 of shape `(n,)`; or which labels
    it has, float32 `(n, L)` of 0 and 1; or its number, float32 `(n, 1)`."""

    texts: list[str]
    labels: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.texts)

    def __add__(self, other: Texts) -> Texts:
        return Texts(self.texts + other.texts, np.concatenate([self.labels, other.labels]))

    @property
    def strata(self) -> Counts:
        """What a cut keeps the proportions of, int64 `(n,)`: the classes; of labels and numbers nothing."""
        return self.labels if self.labels.ndim == 1 else np.zeros(len(self), dtype=np.int64)

    def take(self, indices: npt.NDArray[np.int64]) -> Texts:
        """Return the texts at `indices`, int64 of shape `(m,)`, in that order."""
        return Texts([self.texts[i] for i in indices.tolist()], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Corpus:
    """A task's texts; `classes[label]` names a class."""

    train: Texts
    validation: Texts
    test: Texts
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What has to be told before anything is trained on it, in sentences"""
    name: str = "the texts"
    """What a note calls it"""

    @property
    def splits(self) -> dict[str, Texts]:
        """Split → its texts."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def digest(self) -> str:
        """SHA-256 of every text, label and class name, in order."""
        sha = hashlib.sha256()
        for strings in (*(split.texts for split in self.splits.values()), list(self.classes)):
            encoded = [string.encode() for string in strings]
            # The lengths first: without them ["ab", "c"] and ["a", "bc"] would be one.
            sha.update(np.array([len(encoded), *map(len, encoded)], dtype=np.int64).data)
            sha.update(b"".join(encoded))
        for split in self.splits.values():
            sha.update(np.ascontiguousarray(split.labels).data)
        return sha.hexdigest()


def uniforms(seed: int, purpose: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1) that depend on (seed, purpose) alone, in rows: a longer table begins with a shorter.

    Philox's raw 64-bit numbers are the part of numpy's generators that never changes between its versions.
    """
    return _uniforms(np.random.Philox(key=_key(seed, purpose)).random_raw(int(np.prod(shape)))).reshape(shape)


def uniform_rows(seed: int, purpose: str, rows: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.float64]:
    """Return some rows of the table that `uniforms` gives of this width, without the others.

    - `rows`: int64 `(m,)`; `width`: a multiple of 4, since Philox makes four numbers at a time
    """
    key = _key(seed, purpose)
    made = [np.random.Philox(key=key).advance(row * width // 4).random_raw(width) for row in rows.tolist()]
    return _uniforms(np.stack(made))


def _key(seed: int, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}/{seed}".encode()).digest()[:16], "little")


def _uniforms(raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return (np.asarray(raw, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, purpose: str, n: int) -> npt.NDArray[np.int64]:
    """Return a permutation of 0 … n−1, int64 of shape `(n,)`, that depends on (seed, purpose, n) alone."""
    return np.argsort(uniforms(seed, purpose, (n,)), kind="stable")


def cut(texts: Texts, sizes: Mapping[str, int], seed: int) -> dict[str, Texts]:
    """Return disjoint random parts of `texts`, each with the classes in the proportions that they have in `texts`.

    - `sizes`: name → texts of the part [count]; together at most `len(texts)`. Its order is the order of the draw.

    Within the part's size, each class has as many as its share says, rounded by the largest remainder. A class gets
    one text in each part where it has that many; where it has not, the first goes to `train`.
    """
    return {name: texts.take(places) for name, places in cut_indices(texts.strata, sizes, seed).items()}


def cut_indices(strata: Counts, sizes: Mapping[str, int], seed: int) -> dict[str, Counts]:
    """Return the places of each part's examples, int64, in the order in which they are drawn; see `cut`.

    - `strata`: what the cut keeps the proportions of, int64 `(n,)`
    """
    n = len(strata)
    assert sum(sizes.values()) <= n
    counts = np.unique(strata, return_counts=True)
    table = dict(zip(counts[0].tolist(), _apportioned(counts[1], sizes, n), strict=True))
    order = permutation(seed, "split", n)
    part_of = np.full(n, len(sizes))
    for label, row in table.items():
        part_of[order[strata[order] == label]] = np.repeat(np.arange(len(row)), row)
    return {name: order[part_of[order] == part] for part, name in enumerate(sizes)}


def share_sizes(source: str, n: int, shares: Mapping[str, float], group: str) -> dict[str, int]:
    """Return the examples of each part of `n`, a share (0, 1), and of the rest, as `train` [count]; see `with_rest`."""
    return with_rest(source, n, {name: round(share * n) for name, share in shares.items()}, group)


def with_rest(source: str, n: int, sizes: dict[str, int], group: str) -> dict[str, int]:
    """Return sizes of parts of `n` examples, and the rest as `train` [count].

    - `source`, `group`: where they are, and the key (`task` or `source`) whose sizes these are: for messages.

    Raises `DataError` where a part would be empty, or the rest hold fewer than two examples.
    """
    rest = n - sum(sizes.values())
    if min([*sizes.values(), rest - 1]) < 1:
        wanted = ", ".join(f"{name} {sizes[name]}" for name in sizes)
        raise DataError(
            f"{source}: a cut must leave 2 rows for train and 1 for each other split, but {n} rows "
            f"become train {rest}, {wanted}; give more rows, a file for each split, or other shares "
            f"({', '.join(f'--set {group}.{name}_share=S' for name in sizes)})."
        )
    return sizes | {"train": rest}


def _apportioned(counts: Counts, sizes: Mapping[str, int], total: int) -> Counts:
    """Return how many texts of each class each part takes, int64 of shape (classes, parts + 1); last = those left.

    - `counts`: texts of each class [count], whose sum is `total`

    Rows sum to `counts` and columns to `sizes`. Each class is shared out by the largest remainder, then parts that
    have too many give to those that have too few, in the class in which that costs the least squared distance.
    """
    wanted = np.array([*sizes.values(), total - sum(sizes.values())])
    ideal = counts[:, None] * wanted / total
    # Train first, then the largest; nothing has to be left.
    first = sorted(range(len(sizes)), key=lambda part: (list(sizes)[part] != "train", -wanted[part]))
    least = np.zeros(ideal.shape, dtype=np.int64)
    for row, count in zip(least, counts.tolist(), strict=True):
        row[first[:count]] = 1
    taken: Counts = np.maximum(np.floor(ideal).astype(np.int64), least)
    for row, aim, low, count in zip(taken, ideal, least, counts.tolist(), strict=True):
        while row.sum() < count:
            row[np.argmax(aim - row)] += 1
        while row.sum() > count:
            row[np.argmax(np.where(row > low, row - aim, -np.inf))] -= 1
    while (excess := taken.sum(axis=0) - wanted).any():
        gives, gets = int(np.argmax(excess)), int(np.argmin(excess))
        cost = (ideal - taken)[:, gives] - (ideal - taken)[:, gets]
        # One of a class that has no other in a part goes last.
        held = np.where(taken[:, gives] > least[:, gives], 0.0, np.where(taken[:, gives] > 0, total, np.inf))
        row = int(np.argmin(cost + held))
        taken[row, gives] -= 1
        taken[row, gets] += 1
    return taken
