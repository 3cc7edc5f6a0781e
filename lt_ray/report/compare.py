"""Arms against each other and against their dense rounds: means with intervals, paired differences, crossings."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scipy.special import stdtrit

from lt_ray.cycle import Scalar
from lt_ray.report.document import Curve, CurvePoint
from lt_ray.report.rows import TASK_KEY, ReportedCycle, ReportedSweep, arm_keys, by_arm, short
from lt_ray.results import RoundResult

EQUAL_SPARSITY = 0.005
"""Rounds of two cycles are compared where their sparsities differ by less [0, 1]"""
_NOTHING = 1e-12
"""Accuracies, counts over counts, that differ by less are equal"""

MOST_ARMS = 12
"""Arms that are compared each with each [count]"""
_MOST_COMPARED = 100
"""Arms that are compared at all [count]"""

PairKey = tuple[Scalar, ...]
"""What the cycles of a pair have in common: the seed, then the settings that make no arm"""


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval, Student's t."""

    n: int
    """Values [count]"""
    mean: float
    half: float | None
    """Half the interval's width; None for one value"""

    @property
    def low(self) -> float | None:
        """Lower end of the interval; None for one value."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """Upper end of the interval; None for one value."""
        return None if self.half is None else self.mean + self.half

    @property
    def sign(self) -> int:
        """1 or −1 where the whole interval is above or below 0, else 0."""
        if self.half is None:
            return 0
        return (self.mean - self.half > _NOTHING) - (self.mean + self.half < -_NOTHING)


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of at least one value and its 95 % interval: mean ± t(0.975, n − 1) · s / √n."""
    n, mean = len(values), statistics.fmean(values)
    half = float(stdtrit(n - 1, 0.975)) * statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return Estimate(n, mean, half)


@dataclass(frozen=True)
class Group:
    """The cycles of one sweep on one task: what may be compared."""

    sweep: ReportedSweep
    task: str
    cycles: tuple[ReportedCycle, ...]
    main: bool = True
    """Whether this is the task that the sweep is about; on another one its tickets are found"""

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
        return short({key: cycle.settings.get(key) for key in varying})

    def pair_key(self, cycle: ReportedCycle) -> PairKey:
        """Return what a cycle shares with its partners in other arms."""
        return (cycle.seed, *(cycle.settings.get(key) for key in self.other_keys))


def groups(sweep: ReportedSweep) -> list[Group]:
    """Return the sweep's cycles by task, its own task first."""
    sources: dict[str, list[ReportedCycle]] = {}
    for cycle in sweep.cycles:
        if cycle.finds_tickets:
            sources.setdefault(str(cycle.settings[TASK_KEY]), []).append(cycle)
    own = tuple(cycle for cycle in sweep.cycles if not cycle.finds_tickets)
    found = [Group(sweep, task, tuple(cycles), main=False) for task, cycles in sources.items()]
    return [Group(sweep, sweep.task, own), *found]


def planned(cycle: ReportedCycle) -> tuple[int, ...] | None:
    """Return the rounds that a cycle was to train, round 0 first; None where its fields are not known."""
    rounds, every = cycle.params.get("rounds"), cycle.params.get("ticket_every")
    if not isinstance(rounds, int):
        return None
    return tuple(range(0, rounds + 1, every if isinstance(every, int) and every > 0 else 1))


def known_mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def has_blocks(group: Group) -> bool:
    """Return whether a group's models are encoders, whose blocks can be removed."""
    return any(result.blocks is not None for cycle in group.cycles for result in cycle.results)


def distinct(results: Sequence[RoundResult]) -> list[RoundResult]:
    """Return results with each stored round once: cycles that share one measured it once."""
    return list({result.key or (result.cycle, result.round): result for result in reversed(results)}.values())[::-1]


def at_rounds(cycles: Sequence[ReportedCycle], *, standing: bool = False) -> dict[int, list[RoundResult]]:
    """Return round → the distinct results of some cycles, by round.

    - `standing`: without those that were rejected
    """
    found: dict[int, list[RoundResult]] = {}
    for cycle in cycles:
        for result in cycle.standing if standing else cycle.results:
            found.setdefault(result.round, []).append(result)
    return {index: distinct(found[index]) for index in sorted(found)}


