"""Tables of the console: one style for all, and how numbers stand in them."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

_WORDS_LEAST = 16
"""What numbers leave of a column of words [cells]"""


def table(*headings: str, lines: bool = True) -> Table:
    """Return an empty table; its title is printed apart, or it would wrap at its width.

    - `headings`: of its columns; `<` before one stands for words, which are to the left and may wrap, else come numbers
    - `lines`: False for a few rows below a sentence
    """
    framed = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    bare = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    made = framed if lines else bare
    for heading in headings:
        if heading.startswith("<"):
            made.add_column(escape(heading[1:]), min_width=_WORDS_LEAST if lines else None)
        else:
            made.add_column(escape(heading), justify="right", no_wrap=True)
    return made


def fits(table: Table, console: Console) -> bool:
    """Return whether a table's columns of numbers can stand side by side, its words wrapped."""
    unbounded = console.options.update(max_width=10_000)
    return Measurement.get(console, unbounded, table).minimum <= console.width


def some_of(rounds: int, most: int = 9) -> list[int]:
    """Return the rounds that fit a line: all, or about evenly spread ones with the first and the last.

    - `rounds`: the last one; `most`: of those returned, at least 2 [count]
    """
    if rounds < most:
        return list(range(rounds + 1))
    return sorted({round(i * rounds / (most - 1)) for i in range(most)})
