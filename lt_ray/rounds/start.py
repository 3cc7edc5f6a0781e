"""What a round starts from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from lt_ray.cycle.results import BlockDecision
from lt_ray.models.model import Blocks
from lt_ray.pruning.masks import pack, unpack


@dataclass(frozen=True)
class Start:
    """Where a round's training starts."""

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
        plain = {name: value for name, value in vars(self).items() if name not in ("weights", "masks")}
        decision = None if self.decision is None else self.decision.model_dump(mode="json")
        shapes = {name: list(mask.shape) for name, mask in self.masks.items()}
        return plain | {"decision": decision, "shapes": shapes}

    @classmethod
    def loaded(cls, tensors: Mapping[str, Tensor], tree: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Start:
        """Return the start of which `tensors` and `tree` are, with the weights as they are now."""
        tree = dict(tree)
        shapes = {name: tuple(shape) for name, shape in tree.pop("shapes").items()}
        packed = {name.removeprefix("mask/"): t for name, t in tensors.items() if name.startswith("mask/")}
        masks = unpack(packed, shapes)
        decision, blocks = tree.pop("decision"), tree.pop("blocks")
        return cls(
            weights=weights,
            masks={name: masks[name] for name in shapes},
            blocks=None if blocks is None else tuple(blocks),
            frozen=tuple(tree.pop("frozen")),
            decision=None if decision is None else BlockDecision(**decision),
            **tree,
        )


def sharing(drawn: Mapping[str, Tensor], initial: Mapping[str, Tensor], patterns: Collection[str]) -> dict[str, Tensor]:
    """Return the `drawn` weights, but the `initial` ones for every name that matches one of the shell patterns."""
    return {name: initial[name] if matches(name, patterns) else weight for name, weight in drawn.items()}


def matches(name: str, patterns: Collection[str]) -> bool:
    """Return whether a parameter name matches one of the shell patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