def dense(cycle: ReportedCycle) -> RoundResult | None:
    """Return a cycle's round 0, if it has finished."""
    return next((result for result in cycle.results if result.round == 0), None)


def curve(arm: str, cycles: Sequence[ReportedCycle]) -> Curve:
    """Return the mean test accuracy of an arm after each round, of the cycles that have it and did not reject it."""
    points = []
    for index, results in at_rounds(cycles, standing=True).items():
        members = tuple(result.test_accuracy for result in results)
        found = estimate(members)
        sparsity = statistics.fmean(result.sparsity for result in results)
        points.append(CurvePoint(index, sparsity, found.mean, found.low, found.high, found.n, members))
    return Curve(arm, tuple(points))


@dataclass(frozen=True)
class Level:
    """Differences after one round, one of each pair (or cycle)."""

    round: int
    sparsity: float
    """Mean [0, 1]"""
    values: Mapping[object, float]
    """Pair → difference of test accuracies [0, 1]"""
    against_round: int
    """The other arm's round; the same one where sparsities agree"""
    against_sparsity: float
    """Mean [0, 1]"""

    @property
    def difference(self) -> Estimate:
        """The mean difference."""
        return estimate(list(self.values.values()))


@dataclass(frozen=True)
class Crossing:
    """Where a mean difference changes its sign, linearly between two rounds."""

    after: int
    """The round before"""
    before: int
    """The round after"""
    round: float
    """Where, between the two"""
    sparsity: float
    """There, were as large a share of what remains removed all the way [0, 1]"""
    rises: bool
    """From below 0 to above"""
    n: int
    """Pairs that have both rounds [count]"""


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
        """Where the mean curves of the pairs cross."""
        return crossings(self.levels)


def comparisons(group: Group) -> list[Comparison]:
    """Return every two arms against each other, control arms as what is compared with.

    Of more than `MOST_ARMS` only those that differ in one field, and of a hundred none.
    """
    if len(group.arms) > _MOST_COMPARED:
        return []
    arms = sorted(group.arms, key=lambda arm: (any(_is_control(cycle) for cycle in group.arms[arm]), arm))
    return [
        _compare(group, one, other)
        for i, one in enumerate(arms)
        for other in arms[i + 1 :]
        if len(arms) <= MOST_ARMS or _differing(group, one, other) == 1
    ]


def drops(group: Group, arm: str) -> list[Level]:
    """Return, for each round, the test accuracy of an arm's cycles above the own dense one − tolerance; from round 0.

    A cycle at the bound counts as above; rounds that were rejected do not count.
    """
    rows: dict[int, dict[object, tuple[float, float]]] = {}
    for place, cycle in enumerate(group.arms[arm]):
        start = dense(cycle)
        for result in cycle.standing if start is not None else ():
            assert start is not None
            above = result.test_accuracy - start.test_accuracy + group.sweep.tolerance + _NOTHING
            rows.setdefault(result.round, {})[place] = (above, result.sparsity)
    return [_level(index, index, rows[index], rows[index]) for index in sorted(rows)]


def crossings(levels: Sequence[Level]) -> tuple[Crossing, ...]:
    """Return where the mean of the differences changes its sign between neighbouring levels.

    Between two levels the mean is over what both have; exact zeros have the sign before them.
    """
    found, last = [], 0
    for one, two in itertools.pairwise(levels):
        both = [key for key in one.values if key in two.values]
        if not both:
            last = 0
            continue
        start, end = (statistics.fmean(level.values[key] for key in both) for level in (one, two))
        before, after = _sign(start) or last, _sign(end)
        if before * after < 0:
            share = start / (start - end) if before == _sign(start) else 0.0
            found.append(
                Crossing(
                    after=one.round,
                    before=two.round,
                    round=one.round + share * (two.round - one.round),
                    sparsity=_between(one.sparsity, two.sparsity, share),
                    rises=after > 0,
                    n=len(both),
                )
            )
        last = after or before
    return tuple(found)


@dataclass(frozen=True)
class _Unit:
    """One side of a pair after one round."""

    accuracy: float
    sparsity: float
    keys: frozenset[str]


