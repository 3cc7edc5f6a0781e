"""What a sweep of encoders says, in sentences: what was kept at what loss and speed, what was rejected, and why."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings.compare import MOST_ARMS, Group
from lt_ray.report.findings.estimates import over_seeds
from lt_ray.report.findings.words import Wording, listed, numbered, runs_of, seeds_of, span
from lt_ray.report.reading.rows import ReportedCycle, tested

_MOST_NAMED = 6
"""Rejected rounds that have a sentence each [count]"""
_MILLION = 1_000_000
_Step = tuple[ReportedCycle, RoundResult, RoundResult]
"""A cycle, one of its rounds, and a later one that is held against it"""


def verdicts(group: Group) -> list[str]:
    """Return the sentences on one task's encoders: what each arm kept, what was rejected, what pruning within blocks
    costs."""
    arms = group.arms if len(group.arms) <= MOST_ARMS else {}
    kept = [sentence for arm in arms if (sentence := _kept(group, arm))]
    idle = [sentence for arm, cycles in group.arms.items() if (sentence := _nothing_removed(arm, cycles))]
    return [*kept, *_rejected(group), *idle, *(said for arm in arms for said in _within_blocks(group, arm))]


def _kept(group: Group, arm: str) -> str:
    steps = _whole_ways(group.arms[arm])
    if not steps:
        return ""
    before, after = [start for _, start, _ in steps], [end for _, _, end in steps]
    said = f"{arm} keeps {_span(r.blocks for r in after)} of {_span(r.blocks for r in before)} blocks"
    nonzero, whole = _span(r.nonzero for r in after), _span(r.parameters for r in after)
    total = _span(r.parameters for r in before)
    if nonzero in ("", whole):
        said += f" and {whole} of {total} parameters"
    else:
        said += f" and {nonzero} of {total} parameters that are not pruned ({whole} with zeros)"
    changes = [(cycle.seed, tested(end) - tested(start)) for cycle, start, end in steps]
    said += f" after {runs_of({end.round for end in after})}; test {group.words.name} "
    speed = _speed(steps)
    return f"{said}{_change(changes, 'dense', group.words)}{f'; {speed}' if speed else ''}."


def _whole_ways(cycles: Sequence[ReportedCycle]) -> list[_Step]:
    """Of each cycle with a pruned round, the dense round and the last one that it accepted; equal ends once."""
    found: dict[str, _Step] = {}
    for cycle in cycles:
        end = max(cycle.accepted_rounds, key=lambda result: result.round, default=None)
        if cycle.dense is not None and end is not None and cycle.has_pruned and end.blocks is not None:
            found.setdefault(end.key or cycle.id, (cycle, cycle.dense, end))
    return list(found.values())


def _speed(steps: Sequence[_Step]) -> str:
    """What is known of the latency: masks alone make nothing faster, and medians may differ by chance."""
    known = [step for step in steps if step[1].latency_s is not None and step[2].latency_s is not None]
    shorter = [step for step in known if (step[2].blocks or 0) < (step[1].blocks or 0)]
    if not known:
        return ""
    if not shorter:
        return "no block was removed, so no speed is claimed: zeros under a mask are computed like other weights"
    before = statistics.fmean(start.latency_s or 0.0 for _, start, _ in shorter)
    after = statistics.fmean(end.latency_s or 0.0 for _, _, end in shorter)
    said = (
        f"a batch of 32 takes {after / before:.2f} of the dense time ({1000 * after:.1f} against {1000 * before:.1f} ms"
    )
    overlapping = [f"seed {cycle.seed}" for cycle, start, end in shorter if not _apart(start, end)]
    if overlapping:
        said += f", but the quartiles overlap with {listed(overlapping)}, so no speed is claimed"
    else:
        said += ", medians whose quartiles do not overlap"
    few = f", {len(shorter)} of {len(known)} cycles, those that removed blocks" if len(shorter) < len(known) else ""
    return f"{said}{few})"


def _apart(start: RoundResult, end: RoundResult) -> bool:
    """Whether the middle halves of two latencies share nothing, so that their order is hardly chance."""
    if start.latency_low_s is None or start.latency_high_s is None:
        return False
    if end.latency_low_s is None or end.latency_high_s is None:
        return False
    return end.latency_high_s < start.latency_low_s or start.latency_high_s < end.latency_low_s


def _rejected(group: Group) -> list[str]:
    """A sentence on each arm's round that was rejected, its seeds together."""
    found: dict[tuple[str, int, int | None], dict[str, ReportedCycle]] = {}
    for arm, cycles in group.arms.items():
        for cycle in cycles:
            for result in cycle.results:
                if result.accepted is False:
                    members = found.setdefault((arm, result.round, result.stride), {})
                    members.setdefault(result.key or cycle.id, cycle)
    rounds = list(found.items())
    said = [_rejection(arm, index, list(own.values()), group.words) for (arm, index, _), own in rounds[:_MOST_NAMED]]
    more = sum(len(members) for _, members in rounds[_MOST_NAMED:])
    return said + ([f"{numbered(more, 'further round')} {'was' if more == 1 else 'were'} rejected."] if more else [])


