"""What a sweep says at its end: the bill, the failures, and the commands that lead on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape

from lt_ray.board.tables import many
from lt_ray.board.terminal import console


def show_epochs(asked: int, trained: int, stopped: Mapping[str, str]) -> None:
    """Print what shared rounds, early stopping and rules saved.

    - `asked`: of all planned rounds, `trained`: in the store [epochs]
    - `stopped`: cycle → the rule that ended it early
    """
    rules = Counter(reason.partition(":")[0] for reason in stopped.values())
    named = ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items()))
    ended = f"; {many(len(stopped), 'cycle')} ended early ({named})" if stopped else ""
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
        console.print(f"Computed {many(computed, 'round')}, found {reused} in the store, in {_duration(seconds)}.")
    elif failures:
        console.print(f"Computed nothing: {many(reused, 'round')} in the store, {many(len(failures), 'cycle')} failed.")
    else:
        console.print(f"Nothing to compute: all {many(reused, 'round')} were in the store.")
    if interrupted:
        end = "Stopped" if why else "Unfinished" if left else "Interrupted"
        kept = "what is finished is kept; the same command goes on from there."
        _say(f"[bold yellow]{end}[/]: {f'{escape(why)}; ' if why else ''}{kept}")
    for cycle, reason in (left or {}).items():
        _say(f"[bold yellow]left[/]   {cycle}: {escape(reason)}")
    for cycle, reason in failures.items():
        console.print(f"[bold red]failed[/] {cycle}: {escape(reason)}")
    if failures:
        _say(f"retry   {escape(resume)} --retry-errored")
    _say(f"resume  {escape(resume)}")
    _say(f"status  {escape(status)}")
    if report.exists():
        _say(f"report  {escape(str(report))}")
    if mlflow:
        _say(f"mlflow  {escape(mlflow)}")
    if sync:
        _say(f"sync    {escape(sync)}    [yellow]MLflow was not told everything[/]")
        if unrecorded:
            _say(f"        [yellow]{escape(unrecorded)}[/]")


def command_line(argv: Sequence[str]) -> str:
    """Return the command that was given, as one would type it again; `--fresh` is left out, or it would start over."""
    script = Path(argv[0])
    shown = ["lt-ray"] if script.name == "lt-ray" else ["python", str(script)]
    return shlex.join([*shown, *(word for word in argv[1:] if word not in ("--fresh", "--retry-errored"))])


def _say(markup: str) -> None:
    """Print a line that can be copied, however long it is."""
    console.print(markup, soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
