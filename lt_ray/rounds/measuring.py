"""What a model measures: on the splits that are not trained on, and in time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from lt_ray.tasks import text
from lt_ray.training import measure
from lt_ray.training.loop import Trainee
from lt_ray.training.measure import Latency, Measure

_TOKENS = 32_768
"""Most tokens of a batch [count]"""
_LATENCY_BATCH = 32
"""Examples of the batch whose latency is measured [count]"""


@dataclass(frozen=True)
class Measured:
    """What one model measures on validation and test."""

    val: Measure
    test: Measure
    test_s: float
    """After the validation split, which warms up [s]"""
    both_s: float
    """Seconds of both [s]"""

    def tree(self) -> dict[str, float]:
        """Return it as plain values."""
        losses = {"val_loss": self.val.loss, "val_accuracy": self.val.accuracy}
        losses |= {"test_loss": self.test.loss, "test_accuracy": self.test.accuracy}
        return losses | {"test_s": self.test_s, "both_s": self.both_s}

    @classmethod
    def loaded(cls, tree: Mapping[str, float]) -> Measured:
        """Return what `tree` told of."""
        val, test = (Measure(tree[f"{split}_loss"], tree[f"{split}_accuracy"]) for split in ("val", "test"))
        return cls(val, test, tree["test_s"], tree["both_s"])


@dataclass(frozen=True)
class Measuring:
    """Measures models on one data set and device, in the precision in which they train."""

    data: text.TextData
    device: torch.device
    precision: Literal["float32", "bfloat16"]

    def validation(self, trainee: Trainee) -> Measure:
        """Return what a model measures on the validation split."""
        return self._split(trainee, self.data.validation)

    def both(self, trainee: Trainee) -> Measured:
        """Return what a model measures on validation and test, the test timed after the other has warmed up."""
        began = time.perf_counter()
        val = self._split(trainee, self.data.validation)
        started = time.perf_counter()
        test = self._split(trainee, self.data.test)
        ended = time.perf_counter()
        return Measured(val, test, test_s=ended - started, both_s=ended - began)

    def latency(self, trainee: Trainee) -> Latency:
        """Return how long the first validation examples take as one batch."""
        split = self.data.validation
        first = np.arange(min(_LATENCY_BATCH, len(split)))
        ((tokens, _),) = text.in_order(split, first, _LATENCY_BATCH, padding=self.data.padding)
        with self.autocast():
            return measure.latency(trainee.model, tokens, self.device, trainee.logits)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of every forward pass."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _split(self, trainee: Trainee, split: text.Split) -> Measure:
        batches = text.measuring_batches(split, _TOKENS, padding=self.data.padding)
        with self.autocast():
            return measure.measure(trainee.model, batches, self.device, trainee.logits)
