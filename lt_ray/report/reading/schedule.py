"""Which prunings a round's model has gone through, and what published tables call it."""

from __future__ import annotations

from itertools import takewhile

from lt_ray.cycle.prunings import PruningSettings
from lt_ray.report.reading.rows import ReportedCycle


def lineage(cycle: ReportedCycle, round: int) -> tuple[int, ...]:
    """Return the rounds whose prunings a round's model has gone through, its own last.

    Rejected rounds are left out, and earlier ones that compared blocks and removed none.
    """
    blocks = {index: result.blocks for index, result in cycle.by_round.items()}
    rounds: list[int] = []
    while round > 0:
        pruning, start = cycle.pruning(round), cycle.start_of(round)
        removed_none = blocks.get(round) == blocks.get(start) is not None
        if not rounds or pruning is None or not pruning.removes_blocks or not removed_none:
            rounds.append(round)
        round = start
    return tuple(reversed(rounds))


def published_place(cycle: ReportedCycle, round: int) -> tuple[str, int] | None:
    """Return the arm and round under which published tables have a round's model: `similarity@0.98 wanda@0.3`, 2.

    They remove blocks by one rule, and may prune once within blocks at the end; None for anything else.
    """
    rounds = lineage(cycle, round)
    steps = [step for index in rounds if (step := _as_done(cycle, index)) is not None]
    removals = list(takewhile(lambda step: step.removes_blocks, steps))
    others = steps[len(removals) :]
    words = [*dict.fromkeys(step.published for step in removals), *(step.published for step in others)]
    if "" in words or len(words) > bool(removals) + 1 or not all(step.needs_blocks for step in others):
        return None
    return " ".join(words) or "dense", len(rounds)


def _as_done(cycle: ReportedCycle, round: int) -> PruningSettings | None:
    """The pruning that led to a round, with the stride that was tried after rejected ones."""
    pruning, result = cycle.pruning(round), cycle.by_round.get(round)
    if pruning is None or result is None or result.stride is None:
        return pruning
    return pruning.model_copy(update={"stride": result.stride})
