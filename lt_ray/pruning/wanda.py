"""Wanda: in each output row, remove the weights of the lowest |w| · ‖x‖₂ (docs/methods.md §4; Sun et al. 2023).

arXiv:2306.11695. Unlike the paper's program, padding is left out of the norms, norms and scores are float64, ties go
by column, and weights that are pruned already rank before all others, so that a mask only shrinks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Scores = npt.NDArray[np.float64]
Bits = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

_SCORES, _TOKENS = 1 << 17, 128
"""Scores that are ranked and, on a CPU, tokens that are squared at a time: float64 copies stay in its cache."""


def sums_of_squares(x: Tensor, kept: Tensor | None) -> Tensor:
    """Return Σ x_j² of each feature over the kept tokens, float64 (in,) on the device of `x`.

    - `x`: activations, any floating type (B, T, in) or (B, in)
    - `kept`: bool (B, T) or (B,), False where whatever `x` holds, NaN too, is not looked at; None = all kept
    """
    tokens = x.detach().flatten(end_dim=-2)
    counted = None if kept is None else kept.to(x.device).flatten()
    sums = torch.zeros(x.shape[-1], dtype=torch.float64, device=x.device)
    at_a_time = _TOKENS if x.device.type == "cpu" else len(tokens)
    for start in range(0, len(tokens), max(at_a_time, 1)):
        part = slice(start, start + at_a_time)
        sums += (tokens[part] if counted is None else tokens[part][counted[part]]).double().square().sum(0)
    return sums


def sums_over_patches(squares: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """Return, for each weight of a kernel, the sum of what it is multiplied with over all places of the kernel: the
    sum of a column of im2col, float64 (C · kernel).

    - `squares`: sums over a batch of squared inputs, padded as the convolution pads them, float64 (C, …)
    - `kernel`, `stride`, `dilation`: of each spatial axis [count]
    """
    axes = list(zip(squares.shape[1:], kernel, stride, dilation, strict=True))
    spans = [[(d * k, side - d * (size - 1 - k), s) for k in range(size)] for side, size, s, d in axes]
    places = [squares[(slice(None), *(slice(*span) for span in place))] for place in itertools.product(*spans)]
    return torch.stack([part.flatten(1).sum(1) for part in places], dim=1).flatten()


def removed_count(in_features: int, sparsity: float) -> int:
    """Return how many weights of each row are pruned at `sparsity` [count]: int(in_features · sparsity).

    - `in_features`: weights of a row [count]
    - `sparsity`: share of the row, [0, 1)

    A product within 1e-9 below a whole number is that number: 0.29 of 100 is 29, although 100 · 0.29 < 29 in floats.
    Raises ValueError for a sparsity outside [0, 1).
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"`0 <= sparsity < 1` must hold, but got ({sparsity=}).")
    return math.floor(in_features * sparsity + 1e-9)


def select(weight: Tensor, norms: Tensor, mask: Tensor, sparsity: float) -> Tensor:
    """Return the mask without the `removed_count` lowest |W_ij| · norm_j of each row.

    - `weight`: any floating type (out, in); values under a False mask are not looked at
    - `norms`: ‖x_j‖₂ of each input feature, float64 (in,)
    - `mask`: mask before, bool (out, in); what is pruned there stays pruned and counts among the lowest
    - `sparsity`: share of a row, [0, 1)

    Returns bool (out, in) on the device of `mask`. Ties go by column, the lower first, so the mask is that of a stable
    sort of each row. Raises ValueError for norms that are not finite.
    """
    _check(norms)
    features = weight.shape[1]
    count = removed_count(features, sparsity)
    if count == 0:
        return mask.clone()
    before, weight, norms = mask.cpu().numpy(), weight.detach().cpu(), norms.cpu()
    after = before.copy()
    step = max(_SCORES // max(features, 1), 1)
    for start in range(0, len(before), step):
        rows = slice(start, start + step)
        bits = _bits(weight[rows], norms, before[rows])
        threshold = np.partition(bits, count - 1, axis=1)[:, count - 1]
        np.greater(bits, threshold[:, None], out=after[rows])
        # Where fewer stay than should, scores tie with the threshold, or pruned weights alone reach the count.
        fewer = after[rows].sum(1, dtype=np.int32) < features - count
        if len(unclear := start + np.flatnonzero(fewer & (threshold >= 0))):
            after[unclear] = ~_first(_scores(weight[unclear], norms, before[unclear]), count)
    return torch.from_numpy(after).to(mask.device)


def select_pattern(weight: Tensor, norms: Tensor, mask: Tensor, n: int, m: int) -> Tensor:
    """Return the mask that keeps the n highest |W_ij| · norm_j of every m consecutive inputs of a row.

    - `weight`, `norms`, `mask`: as in `select`
    - `n`, `m`: weights that stay, of how many: 2:4 is (n=2, m=4) [count]

    Returns bool (out, in) on the device of `mask`: at most n of every m, fewer where more were pruned before. Ties go
    by column, the lower first. Raises ValueError unless 0 < n < m and m divides in_features.
    """
    in_features = weight.shape[1]
    if not 0 < n < m:
        raise ValueError(f"`0 < n < m` must hold in an n:m pattern, but got ({n=}, {m=}).")
    if in_features % m:
        raise ValueError(f"`m` must divide in_features, but got ({in_features=}, {m=}).")
    _check(norms)
    before = mask.cpu().numpy()
    groups = _scores(weight.detach().cpu(), norms.cpu(), before).reshape(-1, m)
    gone = _first(groups, m - n).reshape(before.shape)
    return torch.from_numpy(before & ~gone).to(mask.device)


def _check(norms: Tensor) -> None:
    if not bool(torch.isfinite(norms).all()):
        count = int((~torch.isfinite(norms)).sum())
        raise ValueError(
            f"norms of inputs must be finite, but {count} of {len(norms)} are not: "
            "the model gives no finite activations on the calibration batches."
        )


def _scores(weight: Tensor, norms: Tensor, before: Bools) -> Scores:
    """|w| · norm, and −1 for weights that are pruned already, below every other."""
    scores: Scores = weight.double().abs().mul(norms).numpy()
    scores[~before] = -1
    return scores


def _bits(weight: Tensor, norms: Tensor, before: Bools) -> Bits:
    """The bits of `_scores`, rounded to float32, which rank as the scores do, but for some that become equal.

    Rounding never swaps two scores, and the bits of floats that are not negative rank as they do; pruned weights have
    −1. numpy selects among int32 faster than among float64, and without a sign bit |w| costs nothing.
    """
    bits: Bits = weight.to(torch.float64, copy=True).mul_(norms).float().view(torch.int32).numpy()
    bits &= np.int32(0x7FFFFFFF)
    bits |= before.view(np.int8) - np.int8(1)
    return bits


def _first(scores: Scores, count: int) -> Bools:
    """Which of each row are the first `count` of a stable sort, bool (rows, in)."""
    gone = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(gone, np.argsort(scores, axis=1, kind="stable")[:, :count], True, axis=1)
    return gone
