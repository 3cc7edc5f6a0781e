"""Arms against each other and against their dense rounds: means over seeds, paired differences, crossings.

`compare` is the way in: what it returns is corrected for all that one sweep's report looks at.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from lt_ray.cycle.names import TASK_KEY, arm_keys, arm_name
from lt_ray.cycle.prunings import Restarting
from lt_ray.cycle.results import RoundResult, equal_sparsity, winning_round
from lt_ray.cycle.settings import Scalar
from lt_ray.report.findings.document import Line, Point
from lt_ray.report.findings.estimates import LEVEL, NOTHING, Estimate, holm, over_seeds
from lt_ray.report.findings.words import Wording
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep, by_arm, tested

MOST_ARMS = 12
"""Arms that are compared each with each [count]"""
_MOST_COMPARED = 100
"""Arms that are compared at all [count]"""

PairKey = tuple[int, *tuple[Scalar, ...]]
"""What the cycles of a pair have in common: the seed, then the settings that make no arm"""


@dataclass(frozen=True)
class Group:
    """The cycles of one sweep on one task: what may be compared."""

    sweep: ReportedSweep
    task: str
    cycles: tuple[ReportedCycle, ...]
    main: bool = True
    """Whether this is the task that the sweep is about; on another one its tickets are found"""

    @cached_property
    def words(self) -> Wording:
        """How its deciding metric is spoken of; at least one cycle."""
        return Wording(self.cycles[0].cycle.metric)

    @property
    def where(self) -> str:
        """What titles say of its task; empty for the one that the sweep is about."""
        return "" if self.main else f", on {self.task}, where tickets are found"

    @property
    def slug(self) -> str:
        """What the names of its files begin with."""
        return "" if self.main else f"on-{self.task}-"

    @cached_property
    def has_blocks(self) -> bool:
        """Whether blocks are pruned, or what is within them: models are then told by what they cost."""
        return any(pruning.needs_blocks for cycle in self.cycles for pruning in cycle.cycle.schedule)

    @cached_property
    def arm_keys(self) -> tuple[str, ...]:
        """The fields that make the arms."""
        return arm_keys(self.sweep.space)

    @cached_property
    def arms(self) -> dict[str, list[ReportedCycle]]:
        """Arm → its cycles, by name."""
        arms = by_arm(self.cycles, self.arm_keys, otherwise=self.sweep.name)
        return arms if self.main else {arm.removeprefix(f"{self.task} "): cycles for arm, cycles in arms.items()}

    @cached_property
    def other_keys(self) -> tuple[str, ...]:
        """The searched fields in which the cycles of a pair must agree: those that make no arm, nor hang on one."""
        return tuple(key for key in self.sweep.space if not self._of_arm(key, frozenset()))

    def _of_arm(self, key: str, seen: frozenset[str]) -> bool:
        if key in self.arm_keys:
            return True
        conditions = (self.sweep.space.get(key) or {}).get("when") or {}
        return any(self._of_arm(other, seen | {key}) for other in conditions if other not in seen)

    def described(self, cycle: ReportedCycle) -> str:
        """Return what tells a cycle from those of its arm and seed, in a few words: the settings that vary."""
        varying = [key for key in self.other_keys if len({c.settings.get(key) for c in self.cycles}) > 1]
        return arm_name({key: cycle.settings.get(key) for key in varying})

    def pair_key(self, cycle: ReportedCycle) -> PairKey:
        """Return what a cycle shares with its partners in other arms."""
        return (cycle.seed, *(cycle.settings.get(key) for key in self.other_keys))

    def winner(self, cycle: ReportedCycle) -> RoundResult | None:
        """Return a cycle's winning ticket; None where it has none."""
        return winning_round(cycle.results, self.sweep.tolerance)


def groups(sweep: ReportedSweep) -> list[Group]:
    """Return the sweep's cycles by task, its own task first."""
    sources: dict[str, list[ReportedCycle]] = {}
    for cycle in sweep.cycles:
        if cycle.finds_tickets:
            sources.setdefault(str(cycle.settings[TASK_KEY]), []).append(cycle)
    main = Group(sweep, sweep.task, tuple(cycle for cycle in sweep.cycles if not cycle.finds_tickets))
    return [main, *(Group(sweep, task, tuple(cycles), main=False) for task, cycles in sources.items())]


def known_mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def mean_sparsity(results: Iterable[RoundResult]) -> float:
    """Return the mean sparsity of at least one result [0, 1]."""
    return statistics.fmean(result.sparsity for result in results)


def distinct(results: Iterable[RoundResult | None]) -> list[RoundResult]:
    """Return the results that are there with each stored round once: cycles that share one measured it once."""
    found: dict[object, RoundResult] = {}
    for result in results:
        if result is not None:
            found.setdefault(result.key or (result.cycle, result.round), result)
    return list(found.values())


