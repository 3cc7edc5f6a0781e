"""Retention: which trained weights a running sweep can drop.

Weights are needed while a planned round is still to start from them, and kept for the last round of every cycle, for
its last accepted one and for its winning round so far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from lt_ray.cycle.results import EpochResult, RoundResult, accepted_rounds, winning_round
from lt_ray.store.store import RoundStore
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.plan import PlannedCycle


class Retention(Listener):
    """Drops weights as the rounds of a plan finish; what it drops can always be trained again.

    - `tolerance`: what a winning ticket may lose, in the unit of the deciding metric
    """

    def __init__(self, store: RoundStore, tolerance: float) -> None:
        self._store, self._tolerance = store, tolerance
        self._finished: dict[str, RoundResult] = {}
        self._sharing: dict[str, list[PlannedCycle]] = defaultdict(list)
        self._children: dict[str, set[str]] = defaultdict(set)
        """Round → the rounds that start from its weights"""
        self._rewinding: dict[str, set[str]] = defaultdict(set)
        """Dense round → the rounds that may restore weights of its epochs"""

    def planned(self, planned: PlannedCycle) -> None:
        """Take note of a cycle that is planned."""
        for round in planned.rounds:
            self._sharing[round.key].append(planned)
            self._rewinding[round.dense].add(round.key)
            if round.parent is not None and round.needs_weights:
                self._children[round.parent].add(round.key)

    def finished(self, result: RoundResult, epochs: Sequence[EpochResult] = ()) -> None:
        """Take note of a finished round, and drop what nothing needs any more."""
        self._finished[result.key] = result
        sharing = self._sharing[result.key]
        touched = {key for planned in sharing for round in planned.rounds for key in (round.key, round.parent) if key}
        for key in touched & self._finished.keys():
            if self._children[key] <= self._finished.keys() and not any(
                self._keeps(planned, key) for planned in self._sharing[key]
            ):
                self._store.drop_weights(key)
        for dense in {round.dense for planned in sharing for round in planned.rounds}:
            if self._rewinding[dense] <= self._finished.keys():
                self._store.drop_rewinds(dense)

    def _keeps(self, planned: PlannedCycle, key: str) -> bool:
        done = [self._finished[round.key] for round in planned.rounds if round.key in self._finished]
        winner = winning_round(done, self._tolerance)
        # What a rejected round goes back to, and what the cycle comes to in the end.
        kept = [*accepted_rounds(done)[-1:], *([] if winner is None else [winner])]
        return key == planned.rounds[-1].key or any(result.key == key for result in kept)
