"""Loss and accuracy, weighted by examples."""

from __future__ import annotations

from collections.abc import Iterable
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
def measure(model: nn.Module, batches: Iterable[Batch], device: torch.device) -> Measure:
    """Return the mean loss and accuracy over all examples of the batches, dropout off.

    A batch counts by its examples, so a short last one does not weigh too much; sums are float64.
    """
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    seen = 0
    for inputs, labels in batches:
        labels = labels.to(device, non_blocking=True)
        batch_loss, batch_correct = loss_and_correct(model(inputs.to(device, non_blocking=True)), labels)
        loss += batch_loss.double() * len(labels)
        correct += batch_correct
        seen += len(labels)
    model.train(was_training)
    return Measure(loss=float(loss) / seen, accuracy=int(correct) / seen)
