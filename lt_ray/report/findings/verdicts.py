"""What a sweep says, in one sentence each: winning tickets, paired differences, crossings, the bill.

What is said to differ is told apart after Holm's correction for all comparisons of the sweep; pairs that are not are
named together.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from lt_ray.cycle.results import not_above_chance, winning_round
from lt_ray.report.findings.bill import Bill
from lt_ray.report.findings.compare import (
    MOST_ARMS,
    Compared,
    Comparison,
    Crossing,
    Group,
    Level,
    crossings,
    dense,
    has_blocks,
)
from lt_ray.report.findings.words import Wording, numbered, runs_of
from lt_ray.report.findings.words import listed as listed
from lt_ray.report.findings.words import percent as percent
from lt_ray.report.reading.rows import ReportedCycle, tested

_MOST_CYCLES = 4
"""Cycles of an arm that a sentence names one by one [count]"""
_MOST_COMPARISONS = 10
"""Pairs of arms that have their own sentences [count]"""
_MOST_NAMED = 6
"""Pairs of arms that a sentence names [count]"""


def verdicts(group: Group, compared: Compared) -> list[str]:
    """Return the sentences on one task: each arm's winning tickets, which arms are told apart and where they cross,
    and where each arm's mean is told apart from the bound of a winning ticket."""
    few = len(group.arms) <= MOST_ARMS
    found = [_tickets(group, arm) for arm in group.arms] if few else [_many_arms(group)]
    pairs = list(compared.pairs)
    if has_blocks(group):
        # Arms that removed other blocks never meet at equal sparsity: that is no lack of results.
        never = [item for item in pairs if item.pairs and not item.levels]
        pairs = [item for item in pairs if item not in never]
        found += [_apart(never)] if never else []
    told = [item for item in pairs if any(level.sign for level in item.levels)]
    if len(told) <= _MOST_COMPARISONS:
        found += [_difference(item, compared.family, group.words) for item in told]
        found += [_crossing(item) for item in told if item.crossings]
    else:
        found.append(_many(told, len(pairs), compared.family))
    found += _silent([item for item in pairs if item not in told], compared.family)
    found += [] if has_blocks(group) else _falls(group, compared)
    if group.main:
        return found
    return [f"On {group.task}, where tickets are found: {sentence}" for sentence in found]


def bill(whole: Bill) -> str:
    """Return the sentence on what all cycles together cost."""
    spent = f"{numbered(whole.rounds, 'round')} computed in {_time(whole.train_s)} of training and "
    spent += f"{_time(whole.eval_s)} of evaluation"
    spent += f", and {_time(whole.redone_s)} lost to interruptions and done again" if whole.redone_s >= 1 else ""
    if not whole.asked:
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


def _tickets(group: Group, arm: str) -> str:
    cycles, tolerance = group.arms[arm], group.sweep.tolerance
    rule = _rule(group)
    chance = [c for c in cycles if not_above_chance(dense(c))]
    if chance:
        return _chance(group, arm, cycles, chance)
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
        start = dense(cycle)
        assert start is not None
        test = f"test {tested(winner):.4f}, dense {tested(start):.4f}"
        won.append(f"{percent(winner.density)} (round {winner.round}{so_far}; {test}) with {who}")
    if not won:
        return f"{arm}: no winning ticket with {listed(lost, 'or')} ({rule})."
    none = f", none with {listed(lost, 'or')}" if lost else ""
    keeps = "the sparsest winning ticket keeps" if len(looked) == 1 else "the sparsest winning tickets keep"
    return f"{arm}: {keeps} {listed(won)}{none} ({rule})."


def _chance(group: Group, arm: str, cycles: Sequence[ReportedCycle], chance: Sequence[ReportedCycle]) -> str:
    """Of an arm with cycles that have no ticket, since their dense models learned nothing."""
    who = listed([_who(group, cycle) for cycle in chance[:_MOST_CYCLES]]) + (" …" if chance[_MOST_CYCLES:] else "")
    others = [cycle for cycle in cycles if cycle not in chance]
    won = sum(winning_round(cycle.standing, group.sweep.tolerance) is not None for cycle in others)
    rest = f" Of its {numbered(len(others), 'other cycle')} {won} have a winning ticket." if others else ""
    return f"{arm}: no ticket can be judged with {who}: {not_above_chance(dense(chance[0]))}.{rest}"


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
    said = f"{len(best)} of {len(group.arms)} arms have a winning ticket ({_rule(group)})"
    if not best:
        return f"{said}."
    arm = min(best, key=lambda arm: (best[arm], arm))
    return f"{said}; the sparsest one, of {arm}, keeps {percent(best[arm])}: the best of many, which may be luck."


