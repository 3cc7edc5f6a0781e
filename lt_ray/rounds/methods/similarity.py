"""Similarity: blocks whose outputs are like those of the block before them go (MPruner, arXiv:2408.13482)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from lt_ray.cycle.identity import digest
from lt_ray.cycle.prunings import Similarity
from lt_ray.cycle.results import BlockDecision
from lt_ray.errors import CycleError
from lt_ray.models.model import Blocks, Model
from lt_ray.models.survey import Survey
from lt_ray.pruning import similarity
from lt_ray.rounds import calibration
from lt_ray.rounds.methods.method import BATCH, Context, Method, calibrating
from lt_ray.rounds.start import Start
from lt_ray.tasks.task import Data

_DIGITS = 6
"""Decimals of CKA that are kept with a decision; its estimate is not sure of the fourth"""


class SimilarityMethod(Method[Similarity]):
    """Removes blocks whose outputs for calibration examples are like those of the block before."""

    def touches(self, model: Model[Any]) -> tuple[str, ...]:
        """Return the parameters of the blocks."""
        return model.block_names

    def prune(self, parent: Start, context: Context) -> Start:
        """Return the parent's model without the blocks that are alike, and the decision; nothing is trained where none
        goes.

        Raises `DegenerateError` where a block's output is the same for all examples.
        """
        settings, blocks = self.settings, parent.blocks
        assert blocks is not None
        earlier = context.earlier() if settings.max_drop is not None else ()
        stride, over = next_stride(settings, [(row.stride, row.accepted) for row in earlier])
        start = replace(parent, stride=stride)
        decided = {"threshold": settings.threshold, "stride": stride, "origins": blocks}
        if over:
            undecided = BlockDecision(**decided, cka=(), clusters=(), removed=(), frozen=(), reason=over)
            return replace(start, trains=False, decision=undecided)
        cka = self._compared(parent, context)
        bound = {dense[place] for stack, dense in context.model.ranges for place in stack.fixed}
        plan = similarity.plan(
            cka,
            threshold=settings.threshold,
            stride=stride,
            rule=settings.clusters,
            freeze=settings.freeze,
            fixed=[place for place, block in enumerate(blocks) if block in bound],
        )
        decision = BlockDecision(
            **decided,
            cka=tuple(tuple(round(value, _DIGITS) for value in row) for row in cka.tolist()),
            clusters=plan.clusters,
            removed=plan.removed,
            frozen=plan.frozen,
            reason=_reason(plan, settings.threshold, stride),
            features=None if context.model.facts.inputs == "text" else settings.features,
            recalibrated=settings.recalibrate and bool(plan.removed),
        )
        if not plan.removed:
            return replace(start, trains=False, decision=decision)
        kept = tuple(blocks[place] for place in plan.kept)
        weights = context.model.cut(start.weights, kept, blocks)
        return replace(
            start,
            weights=self._recalibrated(weights, kept, context) if settings.recalibrate else weights,
            masks=context.model.cut(start.masks, kept, blocks),
            blocks=kept,
            frozen=tuple(blocks[place] for place in plan.frozen),
            decision=decision,
        )

    def check(self, model: Model[Any], surveyed: Callable[[], Survey]) -> None:
        """Raise `CycleError` where blocks cannot be compared in this way, and `ModelError` where they do not return
        states of the examples, or of the documents' tokens."""
        settings, inputs = self.settings, model.facts.inputs
        if settings.cka == "tokens" and inputs != "text":
            raise CycleError(
                f"`similarity.cka: tokens` compares the tokens of texts, but the task has {inputs}: say --set "
                "similarity.cka=minibatch"
            )
        if settings.features == "flattened" and inputs == "text":
            raise CycleError(
                "`similarity.features: flattened` needs examples of one shape, but texts are of many lengths: say "
                "`pooled`"
            )
        surveyed().check_blocks()

    def check_data(self, data: Data, seed: int) -> None:
        """Raise `CycleError` where blocks could not be compared on the calibration examples."""
        settings = self.settings
        examples = calibrating(data, seed, settings.calibration)
        texts = data.facts.inputs == "text"
        examples_of, ways_out = (
            ("texts", "texts, or take `tokens`, which one text is enough for") if texts else ("examples", "of them")
        )
        if settings.cka == "minibatch" and len(examples) < similarity.SMALLEST_BATCH:
            raise CycleError(
                f"`similarity.cka: minibatch` compares blocks on at least {similarity.SMALLEST_BATCH} {examples_of} of "
                f"train, but train has {len(examples)}: give more {ways_out}"
            )
        if settings.cka != "tokens" or not texts:
            return
        longest = (batch.inputs.shape[1] for batch in data.some("train", examples, BATCH))
        if max(longest, default=0) < similarity.FEWEST_TOKENS:
            raise CycleError(
                f"`similarity.cka: tokens` compares blocks on texts of at least {similarity.FEWEST_TOKENS} tokens, but "
                f"the {len(examples)} texts that calibration draws of train have one each: give longer ones, a larger "
                "`task.max_tokens` or `similarity.calibration`, or take `minibatch`"
            )

    def _compared(self, parent: Start, context: Context) -> Tensor:
        """CKA of every two blocks, float64 (L, L)."""
        settings, model = self.settings, context.model
        meaning, names = settings.meaning(), ("cka", "features", "calibration", "calibration_batch")
        compared_by = {name: meaning[name] for name in names if name in meaning}
        key = digest({"round": context.parent, "seed": context.seed, **compared_by})[:24]
        measured = context.store.statistics(key)
        if measured is not None:
            return measured["cka"]
        module = model.live(parent.weights, parent.blocks, context.device).eval()
        blocks, forward = model.blocks_of(module), partial(model.forward, module)
        if settings.cka == "tokens":
            batches = (batch.inputs for batch in context.batches(context.examples(settings.calibration)))
            tokens = similarity.TokenCka(len(blocks))
            for outputs, kept in calibration.block_outputs(blocks, forward, batches, model.kept):
                assert kept is not None
                tokens.add(outputs, kept)
            cka = tokens.matrix()
        else:
            samples = similarity.MinibatchCka(len(blocks))
            reduce = _flattened if settings.features == "flattened" else _pooled
            for grams, _ in calibration.block_outputs(blocks, forward, self._batches(context), model.kept, reduce):
                samples.add(grams)
            cka = samples.matrix()
        context.store.put_statistics(key, {"cka": cka})
        return cka

    def _batches(self, context: Context) -> Iterator[Tensor]:
        """The inputs of the calibration examples, in batches; a rest that is too small for the unbiased estimator is
        left out."""
        examples, size = context.examples(self.settings.calibration), self.settings.calibration_batch
        rest = len(examples) % size
        if rest < similarity.SMALLEST_BATCH:
            examples = examples[: len(examples) - rest]
        return (batch.inputs for batch in context.batches(examples, size))

    def _recalibrated(self, weights: Mapping[str, Tensor], blocks: Blocks, context: Context) -> dict[str, Tensor]:
        """A model's state with the statistics of its batch norms estimated anew."""
        module = context.model.live(weights, blocks, context.device)
        calibration.recalibrate_(module, partial(context.model.forward, module), self._batches(context))
        return {name: tensor.detach().cpu() for name, tensor in context.model.state(module).items()}


def _pooled(states: Tensor, kept: Tensor | None) -> Tensor:
    return similarity.centred_gram(similarity.pooled(states, kept))


def _flattened(states: Tensor, kept: Tensor | None) -> Tensor:
    return similarity.centred_gram(states)


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
    if alike and not plan.removed:
        return f"of the blocks that are alike from CKA {threshold:g}, stride {stride} removes none that may go"
    if not plan.removed:
        return f"no two neighbouring blocks are alike from CKA {threshold:g}, so none is removed"
    named = ", ".join(f"{cluster[0]}–{cluster[-1]}" for cluster in alike)
    removed = ", ".join(map(str, plan.removed))
    rest = f"; {len(plan.frozen)} of the kept ones frozen" if plan.frozen else ""
    return f"blocks {named} are alike from CKA {threshold:g}; stride {stride} removes {removed}{rest}"
