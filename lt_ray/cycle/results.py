"""What a cycle yields: flat rows, each field with its unit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict
from scipy.special import bdtrc


class Row(BaseModel):
    """A frozen flat row."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Epoch(Row):
    """One finished epoch of a round, as the store keeps it."""

    epoch: int
    """Epochs trained when it ended, counted on round 0's scale: 1 after the first [count]"""
    train_loss: float
    """Example-weighted mean over the epoch's batches, dropout on [nats]"""
    train_accuracy: float
    """The same batches [0, 1]"""
    val_loss: float
    """On the validation split, dropout off [nats]"""
    val_accuracy: float
    """On the validation split [0, 1]"""
    train_s: float
    """Seconds spent training [s]"""
    eval_s: float
    """Seconds spent measuring on the validation split [s]"""
    finished_at: float
    """Unix time [s]"""


class Measurement(Row):
    """What one finished round measured, as the store keeps it."""

    round: int
    """0 = dense training; r = after r prunings [count]"""
    parameters: int
    """Parameters of the model, pruned or not [count]"""
    restart_epoch: int | None
    """Epoch of round 0 whose weights were restored; None where nothing was rewound [epochs]"""
    epochs: int
    """Epochs trained in this round [count]"""
    best_epoch: int
    """Epoch whose weights the round ends with; 0 where it trained none [epochs]"""
    train_loss: float | None
    """Of the epoch whose weights the round ends with; None where it trained none [nats]"""
    train_accuracy: float | None
    """Of the same epoch [0, 1]"""
    val_loss: float
    """With the weights the round ends with [nats]"""
    val_accuracy: float
    """With the weights the round ends with [0, 1]"""
    test_loss: float
    """With the weights the round ends with, measured once [nats]"""
    test_accuracy: float
    """With the weights the round ends with, measured once [0, 1]"""
    before_val_loss: float | None = None
    """On the validation split after pruning and before retraining; None where the pruned weights were restarted, and in
    round 0 [nats]"""
    before_val_accuracy: float | None = None
    """The same [0, 1]"""
    before_test_loss: float | None = None
    """On the test split after pruning and before retraining, measured once [nats]"""
    before_test_accuracy: float | None = None
    """The same [0, 1]"""
    nonzero: int | None = None
    """Parameters that no mask prunes [count]"""
    blocks: int | None = None
    """Blocks of the model; None where it has none [count]"""
    frozen_blocks: int | None = None
    """Of them, those that were not trained [count]"""
    start_round: int | None = None
    """Round whose model was pruned: the one before, or the last accepted one; None for models without blocks, and in
    round 0 [count]"""
    stride: int | None = None
    """Stride of the removal, where blocks were compared [count]"""
    accepted: bool | None = None
    """Whether the round lost no more than `similarity.max_drop`; None where it has no such rule"""
    train_s: float
    """Seconds spent training, over all attempts whose work was kept [s]"""
    eval_s: float
    """Seconds spent measuring [s]"""
    test_s: float | None = None
    """Seconds of one pass over the test split after a warm-up, for models with blocks [s]"""
    latency_s: float | None = None
    """Seconds that a batch of 32 validation examples takes, warmed up: the median, for models with blocks [s]"""
    latency_low_s: float | None = None
    """Lower quartile of the same [s]"""
    latency_high_s: float | None = None
    """Upper quartile of the same [s]"""
    val_examples: int | None = None
    """Examples of the validation split; None in rounds of older versions [count]"""
    val_largest: int | None = None
    """Of them, those of the largest class [count]"""
    redone_s: float = 0.0
    """Seconds of work that interrupted attempts lost and that were spent again [s]"""
    finished_at: float
    """Unix time [s]"""


TIMES = frozenset(
    {"train_s", "eval_s", "test_s", "latency_s", "latency_low_s", "latency_high_s", "redone_s", "finished_at"}
)
"""Fields that tell how long or when, and so may differ between two computations of one round."""


class BlockDecision(Row):
    """How a round that compares blocks came to its own: all positions are those of the model it compared."""

    cka: tuple[tuple[float, ...], ...]
    """Linear CKA of every two blocks [0, 1]; empty where they were not compared any more"""
    threshold: float
    """CKA from which blocks are alike (0, 1]"""
    stride: int
    """Of each cluster the positions `1::stride` are removed [count]"""
    clusters: tuple[tuple[int, ...], ...]
    """Blocks that are alike, the anchor first"""
    removed: tuple[int, ...]
    """Blocks that were removed"""
    frozen: tuple[int, ...]
    """Kept blocks that were not trained"""
    origins: tuple[int, ...]
    """The compared blocks' positions in the dense model"""
    reason: str
    """Why it came to this, in a sentence"""


