"""Numbers and lists as sentences say them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def percent(share: float) -> str:
    """Return a share as a reader says it, near 1 with as many digits as tell what is left: `13.4 %`, `99.88 %`."""
    left = 100 * (1 - share)
    if 0 < left < 1:
        return f"{100 * share:.{1 + math.ceil(-math.log10(left))}f} %"
    return f"{100 * share:.3g} %"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list: `a, b and c`."""
    return f" {last} ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), *words[-1:]])


def points(difference: float) -> str:
    """Return a difference of shares in points, with its sign: `−0.45`."""
    return f"{100 * difference:+.2f}".replace("-", "−")


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
