"""What a sweep cost: epochs asked, computed, shared and saved; seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from lt_ray.cycle.prunings import Restarting
from lt_ray.cycle.results import RoundResult
from lt_ray.report.reading.rows import ReportedCycle
from lt_ray.report.reading.schedule import pruning


@dataclass
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
    began: float | None = None
    """When the first round began [Unix s]; None where none has finished"""
    finished: float | None = None
    """When the last round ended [Unix s]"""

    @property
    def span_s(self) -> float | None:
        """From the first round's beginning to the last one's end, pauses among it [s]; None without a round."""
        return self.finished - self.began if self.finished is not None and self.began is not None else None


def bills(cycles: Iterable[ReportedCycle], arm_of: Mapping[str, str]) -> dict[str, Bill]:
    """Return arm → its bill.

    A round that several cycles have is billed to the one that computed it, or to the first where none of these did.

    - `arm_of`: cycle id → arm, in the order of the arms
    """
    everything = list(cycles)
    owner: dict[str, str] = {}
    for source in ("computed", "reused"):
        for cycle in everything:
            for result in cycle.results:
                if result.source == source:
                    owner.setdefault(_key(result), cycle.id)
    found = {arm: Bill() for arm in dict.fromkeys(arm_of.values())}
    for cycle in everything:
        _add(found[arm_of[cycle.id]], cycle, owner)
    return found


def total(found: Sequence[Bill]) -> Bill:
    """Return the sum of bills."""
    whole = Bill()
    for bill in found:
        for item in fields(Bill):
            if item.name not in ("began", "finished"):
                setattr(whole, item.name, getattr(whole, item.name) + getattr(bill, item.name))
    whole.began = min((bill.began for bill in found if bill.began is not None), default=None)
    whole.finished = max((bill.finished for bill in found if bill.finished is not None), default=None)
    return whole


def _add(bill: Bill, cycle: ReportedCycle, owner: Mapping[str, str]) -> None:
    bill.cycles += 1
    for result in cycle.results:
        budget = _budget(cycle, result.round)
        bill.asked += max(budget, result.epochs)
        bill.early += max(budget - result.epochs, 0)
        if owner[_key(result)] == cycle.id:
            _computed(bill, result)
        else:
            bill.shared_rounds += 1
            bill.shared += result.epochs
            bill.shared_s += result.train_s + result.eval_s
    there = {result.round for result in cycle.results}
    left = sum(_budget(cycle, index) for index in cycle.cycle.trained_rounds if index not in there)
    bill.asked += left
    if cycle.state == "stopped":
        bill.ended += left
    elif cycle.state == "failed":
        bill.failed += left
    else:
        bill.open += left


def _computed(bill: Bill, result: RoundResult) -> None:
    bill.rounds += 1
    bill.computed += result.epochs
    bill.train_s += result.train_s
    bill.eval_s += result.eval_s
    bill.redone_s += result.redone_s
    began = result.finished_at - result.train_s - result.eval_s
    bill.began = began if bill.began is None else min(bill.began, began)
    bill.finished = result.finished_at if bill.finished is None else max(bill.finished, result.finished_at)


def _key(result: RoundResult) -> str:
    return result.key or f"{result.cycle} {result.round}"


def _budget(cycle: ReportedCycle, index: int) -> int:
    """Most epochs of a round: its pruning's own, and fewer where retraining resumes at the epoch that was restored."""
    own, epochs = pruning(cycle, index), cycle.cycle.epochs_in(index)
    if isinstance(own, Restarting) and own.rewinds and own.rewind_budget == "resume":
        return epochs - int(own.rewind_epoch)
    return epochs
