"""Loss and accuracy, weighted by examples."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
"""Inputs (B, …) and labels, int64 (B,)"""


@dataclass(frozen=True)
class Measure:
    """What one pass over a split gave."""

    loss: float
    """Mean over examples [nats]"""
    accuracy: float
    """Share of examples classified right [0, 1]"""


def loss_and_correct(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the batch's mean loss and its number of examples classified right.

    - `logits`: float (B, C); C = 1 means two classes: binary cross-entropy on the logit of class 1, which is chosen
      from logit 0 up; else cross-entropy
    - `labels`: int64 (B,)
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        logit = logits.squeeze(1)
        loss = F.binary_cross_entropy_with_logits(logit, labels.to(logit.dtype))
        return loss, ((logit >= 0) == labels.bool()).sum()
    return F.cross_entropy(logits, labels), (logits.argmax(dim=1) == labels).sum()


@torch.no_grad()
def measure(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    logits: Callable[[Tensor], Tensor] | None = None,
) -> Measure:
    """Return the mean loss and accuracy over all examples of the batches, dropout off.

    - `logits`: inputs → logits; None = the model itself

    A batch counts by its examples, so a short last one does not weigh too much; sums are float64.
    """
    forward = model if logits is None else logits
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    seen = 0
    for inputs, labels in batches:
        labels = labels.to(device, non_blocking=True)
        batch_loss, batch_correct = loss_and_correct(forward(inputs.to(device, non_blocking=True)), labels)
        loss += batch_loss.double() * len(labels)
        correct += batch_correct
        seen += len(labels)
    model.train(was_training)
    return Measure(loss=float(loss) / seen, accuracy=int(correct) / seen)


@dataclass(frozen=True)
class Latency:
    """How long one batch takes, over repeated passes."""

    median_s: float
    """[s]"""
    low_s: float
    """Lower quartile [s]"""
    high_s: float
    """Upper quartile [s]"""


@torch.no_grad()
def latency(
    model: nn.Module,
    inputs: Tensor,
    device: torch.device,
    logits: Callable[[Tensor], Tensor],
    *,
    warm_up: int = 3,
    repeats: int = 15,
    most_s: float = 5.0,
) -> Latency:
    """Return how long a batch takes, dropout off, after passes that do not count.

    - `inputs`: the batch
    - `warm_up`, `repeats`: passes that do not count, and that do, at least 5 [count]
    - `most_s`: no further pass is begun after so long [s]
    """
    was_training = model.training
    model.eval()
    inputs = inputs.to(device)
    taken: list[float] = []
    began = time.perf_counter()
    for place in range(warm_up + repeats):
        if len(taken) >= 5 and time.perf_counter() - began > most_s:
            break
        started = time.perf_counter()
        logits(inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if place >= warm_up:
            taken.append(time.perf_counter() - started)
    model.train(was_training)
    low, _, high = statistics.quantiles(taken, n=4)
    return Latency(statistics.median(taken), low, high)
