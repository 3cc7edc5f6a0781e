"""Which blocks of an encoder are alike: the matrices that rounds compared, and what was made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lt_ray.cycle.results import BlockDecision
from lt_ray.report.findings.compare import Group
from lt_ray.report.findings.document import HeatMap, Reading
from lt_ray.report.findings.words import listed
from lt_ray.report.reading.rows import ReportedCycle

_Key = tuple[tuple[tuple[float, ...], ...], tuple[int, ...]]


def heat_maps(group: Group, slug: str) -> list[HeatMap]:
    """Return a heat map for each model whose blocks were compared, by seed and round; cycles that share one have one.

    - `slug`: what their files' names begin with
    """
    arm_of = {cycle.id: arm for arm, cycles in group.arms.items() for cycle in cycles}
    found: dict[_Key, list[tuple[ReportedCycle, int, BlockDecision]]] = {}
    for cycle in sorted(group.cycles, key=lambda cycle: cycle.seed):
        done = {result.round for result in cycle.results}
        for index, decision in sorted(cycle.decisions.items()):
            if index not in done or not decision.cka:  # not compared any more
                continue
            found.setdefault((decision.cka, decision.origins), []).append((cycle, index, decision))
    ordered = sorted(found.values(), key=lambda told: (told[0][0].seed, min(index for _, index, _ in told)))
    return [_heat_map(group, told, arm_of, slug) for told in ordered]


def fate(reading: Reading, position: int) -> str:
    """Return what became of a block: `removed`, `not trained` or `kept`."""
    if position in reading.removed:
        return "removed"
    return "not trained" if position in reading.frozen else "kept"


def label(reading: Reading) -> str:
    """Return a reading's settings in a few words."""
    return f"threshold {reading.threshold:g}, stride {reading.stride}{', others frozen' if reading.frozen else ''}"


def _heat_map(
    group: Group, told: Sequence[tuple[ReportedCycle, int, BlockDecision]], arm_of: Mapping[str, str], slug: str
) -> HeatMap:
    first, index, decision = told[0]
    grouped: dict[tuple[object, ...], list[tuple[ReportedCycle, int, BlockDecision]]] = {}
    for item in told:
        own = item[2]
        kind = (own.threshold, own.stride, own.clusters, own.removed, own.frozen)
        grouped.setdefault(kind, []).append(item)
    readings = [_reading(items, arm_of) for _, items in sorted(grouped.items(), key=lambda item: item[0][:2])]
    whole = decision.origins == tuple(range(len(decision.origins))) and index == 1
    model = "the dense model" if whole else _who(told, arm_of, compared=True)
    seeds = sorted({cycle.seed for cycle, _, _ in told})
    where = "" if group.main else f", {group.task}"
    return HeatMap(
        slug=f"{slug}cka-seed-{first.seed}-round-{index}",
        title=f"Similarity of blocks: {model}, seed {' and '.join(map(str, seeds))}{where}",
        cka=decision.cka,
        origins=decision.origins,
        readings=tuple(readings),
        note=" ".join(f"{reading.who} ({label(reading)}): {_made(reading, decision.origins)}" for reading in readings),
    )


def _reading(items: Sequence[tuple[ReportedCycle, int, BlockDecision]], arm_of: Mapping[str, str]) -> Reading:
    own = items[0][2]
    return Reading(
        threshold=own.threshold,
        stride=own.stride,
        clusters=own.clusters,
        removed=own.removed,
        frozen=own.frozen,
        who=_who(items, arm_of),
    )


def _who(
    items: Sequence[tuple[ReportedCycle, int, BlockDecision]], arm_of: Mapping[str, str], *, compared: bool = False
) -> str:
    """Arms and their rounds: `freeze t=0.98 round 1`; or, where they are called by what they compared, before it."""
    rounds: dict[str, list[int]] = {}
    for cycle, index, _ in items:
        rounds.setdefault(arm_of[cycle.id], []).append(index)
    arms: dict[tuple[int, ...], list[str]] = {}
    for arm, found in rounds.items():
        arms.setdefault(tuple(sorted(set(found))), []).append(arm)
    word = "before round" if compared else "round"
    return ", ".join(f"{listed(names)} {word} {listed([str(i) for i in own])}" for own, names in arms.items())


def _made(reading: Reading, origins: Sequence[int]) -> str:
    many = len(reading.clusters)
    said = f"{len(origins)} blocks in {many} cluster{'' if many == 1 else 's'}, "
    if not reading.removed:
        return f"{said}none removed."
    gone = [str(origins[position]) for position in reading.removed]
    return f"{said}{len(gone)} removed ({', '.join(gone)})."
