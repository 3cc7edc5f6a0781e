"""Processes that die, without being any: a store that ends the run once it has kept one more state."""

from pathlib import Path

from lt_ray.cycle.cycle import Cycle
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.tasks.task import Data


class Died(BaseException):
    """As a signal that nothing catches."""


class DyingStore(RoundStore):
    """Whoever saves a running state here comes no further."""

    def save_partial(self, *state) -> None:
        super().save_partial(*state)
        raise Died


def run_dying(cycle: Cycle, data: Data, root: Path, **more) -> int:
    """Run a cycle that saves its state after every step and dies then, again and again; return how often it died."""
    deaths = 0
    while True:
        try:
            for _ in run_cycle(cycle, data, DyingStore(root), partial_every_s=0, **more):
                pass
        except Died:
            deaths += 1
        else:
            return deaths
