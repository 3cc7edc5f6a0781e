"""A sweep in MLflow while it runs: one parent run a sweep, one nested run a cycle; recording twice changes nothing."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from lt_ray.tracking.events import Event, Opened, Reported
from lt_ray.tracking.runs import Runs
from lt_ray.tracking.server import cause, is_refusal, prepare, quiet, unanswered
from lt_ray.tracking.target import Target

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_PAUSE_CLOSING_S = 1.0, 30.0, 1.0
_REPORT_TRIES = 3
"""A few: its files may go to a store that is dead while the server lives [count]"""
_KEPT = "the sweep goes on; its record is delivered once MLflow takes it, by the same command or by `lt-ray sync`"


class Tracker:
    """Records one sweep in MLflow, from a thread of its own; no call blocks or raises because of MLflow.

    What was not delivered when the process ends, or is killed, is not lost: it was made of what the sweep's directory
    keeps, from which the next run of the sweep, or `lt-ray sync`, tells it again.

    - `parent`: the sweep's own run. A parameter that is already recorded keeps its first value.
    - `warn`: takes one line, from the thread: at most once about a server that does not answer, and once about a
      record that it refused.
    - `tries`: how often an event is sent before a server that does not answer is given up; None = until `close` does
    """

    def __init__(
        self, target: Target, parent: Opened, *, warn: Callable[[str], None] = _log.warning, tries: int | None = None
    ) -> None:
        prepare()
        self._target, self._tries, self._warn = target, tries, warn
        self._warned: set[str] = set()
        self._runs: Runs | None = None
        self._complete = True
        """Whether nothing was left out"""
        self._told_all = False
        self.why = ""
        """Why not all was recorded, in a line, as far as is known"""
        self.answers = True
        """Whether MLflow answered when it was last asked"""
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self.put(parent)
        self._thread = threading.Thread(target=self._deliver_all, name="lt_ray-mlflow", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Record an event, in the order in which they are put."""
        self._queue.put(event)

    def close(self, timeout_s: float | None = 60) -> bool:
        """Wait until all is delivered, and return whether all was.

        - `timeout_s`: most that this takes; None = as long as the server answers [s]
        """
        self._queue.put(None)
        self._closing.set()
        self._thread.join(timeout_s)
        self._abandoned.set()
        return self._told_all and self._complete

    def _deliver_all(self) -> None:
        with quiet():
            while (event := self._queue.get()) is not None:
                self._deliver(event)
                if self._abandoned.is_set():
                    return
        self._told_all = True

    def _deliver(self, event: Event) -> None:
        """Send an event, again and again until MLflow takes or refuses it, or the tracker is abandoned."""
        pause_s, tries = _FIRST_PAUSE_S, 0
        while not self._abandoned.is_set():
            try:
                if self._runs is None:
                    self._runs = Runs(self._target)
                self._runs.take(event)
                self.answers = True
                return
            except Exception as error:  # MLflow raises what its stores and transports raise
                if self._runs is not None and is_refusal(error):
                    self.answers = True
                    self._leave_out(cause(error))
                    return
                self._runs = None  # a run may have been created and the answer lost: look for all of them again
                tries += 1
                self.why = f"MLflow at {self._target.shown} {unanswered(error)}"
                if not isinstance(event, Reported):  # else it may be another server that is silent
                    self.answers = False
                    self._warn_once("silent", f"{self.why}: {_KEPT}")
                    if tries == self._tries:
                        self._abandoned.set()
                elif tries == _REPORT_TRIES:
                    self._leave_out(cause(error))
                    return
            self._pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _pause(self, seconds: float) -> None:
        """Wait; `close` cuts it short and shortens those that follow."""
        if self._closing.is_set():
            self._abandoned.wait(min(seconds, _LONGEST_PAUSE_CLOSING_S))
        else:
            self._closing.wait(seconds)

    def _leave_out(self, reason: str) -> None:
        self._complete, self.why = False, f"MLflow left out a part of the record ({reason})"
        self._warn_once("refused", self.why)

    def _warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(message)
