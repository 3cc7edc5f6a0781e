"""What a sweep came to: tables of arms, winning tickets, the best point."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence

from rich.markup import escape

from lt_ray.board.layout import figure
from lt_ray.board.tables import listing, many, some_of, table
from lt_ray.board.terminal import console
from lt_ray.cycle.names import arm_name
from lt_ray.cycle.results import RoundResult, not_above_chance, sparsest_on_test, standing, winning_round
from lt_ray.sweep.objective import sign
from lt_ray.sweep.outcome import Standing
from lt_ray.sweep.plan import Plan, PlannedCycle

_WINNERS = 10
_MODELS = 50
_ARMS = 20
_ARM_WIDTH, _CELL_WIDTH = 34, 12
"""Of the results' columns [cells]"""

Results = Mapping[str, Sequence[RoundResult]]
"""Cycle id → its finished rounds in order"""


def show_results(plan: Plan, results: Results) -> None:
    """Print the table of arms × rounds, or of models with blocks that of arms, and the winning tickets; nothing where
    no round is finished."""
    if not any(results.values()):
        return
    if any(result.blocks is not None for rounds in results.values() for result in rounds):
        _show_models(plan, results)
    else:
        results = _with_shared(plan, results)
        _show_rounds(plan, results)
    if any(result.round for rounds in results.values() for result in rounds):
        _show_winners(plan, results)


