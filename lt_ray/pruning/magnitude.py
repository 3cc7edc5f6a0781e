"""Magnitude pruning: remove the smallest |w| of the remaining weights (docs/methods.md §2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lt_ray.pruning.masks import Masks, Weights

Scope = Literal["local", "global"]
Rounding = Literal["percentile", "nearest", "ceil"]
Bits = npt.NDArray[np.int32]

_LARGEST = np.iinfo(np.int32).max


def removed_count(remaining: int, fraction: float, rounding: Rounding) -> int:
    """Return how many of `remaining` weights with distinct magnitudes one pruning removes [count].

    `percentile` = ceil(f·(n−1)), as numpy's linearly interpolated percentile with `<` does; `nearest` = round(f·n),
    as torch.nn.utils.prune; `ceil` = ceil(f·n), as OpenLTH. At least one weight stays.
    """
    if remaining <= 1:
        return 0
    if rounding == "percentile":
        count = math.ceil(fraction * (remaining - 1))
    elif rounding == "nearest":
        count = round(fraction * remaining)
    else:
        count = math.ceil(fraction * remaining)
    return min(count, remaining - 1)


def prune(
    weights: Weights,
    masks: Masks,
    fraction: float,
    *,
    scope: Scope = "local",
    rounding: Rounding = "percentile",
    names: Collection[str] | None = None,
    fractions: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """Return smaller masks: of the remaining weights, the `fraction` with the smallest magnitudes is pruned too.

    - `weights`: trained weights, any floating type; values under a False mask are not looked at
    - `masks`: masks before; a weight pruned there stays pruned
    - `fraction`: share of the remaining weights, (0, 1)
    - `names`: the prunable tensors; the other masks are returned as they are (None = all)
    - `fractions`: tensor → its own share instead of `fraction`; with local scope

    Ties go by position, in the tensors' order of `masks`. A tensor is never emptied: its largest remaining weight
    stays, and with `global` scope the next one in rank goes in its stead. With `percentile`, weights that tie with
    the threshold all stay, so fewer may go.
    """
    chosen = [name for name in masks if names is None or name in names]
    bits = {name: _magnitude_bits(weights[name], masks[name]) for name in chosen}
    if scope == "local":
        shares = dict.fromkeys(chosen, fraction) | dict(fractions or {})
        gone = {name: _smallest(bits[name], shares[name], rounding) for name in chosen}
    else:
        gone = _smallest_together(bits, fraction, rounding)
    return {name: _without(mask, gone[name]) if name in gone else mask.clone() for name, mask in masks.items()}


def at_random(
    before: Masks, counts: Mapping[str, int], generator: Callable[[str], torch.Generator]
) -> dict[str, Tensor]:
    """Return smaller masks that keep as many weights of each tensor as `counts` says, at random positions.

    - `before`: masks before; a weight pruned there stays pruned
    - `counts`: tensor → weights that it keeps, at most as many as before [count]
    - `generator`: tensor name → generator of its draw
    """
    drawn = {}
    for name, mask in before.items():
        kept = int(mask.sum())
        gone = np.zeros(kept, dtype=bool)
        count = kept - counts[name]
        gone[torch.randperm(kept, generator=generator(name))[:count].numpy()] = True
        drawn[name] = _without(mask, gone)
    return drawn


def _magnitude_bits(weight: Tensor, mask: Tensor) -> Bits:
    """|w| of the remaining weights as int32 (n,): the bits of non-negative floats rank as the floats do."""
    flat: Bits = weight.detach().to("cpu", torch.float32)[mask.cpu()].abs().numpy().view(np.int32)
    return flat


def _smallest(bits: Bits, fraction: float, rounding: Rounding) -> npt.NDArray[np.bool_]:
    """Which of n magnitudes go, bool (n,)."""
    count = removed_count(len(bits), fraction, rounding)
    if count == 0:
        return np.zeros(len(bits), dtype=bool)
    if rounding == "percentile":
        # The percentile lies above the (count−1)-th smallest and not above the count-th, so `< percentile` and
        # `< count-th smallest` choose the same weights, without the percentile's own rounding error.
        return np.asarray(bits < np.partition(bits, count)[count])
    threshold = np.partition(bits, count - 1)[count - 1]
    gone: npt.NDArray[np.bool_] = np.asarray(bits < threshold)
    ties = np.flatnonzero(bits == threshold)
    gone[ties[: count - int(gone.sum())]] = True
    return gone


def _smallest_together(
    bits: Mapping[str, Bits], fraction: float, rounding: Rounding
) -> dict[str, npt.NDArray[np.bool_]]:
    together = np.concatenate(list(bits.values())) if bits else np.zeros(0, dtype=np.int32)
    ends = np.cumsum([len(part) for part in bits.values()])
    for part, end in zip(bits.values(), ends, strict=True):
        if len(part):
            together[end - len(part) + int(part.argmax())] = _LARGEST
    count = removed_count(len(together), fraction, rounding)
    if count > len(together) - len(bits):
        fraction, rounding = (len(together) - len(bits)) / max(len(together), 1), "nearest"
    gone = _smallest(together, fraction, rounding)
    return dict(zip(bits, np.split(gone, ends[:-1]), strict=True))


def _without(mask: Tensor, gone: npt.NDArray[np.bool_]) -> Tensor:
    smaller = mask.clone()
    smaller[mask] = torch.from_numpy(~gone).to(mask.device)
    return smaller
