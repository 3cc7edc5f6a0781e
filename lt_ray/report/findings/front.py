"""The test split against what a model costs: the points that no other one beats."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings.blocks import originals
from lt_ray.report.findings.compare import Group, at_rounds, known_mean
from lt_ray.report.findings.document import Front, FrontArm, FrontPoint
from lt_ray.report.findings.estimates import over_seeds
from lt_ray.report.findings.words import Wording
from lt_ray.report.reading.rows import tested

Cost = Literal["parameters", "latency"]
_FIELDS: dict[Cost, str] = {"parameters": "nonzero", "latency": "latency_s"}
_SAID: dict[Cost, str] = {"parameters": "nonzero parameters", "latency": "latency"}
_EQUAL = 1e-12
"""Means that differ by less, relative to the larger, are equal"""


def fronts(group: Group, slug: str) -> list[Front]:
    """Return an encoder group's fronts, against nonzero parameters and against latency, where these were measured.

    A point is an arm's round, mean over its cycles, or the dense models that arms share.

    - `slug`: what their files' names begin with
    """
    found = [_front(group, cost, f"{slug}front-{cost}") for cost in _FIELDS]
    return [front for front in found if any(arm.points for arm in front.arms)]


def best(costs: Sequence[float], scores: Sequence[float]) -> list[bool]:
    """Return, for each point, whether no other one is as good in both and better in one; equal points stand together.

    - `costs`: lower is better; `scores`: higher is better
    """
    points = list(zip(costs, scores, strict=True))
    return [not any(_beats(other, point) for other in points) for point in points]


def _front(group: Group, cost: Cost, slug: str) -> Front:
    words = group.words
    dense = [
        FrontArm(o.name.replace("Original", "dense"), tuple(_points({0: o.results}, cost))) for o in originals(group)
    ]
    arms = [
        FrontArm(arm, tuple(_points({index: found for index, found in at_rounds(cycles).items() if index > 0}, cost)))
        for arm, cycles in group.arms.items()
    ]
    everything = [point for arm in (*dense, *arms) for point in arm.points]
    standing = [point for point in everything if not point.rejected]
    marks = best([point.cost for point in standing], [words.sign * point.value for point in standing])
    on = {id(point) for point, mark in zip(standing, marks, strict=True) if mark}

    def marked(arm: FrontArm) -> FrontArm:
        return replace(arm, points=tuple(replace(point, best=id(point) in on) for point in arm.points))

    where = "" if group.main else f" on {group.task}"
    return Front(
        slug=slug,
        title=f"{group.sweep.name}: test {words.name} against {_SAID[cost]}{where}",
        cost=cost,
        arms=tuple(marked(arm) for arm in arms if arm.points),
        dense=tuple(marked(arm) for arm in dense if arm.points),
        note=_note(cost, any(point.rejected for point in everything), words),
        metric=words.metric,
    )


def _points(rounds: Mapping[int, Sequence[RoundResult]], cost: Cost) -> list[FrontPoint]:
    found = []
    for index, results in rounds.items():
        known = [result for result in results if getattr(result, _FIELDS[cost]) is not None]
        if not known:
            continue
        over = over_seeds((result.seed, tested(result)) for result in known)
        latency = cost == "latency"
        found.append(
            FrontPoint(
                round=index,
                cost=statistics.fmean(getattr(result, _FIELDS[cost]) for result in known),
                cost_low=known_mean(result.latency_low_s for result in known) if latency else None,
                cost_high=known_mean(result.latency_high_s for result in known) if latency else None,
                value=over.mean,
                low=over.low,
                high=over.high,
                n=over.n,
                blocks=known_mean(result.blocks for result in known),
                rejected=all(result.accepted is False for result in known),
                best=False,
            )
        )
    return found


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    cheaper, better = _sign(other[0], one[0]), _sign(one[1], other[1])
    return cheaper >= 0 and better >= 0 and cheaper + better > 0


def _sign(one: float, other: float) -> int:
    """1 where the first is more than the second, −1 where it is less, 0 where they are equal but for rounding."""
    if abs(one - other) <= _EQUAL * max(abs(one), abs(other)):
        return 0
    return 1 if one > other else -1


def _note(cost: Cost, rejected: bool, words: Wording) -> str:
    height = "high" if words.sign > 0 else "low"
    said = (
        "A point is an arm after one round, mean over its cycles; filled points are on the front: no other point "
        f"costs as little with a {height}er {words.name}, or less with as {height} a one. {words.name.capitalize()} is "
        f"test {words.name}, measured once a round: the picture tells how things came out, and a model chosen from it "
        "is chosen on test data."
    )
    if cost == "latency":
        said += " Latency is the median of a batch of 32 with its quartiles; masks leave it as it is."
    else:
        said += " Nonzero parameters are those that no mask prunes, embeddings and head among them."
    return said + (" A round that every cycle rejected is crossed out and never on the front." if rejected else "")
