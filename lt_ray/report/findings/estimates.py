"""Means over seeds, their intervals, and what may be said of many of them at once (docs/methods.md §6)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

NOTHING = 1e-12
"""Accuracies, counts over counts, that differ by less are equal"""
LEVEL = 0.05
"""Chance that a family of comparisons says something false"""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % interval, Student's t, not corrected for how many of them are looked at."""

    n: int
    """Seeds [count]"""
    mean: float
    half: float | None
    """Half the interval's width; None for one seed"""
    p: float | None
    """Chance of a mean at least as far from 0 where the true one is 0; None for one seed"""

    def __neg__(self) -> Estimate:
        return Estimate(self.n, -self.mean, self.half, self.p)

    @property
    def low(self) -> float | None:
        """Lower end of the interval; None for one seed."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """Upper end of the interval; None for one seed."""
        return None if self.half is None else self.mean + self.half


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of at least one seed's value and its interval: mean ± t(0.975, n − 1) · s / √n.

    Where all values are equal, as counts of few examples can be, they say nothing of their spread, and p is that of
    the sign test: 2 / 2ⁿ.
    """
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return Estimate(n, mean, None, None)
    error = statistics.stdev(values) / math.sqrt(n)
    if abs(mean) <= 2 * NOTHING:
        p = 1.0
    elif error < NOTHING:
        p = 2.0 ** (1 - n)
    else:
        p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return Estimate(n, mean, float(stdtrit(n - 1, 0.975)) * error, p)


def over_seeds(values: Iterable[tuple[int, float]]) -> Estimate:
    """Return the mean over seeds of (seed, value): a seed's values are averaged first, since they are not independent.

    At least one value.
    """
    by_seed: dict[int, list[float]] = {}
    for seed, value in values:
        by_seed.setdefault(seed, []).append(value)
    return estimate([statistics.fmean(by_seed[seed]) for seed in sorted(by_seed)])


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for being a family: those up to `LEVEL` are all right with chance 1 − `LEVEL`.

    Holm 1979, Scand. J. Stat. 6: the k-th smallest of m times (m − k + 1), never below the one before, at most 1.
    """
    corrected, last = [1.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        last = max(last, min(1.0, ps[place] * (len(ps) - rank)))
        corrected[place] = last
    return corrected
