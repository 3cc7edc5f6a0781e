"""What a sweep of encoders says, in sentences: what was kept at what loss and speed, what was rejected, and why."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from lt_ray.cycle.prunings import Wanda
from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings.compare import MOST_ARMS, Group, dense
from lt_ray.report.findings.estimates import over_seeds
from lt_ray.report.findings.words import UNSEEN, Wording, listed, numbered, runs_of
from lt_ray.report.reading.rows import ReportedCycle, tested
from lt_ray.report.reading.schedule import method, pruning, start_of

_MOST_NAMED = 6
"""Rejected rounds that have a sentence each [count]"""
_MILLION = 1_000_000
_Pair = tuple[ReportedCycle, RoundResult, RoundResult]
"""A cycle, its dense round, and the last round that it accepted"""


def verdicts(group: Group) -> list[str]:
    """Return the sentences on one task's encoders: what each arm kept, what was rejected, what Wanda costs."""
    arms = list(group.arms) if len(group.arms) <= MOST_ARMS else []
    found = [sentence for arm in arms if (sentence := _kept(arm, group.arms[arm], group.words))]
    found += _rejected(group)
    found += [sentence for arm in group.arms if (sentence := _nothing_removed(arm, group.arms[arm]))]
    found += [sentence for arm in arms for sentence in _wanda(arm, group.arms[arm], group.words)]
    return found if group.main else [f"On {group.task}: {sentence}" for sentence in found]


def _kept(arm: str, cycles: Sequence[ReportedCycle], words: Wording) -> str:
    pairs = _ends(cycles)
    if not pairs:
        return ""
    before, after = [start for _, start, _ in pairs], [end for _, _, end in pairs]
    said = f"{arm} keeps {_span(r.blocks for r in after)} of {_span(r.blocks for r in before)} blocks"
    nonzero, whole = _span(r.nonzero for r in after), _span(r.parameters for r in after)
    total = _span(r.parameters for r in before)
    if nonzero in ("", whole):
        said += f" and {whole} of {total} parameters"
    else:
        said += f" and {nonzero} of {total} parameters that are not pruned ({whole} with zeros)"
    lost = [(cycle.seed, tested(end) - tested(start)) for cycle, start, end in pairs]
    said += f" after {runs_of({end.round for end in after})}; test {words.name} {_difference(lost, 'dense', words)}"
    speed = _speed(pairs)
    return f"{said}{f'; {speed}' if speed else ''}."


def _speed(pairs: Sequence[_Pair]) -> str:
    """What is known of the latency: masks alone make nothing faster, and medians may differ by chance."""
    known = [p for p in pairs if p[1].latency_s is not None and p[2].latency_s is not None]
    shorter = [p for p in known if p[1].blocks is not None and p[2].blocks is not None and p[2].blocks < p[1].blocks]
    if not known:
        return ""
    if not shorter:
        return "no block was removed, so no speed is claimed: zeros under a mask are computed like other weights"
    before = statistics.fmean(start.latency_s or 0.0 for _, start, _ in shorter)
    after = statistics.fmean(end.latency_s or 0.0 for _, _, end in shorter)
    apart = [_apart(start, end) for _, start, end in shorter]
    said = (
        f"a batch of 32 takes {after / before:.2f} of the dense time ({1000 * after:.1f} against {1000 * before:.1f} ms"
    )
    if all(apart):
        said += ", medians whose quartiles do not overlap"
    else:
        with_seeds = listed([f"seed {pair[0].seed}" for pair, own in zip(shorter, apart, strict=True) if not own])
        said += f", but the quartiles overlap with {with_seeds}, so no speed is claimed"
    few = f", {len(shorter)} of {len(known)} cycles, those that removed blocks" if len(shorter) < len(known) else ""
    return f"{said}{few})"


def _apart(start: RoundResult, end: RoundResult) -> bool:
    """Whether the middle halves of two latencies share nothing, so that their order is hardly chance."""
    ends = (start.latency_low_s, start.latency_high_s, end.latency_low_s, end.latency_high_s)
    if None in ends:
        return False
    low, high, other_low, other_high = (float(value or 0) for value in ends)
    return other_high < low or high < other_low


def _rejected(group: Group) -> list[str]:
    """A sentence on each arm's round that was rejected, its seeds together."""
    found: dict[tuple[str, int, int | None], dict[str, tuple[ReportedCycle, RoundResult]]] = {}
    for arm, cycles in group.arms.items():
        for cycle in cycles:
            for result in cycle.results:
                if result.accepted is False:
                    members = found.setdefault((arm, result.round, result.stride), {})
                    members.setdefault(result.key or cycle.id, (cycle, result))
    told = list(found.items())
    said = [
        _rejection(arm, index, stride, list(own.values()), group.words)
        for (arm, index, stride), own in told[:_MOST_NAMED]
    ]
    more = sum(len(own) for _, own in told[_MOST_NAMED:])
    return said + ([f"{numbered(more, 'further round')} {'was' if more == 1 else 'were'} rejected."] if more else [])


