"""A corpus: labelled texts in three splits, before they become tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lt_ray.errors import DataError


@dataclass(frozen=True, eq=False)
class Texts:
    """Labelled texts: `texts[i]` belongs to class `labels[i]`; labels are int64 of shape `(n,)`."""

    texts: list[str]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def __add__(self, other: Texts) -> Texts:
        return Texts(self.texts + other.texts, np.concatenate([self.labels, other.labels]))

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

    @property
    def digest(self) -> str:
        """SHA-256 of every text, label and class name, in order."""
        sha = hashlib.sha256()
        for strings in (self.train.texts, self.validation.texts, self.test.texts, list(self.classes)):
            encoded = [string.encode() for string in strings]
            # The lengths first: without them ["ab", "c"] and ["a", "bc"] would be one.
            sha.update(np.array([len(encoded), *map(len, encoded)], dtype=np.int64).data)
            sha.update(b"".join(encoded))
        for split in (self.train, self.validation, self.test):
            sha.update(split.labels.data)
        return sha.hexdigest()


def uniforms(seed: int, purpose: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1) that depend on (seed, purpose) alone, in rows: a longer table begins with a shorter.

    Philox's raw 64-bit numbers are the part of numpy's generators that never changes between its versions.
    """
    key = int.from_bytes(hashlib.sha256(f"{purpose}/{seed}".encode()).digest()[:16], "little")
    raw = np.asarray(np.random.Philox(key=key).random_raw(int(np.prod(shape))), dtype=np.uint64)
    return (raw >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def permutation(seed: int, purpose: str, n: int) -> npt.NDArray[np.int64]:
    """Return a permutation of 0 … n−1, int64 of shape `(n,)`, that depends on (seed, purpose, n) alone."""
    return np.argsort(uniforms(seed, purpose, (n,)), kind="stable")


def cut(texts: Texts, sizes: Sequence[int], seed: int) -> list[Texts]:
    """Return disjoint random parts of `texts`, of the given sizes [count], whose sum is at most `len(texts)`."""
    assert sum(sizes) <= len(texts)
    order = permutation(seed, "split", len(texts))
    ends = np.cumsum(sizes)
    return [texts.take(order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def cut_shares(source: str, texts: Texts, shares: dict[str, float], seed: int, group: str = "task") -> dict[str, Texts]:
    """Return the parts that `shares` name (name → share of all texts, (0, 1)) and the rest, as `train`.

    - `source`, `group`: where the texts are, and the key (`task` or `source`) whose shares these are: for messages.

    Raises `DataError` where a part would be empty, or the rest hold fewer than two texts.
    """
    sizes = {name: round(share * len(texts)) for name, share in shares.items()}
    rest = len(texts) - sum(sizes.values())
    if min([*sizes.values(), rest - 1]) < 1:
        wanted = ", ".join(f"{name} {sizes[name]}" for name in sizes)
        raise DataError(
            f"{source}: a cut must leave 2 rows for train and 1 for each other split, but {len(texts)} rows "
            f"become train {rest}, {wanted}; give more rows, a file for each split, or other shares "
            f"({', '.join(f'--set {group}.{name}_share=S' for name in sizes)})."
        )
    parts = cut(texts, [*sizes.values(), rest], seed)
    return dict(zip([*sizes, "train"], parts, strict=True))
