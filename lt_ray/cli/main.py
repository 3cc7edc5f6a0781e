"""One command line for every sweep script, and `lt-ray plan | run | status | report | export | sync`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import typer
from rich.markup import escape

from lt_ray.board import terminal
from lt_ray.cli.commands import app as app
from lt_ray.cli.guard import guarded
from lt_ray.cli.options import Options, Script, command
from lt_ray.cycle.cycle import Cycle
from lt_ray.driver.interruption import INTERRUPTED, Interruption
from lt_ray.errors import InputError


def main(
    *,
    name: str,
    cycle: Cycle,
    space: Path | None = None,
    samples: int = 1,
    seeds: int = 1,
    tolerance: float = 0.005,
    summary: str = "",
    argv: Sequence[str] | None = None,
) -> None:
    """Be the command line of a sweep script; ends the process with 0, 1, 2 or 75.

    - `name`: the sweep's; `cycle`: what its cycles have in common; `space`: its search-space file
    - `samples`, `seeds`, `tolerance`: defaults of the options of these names
    - `summary`: the script's docstring, shown by `--help`
    - `argv`: words after the script's name; None = the process's own
    """
    script = Script(name, cycle, space, samples, seeds, tolerance)
    typed = typer.Typer(add_completion=False, rich_markup_mode=None)
    typed.command(help=summary)(command(script, guarded(partial(_interruptible, script))))
    typed(args=list(argv) if argv is not None else None)


def _interruptible(script: Script, options: Options) -> int:
    """Run a sweep; an interruption before its first trial ends with a message and 75, too."""
    with Interruption() as interruption:
        try:
            if options.json and not options.plan:
                raise InputError(
                    "`--json` prints the plan, but `--plan` is not there: add it, or see `lt-ray status --json`"
                )
            with terminal.doing("loading torch"), interruption.postponed():
                from lt_ray.cli import sweep_command
            code = sweep_command.run(script, options, interruption)
        except KeyboardInterrupt:
            from lt_ray.board.ending import command_line
            from lt_ray.tracking.target import without_password

            terminal.console.print("[bold yellow]Interrupted[/]: what is finished is kept; the same command goes on.")
            terminal.console.print(f"resume  {escape(without_password(command_line(sys.argv)))}", soft_wrap=True)
            code = INTERRUPTED
        if interruption.came or interruption.leaves:
            interruption.leave(code)
    return code
