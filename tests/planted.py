"""Planted results: rounds as a cycle would yield them, with the accuracies a test wants."""

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.training import Training


def a_cnn(task: str = "imdb", seed: int = 0, rounds: int = 3, **settings: object) -> Cycle:
    """A cycle of a CNN of 4 epochs a round; a setting that is None is left as it is."""
    base = Cycle(model=Cnn(), training=Training(epochs=4, patience=2), schedule=(Magnitude(),) * rounds)
    known = {key: value for key, value in settings.items() if value is not None}
    return base.with_settings({"task.name": task, "seed": seed} | known)


def a_round(
    cycle: str,
    round: int,
    *,
    val: float,
    test: float | None = None,
    key: str | None = None,
    sparsity: float | None = None,
) -> RoundResult:
    """A finished round whose validation (and unless said otherwise test) accuracy is `val`."""
    share = 1 - 0.8**round if sparsity is None else sparsity
    return RoundResult(
        cycle=cycle, seed=0, key=key or f"{cycle}-{round}", round=round, parameters=1000, restart_epoch=None, epochs=2,
        best_epoch=2, train_loss=0.5, train_accuracy=0.8, val_loss=0.5, val_accuracy=val, test_loss=0.5,
        test_accuracy=val if test is None else test, train_s=1.0, eval_s=0.1, finished_at=1000.0 + round,
        sparsity=share, density=1 - share, remaining=round, prunable=1000, source="computed",
    )  # fmt: skip
