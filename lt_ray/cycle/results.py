"""What a cycle yields: flat rows, each field with its unit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator
from scipy.special import bdtrc

from lt_ray.cycle.metrics import METRICS, Best

ROUNDING = 1e-12
"""Counts over counts differ from decimal bounds in the last bit: 0.90 − 0.85 is not more than 0.05"""
_MEASURED = re.compile(r"(before_)?(train|val|test)_[a-z][a-z0-9_]*")


class Row(BaseModel):
    """A frozen flat row."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MeasuredRow(Row):
    """A row that holds, beside its fields, values of metrics by split and name, flat: `{split}_{metric}`.

    Splits are `train`, `val`, `test`, and `before_val` and `before_test`: after pruning and before retraining.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    metric: str = next(iter(METRICS))
    """Name of the metric that decides for the task"""
    best: Best = "highest"
    """Which of its values is better"""

    @model_validator(mode="before")
    @classmethod
    def _others_are_metrics(cls, tree: Any) -> Any:
        for name in tree.keys() - cls.model_fields.keys() if isinstance(tree, dict) else ():
            if not _MEASURED.fullmatch(name) or not isinstance(tree[name], int | float | None):
                raise ValueError(f"`{name}` is neither a field nor the value of a metric, `SPLIT_METRIC`")
        return tree

    @property
    def measured(self) -> dict[str, float]:
        """`{split}_{metric}` → value, of all that was measured but losses."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}

    def value(self, split: str, metric: str | None = None) -> float | None:
        """Return a metric's value on a split; None where it was not measured.

        - `metric`: its name; None = the one that decides
        """
        value: float | None = getattr(self, f"{split}_{metric or self.metric}", None)
        return value

    def score(self, split: str) -> float:
        """Return the deciding metric's value on a split, negative where lower is better: more is better.

        Raises KeyError where it was not measured.
        """
        value = self.value(split)
        if value is None:
            raise KeyError(f"{split}_{self.metric}")
        return value if self.best == "highest" else -value

    def lost(self, other: MeasuredRow, split: str = "val") -> float:
        """Return by how much this row is worse than another in the deciding metric, in its unit; negative = better."""
        return other.score(split) - self.score(split)


class Epoch(MeasuredRow):
    """One finished epoch of a round, as the store keeps it."""

    epoch: int
    """Epochs trained when it ended, counted on round 0's scale: 1 after the first [count]"""
    train_loss: float
    """Example-weighted mean over the epoch's batches, dropout on [nats]"""
    val_loss: float
    """On the validation split, dropout off [nats]"""
    train_s: float
    """Seconds spent training [s]"""
    eval_s: float
    """Seconds spent measuring on the validation split [s]"""
    finished_at: float
    """Unix time [s]"""


class Measurement(MeasuredRow):
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
    val_loss: float
    """With the weights the round ends with [nats]"""
    test_loss: float
    """With the weights the round ends with, measured once [nats]"""
    before_val_loss: float | None = None
    """On the validation split after pruning and before retraining; None where the pruned weights were restarted, and in
    round 0 [nats]"""
    before_test_loss: float | None = None
    """On the test split after pruning and before retraining, measured once [nats]"""
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
    """What a round that compares blocks decided, and by what; positions are those in the model that it compared."""

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
    features: Literal["pooled", "flattened"] | None = None
    """What was compared of an example that is no text; not told of texts"""
    recalibrated: bool = False
    """The statistics of batch norms were estimated anew; not told where they were not"""

    @model_serializer(mode="wrap")
    def _as_before_there_were_pictures(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = write(self)
        return {name: value for name, value in tree.items() if name not in _ADDED or value}


_ADDED = ("features", "recalibrated")


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
    return more <= EQUAL_DENSITY * fewer + ROUNDING


def accepted_rounds(rounds: Iterable[RoundResult]) -> list[RoundResult]:
    """Return the rounds that count as a cycle's models: all but those that lost too much and were rolled back."""
    return [result for result in rounds if result.accepted is not False]


def winning_round(rounds: Iterable[RoundResult], tolerance: float) -> RoundResult | None:
    """Return the winning ticket of one cycle: its sparsest round that on validation loses at most `tolerance`.

    - `rounds`: the finished rounds of one cycle, in any order
    - `tolerance`: what may be lost against round 0, in the unit of the deciding metric

    Its test value is what is reported: test data decides nothing. A round that was rolled back wins nothing. None
    where round 0 is not among them, is not above chance (`not_above_chance`), or no round keeps what it had.
    """
    return _sparsest(rounds, tolerance, "val")


def sparsest_on_test(rounds: Iterable[RoundResult], tolerance: float) -> RoundResult | None:
    """Return the research logs' reading of a winning ticket: as `winning_round`, by the test split.

    It is the best of many noisy rounds: to be shown beside the winning ticket, and never to decide anything.
    """
    return _sparsest(rounds, tolerance, "test")


def not_above_chance(dense: RoundResult | None) -> str:
    """Return why a dense classifier has no tickets: it does no better than the largest class; empty where it does.

    One-sided exact binomial test at 0.05 of its validation accuracy against the largest class's share on validation.
    Rows that do not tell that share (of other tasks, of older versions) are taken as they are.
    """
    if dense is None or not dense.val_examples or dense.val_largest is None:
        return ""
    accuracy = dense.value("val", "accuracy")
    assert accuracy is not None  # where there is a largest class, there is an accuracy
    examples, share = dense.val_examples, dense.val_largest / dense.val_examples
    right = round(accuracy * examples)
    p = 1.0 if right == 0 else float(bdtrc(right - 1, examples, share))
    if p <= _CHANCE:
        return ""
    return (
        f"the dense model is not above chance: validation accuracy {accuracy:.4f} of {examples:,} examples, "
        f"the largest class {share:.4f}, p = {p:.2g}"
    )


_CHANCE = 0.05
"""Level of the test whether a dense model learned anything"""


def _sparsest(rounds: Iterable[RoundResult], tolerance: float, split: str) -> RoundResult | None:
    by_index = {result.round: result for result in accepted_rounds(rounds)}
    dense = by_index.pop(0, None)
    if dense is None or not_above_chance(dense):
        return None
    # Subtracted in this order: 0.885 − 0.005 must admit 0.880.
    bound = dense.score(split) - tolerance - ROUNDING
    winners = [result for result in by_index.values() if result.score(split) >= bound]
    return max(winners, key=lambda result: (result.sparsity, result.round), default=None)
