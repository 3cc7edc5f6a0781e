"""Similarity: blocks whose outputs are like those of the block before them go (MPruner, arXiv:2408.13482)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from lt_ray.cycle.identity import digest
from lt_ray.cycle.prunings import Similarity
from lt_ray.cycle.results import BlockDecision
from lt_ray.errors import CycleError
from lt_ray.models.model import Model
from lt_ray.models.survey import Survey
from lt_ray.pruning import similarity
from lt_ray.rounds import calibration
from lt_ray.rounds.methods.method import BATCH, Context, Method, Parent, calibrating
from lt_ray.rounds.start import Start
from lt_ray.tasks.task import Data

_DIGITS = 6
"""Decimals of CKA that are kept with a decision; its estimate is not sure of the fourth"""


class SimilarityMethod(Method[Similarity]):
    """Removes blocks whose outputs for calibration examples are like those of the block before."""

    def touches(self, model: Model[Any]) -> tuple[str, ...]:
        """Return the parameters of the blocks."""
        return model.block_names

    def prune(self, parent: Parent, context: Context) -> Start:
        """Return the parent's model without the blocks that are alike, and the decision; nothing is trained where none
        goes.

        Raises `DegenerateError` where a block's output is the same for all examples.
        """
        own, blocks = self.settings, parent.blocks
        assert blocks is not None
        earlier = context.earlier() if own.max_drop is not None else ()
        stride, over = next_stride(own, [(row.stride, row.accepted) for row in earlier])
        start = replace(parent.start(), stride=stride)
        decided = {"threshold": own.threshold, "stride": stride, "origins": blocks}
        if over:
            undecided = BlockDecision(**decided, cka=(), clusters=(), removed=(), frozen=(), reason=over)
            return replace(start, trains=False, decision=undecided)
        cka = self._compared(parent, context)
        plan = similarity.plan(cka, threshold=own.threshold, stride=stride, rule=own.clusters, freeze=own.freeze)
        decision = BlockDecision(
            **decided,
            cka=tuple(tuple(round(value, _DIGITS) for value in row) for row in cka.tolist()),
            clusters=plan.clusters,
            removed=plan.removed,
            frozen=plan.frozen,
            reason=_reason(plan, own.threshold, stride),
        )
        if not plan.removed:
            return replace(start, trains=False, decision=decision)
        kept = tuple(blocks[place] for place in plan.kept)
        return replace(
            start,
            weights=context.model.cut(start.weights, kept, blocks),
            masks=context.model.cut(start.masks, kept, blocks),
            blocks=kept,
            frozen=tuple(blocks[place] for place in plan.frozen),
            decision=decision,
        )

    def check(self, model: Model[Any], surveyed: Callable[[], Survey]) -> None:
        """Raise `ModelError` where the blocks do not return states of the documents' tokens."""
        surveyed().check_blocks()

    def check_data(self, data: Data, seed: int) -> None:
        """Raise `CycleError` where blocks could not be compared on the calibration examples."""
        own = self.settings
        examples = calibrating(data, seed, own.calibration)
        if own.cka == "minibatch" and len(examples) < similarity.SMALLEST_BATCH:
            raise CycleError(
                f"`similarity.cka: minibatch` compares blocks on at least {similarity.SMALLEST_BATCH} texts of train, "
                f"but train has {len(examples)}: give more texts, or take `tokens`, which one text is enough for"
            )
        longest = (batch.inputs.shape[1] for batch in data.some("train", examples, BATCH))
        if own.cka == "tokens" and max(longest, default=0) < similarity.FEWEST_TOKENS:
            raise CycleError(
                f"`similarity.cka: tokens` compares blocks on texts of at least {similarity.FEWEST_TOKENS} tokens, but "
                f"the {len(examples)} texts that calibration draws of train have one each: give longer ones, a larger "
                "`task.max_tokens` or `similarity.calibration`, or take `minibatch`"
            )

    def _compared(self, parent: Parent, context: Context) -> Tensor:
        """CKA of every two blocks, float64 (L, L)."""
        own, model = self.settings, context.model
        settings = {name: own.meaning()[name] for name in ("cka", "calibration", "calibration_batch")}
        key = digest({"round": parent.key, "seed": context.seed, **settings})[:24]
        known = context.store.statistics(key)
        if known is not None:
            return known["cka"]
        module = model.live(parent.weights, parent.blocks, context.device).eval()
        blocks, forward = model.blocks_of(module), partial(model.forward, module)
        examples, size = context.examples(own.calibration), BATCH
        if own.cka == "minibatch":
            size = own.calibration_batch
            rest = len(examples) % size
            if rest < similarity.SMALLEST_BATCH:  # too few for the unbiased estimator
                examples = examples[: len(examples) - rest]
        batches = (batch.inputs for batch in context.batches(examples, size))
        tokens, samples = similarity.TokenCka(len(blocks)), similarity.MinibatchCka(len(blocks))
        for outputs, kept in calibration.block_outputs(blocks, forward, batches, model.kept):
            if own.cka == "tokens":
                tokens.add(outputs, kept)
            else:
                samples.add([similarity.pooled(states, kept) for states in outputs])
        cka = (tokens if own.cka == "tokens" else samples).matrix()
        context.store.put_statistics(key, {"cka": cka})
        return cka


def next_stride(pruning: Similarity, earlier: Iterable[tuple[int | None, bool | None]]) -> tuple[int, str]:
    """Return the stride of a comparison of blocks, and why it is not to be made any more; empty where it is.

    - `earlier`: (stride, accepted) of the rounds before, the latest first
    """
    if pruning.max_drop is None:
        return pruning.stride, ""
    stride = pruning.stride
    for tried, accepted in earlier:
        if tried is not None and accepted is not None:
            stride = max(stride, tried + 1 if accepted is False else tried)
            break
    if stride > pruning.max_stride:
        return stride, f"no stride is left after {pruning.max_stride}"
    return stride, ""


def _reason(plan: similarity.BlockPlan, threshold: float, stride: int) -> str:
    alike = [cluster for cluster in plan.clusters if len(cluster) > 1]
    if not plan.removed:
        return f"no two neighbouring blocks are alike from CKA {threshold:g}, so none is removed"
    named = ", ".join(f"{cluster[0]}–{cluster[-1]}" for cluster in alike)
    removed = ", ".join(map(str, plan.removed))
    rest = f"; {len(plan.frozen)} of the kept ones frozen" if plan.frozen else ""
    return f"blocks {named} are alike from CKA {threshold:g}; stride {stride} removes {removed}{rest}"
