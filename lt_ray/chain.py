"""The chain of rounds that a cycle is, before anything is computed.

A round is a pure function of its inputs: data, model, seed, training settings, and the round and pruning it comes from.
Its key is their digest, so equal rounds of different cycles are one round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from lt_ray.cycle import SCHEMA, Cycle, Magnitude, digest
from lt_ray.models import registry
from lt_ray.pruning.restart import matches

RewindEpoch = int | Literal["last"]


@dataclass(frozen=True)
class Round:
    """One round of a cycle before it is computed."""

    index: int
    """0 = dense [count]"""
    key: str
    pruning: Magnitude | None
    """What leads here from the round before; None for round 0"""
    inputs: Mapping[str, Any]
    """What the key is the digest of"""


def chain(cycle: Cycle, data_digest: str) -> tuple[Round, ...]:
    """Return the cycle's rounds in order, round 0 first; the keys are known before anything is computed."""
    rounds: list[Round] = []
    for index, pruning in enumerate([None, *cycle.schedule]):
        inputs = {
            "schema": SCHEMA,
            "data": data_digest,
            "model": cycle.model.model_dump(mode="json"),
            "seed": cycle.seed,
            "training": cycle.training.meaning(),
            "parent": rounds[-1].key if rounds else None,
            "pruning": pruning.meaning() if pruning else None,
        }
        rounds.append(Round(index, digest(inputs)[:24], pruning, inputs))
    return tuple(rounds)


def rewind_epochs(cycles: Iterable[Cycle]) -> frozenset[RewindEpoch]:
    """Return the epochs of round 0 that any of the cycles rewinds to and that must be kept: all but 0, which is
    drawn again from the seed."""
    wanted = {p.rewind_epoch for cycle in cycles for p in cycle.schedule if p.restart == "rewind"}
    return frozenset(wanted - {0})


def prunable_names(cycle: Cycle, module: nn.Module) -> tuple[str, ...]:
    """Return the parameters that any pruning of the cycle may touch; all of them where it has none."""
    names = [name for name, _ in module.named_parameters()]
    touched = {name for pruning in cycle.schedule for name in touches(pruning, module)}
    return tuple(name for name in names if name in touched or not cycle.schedule)


def touches(pruning: Magnitude, module: nn.Module) -> tuple[str, ...]:
    """Return the parameters that one pruning may touch."""
    names = (
        registry.weight_names(module)
        if pruning.parameters == "weights"
        else tuple(n for n, _ in module.named_parameters())
    )
    return tuple(name for name in names if not matches(name, pruning.exclude))
