"""The two consoles, and what is said on them beside results; imports nothing heavy, so that it can speak at once."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner

_PIPED_WIDTH = 120
_REFRESH_PER_S = 2.0

console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(message: str) -> None:
    """Print one error."""
    _say(f"[bold red]error:[/] {escape(message)}")


def show_warning(message: str) -> None:
    """Print one warning."""
    _say(f"[bold yellow]warning:[/] {escape(message)}")


def is_live() -> bool:
    """Return whether output goes to a terminal on which lines can be drawn again; FORCE_COLOR makes no pipe one."""
    return console.is_terminal and console.file.isatty() and not console.is_dumb_terminal


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Say in a terminal what takes a while, until it is done; silent elsewhere."""
    if not is_live():
        yield
        return
    spinner = Spinner("dots", f"{escape(what)} …", style="cyan")
    # A library's own progress bar on stderr rewrites its line, which no redirection can follow.
    with Live(spinner, console=console, refresh_per_second=8, transient=True, redirect_stderr=False):
        yield


def live(renderable: object) -> Live:
    """Return a display that stays at the bottom of the terminal and is gone afterwards; what is printed goes above."""
    return Live(
        renderable,  # type: ignore[arg-type] # anything with __rich_console__
        console=console,
        refresh_per_second=_REFRESH_PER_S,
        transient=True,
        redirect_stderr=errors.is_terminal,
    )


def say_at_once(line: str) -> None:
    """Write a line whatever else is being written: from a signal's handler, or before the process is left."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = errors.file.fileno()
        os.write(descriptor, f"{chr(10) if os.isatty(descriptor) else ''}{line}{chr(10)}".encode())


@contextlib.contextmanager
def errors_to(descriptor: int | None) -> Iterator[None]:
    """Within, errors and warnings go to this descriptor wherever stderr goes; None = where stderr goes now."""
    stream = errors.file if descriptor is None else os.fdopen(os.dup(descriptor), "w", buffering=1, errors="replace")
    errors.file = stream
    try:
        yield
    finally:
        errors._file = None  # again whatever sys.stderr is, which rich has no other way to say
        if descriptor is not None:
            stream.close()


def _say(markup: str) -> None:
    """On stderr; where both are one terminal, by way of the console that knows where the live display is."""
    if is_live() and errors.is_terminal:
        console.print(markup, soft_wrap=True)
    else:
        errors.print(markup)
