"""A sweep in MLflow while it runs: one parent run a sweep, one nested run a cycle; recording twice changes nothing.

Calls put events into a queue, one thread writes them to the spool, another delivers what the spool holds, with retries.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from lt_ray.tracking.delivery import Delivery, Silent
from lt_ray.tracking.events import Event, Opened, Reported, RoundDone, parse
from lt_ray.tracking.server import cause, prepare, quiet
from lt_ray.tracking.spool import Spool
from lt_ray.tracking.target import Target

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_PAUSE_CLOSING_S = 1.0, 30.0, 1.0
_REPORT_TRIES = 3
"""A few: its files may go to a store that is dead while the server lives [count]"""
_KEPT = (
    "the sweep goes on; its record is kept and delivered once MLflow takes it, by the same command or by `lt-ray sync`"
)


class Tracker:
    """Records one sweep in MLflow, in the background; no call blocks or raises because of MLflow.

    What was not delivered when the process ends, or is killed, is in the spool: a tracker on the same spool, or
    `lt-ray sync`, delivers it.

    - `target`: where; `spool`: folder for what is not delivered yet
    - `parent`: the sweep's own run. A parameter that is already recorded keeps its first value.
    - `warn`: takes one line, from a background thread: at most once about a server that does not answer, once
      about a record that it refused, and once about a spool that cannot be written.
    """

    def __init__(
        self,
        target: Target,
        parent: Opened,
        *,
        spool: Path,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        prepare()
        self._warn = warn
        self._warned: set[str] = set()
        self._spooled: set[tuple[str, int]] = set()
        """Rounds that an earlier process left in the spool"""
        self._delivery = Delivery(target)
        self._spool = Spool(spool, target)
        self._whole = True
        """Whether nothing was left out"""
        self.why = ""
        """Why not all was recorded, in a line, as far as is known"""
        self.answers = True
        """Whether MLflow answered when it was last asked"""
        self._drained = False
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._written = threading.Event()
        self._abandoned = threading.Event()
        self._begin()
        self._queue.put(parent)
        threading.Thread(target=self._write_all, name="lt_ray-spool", daemon=True).start()
        self._thread = threading.Thread(target=self._deliver_all, name="lt_ray-mlflow", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Record an event; a round that an earlier process left in the spool is there already.

        Points bear the stored times, so that a point sent again is the same point; a round that had to be computed
        again (it was damaged) has other times, and is not sent where the run has it.
        """
        if not isinstance(event, RoundDone) or (event.result.cycle, event.result.round) not in self._spooled:
            self._queue.put(event)

    def close(self, timeout_s: float = 60) -> bool:
        """Wait until all is delivered, and return whether all was.

        - `timeout_s`: patience with a server that does not answer [s]
        """
        self._queue.put(None)
        self._closing.set()
        self._thread.join(timeout_s)
        self._abandoned.set()
        self._wake.set()
        return self._drained and self._whole

    def _begin(self) -> None:
        try:
            self._spool.begin()
            for line in self._spool.pending():
                with contextlib.suppress(ValueError):
                    event = parse(line.text)
                    if isinstance(event, RoundDone):
                        self._spooled.add((event.result.cycle, event.result.round))
        except OSError as error:
            self._lose(error)

    def _write_all(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._spool.append(event.line())
            except OSError as error:
                self._lose(error)
            self._wake.set()
        self._written.set()
        self._wake.set()

    def _deliver_all(self) -> None:
        with quiet():
            while not self._abandoned.is_set():
                self._wake.clear()
                all_written = self._written.is_set()
                try:
                    for line in self._spool.pending():
                        if not self._delivered(line.text):
                            return
                        self._spool.acknowledge(line.end)
                except OSError as error:
                    self._lose(error)
                    return
                if all_written:
                    self._drained = True
                    return
                self._wake.wait()

    def _delivered(self, line: str) -> bool:
        """Send an event, again and again; False = abandoned."""
        try:
            event = parse(line)
        except ValueError as error:
            self._leave_out(f"MLflow's spool holds a line that cannot be read ({cause(error)})")
            return True
        pause_s, tries = _FIRST_PAUSE_S, 0
        while not self._abandoned.is_set():
            try:
                refusal = self._delivery.send(event)
                self.answers = True
            except Silent as silent:
                self.why = f"MLflow at {self._delivery.target.shown} {silent}"
                tries += 1
                if not isinstance(event, Reported):  # else it may be another server that is silent
                    self.answers = False
                    self._warn_once("silent", f"{self.why}: {_KEPT}")
                elif tries == _REPORT_TRIES:
                    self._leave_out(f"MLflow left out a part of the record ({silent.cause})")
                    return True
                self._pause(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            if refusal is not None:
                self._leave_out(f"MLflow left out a part of the record ({refusal})")
            return True
        return False

    def _pause(self, seconds: float) -> None:
        """Wait; `close` cuts it short and shortens those that follow."""
        if self._closing.is_set():
            self._abandoned.wait(min(seconds, _LONGEST_PAUSE_CLOSING_S))
        else:
            self._closing.wait(seconds)

    def _leave_out(self, why: str) -> None:
        self._whole, self.why = False, why
        self._warn_once("refused", why)

    def _lose(self, error: OSError) -> None:
        self._whole, self.why = False, f"the record cannot be kept on disk: {error.strerror}"
        self._warn_once(
            "spool",
            f"the record cannot be kept on disk ({error.strerror}): the sweep goes on; "
            "`lt-ray sync` records everything from the store",
        )

    def _warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(message)
