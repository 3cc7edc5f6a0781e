"""What a sweep would do, as `--plan` prints it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from rich.markup import escape

from lt_ray.board.tables import some_of, table
from lt_ray.board.terminal import console
from lt_ray.cycle.names import arm_name
from lt_ray.report.findings.words import numbered
from lt_ray.store.storage import Keep
from lt_ray.sweep.plan import Plan, PlannedCycle


def show_plan(plan: Plan, *, keep: Keep, concurrent: str, stored: int) -> None:
    """Print what a sweep would do.

    - `keep`: which trained weights stay; `concurrent`: what a trial takes and how many run at once, in a few words
    - `stored`: rounds that the store has [count]
    """
    has_blocks = plan.sweep.cycle.model.has_blocks
    predicted = "parameters, predicted" if has_blocks else "remaining weights, predicted"
    shown = table("cycle", "<settings", "seed", "rounds", "shared", predicted)
    uses = Counter(round.key for planned in plan.cycles for round in planned.rounds)
    for planned in plan.cycles:
        shown.add_row(
            f"[cyan]{planned.id}[/]",
            escape(arm_name(planned.settings)) or "—",
            str(planned.cycle.seed),
            str(len(planned.rounds)),
            str(sum(uses[round.key] > 1 for round in planned.rounds)),
            _kept(planned) if has_blocks else _remaining(planned),
        )
    console.print(f"[italic]{plan.sweep.name}: {numbered(len(plan.cycles), 'cycle')}[/]")
    console.print(shown)
    if plan.block_parameters is not None and any(
        p.removes_blocks for planned in plan.cycles for p in planned.cycle.schedule
    ):
        console.print(
            f"Which blocks are alike shows when they are compared; each that goes takes {plan.block_parameters:,} "
            "parameters with it."
        )
    console.print(
        f"{numbered(plan.points, 'point')} × {numbered(plan.sweep.seeds, 'seed')} → "
        f"{numbered(len(plan.cycles), 'cycle')}; "
        f"{plan.rounds} rounds, {plan.rounds - len(plan.keys)} of them shared, {stored} in the store: "
        f"[bold]{len(plan.keys) - stored} to compute[/]"
    )
    console.print(
        f"parameters {plan.parameters:,} · store {plan.disk_bytes(keep) / 2**20:,.1f} MiB at the end (--keep {keep}) · "
        f"{concurrent}"
    )


def plan_tree(plan: Plan, *, keep: Keep) -> dict[str, object]:
    """Return the plan as a tree of plain values, for `--plan --json`."""
    return {
        "sweep": plan.sweep.name,
        "cycles": [
            {
                "cycle": planned.id,
                "settings": dict(planned.settings),
                "seed": planned.cycle.seed,
                "rounds": [
                    {"round": round.index, "key": round.key}
                    | {name: getattr(expected, name) for name in ("remaining", "parameters", "nonzero")}
                    for round, expected in zip(planned.rounds, planned.forecast, strict=True)
                ],
            }
            for planned in plan.cycles
        ],
        "points": plan.points,
        "seeds": plan.sweep.seeds,
        "rounds": plan.rounds,
        "distinct_rounds": len(plan.keys),
        "parameters": plan.parameters,
        "disk_bytes": plan.disk_bytes(keep),
        "keep": keep,
    }


def _remaining(planned: PlannedCycle) -> str:
    counts = [expected.remaining for expected in planned.forecast]
    if all(count is None for count in counts[1:]) and len(counts) > 1:
        return "depends on the weights"
    return _chained([_count(count) for count in counts])


def _kept(planned: PlannedCycle) -> str:
    """The parameters of a model with blocks and, where they are fewer, nonzero ones, round by round."""
    shown = []
    for pruning, expected in zip((None, *planned.cycle.schedule), planned.forecast, strict=True):
        if pruning is not None and (pruning.removes_blocks or expected.nonzero is None):
            shown.append(pruning.effect)
        elif expected.nonzero == expected.parameters:
            shown.append(_count(expected.parameters))
        else:
            shown.append(f"{_count(expected.nonzero)} nonzero")
    return _chained(shown)


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _chained(words: Sequence[str]) -> str:
    shown = some_of(len(words) - 1, most=5)
    gaps = ["", *(" → " if b == a + 1 else " → … → " for a, b in itertools.pairwise(shown))]
    return "".join(f"{gap}{words[index]}" for gap, index in zip(gaps, shown, strict=True))
