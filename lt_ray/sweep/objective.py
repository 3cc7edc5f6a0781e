"""What a search maximises: a number for each finished cycle, from its validation results alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lt_ray.cycle.results import RoundResult, standing, winning_round

Objective = Callable[[Sequence[RoundResult], float], float]
"""(a cycle's finished rounds in order, tolerance) → value, higher is better"""


def _val_accuracy(rounds: Sequence[RoundResult], tolerance: float) -> float:
    return standing(rounds)[-1].val_accuracy


def _winning_sparsity(rounds: Sequence[RoundResult], tolerance: float) -> float:
    winner = winning_round(rounds, tolerance)
    return winner.sparsity if winner is not None else 0.0


OBJECTIVES: Mapping[str, Objective] = {"val_accuracy": _val_accuracy, "winning_sparsity": _winning_sparsity}
"""`val_accuracy` = at the last round that was not rolled back [0, 1]; `winning_sparsity` = of the sparsest round whose
validation accuracy is at least the cycle's own dense one − tolerance, 0 where no ticket wins [0, 1]. Test accuracy
decides nothing."""


def rung_value(objective: str, dense: RoundResult, result: RoundResult) -> float:
    """Return by what cycles that still run are compared at one round.

    - `objective`: `val_accuracy` compares validation accuracy, `winning_sparsity` its change since the own dense round
    """
    return result.val_accuracy - (dense.val_accuracy if objective == "winning_sparsity" else 0.0)
