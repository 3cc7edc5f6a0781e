"""The cycles of a sweep as a report sees them: their arms, their names, the final table."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lt_ray.cycle.identity import canonical
from lt_ray.cycle.names import TASK_KEY, arm_name
from lt_ray.cycle.results import BlockDecision, RoundResult, sparsest_on_test, standing, winning_round
from lt_ray.cycle.settings import Scalar

_ROUND_FIELDS = (
    "round", "sparsity", "remaining", "prunable", "test_accuracy", "test_loss", "val_accuracy", "val_loss",
    "train_accuracy", "train_loss", "epochs", "best_epoch", "restart_epoch", "parameters", "train_s", "eval_s",
    "redone_s", "source", "key",
)  # fmt: skip
_BLOCK_FIELDS = (
    "before_val_loss", "before_val_accuracy", "before_test_loss", "before_test_accuracy", "nonzero", "blocks",
    "frozen_blocks", "start_round", "stride", "accepted", "test_s", "latency_s", "latency_low_s", "latency_high_s",
)  # fmt: skip
"""Columns of the final table where models have blocks"""


@dataclass(frozen=True)
class ReportedCycle:
    """One cycle and its finished rounds."""

    id: str
    settings: Mapping[str, Scalar]
    """The searched fields, as this cycle has them"""
    seed: int
    state: str
    """finished, stopped, failed or unfinished"""
    results: tuple[RoundResult, ...]
    """In order"""
    params: Mapping[str, Scalar] = field(default_factory=dict)
    """Every field, by its dotted key (`Cycle.flat`)"""
    reason: str = ""
    """Why it was stopped or failed"""
    decisions: Mapping[int, BlockDecision] = field(default_factory=dict)
    """Round → how it came to its own blocks, for the rounds that compared blocks"""

    @property
    def standing(self) -> tuple[RoundResult, ...]:
        """Its rounds without those that were rejected: what it came to."""
        return tuple(standing(self.results))

    @property
    def finds_tickets(self) -> bool:
        """Whether it runs on the source task, for the sake of cycles that take its tickets over."""
        return TASK_KEY in self.settings


@dataclass(frozen=True)
class ReportedSweep:
    """One sweep as a report sees it, wherever it was read from."""

    name: str
    space: Mapping[str, Mapping[str, Any]]
    """Searched field → {kind, values, when}"""
    tolerance: float
    """Accuracy that a winning ticket may lose [0, 1]"""
    task: str
    """Name of the task that the sweep is about"""
    cycles: tuple[ReportedCycle, ...]
    """In the order of the plan"""
    environment: Mapping[str, str]
    """Versions and hardware of its last run; empty where not known"""
    data: Mapping[str, Scalar]
    """Sizes of the splits and number of classes; empty where not known"""


def reported_sweep(*, cycles: Sequence[ReportedCycle], data: Mapping[str, Scalar], **fields: Any) -> ReportedSweep:
    """Return a sweep in an order and a precision of time, milliseconds, that do not depend on where it was read."""
    ordered = sorted(cycles, key=lambda cycle: (canonical(dict(cycle.settings)), cycle.seed, cycle.id))
    return ReportedSweep(cycles=tuple(map(_to_the_millisecond, ordered)), data=dict(sorted(data.items())), **fields)


def _to_the_millisecond(cycle: ReportedCycle) -> ReportedCycle:
    results = [
        result.model_copy(update={"finished_at": int(result.finished_at * 1000) / 1000}) for result in cycle.results
    ]
    return replace(cycle, results=tuple(results))


def by_arm(cycles: Iterable[ReportedCycle], keys: Sequence[str], otherwise: str) -> dict[str, list[ReportedCycle]]:
    """Return arm → its cycles, by name.

    - `otherwise`: what the one arm is called where nothing is compared
    """
    arms: dict[str, list[ReportedCycle]] = {}
    for cycle in cycles:
        arms.setdefault(arm_name(cycle.settings, keys) or otherwise, []).append(cycle)
    return dict(sorted(arms.items()))


def final_table(arms: Mapping[str, Sequence[ReportedCycle]], tolerance: float) -> list[dict[str, Scalar]]:
    """Return one flat row for each cycle and round; `ticket` marks the winning one, `sparsest_on_test` the logs' one.

    - `tolerance`: accuracy that a winning ticket may lose [0, 1]
    """
    rows = []
    blocks = any(result.blocks is not None for cycles in arms.values() for cycle in cycles for result in cycle.results)
    names = (*_ROUND_FIELDS, *(_BLOCK_FIELDS if blocks else ()))
    for arm, cycles in arms.items():
        for cycle in cycles:
            winner, on_test = winning_round(cycle.standing, tolerance), sparsest_on_test(cycle.standing, tolerance)
            for result in cycle.results:
                fields = {name: getattr(result, name) for name in names}
                own: dict[str, Scalar] = {"arm": arm, "cycle": cycle.id, "seed": cycle.seed, **cycle.settings}
                told = {"ticket": result == winner, "sparsest_on_test": result == on_test, "state": cycle.state}
                rows.append(own | fields | told)
    return rows


def as_csv(rows: Sequence[Mapping[str, Scalar]]) -> str:
    """Return rows as CSV; a column that a row does not have is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


