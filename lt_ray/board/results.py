"""What a sweep came to, by the findings of its report: tables of arms, winning tickets, the best point."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from lt_ray.board.face import figure
from lt_ray.board.tables import fits, some_of, table
from lt_ray.board.terminal import console
from lt_ray.cycle.names import cycle_name
from lt_ray.cycle.results import RoundResult, not_above_chance, sparsest_on_test
from lt_ray.report.findings.block_tables import dense_models, model_cells
from lt_ray.report.findings.compare import Group, at_rounds, curve, groups
from lt_ray.report.findings.document import Cell
from lt_ray.report.findings.headline import best_points
from lt_ray.report.findings.words import Wording, numbered
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep
from lt_ray.sweep.plan import Plan
from lt_ray.sweep.search import AskedPoint

_WINNERS = 10
_MODELS = 50
_SPARE = ("frozen", "nonzero", "before", "parameters")
"""Columns of models that go, in this order, where a terminal is narrow"""
_ARMS = 20
_ARM_WIDTH, _CELL_WIDTH = 34, 12
"""Of the results' columns [cells]"""

Results = Mapping[str, Sequence[RoundResult]]
"""Cycle id → its finished rounds in order"""


def show_results(plan: Plan, results: Results) -> None:
    """Print the table of arms × rounds, or where blocks are pruned that of models, and the winning tickets; nothing
    where no round is finished."""
    for group in groups(reported(plan, results)):
        if not any(cycle.results for cycle in group.cycles):
            continue
        if group.has_blocks:
            _show_models(group)
        else:
            _show_rounds(group)
        if any(cycle.has_pruned for cycle in group.cycles):
            _show_winners(group)


def reported(plan: Plan, results: Results) -> ReportedSweep:
    """Return the sweep, each cycle's rounds continued by finished ones that it shares and has not reached yet."""
    finished = {result.key: result for rounds in results.values() for result in rounds}
    cycles = []
    for planned in plan.cycles:
        own = {result.key: result for result in results.get(planned.id, ())}
        keys = itertools.takewhile(finished.__contains__, planned.keys)
        rounds = tuple(own.get(key) or finished[key] for key in keys)
        cycles.append(ReportedCycle(planned.id, planned.cycle, planned.settings, "", rounds))
    sweep = plan.sweep
    space = {key: distribution.model_dump() for key, distribution in sweep.space.distributions.items()}
    return ReportedSweep(sweep.name, space, sweep.tolerance, sweep.cycle.task.name, tuple(cycles), {}, {})


