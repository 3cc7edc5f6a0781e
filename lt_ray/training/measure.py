"""What is measured of a model: loss and metrics of a split, weighted by examples, and how long a batch takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from lt_ray.training.batch import Batch

_WARM_UP, _FEWEST_PASSES, _PASSES = 3, 5, 15
"""Passes whose time does not count, and that do, at least and at most [count]"""
_MOST_S = 5.0
"""Once the fewest are done, no further pass is begun after so long [s]"""


class Metering(Protocol):
    """Adds up one split batch by batch for its metrics; `tasks.task.Data.meter` makes it."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch."""

    def values(self) -> dict[str, float]:
        """Return metric → value of all that was taken in."""

    def confusion(self) -> tuple[tuple[int, ...], ...] | None:
        """Return how often each class was taken for each; None where there are none."""

    def state(self) -> dict[str, Any]:
        """Return the sums as plain values."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the sums that `state` returned."""


class Learnt(Protocol):
    """What a training needs of its task, and a task's data (`tasks.task.Data`) give."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return a batch's mean loss."""

    def weight(self, batch: Batch) -> float:
        """Return by how much a batch's mean loss counts."""


@dataclass(frozen=True)
class Measure:
    """What one pass over a split gave."""

    loss: float
    """Weighted mean over batches [nats]"""
    values: Mapping[str, float]
    """Metric → value"""
    confusion: tuple[tuple[int, ...], ...] | None = None
    """How often each class (rows) was taken for each (columns) [count]"""
    answers: Annotated[tuple[int, ...] | None, Field(exclude=True)] = None
    """The class that each example was taken for, in the order measured; None where that is not kept"""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Keep a model in eval mode: dropout off, batch norms by their statistics; every part's own mode is restored."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@torch.no_grad()
def measure(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    forward: Callable[[Tensor], Tensor],
    learnt: Learnt,
    meter: Metering,
    *,
    answers: bool = False,
) -> Measure:
    """Return the mean loss and the metrics over all examples of the batches, dropout off.

    - `forward`: inputs → outputs
    - `meter`: with nothing taken in yet
    - `answers`: whether to tell the class that each example was taken for

    A batch counts by its weight, so a short last one does not weigh too much; sums are float64.
    """
    total = torch.zeros((), dtype=torch.float64, device=device)
    seen, taken = 0.0, list[Tensor]()
    with evaluating(model):
        for batch in batches:
            batch = batch.to(device)
            outputs = forward(batch.inputs)
            total += learnt.loss(outputs, batch).double() * learnt.weight(batch)
            meter.add(outputs, batch.targets)
            seen += learnt.weight(batch)
            if answers:
                taken.append(chosen(outputs))
    told = tuple(torch.cat(taken).tolist()) if answers else None
    return Measure(float(total) / seen, meter.values(), meter.confusion(), told)


def chosen(outputs: Tensor) -> Tensor:
    """Return the class that each example is taken for, int64 (B,).

    - `outputs`: float (B, C); one output means two classes, the second from 0 up
    """
    return (outputs.squeeze(1) >= 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)


@torch.no_grad()
def latency(
    model: nn.Module,
    inputs: Tensor,
    device: torch.device,
    forward: Callable[[Tensor], Tensor],
) -> tuple[float, ...]:
    """Return how long a batch takes, dropout off, after passes that do not count: the three quartiles [s].

    - `inputs`: the batch
    - `forward`: inputs → outputs
    """
    inputs = inputs.to(device)
    taken: list[float] = []
    began = time.perf_counter()
    with evaluating(model):
        for place in range(_WARM_UP + _PASSES):
            if len(taken) >= _FEWEST_PASSES and time.perf_counter() - began > _MOST_S:
                break
            started = time.perf_counter()
            forward(inputs)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if place >= _WARM_UP:
                taken.append(time.perf_counter() - started)
    return tuple(statistics.quantiles(taken, n=4))
