"""What a sweep prints."""

from __future__ import annotations

import itertools
import shlex
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from lt_ray.board.terminal import console
from lt_ray.cycle.cycle import folded
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.names import arm_name
from lt_ray.cycle.prunings import Magnitude, Pruning, Similarity, Wanda
from lt_ray.cycle.results import RoundResult, not_above_chance, sparsest_on_test, standing, winning_round
from lt_ray.sweep.objective import sign
from lt_ray.sweep.outcome import Standing
from lt_ray.sweep.sweep import Plan, PlannedCycle

_WINNERS = 10
_MODELS = 50
_ARMS = 20
_ARM_WIDTH, _CELL_WIDTH = 34, 12
"""Of the results' columns [cells]"""

Results = Mapping[str, Sequence[RoundResult]]
"""Cycle id → its finished rounds in order"""


def new_table() -> Table:
    """Return an empty table in the one style of all; its title is printed apart, or it would wrap at its width."""
    return Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def show_plan(plan: Plan, *, keep: str, concurrent: str, stored: int) -> None:
    """Print what a sweep would do."""
    table = new_table()
    table.add_column("cycle", style="cyan", no_wrap=True)
    table.add_column("settings", min_width=14)
    table.add_column("seed", justify="right")
    table.add_column("rounds", justify="right")
    table.add_column("shared", justify="right")
    encoder = isinstance(plan.sweep.cycle.model, Encoder)
    table.add_column("parameters, predicted" if encoder else "remaining weights, predicted", justify="right")
    uses = [round.key for planned in plan.cycles for round in planned.rounds]
    for planned in plan.cycles:
        shared = sum(uses.count(round.key) > 1 for round in planned.rounds)
        table.add_row(
            planned.id,
            arm_name(planned.settings) or "—",
            str(planned.cycle.seed),
            str(len(planned.rounds)),
            str(shared),
            _kept(planned) if encoder else _remaining(planned),
        )
    console.print(f"[italic]{plan.sweep.name}: {_many(len(plan.cycles), 'cycle')}[/]")
    console.print(table)
    if plan.block_parameters is not None and any("similarity" in folded(p.cycle.schedule) for p in plan.cycles):
        console.print(
            f"Which blocks are alike shows when they are compared; each that goes takes {plan.block_parameters:,} "
            "parameters with it."
        )
    saved = plan.rounds - len(plan.keys)
    console.print(
        f"{_many(plan.points, 'point')} × {_many(plan.sweep.seeds, 'seed')} → {_many(len(plan.cycles), 'cycle')}; "
        f"{plan.rounds} rounds, {saved} of them shared, {stored} in the store: "
        f"[bold]{len(plan.keys) - stored} to compute[/]"
    )
    console.print(
        f"parameters {plan.parameters:,} · store {_megabytes(plan.disk_bytes(keep))} at the end (--keep {keep}) · "
        f"{concurrent}"
    )


