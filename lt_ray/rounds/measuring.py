"""What is measured of a round's model: on the splits that are not trained on, and how long it takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import TypeAdapter

from lt_ray.cycle.metrics import Metric
from lt_ray.tasks.task import Data, SplitName
from lt_ray.training import measure
from lt_ray.training.loop import Trainee
from lt_ray.training.measure import Measure, Metering

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

    def row(self, before: str = "") -> dict[str, float]:
        """Return `{split}_loss` and `{split}_{metric}` → value.

        - `before`: put in front of each name
        """
        both = {"val": self.val, "test": self.test}
        losses = {f"{before}{split}_loss": measured.loss for split, measured in both.items()}
        return losses | {f"{before}{s}_{name}": value for s, m in both.items() for name, value in m.values.items()}


@dataclass(frozen=True)
class Measuring:
    """Measures models on one data set and device, in the precision in which they train.

    - `metrics`: what is measured
    """

    data: Data
    metrics: Sequence[Metric]
    device: torch.device
    precision: Literal["float32", "bfloat16"]

    def meter(self) -> Metering:
        """Return what adds up a split, with nothing taken in yet."""
        return self.data.meter(self.metrics)

    def split(self, trainee: Trainee, split: SplitName) -> Measure:
        """Return what a model measures on a split."""
        batches, asked = self.data.measuring(split), split == "test" and self.data.SHOWS
        with self.autocast():
            return measure.measure(
                trainee.model, batches, self.device, trainee.forward, self.data, self.meter(), answers=asked
            )

    def both(self, trainee: Trainee) -> Measured:
        """Return what a model measures on validation and test, the test timed after the other has warmed up."""
        began = time.perf_counter()
        val = self.split(trainee, "validation")
        started = time.perf_counter()
        test = self.split(trainee, "test")
        ended = time.perf_counter()
        return Measured(val, test, test_s=ended - started, both_s=ended - began)

    def latency(self, trainee: Trainee) -> tuple[float, ...]:
        """Return how long the first validation examples take as one batch: the three quartiles [s]."""
        first = np.arange(min(_LATENCY_BATCH, self.data.examples("validation")))
        (batch,) = self.data.some("validation", first, _LATENCY_BATCH)
        with self.autocast():
            return measure.latency(trainee.model, batch.inputs, self.device, trainee.forward)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of every forward pass."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


MEASURED: TypeAdapter[Measured | None] = TypeAdapter(Measured | None)
"""Writes what was measured as plain values, and reads it from them"""
