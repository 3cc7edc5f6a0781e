"""A batch: some examples on their way through a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some examples and what is asked of them; their first axis is the examples.

    - `inputs`: what a model takes, shape `(B, …)`
    - `targets`: what its outputs are held against, shape `(B, …)`
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, copied without waiting."""
        return Batch(self.inputs.to(device, non_blocking=True), self.targets.to(device, non_blocking=True))

    def parts(self, count: int) -> Iterator[Batch]:
        """Yield the batch in at most `count` parts of like size, in order."""
        for inputs, targets in zip(self.inputs.chunk(count), self.targets.chunk(count), strict=True):
            yield Batch(inputs, targets)