@dataclass(frozen=True)
class BestPoint:
    """A point of the search space that no other one beats."""

    settings: Mapping[str, Scalar]
    values: Sequence[float]
    """Of each objective, mean over seeds"""


def as_markdown(
    title: str,
    arms: Mapping[str, Sequence[ReportedCycle]],
    tolerance: float,
    objectives: Sequence[str] = (),
    best: Sequence[BestPoint] = (),
) -> str:
    """Return the mean test accuracy of each arm and round, the best points and the winning tickets, in Markdown."""
    rounds = sorted({result.round for cycles in arms.values() for cycle in cycles for result in cycle.results})
    lines = [f"## {title}", "", "Test accuracy, mean (cycles)", ""]
    lines += ["| round | sparsity | " + " | ".join(arms) + " |", "|--:|--:|" + "--:|" * len(arms)]
    for index in rounds:
        found = {
            arm: [result for cycle in cycles for result in cycle.results if result.round == index]
            for arm, cycles in arms.items()
        }
        sparsities = {f"{result.sparsity:.3f}" for results in found.values() for result in results}
        cells = [_cell([result.test_accuracy for result in results]) for results in found.values()]
        lines.append(f"| {index} | {sparsities.pop() if len(sparsities) == 1 else 'various'} | {' | '.join(cells)} |")
    if best:
        what = "Best point" if len(objectives) == 1 else "Pareto front"
        lines += ["", f"{what}: of validation results, mean over seeds", ""]
        lines += ["| " + " | ".join(objectives) + " | settings |", "|" + "--:|" * len(objectives) + ":--|"]
        for point in sorted(best, key=lambda point: tuple(point.values), reverse=True):
            cells = [f"{value:.4f}" for value in point.values]
            lines.append("| " + " | ".join([*cells, arm_name(point.settings) or "–"]) + " |")
    lines += ["", f"Winning tickets: the sparsest round whose validation accuracy ≥ its own dense − {tolerance:g}", ""]
    lines += ["| arm | seed | round | sparsity | test | dense | sparsest on test | cycle |"]
    lines += ["|:--|--:|--:|--:|--:|--:|--:|:--|"]
    for arm, cycles in arms.items():
        for cycle in cycles:
            winner, on_test = winning_round(cycle.standing, tolerance), sparsest_on_test(cycle.standing, tolerance)
            cells = ["–"] * 4
            if winner is not None:
                dense = cycle.results[0].test_accuracy
                cells = [f"{winner.round}", f"{winner.sparsity:.3f}", f"{winner.test_accuracy:.4f}", f"{dense:.4f}"]
            cells.append("–" if on_test is None else f"{on_test.round}")
            lines.append(f"| {arm} | {cycle.seed} | {' | '.join(cells)} | {cycle.id} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f} ({len(values)})" if values else "–"