def at_rounds(cycles: Sequence[ReportedCycle], *, accepted: bool = False) -> dict[int, list[RoundResult]]:
    """Return round → the distinct results of some cycles, by round.

    - `accepted`: without those that were rejected
    """
    found: dict[int, list[RoundResult]] = {}
    for cycle in cycles:
        for result in cycle.accepted_rounds if accepted else cycle.results:
            found.setdefault(result.round, []).append(result)
    return {index: distinct(found[index]) for index in sorted(found)}


def above_dense(
    cycles: Sequence[ReportedCycle], round: int, *, accepted: bool = False, more: float = 0.0
) -> Estimate | None:
    """Return by how much a round is above the own dense one on the test split, each stored round once; None where no
    cycle has both.

    - `accepted`: without rounds that were rejected
    - `more`: what is added to each difference, in the metric's unit
    """
    found: dict[str, tuple[int, float]] = {}
    for cycle in cycles:
        result = cycle.by_round.get(round)
        if result is not None and cycle.dense is not None and not (accepted and result.accepted is False):
            found[result.key or cycle.id] = (cycle.seed, tested(result) - tested(cycle.dense) + more)
    return over_seeds(found.values()) if found else None


def curve(arm: str, cycles: Sequence[ReportedCycle]) -> Line:
    """Return the mean of an arm on the test split after each round, of cycles that have it and did not reject it."""
    rounds = at_rounds(cycles, accepted=True).items()
    return Line(arm, tuple(point(i, own, mean_sparsity(own), members=tuple(map(tested, own))) for i, own in rounds))


def point(round: int, results: Sequence[RoundResult], x: float, **more: Any) -> Point:
    """Return the mean over seeds of some results after a round, and its interval, at a place on the axis.

    - `more`: further fields of the point
    """
    mean = over_seeds((result.seed, tested(result)) for result in results)
    return Point(round, x, mean.mean, mean.low, mean.high, mean.n, **more)


@dataclass(frozen=True)
class Level:
    """The difference of two arms (or of an arm and its bound) after one round: one comparison."""

    round: int
    sparsity: float
    """Mean [0, 1]"""
    difference: Estimate
    """On the test split, mean over seeds, each seed's pairs averaged first; its interval and p are not corrected"""
    against_round: int = 0
    """The other arm's round, the same one where sparsities agree; of a bound the dense one"""
    against_sparsity: float = 0.0
    """Mean [0, 1]"""
    corrected_p: float | None = None
    """p corrected by Holm for the family; None for one seed, and before `compare` has corrected it"""

    @property
    def sign(self) -> int:
        """1 or −1 where the difference is told apart from 0, above or below it, after correction; else 0."""
        if self.corrected_p is None or self.corrected_p > LEVEL:
            return 0
        return 1 if self.difference.mean > 0 else -1


class Crossing(NamedTuple):
    """Where a difference changes its sign: between two rounds at which it is told apart from 0."""

    before: Level
    after: Level

    @property
    def rises(self) -> bool:
        """Whether it goes from below 0 to above."""
        return self.after.sign > 0


@dataclass(frozen=True)
class Comparison:
    """One arm against another, of cycles that agree in everything else."""

    arm: str
    against: str
    pairs: int
    """Pairs of cycles, whatever they have finished [count]"""
    unpaired: int
    """Cycles of the two arms without a partner [count]"""
    levels: tuple[Level, ...]
    """Rounds at equal sparsity that the two do not share, by sparsity"""

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """Where the difference changes its sign between rounds at which it is told apart from 0.

        Rounds between them at which it is not told apart make the place less exact: nothing is interpolated.
        """
        apart = itertools.pairwise(level for level in self.levels if level.sign)
        return tuple(Crossing(before, after) for before, after in apart if before.sign != after.sign)


@dataclass(frozen=True)
class Compared:
    """All comparisons of one group, corrected for the family of all comparisons of its sweep's report."""

    pairs: tuple[Comparison, ...]
    """Every two arms, control arms as what is compared with"""
    falls: tuple[Comparison, ...]
    """Each arm against the bound of a winning ticket, after each pruned round that was not rejected"""
    family: int
    """Comparisons that were corrected together: those of the whole sweep that have an interval [count]"""


def compare(groups: Sequence[Group]) -> list[Compared]:
    """Return what is compared in each of a sweep's groups, in their order.

    The family that Holm corrects is all of it: each two arms at each round at equal sparsity, and each arm at each
    round against its own bound, the dense value less the tolerance.
    """
    found = [(_comparisons(group), _falls(group)) for group in groups]
    levels = [level for kinds in found for items in kinds for item in items for level in item.levels]
    ps = [level.difference.p for level in levels if level.difference.p is not None]
    ps_corrected = iter(holm(ps))

    def corrected(level: Level) -> Level:
        return level if level.difference.p is None else replace(level, corrected_p=next(ps_corrected))

    def told(items: Sequence[Comparison]) -> tuple[Comparison, ...]:
        return tuple(replace(item, levels=tuple(map(corrected, item.levels))) for item in items)

    return [Compared(told(pairs), told(falls), len(ps)) for pairs, falls in found]


