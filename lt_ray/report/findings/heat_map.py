"""Which blocks of an encoder are alike: the matrices that rounds compared, and what was made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lt_ray.cycle.results import BlockDecision
from lt_ray.report.findings.compare import Group
from lt_ray.report.findings.document import HeatMap, Reading
from lt_ray.report.findings.words import listed, numbered, seeds_of
from lt_ray.report.reading.rows import ReportedCycle

_Compared = tuple[ReportedCycle, int, BlockDecision]
"""A cycle, one of its rounds, and how that decided"""


def heat_maps(group: Group) -> list[HeatMap]:
    """Return a heat map for each model whose blocks were compared, by seed and round; cycles that share it have one."""
    arm_of = {cycle.id: arm for arm, cycles in group.arms.items() for cycle in cycles}
    models: dict[object, list[_Compared]] = {}
    for cycle in sorted(group.cycles, key=lambda cycle: cycle.seed):
        for index, decision in sorted(cycle.decisions.items()):
            if index in cycle.by_round and decision.cka:  # empty where blocks were not compared any more
                models.setdefault((decision.cka, decision.origins), []).append((cycle, index, decision))
    ordered = sorted(models.values(), key=lambda model: (model[0][0].seed, min(index for _, index, _ in model)))
    return [_heat_map(group, model, arm_of) for model in ordered]


def _heat_map(group: Group, model: Sequence[_Compared], arm_of: Mapping[str, str]) -> HeatMap:
    first, index, decision = model[0]
    alike: dict[tuple[object, ...], list[_Compared]] = {}
    for item in model:
        own = item[2]
        alike.setdefault((own.threshold, own.stride, own.clusters, own.removed, own.frozen), []).append(item)
    readings = tuple(
        Reading(items[0][2], _who(items, arm_of)) for _, items in sorted(alike.items(), key=lambda item: item[0][:2])
    )
    whole = decision.origins == tuple(range(len(decision.origins))) and index == 1
    who = "the dense model" if whole else _who(model, arm_of, "before round")
    seeds = seeds_of(cycle.seed for cycle, _, _ in model).replace("seeds", "seed")
    return HeatMap(
        slug=f"{group.slug}cka-seed-{first.seed}-round-{index}",
        title=f"Similarity of blocks: {who}, {seeds}{group.where}",
        cka=decision.cka,
        origins=decision.origins,
        readings=readings,
        note=" ".join(f"{reading.who} ({reading.label}): {_made(reading.decision)}" for reading in readings),
        who=f"{who}, {seeds}",
        n=len({cycle.id for cycle, _, _ in model}),
    )


def _who(items: Sequence[_Compared], arm_of: Mapping[str, str], word: str = "round") -> str:
    """Arms and their rounds: `freeze t=0.98 round 1`."""
    rounds: dict[str, set[int]] = {}
    for cycle, index, _ in items:
        rounds.setdefault(arm_of[cycle.id], set()).add(index)
    arms: dict[tuple[int, ...], list[str]] = {}
    for arm, indices in rounds.items():
        arms.setdefault(tuple(sorted(indices)), []).append(arm)
    return ", ".join(f"{listed(names)} {word} {listed(list(map(str, indices)))}" for indices, names in arms.items())


def _made(decision: BlockDecision) -> str:
    said = f"{len(decision.origins)} blocks in {numbered(len(decision.clusters), 'cluster')}, "
    removed = [str(decision.origins[position]) for position in decision.removed]
    return f"{said}{len(removed)} removed ({', '.join(removed)})." if removed else f"{said}none removed."
