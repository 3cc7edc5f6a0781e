"""SIGTERM and SIGINT: the first one ends a sweep gracefully, a second one at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from lt_ray.board import terminal

INTERRUPTED = 75
"""Exit code EX_TEMPFAIL: the same command goes on"""
END_TRIALS = signal.SIGUSR1
"""Sent to this process, it makes Tune end all trials and return"""


class Interruption:
    """Whether a signal has asked this process to end; a context manager that listens for them.

    Unless it is `noted` or `postponed`, the first signal raises `KeyboardInterrupt` in the main thread.
    """

    def __init__(self) -> None:
        self.came = False
        """A first signal came"""
        self.leaves = False
        """What is left of a library cannot end in order: the process must be left (`leave`) when all is said"""
        self._raises = True
        self._then: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what getsignal returned
        self._before.clear()

    def listen(self) -> None:
        """Listen (again): Ray takes SIGTERM for itself when it starts. A job that ignores SIGINT goes on doing so."""
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:
                signal.signal(number, self._signalled)

    @contextlib.contextmanager
    def noted(self, then: signal.Signals | None = None) -> Iterator[None]:
        """Within, a first signal is only noted: where an exception from nowhere would be swallowed or break something.

        A library that takes SIGTERM for itself and ends the process is understood as well.

        - `then`: a signal to which a library listens, passed on to it where it does
        """
        self._raises, self._then = False, then
        try:
            yield
        except SystemExit:
            self.came = True
        finally:
            self._raises, self._then = True, None
            self.listen()

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Within, a first signal is noted; `KeyboardInterrupt` is raised at the end."""
        with self.noted():
            yield
        if self.came:
            raise KeyboardInterrupt

    def leave(self, code: int) -> NoReturn:
        """End the process with all its work done: Ray, interrupted while it starts, aborts in its last moments."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            # Nothing is lost: what is finished is whole on disk. Whatever hangs, hangs no longer.
            terminal.say_at_once("Ended at once; the same command goes on.")
            os._exit(INTERRUPTED)
        self.came = True
        terminal.say_at_once("stopping; again ends at once")
        if self._raises:
            raise KeyboardInterrupt
        if self._then is not None and callable(signal.getsignal(self._then)):
            signal.raise_signal(self._then)
