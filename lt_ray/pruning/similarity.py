"""Similarity pruning: how alike the outputs of a stack's blocks are, and which blocks go (docs/methods.md §3)."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lt_ray.errors import DegenerateError

Rule = Literal["anchor", "chain"]
Blocks = tuple[int, ...]

SMALLEST_BATCH = 4
"""Examples from which the estimator of `MinibatchCka` is defined [count]"""
FEWEST_TOKENS = 2
"""Of a sentence that `TokenCka` counts [count]"""
_FEW = 32  # examples
_STRIP = 64  # rows of a Gram matrix in one product
_ENTRIES = 2**25  # of Gram matrices that TokenCka holds at a time, 8 to 16 bytes each


def pooled(states: Tensor, kept: Tensor | None) -> Tensor:
    """Return each example's mean over its kept tokens, or over the pixels of its maps, (B, d), float32 (float64 if
    `states` are).

    - `states`: tokens (B, T, d), maps (B, d, H, W) or (B, d), any floating type; values at padding are not looked at
    - `kept`: bool (B, T), False at padding; None = there is none

    Raises ValueError when a sentence keeps no token.
    """
    if kept is None:
        places = {3: (1,), 4: (2, 3)}.get(states.dim(), ())
        means = states.mean(places, dtype=torch.float64) if places else states
        return means.to(torch.promote_types(states.dtype, torch.float32))
    counts = kept.sum(1, keepdim=True)
    if not bool(counts.all()):
        raise ValueError(f"Every sentence must keep a token, but got none in sentence {int(counts.argmin())}.")
    # Summed in float64: a block with constant output must still look constant after sentences of unequal lengths.
    sums = states.masked_fill(~kept.unsqueeze(-1), 0).sum(1, dtype=torch.float64)
    return (sums / counts).to(torch.promote_types(states.dtype, torch.float32))


def centred_gram(features: Tensor) -> Tensor:
    """Return the Gram matrix of examples less their mean, float64 (n, n): all that `MinibatchCka` needs of a block.

    - `features`: (n, d) or (n, …), which is flattened; any floating type

    Raises ValueError when n < 4, where the estimator is not defined.
    """
    if len(features) < SMALLEST_BATCH:
        raise ValueError(
            f"A batch must have at least {SMALLEST_BATCH} examples, but got {len(features)}: leave a smaller rest out."
        )
    return _gram(features.flatten(1))


class MinibatchCka:
    """Linear CKA between all pairs of blocks, with unbiased HSIC summed over batches of examples.

    - `blocks`: number of blocks L [count]

    Source: Nguyen, Raghu, Kornblith, "Do Wide and Deep Networks Learn the Same Things?", ICLR 2021, eq. 2-3; HSIC is
    the unbiased one of Song et al., "Feature Selection via Dependence Maximization", JMLR 2012. Differs: the batch's
    mean is removed first, which changes nothing in exact arithmetic and keeps float32 to 2e-6 at large means.
    """

    def __init__(self, blocks: int) -> None:
        self.examples = 0
        """Examples added so far [count]"""
        self._blocks = blocks
        self._products = torch.zeros(blocks, blocks, dtype=torch.float64)
        self._rounding = torch.zeros(blocks, dtype=torch.float64)

    @torch.no_grad()
    def add(self, each: Sequence[Tensor]) -> None:
        """Add one batch of n examples by the blocks' `centred_gram`, float64 (n, n), on one device.

        Raises ValueError when the blocks' n differ.
        """
        sizes = {len(gram) for gram in each}
        if len(each) != self._blocks or len(sizes) != 1:
            raise ValueError(
                f"Each of the {self._blocks} blocks must give features of the same examples, "
                f"but got {len(each)} blocks with {sorted(sizes)} examples."
            )
        n = sizes.pop()
        grams = torch.stack(list(each))
        diagonals = grams.diagonal(dim1=1, dim2=2)
        largest = diagonals.square().sum(1)
        diagonals.zero_()
        rows = grams.sum(2)
        totals = rows.sum(1)
        entries = grams.flatten(1)
        traces = entries @ entries.T
        hsic = traces + torch.outer(totals, totals) / ((n - 1) * (n - 2)) - rows @ rows.T * (2 / (n - 2))
        self._products = self._products.to(hsic.device) + hsic / (n * (n - 3))
        rounding = largest * (16 * torch.finfo(torch.float32).eps) ** 2
        self._rounding = self._rounding.to(hsic.device) + rounding / (n * (n - 3))
        self.examples += n

    def matrix(self) -> Tensor:
        """Return CKA between all pairs of blocks, float64 (L, L) on the CPU, symmetric, 1 on the diagonal.

        Raises DegenerateError when a block's output is the same for all examples of every batch (or for all but
        one), and ValueError when nothing was added or features were not finite.
        """
        _require(self.examples, "examples")
        # A product below what rounding leaves of the Gram matrices is noise: dividing by it would give any number.
        return _divided(self._products, self._products.diagonal() <= self._rounding)


class TokenCka:
    """Linear CKA between all pairs of blocks, the tokens of one sentence being the examples; mean over sentences.

    - `blocks`: number of blocks L [count]

    Source: biased CKA of Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019,
    eq. 4 with the linear kernel. Differs: padding is left out, and so are sentences with fewer than 2 tokens.
    """

    def __init__(self, blocks: int) -> None:
        self.sentences = 0
        """Sentences of 2 or more tokens added so far [count]"""
        self._blocks = blocks
        self._sums = torch.zeros(blocks, blocks, dtype=torch.float64)
        self._constant = torch.zeros(blocks, dtype=torch.bool)

    @torch.no_grad()
    def add(self, states: Sequence[Tensor], kept: Tensor) -> None:
        """Add one batch of sentences.

        - `states`: per block (B, T, d_l), any floating type, one device; values at padding are not looked at
        - `kept`: bool (B, T), False at padding

        Raises ValueError when the number of blocks or their (B, T) is not the expected one.
        """
        shapes = {tuple(state.shape[:2]) for state in states}
        if len(states) != self._blocks or shapes != {tuple(kept.shape)}:
            raise ValueError(
                f"Each of the {self._blocks} blocks must give states of the tokens {tuple(kept.shape)}, "
                f"but got {len(states)} blocks with {sorted(shapes)}."
            )
        used = kept.sum(1) >= FEWEST_TOKENS
        kept = kept & used.unsqueeze(1)
        self.sentences += int(used.sum())
        self._sums = self._sums.to(kept.device)
        self._constant = self._constant.to(kept.device)
        at_once = max(1, _ENTRIES // max(1, self._blocks * kept.shape[1] ** 2))
        for start in range(0, len(kept), at_once):
            some = slice(start, start + at_once)
            grams = torch.stack([_gram(state[some], kept[some]) for state in states], 1).flatten(2)
            products = grams @ grams.mT
            norms = products.diagonal(dim1=1, dim2=2)
            scales = torch.where(norms > 0, norms.rsqrt(), 0)
            self._sums += (products * scales.unsqueeze(2) * scales.unsqueeze(1)).sum(0)
            self._constant |= ((norms == 0) & used[some].unsqueeze(1)).any(0)

    def matrix(self) -> Tensor:
        """Return mean CKA between all pairs of blocks, float64 (L, L) on the CPU, symmetric, 1 on the diagonal.

        Raises DegenerateError when a block's output is the same for all tokens of a sentence, and ValueError when no
        sentence was counted or states were not finite.
        """
        _require(self.sentences, "sentences of 2 or more tokens")
        return _divided(self._sums, self._constant)


@dataclass(frozen=True)
class BlockPlan:
    """What becomes of each block of a model; positions in the numbering before the removal."""

    clusters: tuple[Blocks, ...]
    """Runs of similar blocks, together 0..L−1"""
    kept: Blocks
    removed: Blocks
    frozen: Blocks
    """The kept blocks that are not trained afterwards"""


def clusters(cka: Tensor, threshold: float, rule: Rule = "anchor") -> tuple[Blocks, ...]:
    """Return runs of similar blocks that cover 0..L−1 in order.

    - `cka`: (L, L), similarity of the blocks' outputs
    - `threshold`: CKA in (0, 1]
    - `rule`: `anchor` = block j joins while CKA with the cluster's first block ≥ threshold; `chain` = while CKA with
      block j−1 > threshold, so that a cluster's ends may be less alike
    """
    similarity: list[list[float]] = cka.tolist()
    runs: list[list[int]] = []
    for block in range(len(similarity)):
        if runs and rule == "anchor":
            joins = similarity[runs[-1][0]][block] >= threshold
        else:
            joins = bool(runs) and similarity[block - 1][block] > threshold
        if joins:
            runs[-1].append(block)
        else:
            runs.append([block])
    return tuple(map(tuple, runs))


def plan(
    cka: Tensor,
    *,
    threshold: float,
    stride: int = 1,
    rule: Rule = "anchor",
    freeze: bool = False,
    fixed: Collection[int] = (),
) -> BlockPlan:
    """Return which blocks go: positions `1::stride` of each cluster.

    - `cka`: (L, L), similarity of the blocks' outputs
    - `threshold`: CKA in (0, 1]
    - `stride`: 1 keeps the first block of each cluster only; 2 removes every second block [count]
    - `freeze`: of the kept blocks train only the last before and the first after each removed run
    - `fixed`: positions that stay whatever their cluster says, as a ResNet stage's first block

    Raises ValueError for a threshold, stride or fixed position out of range.
    Source: Hu et al., "MPruner", 2024 (arXiv 2408.13482). Differs: the threshold is a share, never percent, and the
    frozen blocks are named here, for the caller to take their gradients away.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"`0 < threshold <= 1` must hold, but got ({threshold=}): 98 % is 0.98.")
    if stride < 1:
        raise ValueError(f"`stride >= 1` must hold, but got ({stride=}): 1 removes all but a cluster's first block.")
    if not set(fixed) <= set(range(len(cka))):
        raise ValueError(f"`fixed` must be positions in 0..{len(cka) - 1}, but got {sorted(fixed)}.")
    similar = clusters(cka, threshold, rule)
    removed = {block for cluster in similar for block in cluster[1::stride]} - set(fixed)
    kept = tuple(block for block in range(len(cka)) if block not in removed)
    beside = {block for pair in itertools.pairwise(range(len(cka))) if removed & set(pair) for block in pair}
    frozen = tuple(block for block in kept if block not in beside) if freeze and removed else ()
    return BlockPlan(similar, kept, tuple(sorted(removed)), frozen)


