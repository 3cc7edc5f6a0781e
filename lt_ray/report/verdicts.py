"""What a sweep says, in one sentence each: winning tickets, paired differences, crossings, the bill."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from lt_ray.report.bill import Bill
from lt_ray.report.compare import MOST_ARMS, Comparison, Crossing, Group, Level, crossings, dense, drops, has_blocks
from lt_ray.report.rows import ReportedCycle
from lt_ray.report.words import listed as listed
from lt_ray.report.words import numbered, points, runs_of
from lt_ray.report.words import percent as percent
from lt_ray.results import winning_round

_MOST_CYCLES = 4
"""Cycles of an arm that a sentence names one by one [count]"""
_MOST_COMPARISONS = 10
"""Comparisons that have their own sentences [count]"""


def verdicts(group: Group, compared: Sequence[Comparison]) -> list[str]:
    """Return the sentences on one task: each arm's winning tickets, each two arms' difference and crossings, and
    where each arm's mean leaves the dense accuracy."""
    few = len(group.arms) <= MOST_ARMS
    found = [_tickets(group, arm) for arm in group.arms] if few else [_many_arms(group)]
    if has_blocks(group):
        # Arms that removed other blocks never meet at equal sparsity: that is no lack of results.
        apart = [item for item in compared if item.pairs and not item.levels]
        compared = [item for item in compared if item not in apart]
        if apart:
            found.append(_apart(apart))
        # What each arm came to is told of its blocks; two arms with one pair each would only say so again and again.
        settled = [item for item in compared if any(level.difference.half is not None for level in item.levels)]
        if len(settled) < len(compared):
            found.append(_unsettled(len(compared) - len(settled)))
        return found + [_difference(item) for item in settled[:_MOST_COMPARISONS]]
    if len(compared) <= _MOST_COMPARISONS:
        found += [_difference(item) for item in compared]
        found += _crossings(compared)
    elif compared:
        found.append(_many(compared))
    found += [_falls(group, arm) for arm in group.arms if few and any(level.round > 0 for level in drops(group, arm))]
    if group.main:
        return found
    return [f"On {group.task}, where tickets are found: {sentence}" for sentence in found]


def bill(whole: Bill) -> str:
    """Return the sentence on what all cycles together cost."""
    spent = f"{numbered(whole.rounds, 'round')} computed in {_time(whole.train_s)} of training and "
    spent += f"{_time(whole.eval_s)} of evaluation"
    spent += f", and {_time(whole.redone_s)} lost to interruptions and done again" if whole.redone_s >= 1 else ""
    if not whole.known or not whole.asked:
        return f"Cost: {spent}."
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (whole.shared, "came from shared rounds"),
            (whole.early, "were saved by early stopping, or where nothing was removed"),
            (whole.ended, "were left out when a rule ended cycles"),
            (whole.failed, "were lost to failures"),
            (whole.open, "are still to come"),
        )
        if number
    ]
    share = 100 * whole.computed / whole.asked
    rest = f": {', '.join(parts)}" if parts else ""
    return f"Cost: {spent}; of {whole.asked:,} epochs asked {whole.computed:,} were trained ({share:.0f} %){rest}."


def _unsettled(many: int) -> str:
    whose = "two arms" if many == 1 else f"{many} pairs of arms"
    return f"Between {whose} there is one pair of cycles, which cannot settle a difference: more seeds would."


def _tickets(group: Group, arm: str) -> str:
    cycles, tolerance = group.arms[arm], group.sweep.tolerance
    rule = f"test ≥ own dense − {tolerance:g}"
    looked = [c for c in cycles if dense(c) is not None and any(result.round > 0 for result in c.results)]
    if not looked:
        return f"{arm}: no pruned round has finished yet, so no ticket can be judged."
    if len(looked) > _MOST_CYCLES:
        return _many_tickets(arm, looked, tolerance, rule)
    won, lost = [], []
    for cycle in looked:
        winner = winning_round(cycle.standing, tolerance)
        who = _who(group, cycle)
        if winner is None:
            lost.append(who)
            continue
        last = max(result.round for result in cycle.results)
        so_far = " so far" if cycle.state == "unfinished" else ", the last" if winner.round == last else ""
        won.append(f"{percent(winner.density)} (round {winner.round}{so_far}) with {who}")
    if not won:
        return f"{arm}: no winning ticket with {listed(lost, 'or')} ({rule})."
    none = f", none with {listed(lost, 'or')}" if lost else ""
    keeps = "the sparsest winning ticket keeps" if len(looked) == 1 else "the sparsest winning tickets keep"
    return f"{arm}: {keeps} {listed(won)}{none} ({rule})."


def _many_tickets(arm: str, cycles: Sequence[ReportedCycle], tolerance: float, rule: str) -> str:
    winners = [w for w in (winning_round(cycle.standing, tolerance) for cycle in cycles) if w is not None]
    said = f"{arm}: {len(winners)} of {len(cycles)} cycles have a winning ticket ({rule})"
    if not winners:
        return said + "."
    kept = sorted(winner.density for winner in winners)
    middle = percent(statistics.median(kept))
    return f"{said}; the sparsest ones keep {percent(kept[0])} to {percent(kept[-1])}, median {middle}."