def _rejection(arm: str, index: int, cycles: Sequence[ReportedCycle], words: Wording) -> str:
    stride = cycles[0].by_round[index].stride
    with_stride = "" if stride is None else f" (stride {stride})"
    said = f"{arm}: round {index}{with_stride} was rejected with {seeds_of(cycle.seed for cycle in cycles)}"
    lost = sorted(words.factor * c.by_round[index].lost(c.dense) for c in cycles if c.dense is not None)
    if lost:
        span = " to ".join(dict.fromkeys(f"{end:.{words.digits}f}" for end in (lost[0], lost[-1])))
        said += f", having lost {span.replace('-', '−')}{words.unit} of validation {words.name}"
        bounds = {pruning.may_lose for cycle in cycles if (pruning := cycle.pruning(index)) is not None}
        bound = bounds.pop() if len(bounds) == 1 else None
        said += "" if bound is None else f", more than {words.factor * bound:g}"
    reasons = dict.fromkeys(c.decisions[index].reason.rstrip(".") for c in cycles if index in c.decisions)
    reasons.pop("", None)
    if reasons:
        said += f" ({'' if len(reasons) == 1 else f'with seed {cycles[0].seed} '}{next(iter(reasons))})"
    nexts = {_next(cycle, index) for cycle in cycles}
    following = nexts.pop() if len(nexts) == 1 else ""
    return f"{said}{f'; {following}' if following else ''}."


def _next(cycle: ReportedCycle, rejected: int) -> str:
    """From where the next round starts; nothing where there is none."""
    after = cycle.by_round.get(rejected + 1)
    if after is None:
        return ""
    again = "" if after.stride in (None, cycle.by_round[rejected].stride) else f" with stride {after.stride}"
    return f"round {after.round} starts from round {cycle.start_of(after.round)}{again}"


def _nothing_removed(arm: str, cycles: Sequence[ReportedCycle]) -> str:
    """Comparisons that removed no block, by why."""
    why: dict[str, dict[int, None]] = {}
    for cycle in cycles:
        for index, decision in cycle.decisions.items():
            if not decision.removed and index in cycle.by_round:
                why.setdefault(decision.reason.rstrip("."), {})[index] = None
    told = [f"{runs_of(rounds)}{f' ({reason})' if reason else ''}" for reason, rounds in why.items()]
    return f"{arm} removed no block in {listed(told)}." if told else ""


def _within_blocks(group: Group, arm: str) -> list[str]:
    """What pruning that removes no block costs before retraining and after it, against the model it pruned."""
    rounds: dict[int, dict[str, _Step]] = {}
    for cycle in group.arms[arm]:
        for index, result in cycle.by_round.items():
            start, pruning = cycle.by_round.get(cycle.start_of(index)), cycle.pruning(index)
            if pruning is None or pruning.removes_blocks or start is None or result.value("before_test") is None:
                continue
            rounds.setdefault(index, {})[result.key or cycle.id] = (cycle, start, result)
    sentences = []
    for index, found in sorted(rounds.items()):
        steps, words = list(found.values()), group.words
        prunings = [pruning for cycle, _, _ in steps if (pruning := cycle.pruning(index)) is not None]
        applied, labels = ({getattr(p, name): None for p in prunings} for name in ("applied", "label"))
        called = listed([*(applied if len(applied) == 1 else labels)])
        cut = [(cycle.seed, (result.value("before_test") or 0.0) - tested(start)) for cycle, start, result in steps]
        said = f"{arm}: test {words.name} after {called} (round {index}) and before retraining "
        said += _change(cut, "the model it pruned", words)
        again = [(cycle.seed, tested(result) - tested(start)) for cycle, start, result in steps if result.epochs > 0]
        if again:
            said += f", and retrained it is {words.points(over_seeds(again).mean)}{words.unit} against it"
        sentences.append(f"{said}.")
    return sentences


def _change(values: Sequence[tuple[int, float]], against: str, words: Wording) -> str:
    """`is 0.80 points above dense, mean of 3 seeds (95 % interval …, not corrected)`, of (seed, difference)."""
    difference = over_seeds(values)
    return words.against(difference.mean, against) + words.doubt(difference)


def _span(values: Iterable[int | None]) -> str:
    """`8`, `6 to 8`, `66.96 million`; empty where nothing is known."""
    known = (value for value in values if value is not None)
    return span(known, lambda value: f"{value / _MILLION:.2f} million" if value >= _MILLION else f"{value:,}")
