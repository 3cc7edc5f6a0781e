"""Lost workers, a lost head, signals to more than the driver: the same command ends undisturbed."""

import os
import signal
import time
from pathlib import Path

import pytest
from forking import TOLD, Moment, Process
from killing import KillableSweep, assert_recorded_once, living, of_ray, tree, workers

from lt_ray.driver.faults import PATIENCE

EPOCHS = 4
SWEEP = KillableSweep(
    [
        "sweeps/imdb_lt.py", "--toy", "--rounds", "1", "--set", "training.lr=0.005", "--set", "model.dropout=0.3",
        "--set", "magnitude.rewind_epoch=1", "--set", f"training.epochs={EPOCHS}", "--set", "training.patience=null",
        "--set", "training.batch_size=6", "--set", "task.train=84", "--set", "task.validation=30",
        "--set", "task.test=30", "--partial-every", "0",
    ],
    "imdb_lt-toy",
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    storage = tmp_path_factory.mktemp("undisturbed")
    SWEEP.run(storage, "--local", "--tracking-uri", "none")
    return SWEEP.rows(storage), SWEEP.digests(storage)


def stopped(storage: Path, *more: str, at: tuple[int, ...] = (2,)) -> Process:
    """A sweep on Ray whose driver stops itself when it hears of these events: meanwhile its trials get no further."""
    process = SWEEP.start(storage, *more, at=[Moment(TOLD, count, signal.SIGSTOP) for count in at])
    process.wait_until_stopped()
    return process


def ended(process: Process, within_s: float) -> tuple[int, float]:
    """The exit code of a process that goes on now, and the seconds until it came."""
    began = time.monotonic()
    process.send_signal(signal.SIGCONT)
    return process.wait(within_s), time.monotonic() - began


def assert_goes_on(storage: Path, undisturbed) -> None:
    assert not list((storage / SWEEP.name).glob("failures/*")), "a fault was written down as a failure"
    SWEEP.run(storage, "--local", "--tracking-uri", "none")
    assert SWEEP.rows(storage) == undisturbed[0]
    assert SWEEP.digests(storage) == undisturbed[1]


def assert_told_in_lines(told: str) -> None:
    assert "Traceback" not in told
    assert "(raylet" not in told
    assert "ray::" not in told


def test_a_worker_killed_five_times_changes_nothing(undisturbed, tmp_path):
    """One round loses its worker as often as it may: one line each, Ray's text in the log named there, 0, equal bits,
    and each record in MLflow once."""
    losses = PATIENCE - 1
    process = stopped(tmp_path, at=tuple(range(2, 2 * losses + 1, 2)))  # a trial that goes on tells its epochs again
    for left in reversed(range(losses)):
        victims = workers(process.pid)
        assert victims
        assert SWEEP.finished(tmp_path) == 0, "the losses must be one round's"
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        process.send_signal(signal.SIGCONT)
        if left:
            process.wait_until_stopped()
    assert process.wait(200) == 0, process.told
    told = process.told
    assert told.count("its worker was lost") == losses
    assert told.count("warning") == losses
    assert "more in " in told
    assert_told_in_lines(told)
    assert SWEEP.rows(tmp_path) == undisturbed[0]
    assert SWEEP.digests(tmp_path) == undisturbed[1]
    assert_recorded_once(tmp_path, cycles=2, rounds=2, epochs=EPOCHS)


def test_a_signal_to_the_whole_job_ends_in_order(undisturbed, tmp_path):
    """SIGTERM to the driver and all processes below it: 75, the resuming command, in seconds, no orphan."""
    process = stopped(tmp_path, "--tracking-uri", "none")
    members = tree(process.pid)
    assert len(members) > 3, "the driver and Ray's processes"
    for pid in members:  # a job's processes, the driver's group among them
        os.kill(pid, signal.SIGTERM)
    code, seconds = ended(process, 60)
    told = process.told
    assert code == 75, told
    assert seconds < 15, told
    assert "stopping; again ends at once" in told
    assert "Interrupted" in told
    assert "resume  python sweeps/imdb_lt.py" in told
    assert_told_in_lines(told)
    assert not living(members), "an orphan"
    assert_goes_on(tmp_path, undisturbed)


def test_a_lost_head_ends_with_one_sentence(undisturbed, tmp_path):
    """kill -9 of the head's process: 75 and one sentence within 15 s; the same command goes on."""
    process = stopped(tmp_path, "--tracking-uri", "none")
    (head,) = of_ray(process.pid, b"gcs_server")
    os.kill(head, signal.SIGKILL)
    code, seconds = ended(process, 90)
    told = process.told
    assert code == 75, told
    assert seconds < 15, told
    assert told.count("answers no longer") == 1
    assert "the same command goes on" in told
    assert_told_in_lines(told)
    assert_goes_on(tmp_path, undisturbed)


def test_a_ray_that_does_not_start_is_for_later(tmp_path):
    """kill -9 of the head while Ray starts: one line with a way out, exit code 75, nothing computed."""
    start_raylet = Moment("ray._private.services:start_raylet", 1, signal.SIGSTOP)
    process = SWEEP.start(tmp_path, "--tracking-uri", "none", at=[start_raylet])
    process.wait_until_stopped()
    (head,) = of_ray(process.pid, b"gcs_server")
    os.kill(head, signal.SIGKILL)
    code, _ = ended(process, 200)
    assert code == 75, process.told
    (line,) = process.told.strip().splitlines()
    assert line.startswith("error: `--address local`: Ray did not start on this machine (")
    assert line.endswith("try again, or say `--local`")
    assert SWEEP.finished(tmp_path) == 0
