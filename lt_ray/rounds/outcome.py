"""What a round came to: as training gave it, as the store keeps it, and as a row of one cycle."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.results import Epoch, EpochResult, Measurement, RoundResult
from lt_ray.models.model import Model
from lt_ray.pruning.masks import remaining, size
from lt_ray.rounds.chain import Round
from lt_ray.rounds.measuring import Measured
from lt_ray.rounds.start import Start
from lt_ray.store.store import StoredRound
from lt_ray.tasks.task import Data
from lt_ray.training.loop import Progress


def round_result(cycle: Cycle, key: str, stored: StoredRound, prunable: Collection[str]) -> RoundResult:
    """Return a stored round as a row of one cycle.

    - `prunable`: the parameters over which the cycle counts sparsity, `prunable_names`
    """
    kept = sum(stored.counts[name][0] for name in prunable)
    size = sum(stored.counts[name][1] for name in prunable)
    return RoundResult(
        **stored.measurement.model_dump(),
        cycle=cycle.id,
        seed=cycle.seed,
        key=key,
        sparsity=1 - kept / size if size else 0.0,
        density=kept / size if size else 1.0,
        remaining=kept,
        prunable=size,
        source="computed" if stored.computed_by == cycle.id else "reused",
    )


def epoch_result(cycle: Cycle, round: int, epoch: Epoch) -> EpochResult:
    """Return a stored epoch of a round as a row of one cycle."""
    return EpochResult(**epoch.model_dump(), cycle=cycle.id, seed=cycle.seed, round=round)


@dataclass(frozen=True)
class Trained:
    """What training a round gave."""

    weights: Mapping[str, Tensor]
    start: Start
    before: Measured | None
    """As pruned, before retraining"""
    progress: Progress
    after: Measured
    latency: tuple[float, ...] | None
    """Quartiles of what a batch takes; None for a model without blocks [s]"""
    redone_s: float
    device: str
    """Type of the device that it was trained on"""


def stored_round(round: Round, outcome: Trained, cycle: Cycle, data: Data, model: Model[Any]) -> StoredRound:
    """Return what the store keeps of a round, its tensors apart; whether it is accepted is said by its dense round."""
    start, after = outcome.start, outcome.after
    confusions = {"validation": after.val.confusion, "test": after.test.confusion}
    return StoredRound(
        key=round.key,
        inputs=round.inputs,
        measurement=_measurement(round, outcome, cycle, data),
        epochs=tuple(outcome.progress.history),
        counts=model.counts(start.masks, start.blocks),
        computed_by=cycle.id,
        made_with={
            "device": outcome.device,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "lt_ray": version("lt_ray"),
        },
        blocks=start.blocks,
        frozen=start.frozen,
        decision=start.decision,
        confusions={split: counts for split, counts in confusions.items() if counts is not None},
    )


def _measurement(round: Round, outcome: Trained, cycle: Cycle, data: Data) -> Measurement:
    history, start = outcome.progress.history, outcome.start
    # With early stopping the round ends with the best epoch's weights, else with the last one's.
    best = outcome.progress.best if cycle.training.patience is not None else history[-1] if history else None
    before, after, blocks = outcome.before, outcome.after, start.blocks
    low_s, median_s, high_s = outcome.latency or (None, None, None)
    measured = [after] if before is None or before is after else [before, after]
    metric = cycle.metric
    return Measurement(
        metric=metric.name,
        best=metric.best,
        round=round.index,
        parameters=size(start.masks),
        restart_epoch=start.restart_epoch,
        epochs=len(history),
        best_epoch=0 if best is None else best.epoch,
        train_loss=None if best is None else best.train_loss,
        **{f"train_{m.name}": best and best.value("train", m.name) for m in cycle.metrics},
        **after.row(),
        **(dict.fromkeys(after.row("before_")) if before is None else before.row("before_")),
        nonzero=remaining(start.masks),
        blocks=None if blocks is None else len(blocks),
        frozen_blocks=None if blocks is None else len(start.frozen),
        start_round=start.start_round,
        stride=start.stride,
        train_s=sum(epoch.train_s for epoch in history),
        eval_s=sum(epoch.eval_s for epoch in history) + sum(both.both_s for both in measured),
        test_s=None if blocks is None else after.test_s,
        latency_s=median_s,
        latency_low_s=low_s,
        latency_high_s=high_s,
        val_examples=data.examples("validation"),
        val_largest=data.largest("validation"),
        redone_s=outcome.redone_s,
        finished_at=time.time(),
    )
