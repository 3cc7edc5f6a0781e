"""Which prunings a round's model has gone through, and what published tables call where it stands."""

from __future__ import annotations

from lt_ray.cycle.prunings import PruningSettings, Similarity, Wanda
from lt_ray.report.reading.rows import ReportedCycle


def pruning(cycle: ReportedCycle, round: int) -> PruningSettings | None:
    """Return the pruning that led to a round; None for the dense one."""
    return cycle.cycle.schedule[round - 1] if 0 < round <= cycle.cycle.rounds else None


def method(cycle: ReportedCycle, round: int) -> str:
    """Return the method of the pruning that led to a round; empty for the dense one."""
    found = pruning(cycle, round)
    return "" if found is None else found.method


def start_of(cycle: ReportedCycle, round: int) -> int:
    """Return the round whose model a round pruned: the one before, unless that was rejected."""
    start = next((result.start_round for result in cycle.results if result.round == round), None)
    return round - 1 if start is None or start >= round else start


def lineage(cycle: ReportedCycle, round: int) -> tuple[int, ...]:
    """Return the rounds whose prunings a round's model has gone through, its own last.

    Rejected rounds are left out, and earlier ones that compared blocks and removed none.
    """
    blocks = {result.round: result.blocks for result in cycle.results}
    found: list[int] = []
    while round > 0:
        start = start_of(cycle, round)
        idle = method(cycle, round) == "similarity" and blocks.get(round) == blocks.get(start) is not None
        if not found or not idle:
            found.append(round)
        round = start
    return tuple(reversed(found))


def published_place(cycle: ReportedCycle, round: int) -> tuple[str, int] | None:
    """Return the arm and round under which published tables have a round's model: `similarity@0.98 wanda@0.3`, 2.

    They remove all but the first block of a cluster, at one threshold, frozen or not, and may prune by Wanda once at
    the end; None for anything else.
    """
    rounds = lineage(cycle, round)
    steps = [pruning(cycle, index) for index in rounds]
    words = []
    if steps and isinstance(last := steps[-1], Wanda):
        if last.pattern != "row":
            return None
        words.append(f"wanda@{last.sparsity:g}")
        steps.pop()
    if steps:
        names = {_similarity(cycle, index) for index in rounds[: len(steps)]}
        if len(names) > 1 or None in names:
            return None
        words.insert(0, str(names.pop()))
    return " ".join(words) or "dense", len(rounds)


def _similarity(cycle: ReportedCycle, index: int) -> str | None:
    """What published tables call a removal of blocks; None for anything else."""
    own = pruning(cycle, index)
    if not isinstance(own, Similarity) or own.clusters != "anchor":
        return None
    measured = next((result.stride for result in cycle.results if result.round == index), None)
    if (own.stride if measured is None else measured) != 1:
        return None
    return f"similarity@{own.threshold:g}{' freeze' if own.freeze else ''}"
