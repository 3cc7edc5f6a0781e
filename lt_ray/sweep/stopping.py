"""Rules that end a cycle early, from what it measures on validation at whole rounds alone.

Each is told of every finished round in the order in which they finished, so that a resumed sweep decides again what it
decided before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

from pydantic import Field

from lt_ray.cycle.results import ROUNDING, RoundResult
from lt_ray.cycle.settings import Settings
from lt_ray.sweep.objective import rung_score


class Rule(Protocol):
    """Decides on one cycle after each of its rounds."""

    def after(self, result: RoundResult) -> str | None:
        """Take in a finished round; return why its cycle should end here, or None."""


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


class MaxDrop(Settings):
    """Ends a cycle that on validation stays more than `max_drop` worse than its own dense round."""

    max_drop: float = Field(gt=0)
    """What may be lost, in the unit of the deciding metric"""
    rounds: int = Field(default=2, ge=1)
    """Rounds in a row [count]"""


class AshaRule:
    """`Asha` at work on the cycles of one sweep."""

    def __init__(self, settings: Asha, objective: str, last_round: int) -> None:
        self._settings, self._objective = settings, objective
        self._arrived: dict[int, dict[str, float]] = {rung: {} for rung in settings.rungs(last_round)}
        self._dense: dict[str, RoundResult] = {}

    def after(self, result: RoundResult) -> str | None:
        """Take in a finished round; return why its cycle should end here, or None."""
        if result.round == 0:
            self._dense[result.cycle] = result
        if result.round not in self._arrived or result.cycle in self._arrived[result.round]:
            return None
        rung = self._arrived[result.round]
        mine = rung_score(self._objective, self._dense[result.cycle], result)
        rung[result.cycle] = mine
        better = sum(value > mine for value in rung.values())
        going_on = math.ceil(len(rung) / self._settings.reduction)
        if better < going_on:
            return None
        who = "the best goes on" if going_on == 1 else f"the best {going_on} go on"
        return f"asha: rank {better + 1} of {len(rung)} at round {result.round}, where {who}"


class MaxDropRule:
    """`MaxDrop` at work on the cycles of one sweep."""

    def __init__(self, settings: MaxDrop) -> None:
        self._settings = settings
        self._dense: dict[str, RoundResult] = {}
        self._below: dict[str, int] = {}

    def after(self, result: RoundResult) -> str | None:
        """Take in a finished round; return why its cycle should end here, or None."""
        if result.round == 0:
            self._dense[result.cycle] = result
            return None
        dense = self._dense[result.cycle]
        # Subtracted in this order: 0.85 is not below 0.90 − 0.05.
        below = result.score("val") < dense.score("val") - self._settings.max_drop - ROUNDING
        self._below[result.cycle] = self._below.get(result.cycle, 0) + 1 if below else 0
        if self._below[result.cycle] < self._settings.rounds:
            return None
        worse = "below" if result.best == "highest" else "above"
        return (
            f"max-drop: {result.lost(dense):.4f} {worse} its dense validation {result.metric} at round {result.round}, "
            f"more than {self._settings.max_drop:g} for {self._below[result.cycle]} rounds"
        )


def first_reason(rules: Iterable[Rule], result: RoundResult) -> str | None:
    """Tell every rule of a finished round; return the first reason to end its cycle."""
    reasons = [rule.after(result) for rule in rules]
    return next((reason for reason in reasons if reason is not None), None)
