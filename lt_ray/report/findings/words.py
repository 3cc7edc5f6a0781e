"""Numbers, lists and differences as sentences say them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from lt_ray.cycle.metrics import Metric
from lt_ray.report.findings.estimates import Estimate

UNSEEN = 5e-5
"""Differences below it are shown as 0.00 points"""


def percent(share: float) -> str:
    """Return a share as a reader says it, near 1 with as many digits as tell what is left: `13.4 %`, `99.88 %`."""
    left = 100 * (1 - share)
    if 0 < left < 1:
        return f"{100 * share:.{1 + math.ceil(-math.log10(left))}f} %"
    return f"{100 * share:.3g} %"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list: `a, b and c`."""
    return f" {last} ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), *words[-1:]])


def first_of(words: Sequence[str], many: int) -> str:
    """Return the first of some words, and how many there are besides: `a; b; and 3 more`."""
    return "; ".join([*words[:many], *([f"and {len(words) - many} more"] if words[many:] else [])])


def runs_of(rounds: Iterable[int]) -> str:
    """Return rounds as a list of runs: `rounds 3–5 and 7`."""
    runs: list[list[int]] = []
    for index in sorted(rounds):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    words = [f"{low}" if low == high else f"{low}–{high}" for low, high in runs]
    return f"{'round' if len(runs) == 1 and runs[0][0] == runs[0][1] else 'rounds'} {listed(words)}"


def seeds_of(seeds: Iterable[int]) -> str:
    """Return seeds as a list: `seeds 0, 1 and 4`."""
    ordered = sorted(set(seeds))
    return f"seed{'s' if len(ordered) > 1 else ''} {listed([str(seed) for seed in ordered])}"


def span(values: Iterable[int], shown: Callable[[int], str] = "{:,}".format) -> str:
    """Return the lowest and the highest of some numbers: `6 to 8`; one where they look alike, empty without any.

    - `shown`: how one of them is written
    """
    ordered = sorted(values)
    return " to ".join(dict.fromkeys(map(shown, ordered[:1] + ordered[-1:])))


def numbered(number: int, what: str) -> str:
    """Return a number of things: `1 round`, `2,000 rounds`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class Wording:
    """How sentences and tables speak of a metric: of shares in points, hundredths, of other numbers as they are."""

    def __init__(self, metric: Metric) -> None:
        rising, is_share = metric.best == "highest", metric.unit == "[0, 1]"
        self.metric = metric
        self.name = metric.label
        self.plural = f"{self.name[:-1]}ies" if self.name.endswith("y") else self.name
        self.sign = 1 if rising else -1
        """What its values are multiplied by so that more is better: 1 or −1"""
        self.better, self.worse = ("above", "below") if rising else ("below", "above")
        self.at_least, self.less = ("≥", "−") if rising else ("≤", "+")
        """The sign between a value and what it must keep, and between that and what may be lost"""
        self.factor, self.digits = (100, 2) if is_share else (1, 4)
        """What a difference is multiplied by to be told, and its decimals"""
        self.unit = " points" if is_share else ""
        """What follows a difference in a sentence"""
        self.head = " [points]" if is_share else f" [{metric.unit}]"
        """What follows the name of a column of differences"""

    def bound(self, dense: str, tolerance: float) -> str:
        """Return what a winning ticket must keep: `own dense − 0.005`."""
        return f"{dense} {self.less} {tolerance:g}"

    def points(self, difference: float) -> str:
        """Return a difference with its sign: `−0.45`."""
        return f"{self.factor * difference:+.{self.digits}f}".replace("-", "−")

    def interval(self, low: float, high: float) -> str:
        """Return the ends of an interval of differences: `−0.45 to +0.10`."""
        return f"{self.points(low)} to {self.points(high)}"

    def gap(self, difference: float, fewer: int = 0) -> str:
        """Return the size of a difference with its unit: `0.45 points`.

        - `fewer`: decimals to leave out [count]
        """
        return f"{self.factor * abs(difference):.{self.digits - fewer}f}{self.unit}"

    def against(self, difference: float, other: str) -> str:
        """Return how something differs from another: `is 0.45 points above dense`."""
        if abs(difference) < UNSEEN:
            return f"is that of {other} to {self.gap(2 * UNSEEN)}"
        return f"is {self.gap(difference)} {'above' if difference > 0 else 'below'} {other}"

    def doubt(self, difference: Estimate, more: str = "") -> str:
        """Return how sure a mean difference is: `, mean of 3 seeds (95 % interval −0.45 to +0.10, not corrected)`."""
        low, high = difference.low, difference.high
        if low is None or high is None:
            return " (one seed, so without an interval)"
        zero = ", which includes 0" if low <= 0 <= high else ""
        interval = f"95 % interval {self.interval(low, high)}{zero}, not corrected"
        return f", mean of {difference.n} seeds ({interval}{more})"
