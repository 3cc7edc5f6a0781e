"""The network of a cycle on its data: dense, or with fewer blocks; what its parameters are called in either."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from lt_ray.cycle.models import Encoder, Model
from lt_ray.models import encoder, registry
from lt_ray.models.pretrained import Base

T = TypeVar("T")
Blocks = tuple[int, ...] | None
"""Positions of a model's blocks in the dense one, rising; None for a model without blocks"""


@dataclass(frozen=True)
class Network:
    """A model's shapes on one data set.

    - `rows`, `outputs`: embedding rows and logits that the data asks for [count]
    - `padding`: the token that fills a batch
    - `base`: what an encoder is made of; None where its path says enough to know its shapes
    """

    model: Model
    rows: int
    outputs: int
    padding: int = registry.PADDING
    base: Base | None = None

    @cached_property
    def dense(self) -> nn.Module:
        """The dense module on the meta device."""
        return registry.build(self.model, self.rows, self.outputs, self.base, padding=self.padding)

    @cached_property
    def blocks(self) -> Blocks:
        """The dense model's blocks."""
        return tuple(range(len(encoder.blocks_of(self.dense)))) if isinstance(self.model, Encoder) else None

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The dense model's parameters: name → weights [count]."""
        return {name: parameter.numel() for name, parameter in self.dense.named_parameters()}

    def module(self, blocks: Blocks) -> nn.Module:
        """Return the module with some blocks on the meta device."""
        if blocks == self.blocks:
            return self.dense
        return registry.build(self.model, self.rows, self.outputs, self.base, blocks, self.padding)

    def live(
        self, weights: Mapping[str, Tensor], blocks: Blocks, device: torch.device, frozen: Iterable[int] = ()
    ) -> nn.Module:
        """Return the module with some blocks and these weights on a device.

        - `frozen`: places, among its own blocks, of those that no gradient reaches
        """
        made = registry.live(self.module(blocks), weights, device)
        frozen = tuple(frozen)
        if frozen:
            encoder.freeze(made, frozen)
        return made

    def logits(self, module: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return tokens, int64 (B, T) → logits, float (B, outputs)."""
        return registry.logits(module, self.padding)

    def cut(self, tensors: Mapping[str, T], blocks: Blocks) -> dict[str, T]:
        """Return what belongs to the dense model's parameters, for those of a model with some of its blocks."""
        if blocks == self.blocks or blocks is None:
            return dict(tensors)
        return encoder.without(tensors, encoder.stack_name(self.dense), blocks)

    def shortened(self, tensors: Mapping[str, T], blocks: Blocks, kept: Sequence[int]) -> dict[str, T]:
        """Return what belongs to the parameters of a model with some blocks, once it keeps some of those.

        - `kept`: places among `blocks`
        """
        if blocks is None or len(kept) == len(blocks):
            return dict(tensors)
        return encoder.without(tensors, encoder.stack_name(self.dense), kept)

    def counts(self, masks: Mapping[str, Tensor], blocks: Blocks) -> dict[str, tuple[int, int]]:
        """Return the dense model's parameters: name → (weights that masks and blocks keep, weights) [count]."""
        kept = {name: int(mask.sum()) for name, mask in masks.items()}
        if blocks == self.blocks or blocks is None:
            return {name: (kept[name], size) for name, size in self.sizes.items()}
        stack = encoder.stack_name(self.dense)
        places = {old: new for new, old in enumerate(blocks)}
        found = {name: encoder.renamed(name, stack, places) for name in self.sizes}
        return {name: (0 if found[name] is None else kept[str(found[name])], n) for name, n in self.sizes.items()}
