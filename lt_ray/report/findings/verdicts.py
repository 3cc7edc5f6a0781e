"""What a sweep says, in one sentence each: winning tickets, paired differences, crossings.

What is said to differ is told apart after Holm's correction for all comparisons of the sweep; pairs that are not are
named together.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from lt_ray.cycle.results import not_above_chance
from lt_ray.report.findings.compare import MOST_ARMS, Compared, Comparison, Crossing, Group
from lt_ray.report.findings.words import first_of, listed, numbered, percent, runs_of
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
    sentences = [_tickets(group, arm) for arm in group.arms] if few else [_tickets_of_many_arms(group)]
    pairs = list(compared.pairs)
    if group.has_blocks:
        # Arms that removed other blocks never meet at equal sparsity: that is no lack of results.
        never = [item for item in pairs if item.pairs and not item.levels]
        pairs = [item for item in pairs if item not in never]
        sentences += [_never_meet(never)] if never else []
    apart = [item for item in pairs if any(level.sign for level in item.levels)]
    family = f"Holm for {numbered(compared.family, 'comparison')}"
    if len(apart) <= _MOST_COMPARISONS:
        sentences += [_difference(group, item, family) for item in apart]
        sentences += [_crossing(item) for item in apart if item.crossings]
    else:
        sentences.append(
            f"Of {len(pairs)} pairs of arms {len(apart)} are told apart at some round, after {family}: the table of "
            "paired differences has them."
        )
    sentences += _not_apart([item for item in pairs if item not in apart], family)
    return sentences if group.has_blocks else sentences + _falls(group, compared, family)


def _tickets(group: Group, arm: str) -> str:
    cycles = group.arms[arm]
    chance = [cycle for cycle in cycles if not_above_chance(cycle.dense)]
    if chance:
        return _chance(group, arm, chance)
    judged = [cycle for cycle in cycles if cycle.dense is not None and cycle.has_pruned]
    if not judged:
        return f"{arm}: no pruned round has finished yet, so no ticket can be judged."
    if len(judged) > _MOST_CYCLES:
        return _tickets_of_many_cycles(group, arm, judged)
    won = [_ticket(group, cycle) for cycle in judged if group.winner(cycle) is not None]
    lost = listed([_who(group, cycle) for cycle in judged if group.winner(cycle) is None], "or")
    if not won:
        return f"{arm}: no winning ticket with {lost} ({_rule(group)})."
    none = f", none with {lost}" if lost else ""
    keeps = "the sparsest winning ticket keeps" if len(judged) == 1 else "the sparsest winning tickets keep"
    return f"{arm}: {keeps} {listed(won)}{none} ({_rule(group)})."


def _ticket(group: Group, cycle: ReportedCycle) -> str:
    """`64 % (round 2, the last; test 0.8800, dense 0.8850) with seed 0`, of a cycle with a winning ticket."""
    winner, dense = group.winner(cycle), cycle.dense
    assert winner is not None
    assert dense is not None
    last = ", the last" if winner.round == max(cycle.by_round) else ""
    so_far = " so far" if cycle.state == "unfinished" else last
    values = f"test {tested(winner):.4f}, dense {tested(dense):.4f}"
    return f"{percent(winner.density)} (round {winner.round}{so_far}; {values}) with {_who(group, cycle)}"


def _chance(group: Group, arm: str, chance: Sequence[ReportedCycle]) -> str:
    """Of an arm with cycles that have no ticket, since their dense models learned nothing."""
    who = listed([_who(group, cycle) for cycle in chance[:_MOST_CYCLES]]) + (" …" if chance[_MOST_CYCLES:] else "")
    others = [cycle for cycle in group.arms[arm] if cycle not in chance]
    won = sum(group.winner(cycle) is not None for cycle in others)
    rest = f" Of its {numbered(len(others), 'other cycle')} {won} have a winning ticket." if others else ""
    return f"{arm}: no ticket can be judged with {who}: {not_above_chance(chance[0].dense)}.{rest}"


def _tickets_of_many_cycles(group: Group, arm: str, cycles: Sequence[ReportedCycle]) -> str:
    kept = sorted(winner.density for winner in map(group.winner, cycles) if winner is not None)
    said = f"{arm}: {len(kept)} of {len(cycles)} cycles have a winning ticket ({_rule(group)})"
    if not kept:
        return said + "."
    middle = percent(statistics.median(kept))
    return f"{said}; the sparsest ones keep {percent(kept[0])} to {percent(kept[-1])}, median {middle}."


def _tickets_of_many_arms(group: Group) -> str:
    kept = {
        arm: min(winner.density for winner in winners)
        for arm, cycles in group.arms.items()
        if (winners := [winner for winner in map(group.winner, cycles) if winner is not None])
    }
    said = f"{len(kept)} of {len(group.arms)} arms have a winning ticket ({_rule(group)})"
    if not kept:
        return f"{said}."
    arm = min(kept, key=lambda arm: (kept[arm], arm))
    return f"{said}; the sparsest one, of {arm}, keeps {percent(kept[arm])}: the best of many, which may be luck."


def _difference(group: Group, item: Comparison, family: str) -> str:
    """Of two arms that are told apart somewhere: how they differ at the sparsest round, and where else."""
    last, words = item.levels[-1], group.words
    rounds = (
        f"rounds {last.round} and {last.against_round}" if last.against_round != last.round else f"round {last.round}"
    )
    where = f"At {percent(last.sparsity)} sparsity ({rounds}, the sparsest that both have)"
    p = "" if last.corrected_p is None else f"; p = {last.corrected_p:.2g} after {family}"
    not_there = "" if last.sign else ", which does not tell them apart there"
    above = [level.round for level in item.levels if level.sign > 0]
    below = [level.round for level in item.levels if level.sign < 0]
    parts = [f"{word} 0 at {runs_of(rounds)}" for word, rounds in (("above", above), ("below", below)) if rounds]
    left = f" ({numbered(item.unpaired, 'cycle')} without a partner left out)" if item.unpaired else ""
    said = words.against(last.difference.mean, item.against)
    return (
        f"{where}, {item.arm} {said}{words.doubt(last.difference, p)}{not_there}; of "
        f"{numbered(len(item.levels), 'round')} compared the difference is told apart {listed(parts)}{left}."
    )


def _not_apart(items: Sequence[Comparison], family: str) -> list[str]:
    """A sentence for each reason why nothing is said of two arms, its pairs of arms together."""
    reasons: dict[str, list[str]] = {}
    for item in items:
        reasons.setdefault(_reason(item, family), []).append(f"{item.arm} and {item.against}")
    return [f"{reason}: {first_of(arms, _MOST_NAMED)}." for reason, arms in reasons.items()]


def _reason(item: Comparison, family: str) -> str:
    if not item.pairs:
        return "No two cycles with equal seed and settings, so nothing can be said of the difference"
    if not item.levels:
        return "No finished round of their own at equal sparsity yet"
    seeds = max(level.difference.n for level in item.levels)
    if seeds == 1:
        return "One seed has no interval, so no difference is told"
    return f"Up to {seeds} seeds do not tell apart, at any round ({family})"


def _never_meet(items: Sequence[Comparison]) -> str:
    one = f"{items[0].arm} and {items[0].against}"
    who = one if len(items) == 1 else f"{len(items)} of the pairs of arms"
    return (
        f"{who} share no round of their own at equal sparsity, so they are compared by what they cost, in the pictures "
        "of the front."
    )


def _crossing(item: Comparison) -> str:
    both, found = f"{item.arm} and {item.against} cross", item.crossings
    if len(found) > 1:
        return f"{both} {len(found)} times, {listed([_at(crossing) for crossing in found])}: neither stays above."
    after, before = (item.arm, item.against) if found[0].rises else (item.against, item.arm)
    return f"{both} {_at(found[0])}: {before} is told apart above before, {after} after."


def _falls(group: Group, compared: Compared, family: str) -> list[str]:
    """Where arms are told apart from their bound; those that are not below it anywhere together."""
    words = group.words
    bound = words.bound(f"dense {words.name}", group.sweep.tolerance)
    crosses = "falls below" if words.sign > 0 else "rises above"
    sentences, never = [], []
    for item in compared.falls:
        if all(level.corrected_p is None for level in item.levels):
            continue
        below = [level for level in item.levels if words.sign * level.sign < 0]
        if not below:
            never.append(f"{item.arm} (to {percent(item.levels[-1].sparsity)} sparsity)")
            continue
        rounds = runs_of(level.round for level in below)
        crossed = [_at(crossing) for crossing in item.crossings if crossing.rises != (words.sign > 0)]
        since = f", and {crosses} it {listed(crossed)}" if crossed else ""
        sentences.append(
            f"The mean of {item.arm} is told apart {words.worse} its own {bound} at {rounds}, from "
            f"{percent(below[0].sparsity)} sparsity ({family}){since}."
        )
    return sentences + ([f"Told apart {words.worse} the own {bound} at no round: {listed(never)}."] if never else [])


def _rule(group: Group) -> str:
    """What makes a ticket a winning one."""
    return f"validation {group.words.at_least} {group.words.bound('own dense', group.sweep.tolerance)}"


def _at(crossing: Crossing) -> str:
    sparsities = f"{percent(crossing.before.sparsity)} and {percent(crossing.after.sparsity)} sparsity"
    return f"between rounds {crossing.before.round} and {crossing.after.round} ({sparsities})"


def _who(group: Group, cycle: ReportedCycle) -> str:
    return f"seed {cycle.seed} {group.described(cycle)}".rstrip()