def _compare(group: Group, arm: str, against: str) -> Comparison:
    mine, theirs = _units(group, arm), _units(group, against)
    both = [key for key in mine if key in theirs]
    cycles = [*group.arms[arm], *group.arms[against]]
    levels = []
    for one, two in _equal_rounds([mine[key] for key in both], [theirs[key] for key in both]):
        left: dict[object, tuple[float, float]] = {}
        right: dict[object, tuple[float, float]] = {}
        for key in both:
            a, b = mine[key].get(one), theirs[key].get(two)
            if a is None or b is None or a.keys & b.keys or abs(a.sparsity - b.sparsity) >= EQUAL_SPARSITY:
                continue
            left[key], right[key] = (a.accuracy - b.accuracy, a.sparsity), (0.0, b.sparsity)
        if left:
            levels.append(_level(one, two, left, right))
    levels.sort(key=lambda level: (level.sparsity, level.round))
    unpaired = sum(group.pair_key(cycle) not in both for cycle in cycles)
    return Comparison(arm, against, len(both), unpaired, tuple(levels))


def _units(group: Group, arm: str) -> dict[PairKey, dict[int, _Unit]]:
    """Pair key → round → the mean over an arm's cycles of that key, where all of them have it."""
    cycles: dict[PairKey, list[ReportedCycle]] = {}
    for cycle in group.arms[arm]:
        cycles.setdefault(group.pair_key(cycle), []).append(cycle)
    found: dict[PairKey, dict[int, _Unit]] = {}
    for key, members in cycles.items():
        rounds: dict[int, list[RoundResult]] = {}
        for cycle in members:
            for result in cycle.standing:
                rounds.setdefault(result.round, []).append(result)
        found[key] = {
            index: _Unit(
                statistics.fmean(result.test_accuracy for result in results),
                statistics.fmean(result.sparsity for result in results),
                frozenset(result.key for result in results if result.key),
            )
            for index, results in rounds.items()
            if len(results) == len(members)
        }
    return found


def _equal_rounds(mine: Sequence[Mapping[int, _Unit]], theirs: Sequence[Mapping[int, _Unit]]) -> list[tuple[int, int]]:
    """Rounds of two arms at equal sparsity: equal rounds, and of the others those that are nearest to each other."""
    one, two = _sparsities(mine), _sparsities(theirs)
    same = [index for index in one if index in two and abs(one[index] - two[index]) < EQUAL_SPARSITY]
    rest, other = ([index for index in found if index not in same and index > 0] for found in (one, two))
    found = [(index, index) for index in same]
    for index in rest:
        near = min(other, key=lambda i: (abs(two[i] - one[index]), i), default=None)
        if near is None or abs(two[near] - one[index]) >= EQUAL_SPARSITY:
            continue
        if min(rest, key=lambda i: (abs(one[i] - two[near]), i)) == index:
            found.append((index, near))
    return found


def _sparsities(units: Sequence[Mapping[int, _Unit]]) -> dict[int, float]:
    rounds = sorted({index for unit in units for index in unit})
    return {index: statistics.fmean(unit[index].sparsity for unit in units if index in unit) for index in rounds}


def _level(
    one: int, two: int, left: Mapping[object, tuple[float, float]], right: Mapping[object, tuple[float, float]]
) -> Level:
    return Level(
        round=one,
        sparsity=statistics.fmean(sparsity for _, sparsity in left.values()),
        values={key: value for key, (value, _) in left.items()},
        against_round=two,
        against_sparsity=statistics.fmean(sparsity for _, sparsity in right.values()),
    )


def _differing(group: Group, arm: str, against: str) -> int:
    """Fields of the arms that differ, of those that both have [count]."""
    one, two = group.arms[arm][0].settings, group.arms[against][0].settings
    both = [key for key in group.arm_keys if one.get(key) is not None and two.get(key) is not None]
    return sum(one[key] != two[key] for key in both)


def _is_control(cycle: ReportedCycle) -> bool:
    fields = {**cycle.params, **cycle.settings}
    return fields.get("magnitude.restart") == "random" or fields.get("magnitude.random_pruning") is True


def _sign(value: float) -> int:
    return 0 if abs(value) < _NOTHING / 2 else 1 if value > 0 else -1


def _between(one: float, two: float, share: float) -> float:
    """The sparsity at a share of the way, equal shares of what remains being equal steps."""
    if one >= 1 or two >= 1:
        return one + share * (two - one)
    return float(1 - (1 - one) ** (1 - share) * (1 - two) ** share)
