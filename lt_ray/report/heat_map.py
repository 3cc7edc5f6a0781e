"""Which blocks of an encoder are alike: the matrices that rounds compared, and what was made of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib import colormaps
from matplotlib.colors import to_hex

from lt_ray.cycle.results import BlockDecision
from lt_ray.report.compare import Group
from lt_ray.report.document import Cell, Column, HeatMap, Reading, Table
from lt_ray.report.rows import ReportedCycle
from lt_ray.report.words import listed

MOST_VALUES = 16
"""Blocks up to which each cell says its value [count]"""
MOST_READINGS = 4
"""Readings of one matrix that are drawn [count]"""
_MAP = colormaps["viridis"]
"""Perceptually uniform: equal steps of similarity look equal"""
_NOTHING = "#999999"
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


def runs(cluster: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last position of each run of neighbours: what a border is drawn around."""
    found: list[tuple[int, int]] = []
    for position in sorted(cluster):
        if found and position == found[-1][1] + 1:
            found[-1] = (found[-1][0], position)
        else:
            found.append((position, position))
    return found


def borders(readings: Sequence[Reading]) -> list[list[tuple[int, int]]]:
    """Return, for each of the distinct ways in which readings cluster, the first and last position of each border.

    A block that is alike to none needs no border.
    """
    return [
        [run for cluster in clusters if len(cluster) > 1 for run in runs(cluster)]
        for clusters in _clusterings(readings)
    ]


def style_of(reading: Reading, readings: Sequence[Reading]) -> int:
    """Return a reading's place in `borders`, which says how they are drawn [count]."""
    return _clusterings(readings).index(reading.clusters)


def _clusterings(readings: Sequence[Reading]) -> list[tuple[tuple[int, ...], ...]]:
    return list(dict.fromkeys(reading.clusters for reading in readings))


def fate(reading: Reading, position: int) -> str:
    """Return what became of a block: `removed`, `not trained` or `kept`."""
    if position in reading.removed:
        return "removed"
    return "not trained" if position in reading.frozen else "kept"


def label(reading: Reading) -> str:
    """Return a reading's settings in a few words."""
    return f"threshold {reading.threshold:g}, stride {reading.stride}{', others frozen' if reading.frozen else ''}"


def lowest(heat_map: HeatMap) -> float:
    """Return the similarity at which the colours begin, a tenth of [0, 0.9]; they end at 1."""
    values = [value for row in heat_map.cka for value in row if math.isfinite(value)]
    return min(max(math.floor(10 * min(values, default=0.0)) / 10, 0.0), 0.9)


def shade(value: float, low: float) -> tuple[str, str]:
    """Return a cell's colour and that of the text on it: `#440154`, `#ffffff`.

    - `value`: similarity [0, 1]; `low`: where the colours begin [0, 1)
    """
    if not math.isfinite(value):
        return _NOTHING, "#000000"
    red, green, blue, _ = _MAP(min(max((value - low) / (1 - low), 0.0), 1.0))
    # Where black and white are equally far in luminance (W3C, WCAG 2.2).
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return to_hex((red, green, blue)), "#000000" if luminance > 0.179 else "#ffffff"


def written(value: float) -> str:
    """Return a similarity as a cell has room for: `.985`, `1`, `−.012`."""
    if not math.isfinite(value):
        return "–"
    if value == 1:
        return "1"
    return f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")


def heat_map_table(heat_map: HeatMap) -> Table:
    """Return the numbers of a heat map: a row for each block, by its position in the dense model.

    After the similarities come, for each reading, the block's cluster and what became of it.
    """
    columns = [Column("block"), *(Column(f"CKA with {origin}", 4) for origin in heat_map.origins)]
    for reading in heat_map.readings:
        said = f"{label(reading)} ({reading.who})"
        columns += [Column(f"cluster: {said}"), Column(f"fate: {said}")]
    rows = []
    for position, origin in enumerate(heat_map.origins):
        row: list[Cell] = [origin, *heat_map.cka[position]]
        for reading in heat_map.readings:
            cluster = next((i for i, members in enumerate(reading.clusters) if position in members), None)
            row += [cluster, fate(reading, position)]
        rows.append(tuple(row))
    return Table(heat_map.slug, heat_map.title, tuple(columns), tuple(rows))


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
