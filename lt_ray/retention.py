"""Retention: which trained weights a running sweep can drop.

Weights are needed while a planned round is still to start from them, and kept for the last round of every cycle and
for its winning round so far.
"""

from __future__ import annotations

from collections import defaultdict

from lt_ray.results import RoundResult, winning_round
from lt_ray.store import RoundStore
from lt_ray.sweep import Plan, PlannedCycle


class Retention:
    """Drops weights as the rounds of a plan finish; what it drops can always be trained again."""

    def __init__(self, plan: Plan, store: RoundStore) -> None:
        self._store = store
        self._tolerance = plan.sweep.tolerance
        self._finished: dict[str, RoundResult] = {}
        self._sharing: dict[str, list[PlannedCycle]] = defaultdict(list)
        for planned in plan.cycles:
            self.add(planned)

    def add(self, planned: PlannedCycle) -> None:
        """Take note of a cycle that is planned."""
        for round in planned.rounds:
            self._sharing[round.key].append(planned)

    def finished(self, result: RoundResult) -> None:
        """Take note of a finished round, and drop what nothing needs any more."""
        self._finished[result.key] = result
        touched = {round.key for planned in self._sharing[result.key] for round in planned.rounds}
        for key in touched & self._finished.keys():
            if not any(self._needs(planned, key) for planned in self._sharing[key]):
                self._store.drop_weights(key)
        for planned in self._sharing[result.key]:
            dense = planned.rounds[0].key
            if all(self._is_complete(sharer) for sharer in self._sharing[dense]):
                self._store.drop_rewinds(dense)

    def _needs(self, planned: PlannedCycle, key: str) -> bool:
        keys = [round.key for round in planned.rounds]
        index = keys.index(key)
        if index + 1 == len(keys) or keys[index + 1] not in self._finished:
            return True
        winner = winning_round((self._finished[k] for k in keys if k in self._finished), self._tolerance)
        return winner is not None and winner.key == key

    def _is_complete(self, planned: PlannedCycle) -> bool:
        return all(round.key in self._finished for round in planned.rounds)