class EpochResult(Epoch):
    """One finished epoch, as an event of a cycle."""

    cycle: str
    """Identity of the cycle"""
    seed: int
    """Seed of the cycle"""
    round: int
    """Round the epoch belongs to [count]"""


class RoundResult(Measurement):
    """One finished round, as an event of a cycle and as a row of `lt-ray status`."""

    cycle: str
    """Identity of the cycle"""
    seed: int
    """Seed of the cycle"""
    key: str
    """Key of the round in the store"""
    sparsity: float
    """Pruned share of the prunable weights [0, 1]"""
    density: float
    """1 − sparsity [0, 1]"""
    remaining: int
    """Prunable weights not pruned; prunable is what any pruning of the cycle may touch [count]"""
    prunable: int
    """Prunable weights, pruned or not [count]"""
    source: Literal["computed", "reused"]
    """Whether this cycle computed the round or another cycle did, and this one found it"""


EQUAL_DENSITY = 1.02
"""Densities whose ratio is at most this count as equal"""


def equal_sparsity(one: float, other: float) -> bool:
    """Return whether two sparsities are equal: as many weights remain, to a factor `EQUAL_DENSITY`.

    99.5 % and 99.9 % are not: a factor 5 lies between their weights.
    """
    fewer, more = sorted((1 - one, 1 - other))
    return more <= EQUAL_DENSITY * fewer + 1e-12


def standing(rounds: Iterable[RoundResult]) -> list[RoundResult]:
    """Return the rounds that count as a cycle's models: all but those that lost too much and were rolled back."""
    return [result for result in rounds if result.accepted is not False]


def winning_round(rounds: Iterable[RoundResult], tolerance: float) -> RoundResult | None:
    """Return the winning ticket of one cycle: its sparsest round whose validation accuracy ≥ dense − `tolerance`.

    - `rounds`: the finished rounds of one cycle, in any order
    - `tolerance`: accuracy that may be lost [0, 1]

    Its test accuracy is what is reported: test data decides nothing. A round that was rolled back wins nothing. None
    where round 0 is not among them, is not above chance (`not_above_chance`), or no round keeps its accuracy.
    """
    return _sparsest(rounds, tolerance, "val_accuracy")


def sparsest_on_test(rounds: Iterable[RoundResult], tolerance: float) -> RoundResult | None:
    """Return the logs' reading of a winning ticket: as `winning_round`, by test accuracy.

    It is the best of many noisy rounds: to be shown beside the winning ticket, and never to decide anything.
    """
    return _sparsest(rounds, tolerance, "test_accuracy")


def not_above_chance(dense: RoundResult | None) -> str:
    """Return why a dense model has no tickets: it does no better than the largest class; empty where it does.

    One-sided exact binomial test at 0.05 of its validation accuracy against the largest class's share on validation;
    rounds of older versions do not tell that share and are taken as they are.
    """
    if dense is None or not dense.val_examples or dense.val_largest is None:
        return ""
    examples, share = dense.val_examples, dense.val_largest / dense.val_examples
    right = round(dense.val_accuracy * examples)
    p = 1.0 if right == 0 else float(bdtrc(right - 1, examples, share))
    if p <= _CHANCE:
        return ""
    return (
        f"the dense model is not above chance: validation accuracy {dense.val_accuracy:.4f} of {examples:,} examples, "
        f"the largest class {share:.4f}, p = {p:.2g}"
    )


_CHANCE = 0.05
"""Level of the test whether a dense model learned anything"""


def _sparsest(
    rounds: Iterable[RoundResult], tolerance: float, measured: Literal["test_accuracy", "val_accuracy"]
) -> RoundResult | None:
    by_index = {result.round: result for result in standing(rounds)}
    dense = by_index.pop(0, None)
    if dense is None or not_above_chance(dense):
        return None
    # Counts over counts differ from decimal bounds in the last bit: 0.885 − 0.005 must admit 0.880.
    bound = getattr(dense, measured) - tolerance - 1e-12
    winners = [result for result in by_index.values() if getattr(result, measured) >= bound]
    return max(winners, key=lambda result: (result.sparsity, result.round), default=None)
