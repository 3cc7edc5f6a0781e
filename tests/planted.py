"""Planted results: rounds as a cycle would yield them, with the accuracies a test wants."""

from lt_ray.cycle.results import RoundResult


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