def _difference(item: Comparison, family: int, words: Wording) -> str:
    """Of two arms that are told apart somewhere: how they differ at the sparsest round, and where else."""
    last = item.levels[-1]
    where = f"At {percent(last.sparsity)} sparsity ({_round(last)}, the sparsest that both have)"
    doubt = "" if last.sign else ", which does not tell them apart there"
    above = [level.round for level in item.levels if level.sign > 0]
    below = [level.round for level in item.levels if level.sign < 0]
    parts = [f"{word} 0 at {runs_of(rounds)}" for word, rounds in (("above", above), ("below", below)) if rounds]
    left = f" ({numbered(item.unpaired, 'cycle')} without a partner left out)" if item.unpaired else ""
    said = words.against(item.arm, item.against, last.difference.mean)
    return (
        f"{where}, {said}{_doubt(last, family, words)}{doubt}; of "
        f"{numbered(len(item.levels), 'round')} compared the difference is told apart {listed(parts)}{left}."
    )


def _doubt(level: Level, family: int, words: Wording) -> str:
    """`, mean of 3 seeds (95 % interval …, not corrected; p = 0.012 after Holm for 24 comparisons)`."""
    found = level.difference
    if found.low is None or found.high is None or level.corrected_p is None:
        return ", of one seed"
    return (
        f", mean of {found.n} seeds ({words.interval(found.low, found.high)}, not corrected; "
        f"p = {level.corrected_p:.2g} after Holm for {numbered(family, 'comparison')})"
    )


def _silent(items: Sequence[Comparison], family: int) -> list[str]:
    """A sentence for each reason why nothing is said of two arms, its pairs of arms together."""
    reasons: dict[str, list[str]] = {}
    for item in items:
        reasons.setdefault(_reason(item, family), []).append(f"{item.arm} and {item.against}")
    named = {
        reason: "; ".join(arms[:_MOST_NAMED]) + (f"; and {len(arms) - _MOST_NAMED} more" if arms[_MOST_NAMED:] else "")
        for reason, arms in reasons.items()
    }
    return [f"{reason}: {arms}." for reason, arms in named.items()]


def _reason(item: Comparison, family: int) -> str:
    if not item.pairs:
        return "No two cycles with equal seed and settings, so nothing can be said of the difference"
    if not item.levels:
        return "No finished round of their own at equal sparsity yet"
    seeds = max(level.difference.n for level in item.levels)
    if seeds == 1:
        return "One seed has no interval, so no difference is told"
    return f"Up to {seeds} seeds do not tell apart, at any round (Holm for {numbered(family, 'comparison')})"


def _apart(items: Sequence[Comparison]) -> str:
    if len(items) == 1:
        who = f"{items[0].arm} and {items[0].against} share no round of their own"
    else:
        who = f"{len(items)} of the pairs of arms share no round of their own"
    return f"{who} at equal sparsity, so they are compared by what they cost, in the pictures of the front."


def _crossing(item: Comparison) -> str:
    both = f"{item.arm} and {item.against} cross"
    found = item.crossings
    if len(found) > 1:
        return f"{both} {len(found)} times, {listed([_at(crossing) for crossing in found])}: neither stays above."
    after, before = (item.arm, item.against) if found[0].rises else (item.against, item.arm)
    return f"{both} {_at(found[0])}: {before} is told apart above before, {after} after."


def _many(told: Sequence[Comparison], pairs: int, family: int) -> str:
    return (
        f"Of {pairs} pairs of arms {len(told)} are told apart at some round, after Holm for "
        f"{numbered(family, 'comparison')}: the table of paired differences has them."
    )


def _falls(group: Group, compared: Compared) -> list[str]:
    """Where arms are told apart from their bound; those that are not below it anywhere together."""
    words = group.words
    bound = words.bound(f"dense {words.name}", group.sweep.tolerance)
    crosses = "falls below" if words.sign > 0 else "rises above"
    found, never = [], []
    for arm, levels in compared.falls.items():
        if not any(level.corrected_p is not None for level in levels):
            continue
        below = [level for level in levels if words.sign * level.sign < 0]
        if not below:
            never.append(f"{arm} (to {percent(levels[-1].sparsity)} sparsity)")
            continue
        rounds = runs_of(level.round for level in below)
        crossed = [_at(crossing) for crossing in crossings(levels) if crossing.rises != (words.sign > 0)]
        since = f", and {crosses} it {listed(crossed)}" if crossed else ""
        found.append(
            f"The mean of {arm} is told apart {words.worse} its own {bound} at {rounds}, from "
            f"{percent(below[0].sparsity)} sparsity (Holm for {numbered(compared.family, 'comparison')}){since}."
        )
    return found + ([f"Told apart {words.worse} the own {bound} at no round: {listed(never)}."] if never else [])


def _rule(group: Group) -> str:
    """What makes a ticket a winning one."""
    return f"validation {group.words.at_least} {group.words.bound('own dense', group.sweep.tolerance)}"


def _round(level: Level) -> str:
    if level.round == level.against_round:
        return f"round {level.round}"
    return f"rounds {level.round} and {level.against_round}"


def _at(crossing: Crossing) -> str:
    return (
        f"between rounds {crossing.after} and {crossing.before} ({percent(crossing.low)} and {percent(crossing.high)} "
        "sparsity)"
    )


def _who(group: Group, cycle: ReportedCycle) -> str:
    rest = group.described(cycle)
    return f"seed {cycle.seed}" + (f" {rest}" if rest else "")


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
