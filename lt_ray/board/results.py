"""What a sweep came to: tables of arms, winning tickets, the best point."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from lt_ray.board.layout import figure
from lt_ray.board.tables import listing, many, some_of, table
from lt_ray.board.terminal import console
from lt_ray.cycle.names import arm_names
from lt_ray.cycle.results import RoundResult, accepted_rounds, not_above_chance, sparsest_on_test, winning_round
from lt_ray.sweep.objective import sign
from lt_ray.sweep.outcome import PlannedPoint
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
    rounds = [result for each in results.values() for result in each]
    if not rounds:
        return
    if any(result.blocks is not None for result in rounds):
        _show_models(plan, results)
    else:
        _show_rounds(plan, _with_shared(plan, results))
    if any(result.round for result in rounds):
        _show_winners(plan, results)


def _show_rounds(plan: Plan, results: Results) -> None:
    arms = _by_arm(plan, plan.cycles)
    last = max(planned.rounds[-1].index for planned in plan.cycles)
    room = console.width - min(_ARM_WIDTH, max(map(len, arms)))
    indices = some_of(last, most=max(2, min(9, room // _CELL_WIDTH)))
    shown = table("<arm", *(f"r{index}\n{_sparsity(_of_round(plan.cycles, results, index))}" for index in indices))
    for arm, members in list(arms.items())[:_ARMS]:
        cells = (_values(_of_round(members, results, index), "test") for index in indices)
        shown.add_row(escape(arm), *(f"{_mean(values)} ({len(values)})" if values else "–" for values in cells))
    _show(f"[italic]Test {plan.sweep.cycle.metric.label}, {plan.sweep.name}, mean over seeds (n)[/]", shown)
    hidden = ", ".join(f"r{index}" for index in range(last + 1) if index not in indices)
    if hidden:
        console.print(f"[bright_black]  not shown for want of width: {hidden}[/]")
    _show_rest(len(arms), _ARMS, "lt-ray status")


def _by_arm(plan: Plan, cycles: Sequence[PlannedCycle]) -> dict[str, list[PlannedCycle]]:
    arms: dict[str, list[PlannedCycle]] = {}
    for name, planned in zip(arm_names(planned.settings for planned in cycles), cycles, strict=True):
        arms.setdefault(name or plan.sweep.name, []).append(planned)
    return dict(sorted(arms.items()))


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
    return [result for planned in cycles for result in results.get(planned.id, ()) if result.round == index]


def _sparsity(results: Iterable[RoundResult]) -> str:
    values = {f"{result.sparsity:.3f}" for result in results}
    return values.pop() if len(values) == 1 else "various" if values else ""


def _show_models(plan: Plan, results: Results) -> None:
    """Print what each arm of models with blocks came to: blocks, parameters, before and after retraining."""
    metric = plan.sweep.cycle.metric
    share = metric.unit == "[0, 1]"
    difference = "± dense [points]" if share else "± dense"
    shown = table("<arm", "blocks", "frozen", "parameters", "nonzero", "before", "test", difference, "n")
    arms = _by_arm(plan, [planned for planned in plan.cycles if results.get(planned.id)])
    dense = list({rounds[0].key: rounds[0] for rounds in results.values() if rounds}.values())
    shown.add_row("[italic]dense[/]", *_model(dense), "–", str(len(dense)), end_section=True)
    for arm, members in list(arms.items())[:_MODELS]:
        ends = [accepted_rounds(results[planned.id])[-1] for planned in members]
        starts = [results[planned.id][0] for planned in members]
        gained = statistics.fmean(
            (end.value("test") or 0) - (start.value("test") or 0) for end, start in zip(ends, starts, strict=True)
        )
        points = f"{100 * gained:+.2f}" if share else f"{gained:+.4f}"
        shown.add_row(escape(arm), *_model(ends), points.replace("-", "−"), str(len(ends)))
    title = f"Test {metric.label} (before: as pruned, where it was retrained), {plan.sweep.name}, mean over seeds (n)"
    _show(f"[italic]{title}[/]", shown)
    _show_rest(len(arms), _MODELS, "lt-ray report")


def _model(ends: Sequence[RoundResult]) -> list[str]:
    """One arm's counts, and its test values before and after retraining."""
    counts = ([getattr(end, field) for end in ends] for field in ("blocks", "frozen_blocks", "parameters", "nonzero"))
    before = _values([end for end in ends if end.epochs], "before_test")
    return [*map(_mean_count, counts), _mean(before), _mean(_values(ends, "test"))]


def _values(results: Iterable[RoundResult], split: str) -> list[float]:
    return [value for result in results if (value := result.value(split)) is not None]


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f}" if values else "–"


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
    winners.sort(key=lambda item: (-item[0].sparsity, -item[0].score("test")))
    shown = listing("  round", "sparsity", "test", "dense", "sparsest on test", "<cycle")
    for winner, dense, planned, on_test in winners[:_WINNERS]:
        values = (f"{winner.sparsity:.3f}", figure(winner, "test"), figure(dense, "test"))
        shown.add_row(str(winner.round), *values, str(on_test.round) if on_test else "–", escape(planned.name))
    bound = f"≥ own dense − {tolerance:g}" if metric.best == "highest" else f"≤ own dense + {tolerance:g}"
    count = f"{len(winners)} of {many(len(plan.cycles), 'cycle')}"
    _show(f"[bold]Winning tickets[/]: {count} (sparsest round with validation {bound})", shown)
    _show_rest(len(winners), _WINNERS, "lt-ray status")
    for reason, planned in chance[:1]:
        console.print(f"  no ticket with {escape(planned.name)}: {reason}")
    if len(chance) > 1:
        console.print(f"  … nor with {len(chance) - 1} more whose dense models are not above chance (lt-ray report)")


def show_best(plan: Plan, best: Sequence[PlannedPoint], stopped: Mapping[str, str]) -> None:
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
    names = arm_names(point.cycles[0].settings for point in best)
    scored = [(point.result.values, name) for point, name in zip(best, names, strict=True) if point.result]
    for scores, name in sorted(scored, key=lambda pair: pair[0], reverse=True)[:_WINNERS]:
        values = [sign(objective) * score for objective, score in zip(objectives, scores, strict=True)]
        shown.add_row(*(f"{value:.4f}" for value in values), escape(name or plan.sweep.name))
    metric = plan.sweep.cycle.metric
    what = "Best point" if len(objectives) == 1 else f"Pareto front, {many(len(best), 'point')}"
    last = f"validation {metric.label} at the last round"
    how = last if objectives == (f"val_{metric.name}",) else "of validation results"
    _show(f"[bold]{what}[/] ({how}, mean over seeds)", shown)
    _show_rest(len(best), _WINNERS)


def _show(title: str, shown: Table) -> None:
    console.print(title)
    if shown.row_count:
        console.print(shown)


def _show_rest(count: int, shown: int, command: str = "") -> None:
    """Print how many rows were left out, and which command shows them."""
    if count > shown:
        console.print(f"  … and {count - shown} more" + (f" ({command})" if command else ""))
