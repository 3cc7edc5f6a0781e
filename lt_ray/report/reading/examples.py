"""Single test examples of a sweep, to be shown beside what rounds took them for."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from lt_ray.errors import DamagedError
from lt_ray.store.store import RoundStore
from lt_ray.tasks.task import Data

_UNSEEN = "Pictures that pruned models lost are not shown: "
GONE = f"{_UNSEEN}the data are not where the sweep kept them. The sweep's command makes them again."
NOT_TOLD = f"{_UNSEEN}a report of the store shows them, MLflow has none."


@dataclass(frozen=True)
class Examples:
    """The test split of data that can be shown, and the rounds that were measured on it."""

    data: Data
    store: RoundStore

    def picture(self, example: int) -> str:
        """Return a test example's picture as an address; empty where it is damaged."""
        with contextlib.suppress(DamagedError, OSError):
            return self.data.shown("test", example)
        return ""
