"""What a round starts from: its parent's model, pruned, and what the kept weights become."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lt_ray.cycle.identity import digest
from lt_ray.cycle.prunings import Magnitude, Pruning, Similarity, Wanda
from lt_ray.cycle.results import BlockDecision
from lt_ray.errors import CycleError, ModelError
from lt_ray.models.model import Blocks, Model
from lt_ray.models.survey import WAY_OUT, Survey
from lt_ray.pruning import magnitude, similarity
from lt_ray.pruning.masks import masked, pack, unpack
from lt_ray.rounds import calibration
from lt_ray.rounds.chain import fractions, touches
from lt_ray.store.store import RoundStore
from lt_ray.tasks.task import Data
from lt_ray.training.randomness import generator, generators

log = logging.getLogger("lt_ray")

_DIGITS = 6
"""Decimals of CKA that are kept with a decision; its estimate is not sure of the fourth"""
_CALIBRATION_BATCH = 64
"""Examples at a time where the estimate does not depend on it [count]"""


@dataclass(frozen=True)
class Start:
    """Where a round's training starts."""

    weights: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    blocks: Blocks = None
    """The model's blocks, by their positions in the dense one"""
    frozen: tuple[int, ...] = ()
    """Of them, those that are not trained"""
    epoch: int = 0
    """First epoch of the data order [epochs]"""
    restart_epoch: int | None = None
    """Epoch of round 0 whose weights were restored"""
    start_round: int | None = None
    """Round whose model was pruned [count]"""
    stride: int | None = None
    decision: BlockDecision | None = None
    trains: bool = True
    """False where a comparison removed nothing, so that there is nothing to retrain"""
    goes_on: bool = False
    """The kept weights are the trained ones, so that the pruned model can be measured before it is retrained"""

    def tensors(self) -> dict[str, Tensor]:
        """Return the masks as `loaded` takes them; the weights are those of the running training."""
        return {f"mask/{name}": bits for name, bits in pack(self.masks).items()}

    def tree(self) -> dict[str, Any]:
        """Return the rest as plain values."""
        return {
            "blocks": self.blocks,
            "frozen": self.frozen,
            "epoch": self.epoch,
            "restart_epoch": self.restart_epoch,
            "start_round": self.start_round,
            "stride": self.stride,
            "decision": None if self.decision is None else self.decision.model_dump(mode="json"),
            "trains": self.trains,
            "goes_on": self.goes_on,
            "shapes": {name: list(mask.shape) for name, mask in self.masks.items()},
        }

    @classmethod
    def loaded(cls, tensors: Mapping[str, Tensor], tree: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Start:
        """Return the start that `tensors` and `tree` told of, with the weights as they are now."""
        tree = dict(tree)
        shapes = {name: tuple(shape) for name, shape in tree.pop("shapes").items()}
        packed = {name.removeprefix("mask/"): t for name, t in tensors.items() if name.startswith("mask/")}
        masks = unpack(packed, shapes)
        decision, blocks = tree.pop("decision"), tree.pop("blocks")
        return cls(
            weights=weights,
            masks={name: masks[name] for name in shapes},
            blocks=None if blocks is None else tuple(blocks),
            frozen=tuple(tree.pop("frozen")),
            decision=None if decision is None else BlockDecision(**decision),
            **tree,
        )


@dataclass(frozen=True)
class Parent:
    """The finished round whose model is pruned."""

    key: str
    index: int
    weights: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    blocks: Blocks
    frozen: tuple[int, ...]


@dataclass(frozen=True)
class Pruner:
    """Prunes the models of one cycle.

    - `data`: calibration examples are of its train split
    - `seed`: of the cycle
    - `store`: keeps what was measured of a model, for other prunings of it
    """

    model: Model[Any]
    data: Data
    seed: int
    store: RoundStore
    device: torch.device

    def pruned(
        self,
        pruning: Pruning,
        parent: Parent,
        index: int,
        stride: int | None,
        over: str = "",
        counts: Mapping[str, int] | None = None,
    ) -> Start:
        """Return a parent's model with fewer weights or blocks, the kept weights as they were trained.

        - `index`: of the round [count]
        - `stride`: of a comparison of blocks [count]
        - `over`: why a comparison of blocks is not to be made any more; empty where it is
        - `counts`: of random pruning, tensor → how many weights its ticket keeps [count]

        Raises `DegenerateError` where a block's output is the same for all examples.
        """
        weights, masks = dict(parent.weights), dict(parent.masks)
        start_round = None if parent.blocks is None else parent.index
        start = Start(weights, masks, parent.blocks, parent.frozen, start_round=start_round, goes_on=True)
        if isinstance(pruning, Similarity):
            assert stride is not None
            return self._shortened(pruning, replace(start, stride=stride), parent, over)
        if isinstance(pruning, Wanda):
            masks = self._by_wanda(pruning, parent)
        elif counts is not None:
            masks = magnitude.at_random(parent.masks, counts, generators(self.seed, "random pruning", index))
        else:
            assert isinstance(pruning, Magnitude)
            masks = self._by_magnitude(pruning, parent)
        return replace(start, weights=masked(weights, masks), masks=masks)

    def _by_magnitude(self, pruning: Magnitude, parent: Parent) -> dict[str, Tensor]:
        model, blocks = self.model, parent.blocks
        return magnitude.prune(
            parent.weights,
            parent.masks,
            pruning.fraction,
            scope=pruning.scope,
            rounding=pruning.rounding,
            names=model.cut(dict.fromkeys(touches(pruning, model)), blocks),
            fractions=model.cut(fractions(pruning, model), blocks),
        )

    def _by_wanda(self, pruning: Wanda, parent: Parent) -> dict[str, Tensor]:
        module = self.model.live(parent.weights, parent.blocks, self.device).eval()
        blocks, kept = self.model.blocks_of(module), self.model.kept
        documents = self._documents(pruning.calibration)
        forward, batches = partial(self.model.forward, module), self._tokens(documents, _CALIBRATION_BATCH)
        sparsity = pruning.kept_of or pruning.sparsity
        if pruning.mode == "sequential":
            (after,) = calibration.wanda_masks(
                module, blocks, forward, batches, kept, parent.masks, [sparsity], mode="sequential"
            )
            return after
        key = digest({"round": parent.key, "wanda": pruning.calibration, "seed": self.seed})[:24]
        norms = self.store.statistics(key)
        if norms is None:
            norms = calibration.input_norms(module, blocks, forward, batches, kept)
            self.store.put_statistics(key, norms)
        return calibration.selected(module, norms, parent.masks, sparsity)

    def _shortened(self, pruning: Similarity, start: Start, parent: Parent, over: str) -> Start:
        assert parent.blocks is not None
        assert start.stride is not None
        if over:
            undecided = BlockDecision(
                cka=(),
                threshold=pruning.threshold,
                stride=start.stride,
                clusters=(),
                removed=(),
                frozen=(),
                origins=parent.blocks,
                reason=over,
            )
            return replace(start, trains=False, decision=undecided)
        cka = self._compared(pruning, parent)
        plan = similarity.plan(
            cka, threshold=pruning.threshold, stride=start.stride, rule=pruning.clusters, freeze=pruning.freeze
        )
        decision = BlockDecision(
            cka=tuple(tuple(round(value, _DIGITS) for value in row) for row in cka.tolist()),
            threshold=pruning.threshold,
            stride=start.stride,
            clusters=plan.clusters,
            removed=plan.removed,
            frozen=plan.frozen,
            origins=parent.blocks,
            reason=_reason(plan, pruning.threshold, start.stride),
        )
        if not plan.removed:
            return replace(start, trains=False, decision=decision)
        blocks = tuple(parent.blocks[place] for place in plan.kept)
        return replace(
            start,
            weights=self.model.cut(start.weights, blocks, parent.blocks),
            masks=self.model.cut(start.masks, blocks, parent.blocks),
            blocks=blocks,
            frozen=tuple(parent.blocks[place] for place in plan.frozen),
            decision=decision,
        )

    def _compared(self, pruning: Similarity, parent: Parent) -> Tensor:
        """CKA of every two blocks, float64 (L, L)."""
        settings = {name: pruning.meaning()[name] for name in ("cka", "calibration", "calibration_batch")}
        key = digest({"round": parent.key, "seed": self.seed, **settings})[:24]
        found = self.store.statistics(key)
        if found is not None:
            return found["cka"]
        module = self.model.live(parent.weights, parent.blocks, self.device).eval()
        blocks, forward = self.model.blocks_of(module), partial(self.model.forward, module)
        documents = self._documents(pruning.calibration)
        if pruning.cka == "tokens":
            tokens = similarity.TokenCka(len(blocks))
            batches = self._tokens(documents, _CALIBRATION_BATCH)
            for outputs, kept in calibration.block_outputs(blocks, forward, batches, self.model.kept):
                tokens.add(outputs, kept)
            cka = tokens.matrix()
        else:
            samples = similarity.MinibatchCka(len(blocks))
            rest = len(documents) % pruning.calibration_batch
            if rest < similarity.SMALLEST_BATCH:  # too few for the unbiased estimator
                documents = documents[: len(documents) - rest]
            batches = self._tokens(documents, pruning.calibration_batch)
            for outputs, kept in calibration.block_outputs(blocks, forward, batches, self.model.kept):
                samples.add([similarity.pooled(states, kept) for states in outputs])
            cka = samples.matrix()
        self.store.put_statistics(key, {"cka": cka})
        return cka

    def _documents(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Calibration examples: of train alone, drawn from the seed."""
        return _drawn(self.data, self.seed, count)

    def _tokens(self, documents: np.ndarray[tuple[int], np.dtype[np.int64]], size: int) -> Iterator[Tensor]:
        for batch in self.data.some("train", documents, size):
            yield batch.to(self.device).inputs


def check_survey(prunings: Iterable[Pruning], model: Model[Any], surveyed: Callable[[], Survey]) -> None:
    """Raise `ModelError` where a model is not what one of the prunings supposes.

    - `surveyed`: gives the `survey` of the model; asked only where a pruning depends on it
    """
    prunings = list(prunings)
    if any(isinstance(pruning, Magnitude) and pruning.parameters == "weights" for pruning in prunings):
        for name, kind in model.unknown_maps():
            raise ModelError(
                "`magnitude.parameters: weights` needs weights in layers of a known kind, but the model's "
                f"{name or 'own parameters'} ({kind}) is none: take `all`, or name another model."
            )
    by_wanda = [pruning for pruning in prunings if isinstance(pruning, Wanda)]
    if by_wanda:
        for name, kind in model.unknown_maps(in_blocks=True):
            raise ModelError(
                "`wanda` needs blocks whose weights are linear maps of a known kind, but the model's "
                f"{name} ({kind}) is none: {WAY_OUT}"
            )
    if by_wanda or any(isinstance(pruning, Similarity) for pruning in prunings):
        found = surveyed()
        found.check_blocks()
        if by_wanda:
            found.check_maps()
        if any(pruning.mode == "sequential" for pruning in by_wanda):
            found.check_chain()


def check_calibration(prunings: Iterable[Pruning], data: Data, seed: int) -> None:
    """Raise `CycleError` where blocks could not be compared on a cycle's calibration examples, whatever the model.

    - `data`, `seed`: see `Pruner`
    """
    for pruning in prunings:
        if not isinstance(pruning, Similarity):
            continue
        documents = _drawn(data, seed, pruning.calibration)
        if pruning.cka == "minibatch" and len(documents) < similarity.SMALLEST_BATCH:
            raise CycleError(
                f"`similarity.cka: minibatch` compares blocks on at least {similarity.SMALLEST_BATCH} texts of train, "
                f"but train has {len(documents)}: give more texts, or take `tokens`, which one text is enough for"
            )
        if pruning.cka == "tokens" and _longest(data, documents) < similarity.FEWEST_TOKENS:
            raise CycleError(
                f"`similarity.cka: tokens` compares blocks on texts of at least {similarity.FEWEST_TOKENS} tokens, but "
                f"the {len(documents)} texts that calibration draws of train have one each: give longer ones, a larger "
                "`task.max_tokens` or `similarity.calibration`, or take `minibatch`"
            )


def _drawn(data: Data, seed: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The examples of train on which a cycle calibrates, at most `count`."""
    drawn = torch.randperm(data.examples("train"), generator=generator(seed, "calibration"))
    chosen: np.ndarray[tuple[int], np.dtype[np.int64]] = drawn[:count].numpy()
    return chosen


def _longest(data: Data, documents: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """Tokens of the longest of some documents of train."""
    return max((batch.inputs.shape[1] for batch in data.some("train", documents, _CALIBRATION_BATCH)), default=0)


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
