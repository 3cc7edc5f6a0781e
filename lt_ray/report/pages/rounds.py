"""The final table of a sweep: a row for each cycle and round."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from lt_ray.cycle.results import sparsest_on_test, winning_round
from lt_ray.cycle.settings import Scalar
from lt_ray.report.reading.rows import ReportedCycle


def rounds_csv(arms: Mapping[str, Sequence[ReportedCycle]], tolerance: float) -> str:
    """Return one flat row for each cycle and round as CSV; a column that a row does not have is empty.

    `ticket` marks the winning one, `sparsest_on_test` the one that the research logs would call so; metrics that
    decide nothing come last.

    - `tolerance`: what a winning ticket may lose
    """
    blocks = any(result.blocks is not None for cycles in arms.values() for cycle in cycles for result in cycle.results)
    told = [row for arm, cycles in arms.items() for cycle in cycles for row in _rows(arm, cycle, tolerance, blocks)]
    columns = dict.fromkeys(name for kind in (0, 1) for both in told for name in both[kind])
    file = io.StringIO()
    writer = csv.DictWriter(file, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | further for row, further in told)
    return file.getvalue()


def _rows(
    arm: str, cycle: ReportedCycle, tolerance: float, blocks: bool
) -> Iterator[tuple[dict[str, Scalar], dict[str, float]]]:
    """Each round's row, and its further metrics."""
    winner, on_test = winning_round(cycle.results, tolerance), sparsest_on_test(cycle.results, tolerance)
    own: dict[str, Scalar] = {"arm": arm, "cycle": cycle.id, "seed": cycle.seed, **cycle.settings}
    for result in cycle.results:
        names = _names(result.metric, blocks)
        told = {"ticket": result == winner, "sparsest_on_test": result == on_test, "state": cycle.state}
        further = {name: value for name, value in result.measured.items() if name not in names}
        yield own | {name: getattr(result, name, None) for name in names} | told, further


def _names(metric: str, blocks: bool) -> tuple[str, ...]:
    """The fields of a round that are columns, those of blocks where models have some."""
    measured = [f"{split}_{what}" for split in ("test", "val", "train") for what in (metric, "loss")]
    before = [f"before_{split}_{what}" for split in ("val", "test") for what in ("loss", metric)]
    return (
        "round", "sparsity", "remaining", "prunable", *measured, "epochs", "best_epoch", "restart_epoch", "parameters",
        "train_s", "eval_s", "redone_s", "source", "key",
        *((*before, "nonzero", "blocks", "frozen_blocks", "start_round", "stride", "accepted", "test_s", "latency_s",
           "latency_low_s", "latency_high_s") if blocks else ()),
    )  # fmt: skip
