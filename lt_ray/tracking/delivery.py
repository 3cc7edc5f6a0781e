"""Delivering events to MLflow one by one, and telling those that it refuses for good from those that may wait."""

from __future__ import annotations

from lt_ray.tracking.events import Event
from lt_ray.tracking.runs import Runs
from lt_ray.tracking.server import cause, is_refusal, unanswered
from lt_ray.tracking.target import Target


class Silent(Exception):
    """MLflow did not take an event and may take it later; the message says in a line what it did, and why."""

    def __init__(self, error: Exception) -> None:
        super().__init__(unanswered(error))
        self.cause = cause(error)


class Delivery:
    """Sends events to their target; an event that was sent can be sent again."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._runs: Runs | None = None

    def send(self, event: Event) -> str | None:
        """Send an event; return None, or why MLflow can never take it. Raises `Silent`."""
        try:
            if self._runs is None:
                self._runs = Runs(self.target)
            self._runs.take(event)
        except Exception as error:
            if self._runs is not None and is_refusal(error):
                return cause(error)
            self._runs = None  # a run may have been created and the answer lost: look for all of them again
            raise Silent(error) from None
        return None
