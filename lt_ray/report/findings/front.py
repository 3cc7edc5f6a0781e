"""The test split against what a model costs: the points that no other one beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings.block_tables import dense_models
from lt_ray.report.findings.compare import Group, at_rounds, known_mean, point
from lt_ray.report.findings.document import Cost, Front, Line, Point
from lt_ray.report.findings.words import Wording
from lt_ray.sweep.search import dominated

_FIELDS: dict[Cost, str] = {"parameters": "nonzero", "latency": "latency_s"}
_SAID: dict[Cost, str] = {"parameters": "nonzero parameters", "latency": "latency"}
_DECIMALS = 12
"""Means that agree in these are equal [count]"""


def fronts(group: Group) -> list[Front]:
    """Return an encoder group's fronts, against nonzero parameters and against latency, where these were measured.

    A point is an arm's round, mean over its cycles, or the dense models that arms share.
    """
    return [front for front in (_front(group, cost) for cost in _FIELDS) if any(arm.points for arm in front.lines)]


def best(costs: Sequence[float], scores: Sequence[float]) -> list[bool]:
    """Return, for each point, whether no other one is as good in both and better in one; equal points stand together.

    - `costs`: lower is better; `scores`: higher is better
    """
    points = [(round(-cost, _DECIMALS), round(score, _DECIMALS)) for cost, score in zip(costs, scores, strict=True)]
    return [not dominated(point, points) for point in points]


def _front(group: Group, cost: Cost) -> Front:
    words = group.words
    dense = [Line(model.name, _points({0: model.results}, cost)) for model in dense_models(group)]
    arms = [Line(arm, _points(at_rounds(cycles), cost)) for arm, cycles in group.arms.items()]
    arms = [Line(arm.arm, tuple(point for point in arm.points if point.round > 0)) for arm in arms]
    points = [point for arm in (*dense, *arms) for point in arm.points]
    accepted = [point for point in points if not point.rejected]
    marks = best([point.x for point in accepted], [words.sign * point.mean for point in accepted])
    on_front = {id(point) for point, mark in zip(accepted, marks, strict=True) if mark}

    def marked(arm: Line) -> Line:
        return replace(arm, points=tuple(replace(point, best=id(point) in on_front) for point in arm.points))

    return Front(
        slug=f"{group.slug}front-{cost}",
        title=f"{group.sweep.name}: test {words.name} against {_SAID[cost]}{group.where}",
        cost=cost,
        lines=tuple(marked(arm) for arm in arms if arm.points),
        dense=tuple(marked(arm) for arm in dense if arm.points),
        note=_note(cost, any(point.rejected for point in points), words),
        metric=words.metric,
    )


def _points(rounds: Mapping[int, Sequence[RoundResult]], cost: Cost) -> tuple[Point, ...]:
    points = []
    for index, results in rounds.items():
        known = [result for result in results if getattr(result, _FIELDS[cost]) is not None]
        if not known:
            continue
        own = point(
            index,
            known,
            known_mean(getattr(result, _FIELDS[cost]) for result in known) or 0.0,
            x_low=known_mean(result.latency_low_s for result in known) if cost == "latency" else None,
            x_high=known_mean(result.latency_high_s for result in known) if cost == "latency" else None,
            blocks=known_mean(result.blocks for result in known),
            rejected=all(result.accepted is False for result in known),
        )
        points.append(own)
    return tuple(points)


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
