"""Which pruning led to a round, what its settings were, and what published tables call where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lt_ray.cycle.settings import Scalar
from lt_ray.report.rows import ReportedCycle


def methods(params: Mapping[str, Scalar]) -> tuple[str, ...]:
    """Return the pruning of each round from 1 on; nothing where the schedule is not known.

    - `params`: every field of a cycle (`Cycle.flat`), whose `schedule` is such as `similarity*2 wanda`
    """
    found: list[str] = []
    for step in str(params.get("schedule") or "").split():
        name, _, many = step.partition("*")
        found += [name] * int(many or 1)
    return tuple(found)


def method(cycle: ReportedCycle, round: int) -> str:
    """Return the pruning that led to a round; empty for the dense one, and where it is not known."""
    steps = methods(cycle.params)
    return steps[round - 1] if 0 < round <= len(steps) else ""


def setting(params: Mapping[str, Scalar], name: str, round: int) -> Scalar:
    """Return a field of the pruning that led to a round; None where it is not known.

    `Cycle.flat` joins the values of a method's steps by spaces where they differ; this takes them apart again.

    - `name`: the field without its method, such as `epochs`
    - `round`: from 1 on [count]
    """
    steps = methods(params)
    if not 0 < round <= len(steps):
        return None
    own = steps[round - 1]
    value = params.get(f"{own}.{name}")
    words = value.split() if isinstance(value, str) else []
    if len(words) > 1 and len(words) == steps.count(own):
        return _scalar(words[steps[: round - 1].count(own)])
    return value


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
    steps = [method(cycle, index) for index in rounds]
    similar = steps.count("similarity")
    if steps[:similar] != ["similarity"] * similar or steps[similar:] not in ([], ["wanda"]):
        return None
    words = []
    if similar:
        found = _similarity(cycle, rounds[:similar])
        if found is None:
            return None
        words.append(found)
    if steps[similar:]:
        sparsity = setting(cycle.params, "sparsity", rounds[-1])
        if setting(cycle.params, "pattern", rounds[-1]) != "row" or not isinstance(sparsity, int | float):
            return None
        words.append(f"wanda@{sparsity:g}")
    return " ".join(words) or "dense", len(rounds)


def _similarity(cycle: ReportedCycle, rounds: Iterable[int]) -> str | None:
    strides = {result.round: result.stride for result in cycle.results}
    kinds = set()
    for index in rounds:
        threshold, freeze, clusters, stride = (
            setting(cycle.params, name, index) for name in ("threshold", "freeze", "clusters", "stride")
        )
        measured = strides.get(index)
        stride = stride if measured is None else measured
        kinds.add((threshold, freeze is True) if (clusters, stride) == ("anchor", 1) else None)
    if len(kinds) > 1 or None in kinds:
        return None
    ((threshold, frozen),) = (kind for kind in kinds if kind is not None)
    if not isinstance(threshold, int | float):
        return None
    return f"similarity@{threshold:g}{' freeze' if frozen else ''}"


def _scalar(word: str) -> Scalar:
    named: dict[str, Scalar] = {"None": None, "True": True, "False": False}
    if word in named:
        return named[word]
    if re.fullmatch(r"-?\d+", word):
        return int(word)
    try:
        return float(word)
    except ValueError:
        return word
