"""What a round starts from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from torch import Tensor

from lt_ray.cycle.results import BlockDecision
from lt_ray.models.model import Blocks
from lt_ray.pruning.masks import pack, unpack


@dataclass(frozen=True)
class Start:
    """Where a round's training starts."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

    weights: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    blocks: Blocks = None
    """The model's blocks, by their positions in the dense one"""
    frozen: tuple[int, ...] = ()
    """Of them, those that are not trained"""
    epoch: int = 0
    """First epoch of the data order [epochs]"""
    restart_epoch: int | None = None
    """Epoch of round 0 whose weights were restored"""
    start_round: int | None = None
    """Round whose model was pruned [count]"""
    stride: int | None = None
    decision: BlockDecision | None = None
    trains: bool = True
    """False where a comparison removed nothing, so that there is nothing to retrain"""
    goes_on: bool = False
    """The kept weights are the trained ones, so that the pruned model can be measured before it is retrained"""

    def tensors(self) -> dict[str, Tensor]:
        """Return the masks as `loaded` takes them; the weights are those of the running training."""
        return {f"mask/{name}": bits for name, bits in pack(self.masks).items()}

    def tree(self) -> dict[str, Any]:
        """Return the rest as plain values."""
        plain: dict[str, Any] = _START.dump_python(self, mode="json", exclude={"weights", "masks"})
        return plain | {"shapes": {name: list(mask.shape) for name, mask in self.masks.items()}}

    @classmethod
    def loaded(cls, tensors: Mapping[str, Tensor], tree: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Start:
        """Return the start of which `tensors` and `tree` are, with the weights as they are now."""
        shapes = {name: tuple(shape) for name, shape in tree["shapes"].items()}
        packed = {name.removeprefix("mask/"): t for name, t in tensors.items() if name.startswith("mask/")}
        masks = unpack(packed, shapes)
        return _START.validate_python({**tree, "weights": weights, "masks": {name: masks[name] for name in shapes}})


_START = TypeAdapter(Start)
"""Writes a start but for its tensors as plain values, and reads it from them"""


def sharing(drawn: Mapping[str, Tensor], initial: Mapping[str, Tensor], patterns: Collection[str]) -> dict[str, Tensor]:
    """Return the `drawn` weights, but the `initial` ones for every name that matches one of the shell patterns."""
    return {name: initial[name] if matches(name, patterns) else weight for name, weight in drawn.items()}


def matches(name: str, patterns: Collection[str]) -> bool:
    """Return whether a parameter name matches one of the shell patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
