"""Batches of one split as (inputs, targets), for tests that look at tokens."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from lt_ray.tasks.task import SPLITS
from lt_ray.tasks.text import PADDING, Split, TextData

Pair = tuple[Tensor, Tensor]


def data_of(split: Split, padding: int = PADDING) -> TextData:
    """Data whose every split is this one."""
    return TextData.of(dict.fromkeys(SPLITS, split), ("a", "b"), 10**6, padding)


def batches(split, order, size, length_batches=False, start=0, *, padding=PADDING) -> Iterator[Pair]:
    """One epoch of a split."""
    for batch in data_of(split, padding).epoch(order, size, by_length=length_batches, first=start):
        yield batch.inputs, batch.targets


def in_order(split, examples, size, padding=PADDING) -> Iterator[Pair]:
    """Some documents of a split."""
    for batch in data_of(split, padding).some("test", np.asarray(examples), size):
        yield batch.inputs, batch.targets


def measuring_batches(split, tokens, *, padding=PADDING) -> Iterator[Pair]:
    """Every document of a split once, in batches of at most so many tokens."""
    for batch in data_of(split, padding).measuring("test", tokens):
        yield batch.inputs, batch.targets
