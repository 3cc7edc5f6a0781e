"""A sweep without Ray, killed with -9 or signalled at each of its steps, ends as if nothing had happened."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from forking import SAVED, Moment, Process
from killing import ROOT, KillableSweep, assert_recorded_once
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

pytestmark = pytest.mark.slow


def start(storage: Path, *moments: Moment) -> Process:
    storage.mkdir(exist_ok=True)
    return Process(SWEEP.command(storage, "--local")[1:], storage / "told.log", moments)


def run(storage: Path) -> None:
    process = start(storage)
    assert process.wait() == 0, process.told


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Rows and digests of the sweep without Ray."""
    storage = tmp_path_factory.mktemp("undisturbed")
    run(storage)
    assert_whole(storage)
    return SWEEP.rows(storage), SWEEP.digests(storage)


def assert_whole(storage: Path) -> None:
    assert SWEEP.finished(storage) == DISTINCT
    assert not SWEEP.partials(storage)
    assert_recorded_once(storage, cycles=CYCLES, rounds=ROUNDS, epochs=EPOCHS)


def assert_as(undisturbed: tuple[list, dict], storage: Path) -> None:
    assert SWEEP.rows(storage) == undisturbed[0]
    assert SWEEP.digests(storage) == undisturbed[1]
    assert_whole(storage)


KILLS = [
    Moment(SAVED, 2 * STEPS),  # in the dense round's second epoch
    Moment("lt_ray.store.files:os.fsync", 7),  # a state is written, and has not its name yet
    Moment("lt_ray.store.store:write_directory", 1),  # before a round is written
    Moment("pathlib:Path.rename", 1),  # a round is written, and is not there yet
    Moment("lt_ray.store.store:RoundStore.drop_partial", 1),  # a round is there, and so is its running state
    Moment("lt_ray.driver.relay:Relay._finished", 1),  # a round is there, and nobody was told
    Moment(SAVED, STEPS + 3),  # in a pruned round's second epoch
    Moment("lt_ray.driver.relay:Relay.close", 1),  # all rounds are there, and the record is open
]


def test_a_driver_killed_at_each_of_its_steps_changes_nothing(undisturbed, tmp_path):
    """kill -9 without Ray at eight moments, after each the same command: no finished round is computed again, equal
    bits in the store, each record in MLflow once."""
    written: dict[str, int] = {}
    for moment in KILLS:
        process = start(tmp_path, moment)
        assert process.wait() == -signal.SIGKILL, f"{moment} did not come: {process.told}"
        now = SWEEP.written(tmp_path)
        assert now == now | written, "a finished round was computed again"
        written = now
    run(tmp_path)
    assert_as(undisturbed, tmp_path)


STOPS = [
    Moment("lt_ray.rounds.inputs:prepare", 1, signal.SIGTERM),
    Moment(SAVED, 2 * STEPS, signal.SIGINT),
    Moment("lt_ray.store.files:os.fsync", 5, signal.SIGTERM),
    Moment("lt_ray.store.store:write_directory", 1, signal.SIGINT),
    Moment("lt_ray.driver.relay:Relay._finished", 1, signal.SIGTERM),
    Moment(SAVED, STEPS + 3, signal.SIGTERM),
]


def assert_interrupted(code: int, told: str) -> None:
    assert code == 75, told
    assert "stopping; again ends at once" in told
    assert "Interrupted" in told
    assert "resume  python sweeps/imdb_lt.py" in told
    assert "Traceback" not in told


def assert_nothing_runs(storage: Path) -> None:
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert "RUNNING" not in {run.info.status for run in runs}


def test_a_signal_at_any_step_ends_in_order_and_costs_nothing(undisturbed, tmp_path):
    """SIGINT or SIGTERM without Ray at six moments, reading the data included: 75, the resuming command, all that is
    finished and saved is kept, no run RUNNING; at last equal bits."""
    written: dict[str, int] = {}
    for moment in STOPS:
        process = start(tmp_path, moment)
        assert_interrupted(process.wait(), process.told)
        now = SWEEP.written(tmp_path)
        assert now == now | written, "a finished round was computed again"
        written = now
        if moment.function == SAVED:
            (saved,) = SWEEP.partials(tmp_path)
            epoch, step = divmod(moment.count - 1, STEPS + 1)
            # the first state of the process was that of the moment before, or none
            assert saved.name >= f"{epoch:06d}-{step:09d}", "an interval of work is lost"
        if moment is not STOPS[0] and "MLflow was not told everything" not in process.told:  # in the 5 s it is given
            assert_nothing_runs(tmp_path)
    run(tmp_path)
    assert_as(undisturbed, tmp_path)


def test_a_signal_while_torch_is_loaded_ends_in_order(tmp_path):
    """SIGTERM in the first seconds, imports: 75 and the resuming command."""
    log = tmp_path / "told.log"
    with log.open("w") as file:
        process = subprocess.Popen(SWEEP.command(tmp_path / "runs", "--local"), cwd=ROOT, stdout=file, stderr=file)
    while "libtorch_cpu" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert_interrupted(process.wait(timeout=120), log.read_text())
