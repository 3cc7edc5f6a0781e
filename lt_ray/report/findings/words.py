"""Numbers and lists as sentences say them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lt_ray.cycle.metrics import Metric


def percent(share: float) -> str:
    """Return a share as a reader says it, near 1 with as many digits as tell what is left: `13.4 %`, `99.88 %`."""
    left = 100 * (1 - share)
    if 0 < left < 1:
        return f"{100 * share:.{1 + math.ceil(-math.log10(left))}f} %"
    return f"{100 * share:.3g} %"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list: `a, b and c`."""
    return f" {last} ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), *words[-1:]])


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


def numbered(number: int, what: str) -> str:
    """Return a number of things: `1 round`, `2,000 rounds`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


UNSEEN = 5e-5
"""Differences below it are shown as 0.00 points"""


@dataclass(frozen=True)
class Wording:
    """How sentences and tables speak of a metric: shares in points, other numbers as they are."""

    metric: Metric

    @property
    def sign(self) -> int:
        """What its values are multiplied by so that more is better: 1 or −1."""
        return 1 if self.metric.best == "highest" else -1

    @property
    def name(self) -> str:
        """What it is called."""
        return self.metric.label

    @property
    def plural(self) -> str:
        """What several of its values are called."""
        return f"{self.name[:-1]}ies" if self.name.endswith("y") else self.name

    @property
    def short(self) -> str:
        """What it is called in a narrow head."""
        return "acc." if self.name == "accuracy" else self.name

    @property
    def is_share(self) -> bool:
        """Whether differences are told in points, hundredths."""
        return self.metric.unit == "[0, 1]"

    @property
    def factor(self) -> float:
        """What a difference is multiplied by to be told."""
        return 100 if self.is_share else 1

    @property
    def digits(self) -> int:
        """Decimals of a difference as it is told."""
        return 2 if self.is_share else 4

    @property
    def unit(self) -> str:
        """What follows a difference in a sentence."""
        return " points" if self.is_share else ""

    @property
    def head(self) -> str:
        """What follows the name of a column of differences."""
        return f" [{'points' if self.is_share else self.metric.unit}]"

    @property
    def better(self) -> str:
        """Where a better value lies."""
        return "above" if self.sign > 0 else "below"

    @property
    def worse(self) -> str:
        """Where a worse value lies."""
        return "below" if self.sign > 0 else "above"

    @property
    def at_least(self) -> str:
        """The sign between a value and what it must keep."""
        return "≥" if self.sign > 0 else "≤"

    @property
    def less(self) -> str:
        """The sign between a value and what may be lost of it."""
        return "−" if self.sign > 0 else "+"

    def bound(self, dense: str, tolerance: float) -> str:
        """Return what a winning ticket must keep: `own dense − 0.005`."""
        return f"{dense} {self.less} {tolerance:g}"

    def points(self, difference: float) -> str:
        """Return a difference with its sign: `−0.45`."""
        return f"{self.factor * difference:+.{self.digits}f}".replace("-", "−")

    def interval(self, low: float, high: float) -> str:
        """Return an interval of differences: `95 % interval −0.45 to +0.10`."""
        return f"95 % interval {self.points(low)} to {self.points(high)}"

    def gap(self, difference: float, fewer: int = 0) -> str:
        """Return the size of a difference with its unit: `0.45 points`.

        - `fewer`: decimals to leave out [count]
        """
        return f"{self.factor * abs(difference):.{self.digits - fewer}f}{self.unit}"

    def against(self, one: str, other: str, difference: float) -> str:
        """Return how two differ: `a is 0.45 points above b`."""
        if abs(difference) < UNSEEN:
            return f"{one} and {other} differ by less than {self.gap(2 * UNSEEN)}"
        return f"{one} is {self.gap(difference)} {'above' if difference > 0 else 'below'} {other}"
