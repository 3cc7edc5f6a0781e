"""What a cycle's rounds will keep, as far as that is known before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.models.model import Model
from lt_ray.rounds.chain import Round, prunable_names
from lt_ray.rounds.methods.method import Left, method_of


@dataclass(frozen=True)
class Forecast:
    """What one round will have; None where it depends on the weights."""

    remaining: int | None
    """Prunable weights not pruned, where no two that are ranked are equal [count]"""
    parameters: int | None
    """Parameters of the model [count]"""
    nonzero: int | None
    """Of them, those that no mask prunes [count]"""


def forecast(cycle: Cycle, rounds: Sequence[Round], model: Model[Any]) -> tuple[Forecast, ...]:
    """Return what each round will have, by the rules of its prunings alone.

    - `rounds`: a whole chain, each round after its parent
    - `model`: the cycle's

    Which blocks are alike, and how a global ranking falls on tensors, depends on the weights.
    """
    counted = prunable_names(cycle, model)
    dense = Left(model.initial_counts(), 0, sum(model.sizes.values()), 0).without({}, counted)
    left: dict[str, Left] = {}
    for round in rounds:
        if round.pruning is None or round.parent is None:
            left[round.key] = dense
        else:
            left[round.key] = method_of(round.pruning).leaves(model, left[round.parent], counted)
    after = [left[round.key] for round in rounds]
    return tuple(Forecast(model.remaining, model.parameters, model.nonzero) for model in after)