def _many_arms(group: Group) -> str:
    tolerance = group.sweep.tolerance
    best: dict[str, float] = {}
    for arm, cycles in group.arms.items():
        kept = [w.density for w in (winning_round(cycle.standing, tolerance) for cycle in cycles) if w is not None]
        if kept:
            best[arm] = min(kept)
    said = f"{len(best)} of {len(group.arms)} arms have a winning ticket (test ≥ own dense − {tolerance:g})"
    if not best:
        return f"{said}."
    arm = min(best, key=lambda arm: (best[arm], arm))
    return f"{said}; the sparsest one, of {arm}, keeps {percent(best[arm])}: the best of many, which may be luck."


def _difference(item: Comparison) -> str:
    if not item.pairs:
        return (
            f"{item.arm} and {item.against} have no two cycles with equal seed and settings, so nothing can be said of "
            "their difference."
        )
    if not item.levels:
        return f"{item.arm} and {item.against} have no finished round of their own at equal sparsity yet."
    last = item.levels[-1]
    found = last.difference
    where = f"At {percent(last.sparsity)} sparsity ({_round(last)}, the sparsest that both have)"
    if found.half is None:
        said = f"{where}, {_against(item, found.mean)}; this is one pair, which cannot settle it"
    else:
        assert found.low is not None
        assert found.high is not None
        interval = f"95 % interval of the difference {points(found.low)} to {points(found.high)}"
        doubt = "" if found.sign else f", which includes 0: these {found.n} pairs do not tell them apart"
        said = f"{where}, {_against(item, found.mean)}, mean of {found.n} pairs ({interval}{doubt})"
    left = f" ({numbered(item.unpaired, 'cycle')} without a partner left out)" if item.unpaired else ""
    return f"{said}{_elsewhere(item)}{left}."


def _apart(items: Sequence[Comparison]) -> str:
    if len(items) == 1:
        who = f"{items[0].arm} and {items[0].against} share no round of their own"
    else:
        who = f"{len(items)} of the pairs of arms share no round of their own"
    return f"{who} at equal sparsity, so they are compared by what they cost, in the pictures of the front."


def _elsewhere(item: Comparison) -> str:
    """At which rounds the interval excludes 0, of how many."""
    told = [level for level in item.levels if level.difference.half is not None]
    if not told:
        return ""
    above = [level.round for level in told if level.difference.sign > 0]
    below = [level.round for level in told if level.difference.sign < 0]
    looked = f"of {numbered(len(told), 'round')} looked at"
    if not above and not below:
        return f"; the interval includes 0 at each {looked}" if len(told) > 1 else ""
    parts = [f"{word} 0 at {runs_of(rounds)}" for word, rounds in (("above", above), ("below", below)) if rounds]
    return f"; {looked} the interval is {listed(parts)}"


def _crossings(compared: Sequence[Comparison]) -> list[str]:
    """A sentence on each two arms whose mean curves cross, and one on the others."""
    looked = [item for item in compared if len(item.levels) > 1]
    crossed = [item for item in looked if item.crossings]
    found = [_crossing(item) for item in crossed]
    if crossed and len(crossed) < len(looked):
        found.append("The mean curves of no other two arms cross.")
    elif len(looked) == 1 and not crossed:
        found.append(f"The mean curves of {looked[0].arm} and {looked[0].against} do not cross.")
    elif looked and not crossed:
        found.append("The mean curves of no two arms cross.")
    return found


def _crossing(item: Comparison) -> str:
    both = f"The mean curves of {item.arm} and {item.against} cross"
    found = item.crossings
    if len(found) > 1:
        where = listed([percent(crossing.sparsity) for crossing in found])
        return f"{both} {len(found)} times, at {where} sparsity: neither stays above."
    after = item.arm if found[0].rises else item.against
    return f"{both} once, {_at(found[0])}; after it {after} is above."


def _many(compared: Sequence[Comparison]) -> str:
    told = [item.levels[-1].difference for item in compared if item.levels]
    apart = sum(found.sign != 0 for found in told)
    return (
        f"Of {len(compared)} comparisons of two arms {len(told)} have a round at equal sparsity; at the sparsest the "
        f"95 % interval excludes 0 in {apart}. About one in twenty would where nothing differs."
    )


def _falls(group: Group, arm: str) -> str:
    levels = drops(group, arm)
    bound = f"its own dense accuracy − {group.sweep.tolerance:g}"
    found = crossings(levels)
    cycles = numbered(max(len(level.values) for level in levels), "cycle")
    if not found:
        last = levels[-1]
        return (
            f"The mean of {arm} stays at or above {bound} in all {last.round} rounds, up to {percent(last.sparsity)} "
            f"sparsity ({cycles})."
        )
    said = f"The mean of {arm} falls below {bound} {_at(found[0])} ({cycles})"
    if len(found) == 1:
        return f"{said}."
    again = "is above it again after" if found[-1].rises else "stays below it only after"
    return f"{said}, and {again} {percent(found[-1].sparsity)}."


def _against(item: Comparison, difference: float) -> str:
    if abs(difference) < 5e-5:  # shown as 0.00 points
        return f"{item.arm} and {item.against} differ by less than 0.01 points"
    word = "above" if difference > 0 else "below"
    return f"{item.arm} is {100 * abs(difference):.2f} points {word} {item.against}"


def _round(level: Level) -> str:
    if level.round == level.against_round:
        return f"round {level.round}"
    return f"rounds {level.round} and {level.against_round}"


def _at(crossing: Crossing) -> str:
    return f"at {percent(crossing.sparsity)} sparsity, between rounds {crossing.after} and {crossing.before}"


def _who(group: Group, cycle: ReportedCycle) -> str:
    rest = group.described(cycle)
    return f"seed {cycle.seed}" + (f" {rest}" if rest else "")


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