def _gram(examples: Tensor, kept: Tensor | None = None) -> Tensor:
    """Gram matrices (..., T, T) of centred examples (..., T, d), float64; 0 where `kept` (..., T) is False."""
    rounding = torch.finfo(examples.dtype).eps
    # Of few examples with many features, centring leaves so little beside the diagonal that float32 would show.
    least = torch.float32 if examples.shape[-2] >= _FEW else torch.float64
    values = examples.to(torch.promote_types(examples.dtype, least))
    if kept is not None:
        values = values.masked_fill(~kept.unsqueeze(-1), 0)
    largest = values.abs().amax(-2, keepdim=True)
    # Twice: the first mean is rounded to the large values' last digit, the second to the differences' own.
    centred = _centred(_centred(values, kept), kept)
    # Outputs that differ by no more than rounding are constant: made 0, so that they are found and not compared.
    differs = centred.abs().amax(-2, keepdim=True) > 4 * rounding * largest
    centred *= differs.any(-1, keepdim=True)
    gram = centred.new_empty(*centred.shape[:-1], centred.shape[-2])
    with torch.autocast(centred.device.type, enabled=False):
        for start in range(0, centred.shape[-2], _STRIP):
            # Half of a symmetric matrix, by strips that begin at the diagonal; the other half is copied.
            here = slice(start, start + _STRIP)
            strip = centred[..., here, :] @ centred[..., start:, :].mT
            gram[..., here, start:] = strip
            gram[..., start:, here] = strip.mT
    return gram.double()