def plan_tree(plan: Plan, *, keep: str) -> dict[str, object]:
    """Return the plan as a tree of plain values, for `--plan --json`."""
    return {
        "sweep": plan.sweep.name,
        "cycles": [
            {
                "cycle": planned.id,
                "settings": dict(planned.settings),
                "seed": planned.cycle.seed,
                "rounds": [
                    {
                        "round": r.index,
                        "key": r.key,
                        **vars(expected),
                    }
                    for r, expected in zip(planned.rounds, planned.forecast, strict=True)
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


def show_results(plan: Plan, results: Results) -> None:
    """Print the table of arms × rounds and the winning tickets; nothing where no round is finished."""
    if not any(results.values()):
        return
    if isinstance(plan.sweep.cycle.model, Encoder):
        _show_models(plan, results)
        return
    arms: dict[str, list[PlannedCycle]] = {}
    for planned in plan.cycles:
        arms.setdefault(arm_name(planned.settings) or plan.sweep.name, []).append(planned)
    rounds = max(planned.rounds[-1].index for planned in plan.cycles)
    room = console.width - min(_ARM_WIDTH, max(map(len, arms)))
    shown = _columns(rounds, most=max(2, min(9, room // _CELL_WIDTH)))
    results = _with_shared(plan, results)
    table = new_table()
    table.add_column("arm", min_width=16)
    for index in shown:
        table.add_column(f"r{index}\n{_sparsity(plan, results, index)}", justify="right", no_wrap=True)
    for arm, members in sorted(arms.items())[:_ARMS]:
        table.add_row(arm, *(_cell(members, results, index) for index in shown))
    console.print(f"[italic]Test accuracy, {plan.sweep.name}, mean over seeds (n)[/]")
    console.print(table)
    if len(shown) <= rounds:
        hidden = ", ".join(f"r{index}" for index in range(rounds + 1) if index not in shown)
        console.print(f"[bright_black]  not shown for want of width: {hidden}[/]")
    if len(arms) > _ARMS:
        console.print(f"  … and {len(arms) - _ARMS} more (lt-ray status)")
    if any(result.round for mine in results.values() for result in mine):
        _show_winners(plan, results)


def _show_models(plan: Plan, results: Results) -> None:
    """Print what each arm of encoders came to: blocks, parameters, accuracy before and after retraining."""
    arms: dict[str, list[tuple[RoundResult, RoundResult]]] = {}
    for planned in plan.cycles:
        mine = results.get(planned.id, ())
        if mine:
            name = arm_name(planned.settings) or plan.sweep.name
            arms.setdefault(name, []).append((standing(mine)[-1], mine[0]))
    table = new_table()
    table.add_column("arm", min_width=16)
    for heading in ("blocks", "frozen", "parameters", "nonzero", "before", "test", "± dense [points]"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    dense = list({start.key: start for members in arms.values() for _, start in members}.values())
    table.add_row("[italic]dense[/]", *_model(dense, dense), end_section=True)
    for name, members in sorted(arms.items())[:_MODELS]:
        ends = [end for end, _ in members]
        table.add_row(escape(name), *_model(ends, [start for _, start in members]))
    console.print(
        f"[italic]Test accuracy (before: as pruned, where it was retrained), {plan.sweep.name}, mean over seeds (n)[/]"
    )
    console.print(table)
    if len(arms) > _MODELS:
        console.print(f"  … and {len(arms) - _MODELS} more (lt-ray report)")
    _show_winners(plan, results)


def _model(ends: Sequence[RoundResult], starts: Sequence[RoundResult]) -> list[str]:
    """One arm's figures; accuracies as shares, the difference in points."""
    lost = statistics.fmean(e.test_accuracy - s.test_accuracy for e, s in zip(ends, starts, strict=True))
    before = [end.before_test_accuracy for end in ends if end.before_test_accuracy is not None and end.epochs]
    return [
        _mean([end.blocks for end in ends]),
        _mean([end.frozen_blocks for end in ends]),
        _mean([end.parameters for end in ends]),
        _mean([end.nonzero for end in ends]),
        f"{statistics.fmean(before):.4f}" if before else "–",
        f"{statistics.fmean(end.test_accuracy for end in ends):.4f}",
        "–" if ends is starts else f"{100 * lost:+.2f}".replace("-", "−"),
        str(len(ends)),
    ]


def _mean(counts: Sequence[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return f"{statistics.fmean(known):,.4g}" if known and len(set(known)) > 1 else f"{known[0]:,}" if known else "–"


def _show_winners(plan: Plan, results: Results) -> None:
    winners, chance = [], []
    for planned in plan.cycles:
        mine = results.get(planned.id, ())
        if mine and (reason := not_above_chance(mine[0] if mine[0].round == 0 else None)):
            chance.append((reason, planned))
        winner = winning_round(mine, plan.sweep.tolerance)
        if winner is not None:
            winners.append((winner, mine[0], planned, sparsest_on_test(mine, plan.sweep.tolerance)))
    console.print(
        f"[bold]Winning tickets[/]: {len(winners)} of {_many(len(plan.cycles), 'cycle')} "
        f"(sparsest round with validation ≥ own dense − {plan.sweep.tolerance:g})"
    )
    winners.sort(key=lambda item: (-item[0].sparsity, -item[0].test_accuracy))
    lines = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    for heading in ("  round", "sparsity", "test", "dense", "sparsest on test"):
        lines.add_column(heading, justify="right", no_wrap=True)
    lines.add_column("cycle")
    for winner, dense, planned, on_test in winners[:_WINNERS]:
        lines.add_row(
            str(winner.round),
            f"{winner.sparsity:.3f}",
            f"{winner.test_accuracy:.4f}",
            f"{dense.test_accuracy:.4f}",
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
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    for name in objectives:
        shown.add_column(f"  {name}", justify="right", no_wrap=True)
    shown.add_column("point")
    for found in sorted(best, key=lambda item: item.told.values if item.told else (), reverse=True)[:_WINNERS]:
        assert found.told is not None
        words = arm_name(found.cycles[0].settings) or plan.sweep.name
        values = [sign(name) * score for name, score in zip(objectives, found.told.values, strict=True)]
        shown.add_row(*(f"{value:.4f}" for value in values), escape(words))
    what = "Best point" if len(objectives) == 1 else f"Pareto front, {_many(len(best), 'point')}"
    how = "validation accuracy at the last round" if objectives == ("val_accuracy",) else "of validation results"
    console.print(f"[bold]{what}[/] ({how}, mean over seeds)")
    console.print(shown)
    if len(best) > _WINNERS:
        console.print(f"  … and {len(best) - _WINNERS} more")


def show_epochs(asked: int, trained: int, stopped: Mapping[str, str]) -> None:
    """Print what shared rounds, early stopping and rules saved.

    - `asked`: of all planned rounds, `trained`: in the store [epochs]
    - `stopped`: cycle → the rule that ended it early
    """
    rules = Counter(reason.partition(":")[0] for reason in stopped.values())
    named = ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items()))
    ended = f"; {_many(len(stopped), 'cycle')} ended early ({named})" if stopped else ""
    saved = f" ({1 - trained / asked:.0%} saved)" if asked else ""
    console.print(f"Epochs: {asked:,} asked, {trained:,} trained{saved}{ended}.")


def show_end(
    *,
    computed: int,
    reused: int,
    seconds: float,
    failures: Mapping[str, str],
    interrupted: bool,
    resume: str,
    status: str,
    report: Path,
    mlflow: str | None,
    sync: str | None = None,
    unrecorded: str = "",
    left: Mapping[str, str] | None = None,
    why: str = "",
) -> None:
    """Print the bill, the failures and the commands that lead on."""
    if computed or interrupted:
        console.print(f"Computed {_many(computed, 'round')}, found {reused} in the store, in {_duration(seconds)}.")
    elif failures:
        console.print(
            f"Computed nothing: {_many(reused, 'round')} in the store, {_many(len(failures), 'cycle')} failed."
        )
    else:
        console.print(f"Nothing to compute: all {_many(reused, 'round')} were in the store.")
    if interrupted:
        end = "Stopped" if why else "Unfinished" if left else "Interrupted"
        kept = "what is finished is kept; the same command goes on from there."
        console.print(f"[bold yellow]{end}[/]: {f'{escape(why)}; ' if why else ''}{kept}", soft_wrap=True)
    for cycle, reason in (left or {}).items():
        console.print(f"[bold yellow]left[/]   {cycle}: {escape(reason)}", soft_wrap=True)
    for cycle, reason in failures.items():
        console.print(f"[bold red]failed[/] {cycle}: {escape(reason)}")
    if failures:
        console.print(f"retry   {escape(resume)} --retry-errored", soft_wrap=True)
    console.print(f"resume  {escape(resume)}", soft_wrap=True)
    console.print(f"status  {escape(status)}", soft_wrap=True)
    if report.exists():
        console.print(f"report  {escape(str(report))}", soft_wrap=True)
    if mlflow:
        console.print(f"mlflow  {escape(mlflow)}", soft_wrap=True)
    if sync:
        console.print(f"sync    {escape(sync)}    [yellow]MLflow was not told everything[/]", soft_wrap=True)
        if unrecorded:
            console.print(f"        [yellow]{escape(unrecorded)}[/]", soft_wrap=True)


def command_line(argv: Sequence[str]) -> str:
    """Return the command that was given, as one would type it again; `--fresh` is left out, or it would start over."""
    script = Path(argv[0])
    shown = ["lt-ray"] if script.name == "lt-ray" else ["python", str(script)]
    return shlex.join([*shown, *(word for word in argv[1:] if word not in ("--fresh", "--retry-errored"))])


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _columns(rounds: int, most: int = 9) -> list[int]:
    """Rounds that fit a table: all, or about evenly spread ones with the first and the last."""
    if rounds < most:
        return list(range(rounds + 1))
    return sorted({round(i * rounds / (most - 1)) for i in range(most)})


def _remaining(planned: PlannedCycle) -> str:
    counts = [expected.remaining for expected in planned.forecast]
    if all(count is None for count in counts[1:]) and len(counts) > 1:
        return "depends on the weights"
    return _chained([_count(count) for count in counts])


def _kept(planned: PlannedCycle) -> str:
    """An encoder's parameters and, where they are fewer, nonzero ones, round by round."""
    shown = []
    for pruning, expected in zip((None, *planned.cycle.schedule), planned.forecast, strict=True):
        if isinstance(pruning, Similarity):
            shown.append("fewer blocks")
        elif expected.nonzero is None:
            shown.append(_removes(pruning))
        elif expected.nonzero == expected.parameters:
            shown.append(_count(expected.parameters))
        else:
            shown.append(f"{_count(expected.nonzero)} nonzero")
    return _chained(shown)


def _removes(pruning: Pruning | None) -> str:
    """What a pruning does to a model that is not known yet."""
    if isinstance(pruning, Wanda):
        n, m = pruning.kept_of or (0, 0)
        return f"{1 - n / m if m else pruning.sparsity:.0%} zeros"
    return f"{pruning.fraction:.0%} fewer" if isinstance(pruning, Magnitude) else "?"


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _chained(words: Sequence[str]) -> str:
    shown = _columns(len(words) - 1, most=5)
    gaps = ["", *(" → " if b == a + 1 else " → … → " for a, b in itertools.pairwise(shown))]
    return "".join(f"{gap}{words[index]}" for gap, index in zip(gaps, shown, strict=True))


def _with_shared(plan: Plan, results: Results) -> Results:
    """The results, each cycle's continued by finished rounds that it shares and has not reached yet."""
    finished = {result.key: result for mine in results.values() for result in mine}
    continued: dict[str, list[RoundResult]] = {}
    for planned in plan.cycles:
        own = {result.key: result for result in results.get(planned.id, ())}
        keys = itertools.takewhile(finished.__contains__, (round.key for round in planned.rounds))
        continued[planned.id] = [own.get(key) or finished[key] for key in keys]
    return continued


def _of_round(results: Iterable[RoundResult], index: int) -> RoundResult | None:
    return next((result for result in results if result.round == index), None)


def _sparsity(plan: Plan, results: Results, index: int) -> str:
    found = [_of_round(results.get(planned.id, ()), index) for planned in plan.cycles]
    values = {f"{result.sparsity:.3f}" for result in found if result is not None}
    return values.pop() if len(values) == 1 else ("" if not values else "various")


def _cell(members: Iterable[PlannedCycle], results: Results, index: int) -> str:
    found = [_of_round(results.get(planned.id, ()), index) for planned in members]
    values = [result.test_accuracy for result in found if result is not None]
    if not values:
        return "–"
    return f"{statistics.fmean(values):.4f} ({len(values)})"
