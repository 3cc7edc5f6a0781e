"""A sweep's runs in a few numbers that can be sorted by, and the means of its arms as curves."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from lt_ray.cycle.results import RoundResult, winning_round
from lt_ray.report.pages.picture import colour
from lt_ray.report.reading.rows import ReportedCycle
from lt_ray.tracking.events import Point, Summed
from lt_ray.tracking.names import COLOUR_TAG, NOTE_TAG, legal, round_values

_PARENT_COLOUR = "#777777"


def summaries(
    arms: Mapping[str, Sequence[ReportedCycle]], *, metric: str, tolerance: float, created_ms: int, note: str
) -> Iterator[Summed]:
    """Yield each run in a few numbers once it has ended, so that no later round changes them; the sweep's own is last.

    - `arms`: arm → its cycles
    - `metric`: name of the deciding one; `tolerance`: what a winning ticket may lose, in its unit
    - `created_ms`: when the sweep was defined [ms]
    - `note`: Markdown for the page of the sweep's run
    """
    winners = []
    cycles = [cycle for members in arms.values() for cycle in members]
    for arm, members in enumerate(arms.values()):
        for place, cycle in enumerate(members):
            winner = winning_round(cycle.results, tolerance)
            winners += [] if winner is None else [winner]
            numbers = _best(cycle.results) | _ticket(winner) if cycle.state != "unfinished" else {}
            points = tuple(_points(numbers, created_ms + len(cycle.results)))
            yield Summed(cycle=cycle.id, points=points, tags={COLOUR_TAG: colour(arm, place)})
    everything = [result for cycle in cycles for result in cycle.results]
    sparsest = max(winners, key=lambda result: (result.sparsity, result.score("test")), default=None)
    counts = {"cycles_finished": sum(cycle.state in ("finished", "stopped") for cycle in cycles)}
    best = _best([result for result in everything if result.metric == metric])
    numbers = {**counts, "tickets": len(winners), **best, **_ticket(sparsest)}
    points = (*_points(numbers, created_ms + len(everything)), *_mean_points(arms, metric, created_ms))
    ended = all(cycle.state != "unfinished" for cycle in cycles)
    yield Summed(cycle=None, points=points if ended else (), tags={NOTE_TAG: note, COLOUR_TAG: _PARENT_COLOUR})


def _mean_points(arms: Mapping[str, Sequence[ReportedCycle]], metric: str, created_ms: int) -> Iterator[Point]:
    """Means over an arm's cycles: the chart page shows the parent alone until it is unfolded.

    Each arm has curves of its own, since a mean over arms would be that of none. Cycles that find tickets for others
    are no arm.
    """
    means, names = (f"round/test_{metric}", "round/sparsity"), set[str]()
    arms = {arm: cycles for arm, cycles in arms.items() if not cycles[0].finds_tickets}
    for arm, cycles in arms.items():
        results = [result for cycle in cycles for result in cycle.results]
        suffix = "" if len(arms) == 1 else f" {arm}"
        if any(legal(name + suffix) in names for name in means):  # spelled alike once odd characters are gone
            suffix += f" {len(names)}"
        names |= {legal(name + suffix) for name in means}
        for round in sorted({result.round for result in results}):
            members = [round_values(result) for result in results if result.round == round]
            for name in means:
                values = [member[name] for member in members if name in member]
                if values:
                    yield Point(legal(name + suffix), statistics.fmean(values), created_ms + len(members), round)


def _best(results: Sequence[RoundResult]) -> dict[str, float | None]:
    best = max(results, key=lambda result: result.score("val"), default=None)
    return {} if best is None else {f"best_val_{best.metric}": best.value("val")}


def _ticket(winner: RoundResult | None) -> dict[str, float | None]:
    if winner is None:
        return {}
    return {"ticket_sparsity": winner.sparsity, f"ticket_test_{winner.metric}": winner.value("test")}


def _points(numbers: Mapping[str, float | None], at_ms: int) -> Iterator[Point]:
    """A summary's points; their time is the same for equal numbers, though a round was damaged and computed again
    since, and later for those made of more rounds."""
    for name, value in numbers.items():
        if value is not None:
            yield Point(f"summary/{name}", float(value), at_ms, 0)