def _comparisons(group: Group) -> list[Comparison]:
    """Every two arms against each other; of more than `MOST_ARMS` those that differ in one field, of a hundred none."""
    if len(group.arms) > _MOST_COMPARED:
        return []
    arms = sorted(group.arms, key=lambda arm: (_is_random(group.arms[arm]), arm))
    return [
        _compare(group, one, other)
        for one, other in itertools.combinations(arms, 2)
        if len(arms) <= MOST_ARMS or _differing(group, one, other) == 1
    ]


def _falls(group: Group) -> list[Comparison]:
    """Each arm against the own dense value less the tolerance. A cycle at that bound keeps it.

    Arms are told one by one where they are few.
    """
    tolerance, falls = group.sweep.tolerance, list[Comparison]()
    for arm, cycles in group.arms.items() if len(group.arms) <= MOST_ARMS else ():
        levels = []
        for index, results in at_rounds(cycles, accepted=True).items():
            above = above_dense(cycles, index, accepted=True, more=group.words.sign * (tolerance + NOTHING))
            if index > 0 and above is not None:
                levels.append(Level(index, mean_sparsity(results), above))
        falls.append(Comparison(arm, group.words.bound("dense", tolerance), len(cycles), 0, tuple(levels)))
    return falls


@dataclass(frozen=True)
class _Unit:
    """One side of a pair after one round."""

    value: float
    sparsity: float
    keys: frozenset[str]


def _compare(group: Group, arm: str, against: str) -> Comparison:
    mine, theirs = _units(group, arm), _units(group, against)
    both = [key for key in mine if key in theirs]
    levels = []
    for one, two in _equal_rounds([mine[key] for key in both], [theirs[key] for key in both]):
        met = []
        for key in both:
            a, b = mine[key].get(one), theirs[key].get(two)
            if a is not None and b is not None and not a.keys & b.keys and equal_sparsity(a.sparsity, b.sparsity):
                met.append((key, a, b))
        if met:
            level = Level(
                round=one,
                sparsity=statistics.fmean(a.sparsity for _, a, _ in met),
                difference=over_seeds((key[0], a.value - b.value) for key, a, b in met),
                against_round=two,
                against_sparsity=statistics.fmean(b.sparsity for _, _, b in met),
            )
            levels.append(level)
    levels.sort(key=lambda level: (level.sparsity, level.round))
    unpaired = sum(group.pair_key(cycle) not in both for cycle in (*group.arms[arm], *group.arms[against]))
    return Comparison(arm, against, len(both), unpaired, tuple(levels))


def _units(group: Group, arm: str) -> dict[PairKey, dict[int, _Unit]]:
    """Pair key → round → the mean over an arm's cycles of that key, where all of them have it."""
    members: dict[PairKey, list[ReportedCycle]] = {}
    for cycle in group.arms[arm]:
        members.setdefault(group.pair_key(cycle), []).append(cycle)
    units: dict[PairKey, dict[int, _Unit]] = {}
    for key, cycles in members.items():
        finished = [{result.round: result for result in cycle.accepted_rounds} for cycle in cycles]
        rounds = {index: [own[index] for own in finished if index in own] for index in finished[0]}
        units[key] = {
            index: _Unit(
                statistics.fmean(map(tested, results)),
                mean_sparsity(results),
                frozenset(result.key for result in results if result.key),
            )
            for index, results in rounds.items()
            if len(results) == len(cycles)
        }
    return units


def _equal_rounds(mine: Sequence[Mapping[int, _Unit]], theirs: Sequence[Mapping[int, _Unit]]) -> list[tuple[int, int]]:
    """Rounds of two arms at equal sparsity: equal rounds, and of the others those that are nearest to each other."""
    one, two = _sparsities(mine), _sparsities(theirs)
    same = [index for index in one if index in two and equal_sparsity(one[index], two[index])]
    rest, other = ([index for index in rounds if index not in same and index > 0] for rounds in (one, two))
    pairs = [(index, index) for index in same]
    for index in rest:
        near = min(other, key=lambda i: (abs(two[i] - one[index]), i), default=None)
        if near is None or not equal_sparsity(two[near], one[index]):
            continue
        if min(rest, key=lambda i: (abs(one[i] - two[near]), i)) == index:
            pairs.append((index, near))
    return pairs


def _sparsities(units: Sequence[Mapping[int, _Unit]]) -> dict[int, float]:
    rounds = sorted({index for unit in units for index in unit})
    return {index: statistics.fmean(unit[index].sparsity for unit in units if index in unit) for index in rounds}


def _differing(group: Group, arm: str, against: str) -> int:
    """Fields of the arms that differ, of those that both have [count]."""
    one, two = group.arms[arm][0].settings, group.arms[against][0].settings
    both = [key for key in group.arm_keys if one.get(key) is not None and two.get(key) is not None]
    return sum(one[key] != two[key] for key in both)


def _is_random(cycles: Sequence[ReportedCycle]) -> bool:
    """Whether weights or their positions are drawn anew: other arms are compared with it."""
    restarting = (pruning for cycle in cycles for pruning in cycle.cycle.schedule if isinstance(pruning, Restarting))
    return any(pruning.restart == "random" or pruning.random_pruning for pruning in restarting)