def _rejection(
    arm: str, index: int, stride: int | None, members: Sequence[tuple[ReportedCycle, RoundResult]], words: Wording
) -> str:
    seeds = sorted({cycle.seed for cycle, _ in members})
    who = f"seed{'s' if len(seeds) > 1 else ''} {listed([str(seed) for seed in seeds])}"
    with_stride = "" if stride is None else f" (stride {stride})"
    said = f"{arm}: round {index}{with_stride} was rejected with {who}"
    starts = [(dense(cycle), result) for cycle, result in members]
    lost = sorted(words.factor * result.lost(start) for start, result in starts if start is not None)
    if lost:
        ends = dict.fromkeys(f"{end:.{words.digits}f}" for end in (lost[0], lost[-1]))
        span = " to ".join(ends)
        bounds = {getattr(pruning(cycle, index), "max_drop", None) for cycle, _ in members}
        bound = bounds.pop() if len(bounds) == 1 else None
        said += f", having lost {span.replace('-', '−')}{words.unit} of validation {words.name}"
        said += f", more than {words.factor * bound:g}" if isinstance(bound, int | float) else ""
    decisions = [cycle.decisions[index] for cycle, _ in members if index in cycle.decisions]
    reasons = list(dict.fromkeys(decision.reason.rstrip(".") for decision in decisions if decision.reason))
    if reasons:
        one = "" if len(reasons) == 1 else f"with seed {members[0][0].seed} "
        said += f" ({one}{reasons[0]})"
    next_ones = {_next(cycle, result) for cycle, result in members}
    following = next_ones.pop() if len(next_ones) == 1 else ""
    return f"{said}{f'; {following}' if following else ''}."


def _next(cycle: ReportedCycle, rejected: RoundResult) -> str:
    """From where the next round starts; nothing where there is none."""
    after = next((other for other in cycle.results if other.round == rejected.round + 1), None)
    if after is None:
        return ""
    again = "" if after.stride in (None, rejected.stride) else f" with stride {after.stride}"
    return f"round {after.round} starts from round {start_of(cycle, after.round)}{again}"


def _nothing_removed(arm: str, cycles: Sequence[ReportedCycle]) -> str:
    """Comparisons that removed no block, by why."""
    why: dict[str, dict[int, None]] = {}
    for cycle in cycles:
        done = {result.round for result in cycle.results}
        for index, decision in cycle.decisions.items():
            if not decision.removed and index in done:
                why.setdefault(decision.reason.rstrip("."), {})[index] = None
    told = [f"{runs_of(rounds)}{f' ({reason})' if reason else ''}" for reason, rounds in why.items()]
    return f"{arm} removed no block in {listed(told)}." if told else ""


def _wanda(arm: str, cycles: Sequence[ReportedCycle], words: Wording) -> list[str]:
    """What pruning by Wanda costs before retraining and after it, against the model it pruned."""
    rounds: dict[int, dict[str, tuple[ReportedCycle, RoundResult, RoundResult]]] = {}
    for cycle in cycles:
        by_round = {result.round: result for result in cycle.results}
        for result in cycle.results:
            start = by_round.get(start_of(cycle, result.round))
            if method(cycle, result.round) == "wanda" and start is not None and result.value("before_test") is not None:
                rounds.setdefault(result.round, {})[result.key or cycle.id] = (cycle, start, result)
    found = []
    for index, told in sorted(rounds.items()):
        items = list(told.values())
        lost = [(cycle.seed, (result.value("before_test") or 0.0) - tested(start)) for cycle, start, result in items]
        steps = {step for cycle, _, _ in items if isinstance(step := pruning(cycle, index), Wanda)}
        shares = {f"{step.sparsity:g}" if step.pattern == "row" else step.pattern for step in steps}
        at = f" at {shares.pop()}" if len(shares) == 1 else ""
        difference = _difference(lost, "the model it pruned", words)
        said = f"{arm}: test {words.name} after Wanda{at} (round {index}) and before retraining {difference}"
        again = [(cycle.seed, tested(result) - tested(start)) for cycle, start, result in items if result.epochs > 0]
        if again:
            after = over_seeds(again)
            said += f", and retrained it is {words.points(after.mean)}{words.unit} against it"
        found.append(f"{said}.")
    return found


def _ends(cycles: Sequence[ReportedCycle]) -> list[_Pair]:
    """Of each cycle with a pruned round, the dense round and the last one that it accepted; equal ends once."""
    found: dict[str, _Pair] = {}
    for cycle in cycles:
        start = dense(cycle)
        pruned = any(result.round > 0 for result in cycle.results)
        end = max(cycle.standing, key=lambda result: result.round, default=None)
        if start is not None and end is not None and pruned and end.blocks is not None:
            found.setdefault(end.key or cycle.id, (cycle, start, end))
    return list(found.values())


def _difference(values: Sequence[tuple[int, float]], against: str, words: Wording) -> str:
    """`is 0.80 points above dense, mean of 3 seeds (95 % interval …, not corrected)`, of (seed, difference)."""
    found = over_seeds(values)
    if abs(found.mean) < UNSEEN:
        said = f"is that of {against} to {words.gap(2 * UNSEEN)}"
    else:
        said = f"is {words.gap(found.mean)} {'above' if found.mean > 0 else 'below'} {against}"
    if found.low is None or found.high is None:
        return f"{said} (one seed, so without an interval)"
    doubt = ", which includes 0" if found.low <= 0 <= found.high else ""
    return f"{said}, mean of {found.n} seeds ({words.interval(found.low, found.high)}{doubt}, not corrected)"


def _span(values: Iterable[int | None]) -> str:
    """`8`, `6 to 8`, `66.96 million`; empty where nothing is known."""
    known = sorted({_many(value) for value in values if value is not None}, key=lambda item: item[0])
    if not known:
        return ""
    return known[0][1] if len(known) == 1 else f"{known[0][1]} to {known[-1][1]}"


def _many(value: int) -> tuple[int, str]:
    return value, f"{value / _MILLION:.2f} million" if value >= _MILLION else f"{value:,}"
