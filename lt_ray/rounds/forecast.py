"""What a cycle's rounds will keep, as far as that is known before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.prunings import Magnitude, Similarity, Wanda
from lt_ray.models import maps
from lt_ray.models.model import Model
from lt_ray.pruning import wanda
from lt_ray.pruning.magnitude import Rounding, removed_count
from lt_ray.rounds.chain import Round, fractions, prunable_names, touches


@dataclass(frozen=True)
class Forecast:
    """What one round will have; None where it depends on the weights."""

    remaining: int | None
    """Prunable weights not pruned, where magnitudes are distinct [count]"""
    parameters: int | None
    """Parameters of the model [count]"""
    nonzero: int | None
    """Of them, those that no mask prunes [count]"""


_UNKNOWN = Forecast(None, None, None)


def forecast(cycle: Cycle, rounds: Sequence[Round], model: Model[Any]) -> tuple[Forecast, ...]:
    """Return what each round will have, by the rules of its prunings alone.

    - `rounds`: a whole chain, each round after its parent
    - `model`: the cycle's

    Which blocks are alike, and how a global ranking falls on tensors, depends on the weights.
    """
    counted = prunable_names(cycle, model)
    sizes = model.sizes
    whole = sum(sizes.values())
    left: dict[str, dict[str, int] | None] = {}
    found: dict[str, Forecast] = {}
    for round in rounds:
        if round.pruning is None or round.parent is None:
            now: dict[str, int] | None = model.initial_counts()
        else:
            before, parent = left[round.parent], found[round.parent]
            together = _ranked_together(round, model, counted)
            if together and parent.remaining is not None:
                gone = removed_count(parent.remaining, *together)
                nonzero = None if parent.nonzero is None else parent.nonzero - gone
                left[round.key] = None
                found[round.key] = Forecast(parent.remaining - gone, parent.parameters, nonzero)
                continue
            now = None if before is None else _after(round, model, before, sizes)
        left[round.key] = now
        if now is None:
            known = round.parent is not None and not isinstance(round.pruning, Similarity)
            parameters = found[round.parent].parameters if known and round.parent is not None else None
            found[round.key] = Forecast(None, parameters, None)
        else:
            found[round.key] = Forecast(sum(now[name] for name in counted), whole, sum(now.values()))
    return tuple(found[round.key] for round in rounds)


def _ranked_together(round: Round, model: Model[Any], counted: Sequence[str]) -> tuple[float, Rounding] | None:
    """(fraction, rounding) of a pruning that ranks all prunable weights together; None for another."""
    pruning = round.pruning
    if not isinstance(pruning, Magnitude) or pruning.scope == "local" or set(touches(pruning, model)) != set(counted):
        return None
    return pruning.fraction, pruning.rounding


def _after(
    round: Round, model: Model[Any], before: Mapping[str, int], sizes: Mapping[str, int]
) -> dict[str, int] | None:
    """Remaining weights of each parameter; None where they depend on the weights."""
    pruning = round.pruning
    if isinstance(pruning, Magnitude) and pruning.scope == "local":
        own, names = fractions(pruning, model), touches(pruning, model)
        gone = {n: removed_count(before[n], own.get(n, pruning.fraction), pruning.rounding) for n in names}
    elif isinstance(pruning, Wanda):
        names = touches(pruning, model)
        if any(before[name] < sizes[name] for name in names):
            return None  # rows that were pruned before lose fewer weights, each its own number
        gone = {name: _by_wanda(pruning, *maps.shape(model.dense, name)) for name in names}
    else:
        return None
    return {name: count - gone.get(name, 0) for name, count in before.items()}


def _by_wanda(pruning: Wanda, rows: int, inputs: int) -> int:
    if pruning.kept_of is not None:
        n, m = pruning.kept_of
        return rows * inputs // m * (m - n)
    return rows * wanda.removed_count(inputs, pruning.sparsity)