def _show_rounds(group: Group) -> None:
    lines = [curve(arm, cycles) for arm, cycles in group.arms.items()]
    last = max(cycle.cycle.rounds for cycle in group.cycles)
    room = console.width - min(_ARM_WIDTH, max(len(line.arm) for line in lines))
    indices = some_of(last, most=max(2, min(9, room // _CELL_WIDTH)))
    sparsities = [{f"{p.x:.3f}" for line in lines for p in line.points if p.round == index} for index in indices]
    heads = ["various" if len(values) > 1 else "".join(values) for values in sparsities]
    shown = table("<arm", *(f"r{index}\n{head}" for index, head in zip(indices, heads, strict=True)))
    for line in lines[:_ARMS]:
        cells = {point.round: f"{point.mean:.4f} ({len(point.members)})" for point in line.points}
        shown.add_row(escape(line.arm), *(cells.get(index, "–") for index in indices))
    _show(f"[italic]Test {group.words.name}, {group.sweep.name}{group.where}, mean over seeds (n)[/]", shown)
    _show_hidden([f"r{index}" for index in range(last + 1) if index not in indices])
    _show_rest(len(lines), _ARMS, "lt-ray report")


def _show_models(group: Group) -> None:
    """Print what each arm came to, its last accepted round: blocks, parameters, before and after retraining."""
    words = group.words
    dense, pruned = [], []
    for model in dense_models(group):
        cycles = [cycle for arm in model.arms for cycle in group.arms[arm]]
        cells = _model(model_cells("", 0, cycles, model.results, words), words)
        dense.append((f"[italic]{escape(model.name)}[/]", cells))
    for arm, cycles in list(group.arms.items())[:_MODELS]:
        if rounds := at_rounds(cycles, accepted=True):
            last = max(rounds)
            pruned.append((escape(arm), _model(model_cells(arm, last, cycles, rounds[last], words), words)))
    for hidden in range(len(_SPARE) + 1):
        columns = [name for name in dense[0][1] if name not in _SPARE[:hidden]]
        shown = table("<arm", *columns)
        for part in (dense, pruned):
            for name, cells in part:
                shown.add_row(name, *(cells[column] for column in columns))
            shown.add_section()
        if fits(shown, console):
            break
    title = f"Test {words.name} (before: as pruned, where it was retrained), {group.sweep.name}{group.where}"
    _show(f"[italic]{title}, mean over seeds (n)[/]", shown)
    _show_hidden(_SPARE[:hidden])
    _show_rest(len(group.arms), _MODELS, "lt-ray report")


def _model(cells: Mapping[str, Cell], words: Wording) -> dict[str, str]:
    """Heading → cell of a row of models."""
    before, after = cells["before"], cells["after"]
    if after is None:
        before, after = None, before
    return {
        **{name: _shown(cells[name], ",") for name in ("blocks", "frozen", "parameters", "nonzero")},
        "before": _shown(before, ".4f"),
        "test": _shown(after, ".4f"),
        f"± dense\n{words.head.strip()}": _shown(cells["difference"], f"+.{words.digits}f").replace("-", "−"),
        "n": _shown(cells["n"], ""),
    }


def _shown(cell: Cell, form: str) -> str:
    return "–" if cell is None else format(cell, form)


def _show_winners(group: Group) -> None:
    tolerance, words = group.sweep.tolerance, group.words
    winners = [(winner, cycle) for cycle in group.cycles if (winner := group.winner(cycle)) is not None]
    winners.sort(key=lambda pair: (-pair[0].sparsity, -pair[0].score("test")))
    shown = table("  round", "sparsity", "test", "dense", "sparsest on test", "<cycle", lines=False)
    for winner, cycle in winners[:_WINNERS]:
        on_test = sparsest_on_test(cycle.results, tolerance)
        values = (f"{winner.sparsity:.3f}", figure(winner, "test"), figure(cycle.dense, "test"))
        shown.add_row(str(winner.round), *values, str(on_test.round) if on_test else "–", escape(_name(cycle)))
    rule = f"sparsest round with validation {words.at_least} {words.bound('own dense', tolerance)}"
    count = f"{len(winners)} of {numbered(len(group.cycles), 'cycle')}"
    _show(f"[bold]Winning tickets[/]{group.where}: {count} ({rule})", shown)
    _show_rest(len(winners), _WINNERS, "lt-ray report")
    chance = [cycle for cycle in group.cycles if not_above_chance(cycle.dense)]
    for cycle in chance[:1]:
        console.print(f"  no ticket with {escape(_name(cycle))}: {not_above_chance(cycle.dense)}")
    if len(chance) > 1:
        console.print(f"  … nor with {len(chance) - 1} more whose dense models are not above chance (lt-ray report)")


def _name(cycle: ReportedCycle) -> str:
    return cycle_name(cycle.settings, cycle.seed)


def show_best(plan: Plan, best: Sequence[AskedPoint], stopped: Mapping[str, str]) -> None:
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
    found = best_points(objectives, [(p.cycles[0].settings, p.result.values) for p in best if p.result])
    shown = table(*(f"  {name}" for name in objectives), "<point", lines=False)
    for *values, name in found.rows[:_WINNERS]:
        shown.add_row(*(_shown(value, ".4f") for value in values), escape(str(name or plan.sweep.name)))
    metric = plan.sweep.cycle.metric
    what = found.title if len(objectives) == 1 else f"{found.title}, {numbered(len(best), 'point')}"
    last = f"validation {metric.label} at the last round"
    how = last if objectives == (f"val_{metric.name}",) else "of validation results"
    _show(f"[bold]{what}[/] ({how}, mean over seeds)", shown)
    _show_rest(len(best), _WINNERS)


def _show(title: str, shown: Table) -> None:
    console.print(title)
    if shown.row_count:
        console.print(shown)


def _show_hidden(columns: Sequence[str]) -> None:
    if columns:
        console.print(f"[bright_black]  not shown for want of width: {', '.join(columns)}[/]")


def _show_rest(count: int, shown: int, command: str = "") -> None:
    """Print how many rows were left out, and which command shows them."""
    if count > shown:
        console.print(f"  … and {count - shown} more" + (f" ({command})" if command else ""))
