"""The spool: lines on disk in the order in which they were written, and how many of them were delivered.

    <folder>/target          the tracking URI that was used last, without its password
    <folder>/<digest>.jsonl  lines for one URI
    <folder>/<digest>.done   length of what was delivered of them [bytes]

Nothing is synced to the disk: what a crash of the machine takes was recorded from rounds, and those are in the store.
A process that is killed loses nothing that was written. One process writes a spool at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lt_ray.tracking.target import Target


class Line(NamedTuple):
    """One line, without its end."""

    text: str
    end: int
    """Length of the spool up to and with it [bytes]"""


class Spool:
    """The lines for one tracking URI; any method may raise OSError.

    - `folder`: made with the first line
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self._folder = folder
        self._lines = folder / f"{target.digest}.jsonl"
        self._done = folder / f"{target.digest}.done"
        self._target = target.shown

    def begin(self) -> None:
        """Get ready to append: drop a torn last line, and all lines where all were delivered."""
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(self._folder / "target", self._target)
        whole = self._whole()
        if self.delivered >= whole:
            self.acknowledge(0)  # before the lines go: a kill in between sends some again, and skips none
            whole = 0
        with self._lines.open("ab") as file:
            file.truncate(whole)

    def append(self, text: str) -> None:
        """Add a line."""
        assert "\n" not in text
        with self._lines.open("ab", buffering=0) as file:
            file.write(text.encode() + b"\n")

    def pending(self) -> Iterator[Line]:
        """Yield the whole lines that were not delivered yet."""
        end = self.delivered
        try:
            with self._lines.open("rb") as file:
                file.seek(end)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    end += len(line)
                    yield Line(line[:-1].decode(errors="replace"), end)
        except FileNotFoundError:
            return

    @property
    def delivered(self) -> int:
        """Length of what was delivered [bytes]."""
        try:
            return int(self._done.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def acknowledge(self, end: int) -> None:
        """Note that all lines up to `end` were delivered."""
        _write(self._done, str(end))

    def _whole(self) -> int:
        """Length of the lines without a torn last one [bytes]."""
        try:
            with self._lines.open("rb") as file:
                at = file.seek(0, os.SEEK_END)
                while at:
                    start = max(0, at - 65536)
                    file.seek(start)
                    found = file.read(at - start).rfind(b"\n")
                    if found >= 0:
                        return start + found + 1
                    at = start
        except FileNotFoundError:
            pass
        return 0


def last_target(folder: Path) -> str | None:
    """Return the tracking URI that was used last with a folder's spools, or None."""
    try:
        return (folder / "target").read_text()
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
