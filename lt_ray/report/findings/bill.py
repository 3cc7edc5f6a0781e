"""What a sweep cost: epochs asked, computed, shared and saved; seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import add
from typing import Any

from lt_ray.cycle.prunings import Restarting
from lt_ray.cycle.results import RoundResult
from lt_ray.report.findings.words import numbered
from lt_ray.report.reading.rows import ReportedCycle


@dataclass(frozen=True)
class Bill:
    """What some cycles asked for, and what became of it.

    `asked` = `computed` + `shared` + `early` + `ended` + `failed` + `open`.
    """

    cycles: int = 0
    """Planned cycles [count]"""
    rounds: int = 0
    """Rounds computed [count]"""
    shared_rounds: int = 0
    """Rounds that another cycle computed [count]"""
    asked: int = 0
    """Epochs of all planned rounds, had each been trained alone and to its last epoch [epochs]"""
    computed: int = 0
    """Epochs trained [epochs]"""
    shared: int = 0
    """Epochs of shared rounds, trained once [epochs]"""
    early: int = 0
    """Epochs that finished rounds left out, by early stopping or since nothing was removed [epochs]"""
    ended: int = 0
    """Epochs of rounds that a rule left out [epochs]"""
    failed: int = 0
    """Epochs of rounds after a failure [epochs]"""
    open: int = 0
    """Epochs of rounds still to come [epochs]"""
    train_s: float = 0.0
    """Seconds spent training [s]"""
    eval_s: float = 0.0
    """Seconds spent measuring [s]"""
    redone_s: float = 0.0
    """Seconds of work that kills and other interruptions lost, and that were spent again [s]"""
    shared_s: float = 0.0
    """Seconds that shared rounds would have taken again [s]"""
    spans: tuple[tuple[float, float], ...] = ()
    """When each computed round began and ended [Unix s]"""

    @property
    def span_s(self) -> float | None:
        """From the first round's beginning to the last one's end, pauses among it [s]; None without a round."""
        return max(map(max, self.spans)) - min(map(min, self.spans)) if self.spans else None


def bills(cycles: Sequence[ReportedCycle], arm_of: Mapping[str, str]) -> dict[str, Bill]:
    """Return arm → its bill.

    A round that several cycles have is billed to the one that computed it, or to the first where none of these did.

    - `arm_of`: cycle id → arm, in the order of the arms
    """
    owner: dict[str, str] = {}
    for source in ("computed", "reused"):
        for cycle in cycles:
            for result in cycle.results:
                if result.source == source:
                    owner.setdefault(_key(result), cycle.id)
    parts: dict[str, list[Bill]] = {arm: [] for arm in arm_of.values()}
    for cycle in cycles:
        parts[arm_of[cycle.id]] += _of_cycle(cycle, owner)
    return {arm: total(own) for arm, own in parts.items()}


def total(found: Iterable[Bill]) -> Bill:
    """Return the sum of bills."""
    parts, names = [Bill(), *found], [item.name for item in fields(Bill)]
    sums: dict[str, Any] = {name: reduce(add, (getattr(part, name) for part in parts)) for name in names}
    return Bill(**sums)


def sentence(whole: Bill) -> str:
    """Return the sentence on what all cycles together cost."""
    spent = f"{numbered(whole.rounds, 'round')} computed in {duration(whole.train_s)} of training and "
    spent += f"{duration(whole.eval_s)} of evaluation"
    spent += f", and {duration(whole.redone_s)} lost to interruptions and done again" if whole.redone_s >= 1 else ""
    if not whole.asked:
        return f"Cost: {spent}."
    why = (
        (whole.shared, "came from shared rounds"),
        (whole.early, "were saved by early stopping, or where nothing was removed"),
        (whole.ended, "were left out when a rule ended cycles"),
        (whole.failed, "were lost to failures"),
        (whole.open, "are still to come"),
    )
    parts = ", ".join(f"{number:,} {what}" for number, what in why if number)
    trained = f"{whole.computed:,} were trained ({100 * whole.computed / whole.asked:.0f} %)"
    return f"Cost: {spent}; of {whole.asked:,} epochs asked {trained}{f': {parts}' if parts else ''}."


def duration(seconds: float) -> str:
    """Return a duration as a sentence says it: `45 s`, `44 min`, `3.7 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _of_cycle(cycle: ReportedCycle, owner: Mapping[str, str]) -> list[Bill]:
    """The bills of a cycle's rounds that have not finished, together, and of each that has."""
    left = sum(_budget(cycle, index) for index in cycle.cycle.trained_rounds if index not in cycle.by_round)
    why: dict[str, Any] = {{"stopped": "ended", "failed": "failed"}.get(cycle.state, "open"): left}
    return [
        Bill(cycles=1, asked=left, **why),
        *(_of_round(r, _budget(cycle, r.round), owner[_key(r)] == cycle.id) for r in cycle.results),
    ]


def _of_round(result: RoundResult, budget: int, computed: bool) -> Bill:
    seconds = result.train_s + result.eval_s
    bill = Bill(asked=max(budget, result.epochs), early=max(budget - result.epochs, 0))
    if not computed:
        return replace(bill, shared_rounds=1, shared=result.epochs, shared_s=seconds)
    return replace(
        bill,
        rounds=1,
        computed=result.epochs,
        train_s=result.train_s,
        eval_s=result.eval_s,
        redone_s=result.redone_s,
        spans=((result.finished_at - seconds, result.finished_at),),
    )


def _key(result: RoundResult) -> str:
    return result.key or f"{result.cycle} {result.round}"


def _budget(cycle: ReportedCycle, index: int) -> int:
    """Most epochs of a round: its pruning's own, and fewer where retraining goes on from a later one than the first."""
    pruning, epochs = cycle.pruning(index), cycle.cycle.epochs_in(index)
    if isinstance(pruning, Restarting) and pruning.restart == "rewind" and pruning.rewind_budget == "resume":
        epochs -= int(pruning.rewind_epoch)
    return epochs