def _show_rounds(plan: Plan, results: Results) -> None:
    arms: dict[str, list[PlannedCycle]] = {}
    for planned in plan.cycles:
        arms.setdefault(arm_name(planned.settings) or plan.sweep.name, []).append(planned)
    rounds = max(planned.rounds[-1].index for planned in plan.cycles)
    room = console.width - min(_ARM_WIDTH, max(map(len, arms)))
    indices = some_of(rounds, most=max(2, min(9, room // _CELL_WIDTH)))
    shown = table("<arm", *(f"r{index}\n{_sparsity(_of_round(plan.cycles, results, index))}" for index in indices))
    for arm, members in sorted(arms.items())[:_ARMS]:
        shown.add_row(escape(arm), *(_mean_test(_of_round(members, results, index)) for index in indices))
    label = plan.sweep.cycle.metric.label
    console.print(f"[italic]Test {label}, {plan.sweep.name}, mean over seeds (n)[/]")
    console.print(shown)
    if len(indices) <= rounds:
        hidden = ", ".join(f"r{index}" for index in range(rounds + 1) if index not in indices)
        console.print(f"[bright_black]  not shown for want of width: {hidden}[/]")
    if len(arms) > _ARMS:
        console.print(f"  … and {len(arms) - _ARMS} more (lt-ray status)")


def _with_shared(plan: Plan, results: Results) -> Results:
    """The results, each cycle's continued by finished rounds that it shares and has not reached yet."""
    finished = {result.key: result for rounds in results.values() for result in rounds}
    continued: dict[str, list[RoundResult]] = {}
    for planned in plan.cycles:
        by_key = {result.key: result for result in results.get(planned.id, ())}
        keys = itertools.takewhile(finished.__contains__, (round.key for round in planned.rounds))
        continued[planned.id] = [by_key.get(key) or finished[key] for key in keys]
    return continued


def _of_round(cycles: Iterable[PlannedCycle], results: Results, index: int) -> list[RoundResult]:
    rounds = [result for planned in cycles for result in results.get(planned.id, ())]
    return [result for result in rounds if result.round == index]


def _sparsity(results: Iterable[RoundResult]) -> str:
    values = {f"{result.sparsity:.3f}" for result in results}
    return values.pop() if len(values) == 1 else "various" if values else ""


def _mean_test(results: Sequence[RoundResult]) -> str:
    values = [value for result in results if (value := result.value("test")) is not None]
    return f"{statistics.fmean(values):.4f} ({len(values)})" if values else "–"


def _show_models(plan: Plan, results: Results) -> None:
    """Print what each arm of models with blocks came to: blocks, parameters, before and after retraining."""
    arms: dict[str, list[tuple[RoundResult, RoundResult]]] = {}
    for planned in plan.cycles:
        rounds = results.get(planned.id, ())
        if rounds:
            name = arm_name(planned.settings) or plan.sweep.name
            arms.setdefault(name, []).append((standing(rounds)[-1], rounds[0]))
    share = plan.sweep.cycle.metric.unit == "[0, 1]"
    difference = "± dense [points]" if share else "± dense"
    shown = table("<arm", "blocks", "frozen", "parameters", "nonzero", "before", "test", difference, "n")
    dense = list({start.key: start for members in arms.values() for _, start in members}.values())
    shown.add_row("[italic]dense[/]", *_model(dense), "–", str(len(dense)), end_section=True)
    for name, members in sorted(arms.items())[:_MODELS]:
        gained = statistics.fmean((end.value("test") or 0) - (start.value("test") or 0) for end, start in members)
        points = f"{100 * gained:+.2f}" if share else f"{gained:+.4f}"
        ends = [end for end, _ in members]
        shown.add_row(escape(name), *_model(ends), points.replace("-", "−"), str(len(ends)))
    label = plan.sweep.cycle.metric.label
    console.print(
        f"[italic]Test {label} (before: as pruned, where it was retrained), {plan.sweep.name}, mean over seeds (n)[/]"
    )
    console.print(shown)
    if len(arms) > _MODELS:
        console.print(f"  … and {len(arms) - _MODELS} more (lt-ray report)")


def _model(ends: Sequence[RoundResult]) -> list[str]:
    """One arm's counts, and its test values before and after retraining."""
    before = [value for end in ends if end.epochs and (value := end.value("before_test")) is not None]
    after = [value for end in ends if (value := end.value("test")) is not None]
    counts = ([getattr(end, field) for end in ends] for field in ("blocks", "frozen_blocks", "parameters", "nonzero"))
    return [
        *map(_mean_count, counts),
        *(f"{statistics.fmean(values):.4f}" if values else "–" for values in (before, after)),
    ]


def _mean_count(counts: Sequence[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return f"{statistics.fmean(known):,.4g}" if known and len(set(known)) > 1 else f"{known[0]:,}" if known else "–"


def _show_winners(plan: Plan, results: Results) -> None:
    tolerance, metric = plan.sweep.tolerance, plan.sweep.cycle.metric
    winners, chance = [], []
    for planned in plan.cycles:
        rounds = results.get(planned.id, ())
        if rounds and (reason := not_above_chance(rounds[0] if rounds[0].round == 0 else None)):
            chance.append((reason, planned))
        winner = winning_round(rounds, tolerance)
        if winner is not None:
            winners.append((winner, rounds[0], planned, sparsest_on_test(rounds, tolerance)))
    bound = f"≥ own dense − {tolerance:g}" if metric.best == "highest" else f"≤ own dense + {tolerance:g}"
    console.print(
        f"[bold]Winning tickets[/]: {len(winners)} of {many(len(plan.cycles), 'cycle')} "
        f"(sparsest round with validation {bound})"
    )
    winners.sort(key=lambda item: (-item[0].sparsity, -item[0].score("test")))
    lines = listing("  round", "sparsity", "test", "dense", "sparsest on test", "<cycle")
    for winner, dense, planned, on_test in winners[:_WINNERS]:
        lines.add_row(
            str(winner.round),
            f"{winner.sparsity:.3f}",
            figure(winner, "test"),
            figure(dense, "test"),
            "–" if on_test is None else str(on_test.round),
            escape(planned.name),
        )
    if winners:
        console.print(lines)
    if len(winners) > _WINNERS:
        console.print(f"  … and {len(winners) - _WINNERS} more (lt-ray status)")
    for reason, planned in chance[:1]:
        console.print(f"  no ticket with {escape(planned.name)}: {reason}")
    if len(chance) > 1:
        console.print(f"  … nor with {len(chance) - 1} more whose dense models are not above chance (lt-ray report)")


def show_best(plan: Plan, best: Sequence[Standing], stopped: Mapping[str, str]) -> None:
    """Print the best point by the sweep's objective, or the Pareto front of several.

    - `stopped`: cycles that a rule ended early
    """
    objectives = plan.sweep.objectives
    if plan.points < 2:
        return
    if not best:
        if stopped:
            seeds = "its cycle" if plan.sweep.seeds == 1 else f"all {plan.sweep.seeds} seeds"
            console.print(f"[bold]Best point[/]: of no point {seeds} ran to the last round")
        return
    shown = listing(*(f"  {name}" for name in objectives), "<point")
    scored = sorted(
        ((point.told.values, point) for point in best if point.told), key=lambda pair: pair[0], reverse=True
    )
    for scores, point in scored[:_WINNERS]:
        values = [sign(name) * score for name, score in zip(objectives, scores, strict=True)]
        words = arm_name(point.cycles[0].settings) or plan.sweep.name
        shown.add_row(*(f"{value:.4f}" for value in values), escape(words))
    what = "Best point" if len(objectives) == 1 else f"Pareto front, {many(len(best), 'point')}"
    metric = plan.sweep.cycle.metric
    last = f"validation {metric.label} at the last round"
    how = last if objectives == (f"val_{metric.name}",) else "of validation results"
    console.print(f"[bold]{what}[/] ({how}, mean over seeds)")
    console.print(shown)
    if len(best) > _WINNERS:
        console.print(f"  … and {len(best) - _WINNERS} more")
