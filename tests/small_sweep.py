"""A sweep of two cycles that kill tests share: what it is, and what an undisturbed or an interrupted one leaves."""

from pathlib import Path

from killing import KillableSweep, assert_recorded_once
from mlflow import MlflowClient

CYCLES, ROUNDS, EPOCHS = 2, 3, 4
DISTINCT = CYCLES * ROUNDS - 1
"""Rounds: the dense one is of both cycles [count]"""
STEPS = 14
"""Of an epoch; with `--partial-every 0` a state is saved after each, and one at the epoch's end [count]"""
SWEEP = KillableSweep(
    [
        "sweeps/imdb_lt.py", "--toy", "--rounds", "2", "--set", "training.lr=0.005", "--set", "model.dropout=0.3",
        "--set", "magnitude.rewind_epoch=1", "--set", f"training.epochs={EPOCHS}", "--set", "training.patience=null",
        "--set", "training.batch_size=6", "--set", f"task.train={6 * STEPS}", "--set", "task.validation=30",
        "--set", "task.test=30", "--partial-every", "0",
    ],
    "imdb_lt-toy",
)  # fmt: skip


def undisturbed(storage: Path) -> tuple[list, dict]:
    """Rows and digests of the sweep without Ray, which is run here."""
    SWEEP.run(storage, "--local")
    assert_whole(storage)
    return SWEEP.rows(storage), SWEEP.digests(storage)


def assert_whole(storage: Path) -> None:
    assert SWEEP.finished(storage) == DISTINCT
    assert not SWEEP.partials(storage)
    assert_recorded_once(storage, cycles=CYCLES, rounds=ROUNDS, epochs=EPOCHS)


def assert_as(expected: tuple[list, dict], storage: Path) -> None:
    assert SWEEP.rows(storage) == expected[0]
    assert SWEEP.digests(storage) == expected[1]
    assert_whole(storage)


def assert_interrupted(code: int, told: str) -> None:
    assert code == 75, told
    assert "stopping; again ends at once" in told
    assert "Interrupted" in told
    assert "resume  python sweeps/imdb_lt.py" in told
    assert "Traceback" not in told


def assert_nothing_runs(storage: Path, told: str) -> None:
    """No run is left RUNNING, where MLflow answered within the seconds that it is given."""
    if "MLflow was not told everything" not in told:
        client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
        runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        assert "RUNNING" not in {run.info.status for run in runs}
