"""Rules that end a cycle early, from what it measures on validation at whole rounds alone.

Each is told of every finished round in the order in which they finished, so that a resumed sweep decides again what it
decided before.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

from pydantic import Field

from lt_ray.cycle.results import ROUNDING, RoundResult
from lt_ray.cycle.settings import Settings
from lt_ray.sweep.objective import rung_score

Rule = Callable[[RoundResult], str | None]
"""Takes in a finished round; returns why its cycle should end here, or None"""


class Asha(Settings):
    """Asynchronous successive halving over rounds (Li et al. 2020, MLSys, algorithm 2 in its stopping form).

    Cycles are compared at equal rounds, `grace`, `grace · reduction`, `grace · reduction²`, …: of those that have
    finished that round so far, the best ⌈n / reduction⌉ go on. The one that arrives is decided, nobody is recalled.
    Where the paper promotes, we stop: no cycle waits at a rung.
    """

    reduction: int = Field(default=3, ge=2)
    """One in so many goes on [count]"""
    grace: int = Field(default=1, ge=1)
    """First round after which a cycle may end [count]"""

    def rungs(self, last: int) -> tuple[int, ...]:
        """Return the rounds at which cycles of `last` prunings are compared; the last round is none of them."""
        rungs, rung = [], self.grace
        while rung < last:
            rungs.append(rung)
            rung *= self.reduction
        return tuple(rungs)

    def rule(self, objective: str, last: int) -> Rule:
        """Return the rule that decides on the cycles of one sweep.

        - `objective`: what they are compared by; `last`: most prunings of any cycle [count]
        """
        rungs: dict[int, dict[str, float]] = {rung: {} for rung in self.rungs(last)}
        dense: dict[str, RoundResult] = {}

        def after(result: RoundResult) -> str | None:
            if result.round == 0:
                dense[result.cycle] = result
            rung = rungs.get(result.round)
            if rung is None or result.cycle in rung:
                return None
            mine = rung[result.cycle] = rung_score(objective, dense[result.cycle], result)
            better = sum(value > mine for value in rung.values())
            going_on = math.ceil(len(rung) / self.reduction)
            if better < going_on:
                return None
            who = "the best goes on" if going_on == 1 else f"the best {going_on} go on"
            return f"asha: rank {better + 1} of {len(rung)} at round {result.round}, where {who}"

        return after


class MaxDrop(Settings):
    """Ends a cycle that on validation stays more than `max_drop` worse than its own dense round."""

    max_drop: float = Field(gt=0)
    """What may be lost, in the unit of the deciding metric"""
    rounds: int = Field(default=2, ge=1)
    """Rounds in a row [count]"""

    def rule(self) -> Rule:
        """Return the rule that decides on the cycles of one sweep."""
        dense: dict[str, RoundResult] = {}
        below: dict[str, int] = defaultdict(int)
        """Cycle → its latest rounds in a row that were too bad [count]"""

        def after(result: RoundResult) -> str | None:
            first = dense.setdefault(result.cycle, result)
            # Subtracted in this order: 0.85 is not below 0.90 − 0.05.
            is_below = result.score("val") < first.score("val") - self.max_drop - ROUNDING
            below[result.cycle] = below[result.cycle] + 1 if is_below else 0
            if below[result.cycle] < self.rounds:
                return None
            worse = "below" if result.best == "highest" else "above"
            return (
                f"max-drop: {result.lost(first):.4f} {worse} its dense validation {result.metric} at round "
                f"{result.round}, more than {self.max_drop:g} for {below[result.cycle]} rounds"
            )

        return after


def first_reason(rules: Iterable[Rule], result: RoundResult) -> str | None:
    """Tell every rule of a finished round; return the first reason to end its cycle."""
    return next(filter(None, [rule(result) for rule in rules]), None)
