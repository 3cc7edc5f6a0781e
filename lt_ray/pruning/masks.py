"""Masks: parameter name → bool tensor of the parameter's shape, True = kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

Masks = Mapping[str, Tensor]
Weights = Mapping[str, Tensor]


def remaining(masks: Masks) -> int:
    """Return how many weights the masks keep [count]."""
    return sum(int(mask.sum()) for mask in masks.values())


def size(masks: Masks) -> int:
    """Return how many weights the masks cover [count]."""
    return sum(mask.numel() for mask in masks.values())


def masked(weights: Weights, masks: Masks) -> dict[str, Tensor]:
    """Return copies of `weights`, exactly 0 wherever a mask says pruned; weights without a mask are copied whole."""
    return {
        name: torch.where(masks[name], weight, torch.zeros_like(weight)) if name in masks else weight.clone()
        for name, weight in weights.items()
    }


class ZeroPruned:
    """Step hooks that set pruned weights, or their gradients, to exactly 0, in place: weights after a step, whatever
    momentum or weight decay made of them; gradients before their norm is taken, which only kept weights are to have.

    - `parameters`: name → the live parameter
    - `masks`: masks of the same names; whole masks cost nothing

    It multiplies by the mask as a float, 15 × faster than `masked_fill_` on the CPU.
    """

    def __init__(self, parameters: Mapping[str, Tensor], masks: Masks) -> None:
        self._factors = [
            (parameters[name], mask.to(parameters[name])) for name, mask in masks.items() if not bool(mask.all())
        ]

    @torch.no_grad()
    def __call__(self) -> None:
        """Write the weights' zeros."""
        for parameter, factor in self._factors:
            parameter.mul_(factor)

    @torch.no_grad()
    def gradients(self) -> None:
        """Write the gradients' zeros."""
        for parameter, factor in self._factors:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)


def pack(masks: Masks) -> dict[str, Tensor]:
    """Return each mask as uint8 of ⌈numel / 8⌉ bytes, first weight in the highest bit."""
    return {name: torch.from_numpy(np.packbits(mask.cpu().numpy().reshape(-1))) for name, mask in masks.items()}


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return the masks of `pack`, given each one's shape."""
    return {
        name: torch.from_numpy(
            np.unpackbits(bits.numpy(), count=int(np.prod(shapes[name], dtype=np.int64))).astype(bool)
        ).reshape(shapes[name])
        for name, bits in packed.items()
    }
