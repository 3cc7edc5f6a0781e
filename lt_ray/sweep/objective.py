"""What a search looks for: a number for each finished cycle, from its validation results alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lt_ray.cycle.metrics import METRICS, Metric
from lt_ray.cycle.results import RoundResult, accepted_rounds, winning_round

Search = Literal["random", "grid", "optuna"]
"""How a search chooses points: grids crossed and other keys drawn; all crossed; or adaptive, by TPE"""
WINNING = "winning_sparsity"
"""Of the sparsest round that keeps what its own dense one had on validation, less the tolerance; 0 where none does"""


def objectives(metrics: Sequence[Metric]) -> tuple[str, ...]:
    """Return what can be searched for, the default first: each metric at the last round that was not rolled back, on
    validation (`val_accuracy`), and `WINNING`. Test data decides nothing.

    - `metrics`: of the task, the deciding one first
    """
    return (*(f"val_{metric.name}" for metric in metrics), WINNING)


def value(objective: str, rounds: Sequence[RoundResult], tolerance: float) -> float:
    """Return what a finished cycle came to, in the objective's own unit.

    - `rounds`: its finished rounds in order
    - `tolerance`: what a winning ticket may lose
    """
    if objective == WINNING:
        winner = winning_round(rounds, tolerance)
        return winner.sparsity if winner is not None else 0.0
    return _of(objective, accepted_rounds(rounds)[-1])


def rung_score(objective: str, dense: RoundResult, result: RoundResult) -> float:
    """Return by what cycles that still run are compared at one round: more is better.

    - `objective`: a metric's compares its value on validation, `WINNING` the change of the deciding one since the own
      dense round
    """
    return -result.lost(dense) if objective == WINNING else sign(objective) * _of(objective, result)


def sign(objective: str) -> int:
    """Return what an objective's values are multiplied by so that more is better: 1 or −1."""
    metric = METRICS.get(objective.removeprefix("val_"))
    return -1 if metric is not None and metric.best == "lowest" else 1


def _of(objective: str, result: RoundResult) -> float:
    measured = result.value("val", objective.removeprefix("val_"))
    assert measured is not None  # every round has its task's metrics
    return measured
