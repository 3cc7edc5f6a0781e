"""What a sweep says at its end: the bill, the failures, and the commands that lead on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from lt_ray.board.results import reported, show_best, show_results
from lt_ray.board.terminal import console
from lt_ray.report.findings.bill import bills, duration, total
from lt_ray.report.findings.words import numbered
from lt_ray.sweep.outcome import Outcome


def show_outcome(outcome: Outcome, *, resume: str, status: str, sync: str, mlflow: str | None) -> None:
    """Print what a sweep came to, the bill, the failures, and the commands that lead on.

    - `resume`, `status`, `sync`: commands; `mlflow`: the one that shows the record, None where there is none
    """
    show_results(outcome.plan, outcome.results)
    show_best(outcome.plan, outcome.best, outcome.stopped)
    _show_bill(outcome)
    if outcome.interrupted:
        end = "Stopped" if outcome.why else "Unfinished" if outcome.left else "Interrupted"
        kept = "what is finished is kept; the same command goes on from there."
        _say(f"[bold yellow]{end}[/]: {f'{escape(outcome.why)}; ' if outcome.why else ''}{kept}")
    for cycle, reason in outcome.left.items():
        _say(f"[bold yellow]left[/]   {cycle}: {escape(reason)}")
    for cycle, reason in outcome.failures.items():
        console.print(f"[bold red]failed[/] {cycle}: {escape(reason)}")
    if outcome.failures:
        _say(f"retry   {escape(resume)} --retry-errored")
    _say(f"resume  {escape(resume)}")
    _say(f"status  {escape(status)}")
    if outcome.report is not None:
        _say(f"report  {escape(str(outcome.report / 'report.html'))}")
    if mlflow:
        _say(f"mlflow  {escape(mlflow)}")
    if outcome.unrecorded is not None:
        _say(f"sync    {escape(sync)}    [yellow]MLflow was not told everything[/]")
        if outcome.unrecorded:
            _say(f"        [yellow]{escape(outcome.unrecorded)}[/]")


def _show_bill(outcome: Outcome) -> None:
    """Print what shared rounds, early stopping and rules saved, and what was computed."""
    if not outcome.interrupted:
        rules = Counter(reason.partition(":")[0] for reason in outcome.stopped.values())
        named = ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items()))
        ended = f"; {numbered(len(outcome.stopped), 'cycle')} ended early ({named})" if rules else ""
        cycles = reported(outcome.plan, outcome.results).cycles
        whole = total(bills(cycles, {cycle.id: "all" for cycle in cycles}).values())
        saved = f" ({1 - whole.computed / whole.asked:.0%} saved)" if whole.asked else ""
        console.print(f"Epochs: {whole.asked:,} asked, {whole.computed:,} trained{saved}{ended}.")
    stored = numbered(outcome.reused, "round")
    if outcome.computed or outcome.interrupted:
        computed = numbered(outcome.computed, "round")
        console.print(f"Computed {computed}, found {outcome.reused} in the store, in {duration(outcome.seconds)}.")
    elif outcome.failures:
        console.print(f"Computed nothing: {stored} in the store, {numbered(len(outcome.failures), 'cycle')} failed.")
    else:
        console.print(f"Nothing to compute: all {stored} were in the store.")


def command_line(argv: Sequence[str]) -> str:
    """Return the command that was given, as one would type it again; `--fresh` is left out, or it would start over."""
    script = Path(argv[0])
    shown = ["lt-ray"] if script.name == "lt-ray" else ["python", str(script)]
    return shlex.join([*shown, *(word for word in argv[1:] if word not in ("--fresh", "--retry-errored"))])


def _say(markup: str) -> None:
    """Print a line that can be copied, however long it is."""
    console.print(markup, soft_wrap=True)