def _centred(values: Tensor, kept: Tensor | None) -> Tensor:
    if kept is None:
        return values - values.mean(-2, keepdim=True)
    weights = kept.unsqueeze(-1).to(values.dtype)
    return (values - values.sum(-2, keepdim=True) / weights.sum(-2, keepdim=True).clamp(min=1)) * weights


def _divided(products: Tensor, degenerate: Tensor) -> Tensor:
    """Products (L, L) over the roots of their diagonal; raises where that is not a number."""
    products = (products + products.T).cpu() / 2
    if unknown := _listed(~products.diagonal().isfinite()):
        raise ValueError(f"Outputs must be finite and small enough to square, but got others from block {unknown}.")
    if same := _listed(degenerate):
        raise DegenerateError(
            f"A block's output must differ between examples, but got the same for all from block {same} "
            f"(of 0..{len(products) - 1}): train the model until it tells its inputs apart, compare more varied "
            "examples, or leave the block out of the comparison."
        )
    norms = products.diagonal().sqrt()
    return (products / torch.outer(norms, norms)).fill_diagonal_(1)


def _listed(chosen: Tensor) -> str:
    return ", ".join(map(str, chosen.nonzero().flatten().tolist()))


def _require(count: int, what: str) -> None:
    if not count:
        raise ValueError(f"CKA needs {what}, but `add` was given none.")
