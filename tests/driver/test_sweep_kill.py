"""A sweep killed with -9 at any moment, and run again by the same command, ends as if nothing had happened."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from killing import ROOT, KillableSweep, assert_recorded_once, wait_for, workers
from mlflow import MlflowClient

NAME = "imdb_lt-toy"
CYCLES, ROUNDS, EPOCHS = 2, 3, 4
WORDS = [
    "sweeps/imdb_lt.py", "--toy", "--rounds", "2", "--set", "training.lr=0.005", "--set", "model.dropout=0.3",
    "--set", "magnitude.rewind_epoch=1", "--set", "training.batch_size=6", "--set", "task.train=1000",
    "--partial-every", "1",
]  # fmt: skip

pytestmark = pytest.mark.slow


SWEEP = KillableSweep(WORDS, NAME)
command, run, run_here, start = SWEEP.command, SWEEP.run, SWEEP.run_here, SWEEP.start
rows, digests, finished, partials = SWEEP.rows, SWEEP.digests, SWEEP.finished, SWEEP.partials


def assert_recorded(storage: Path) -> None:
    assert_recorded_once(storage, cycles=CYCLES, rounds=ROUNDS, epochs=EPOCHS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    seconds = {}
    for more in ((), ("--local",)):  # the first one finds nothing in the disk cache
        storage = tmp_path_factory.mktemp("undisturbed")
        started = time.monotonic()
        run(storage, *more)
        seconds[more] = time.monotonic() - started
    assert_recorded(storage)
    return rows(storage), digests(storage), seconds


def in_round_0(storage: Path) -> bool:
    return finished(storage) == 0 and bool(partials(storage))


def at_a_rounds_end(storage: Path) -> bool:
    return finished(storage) >= 1


def in_a_later_epoch(storage: Path) -> bool:
    return finished(storage) >= 1 and any(path.name >= "000002" for path in partials(storage))


MOMENTS = {
    "in round 0": (in_round_0, 0.3),
    "at a round's end": (at_a_rounds_end, 0.0),
    "in a later epoch": (in_a_later_epoch, 0.3),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_driver_changes_nothing(moment, undisturbed, tmp_path):
    """kill -9 of the driver, the same command again: equal bits in the store, each record in MLflow once."""
    condition, delay = MOMENTS[moment]
    process = start(tmp_path)
    wait_for(condition, tmp_path, process, delay)
    process.kill()
    process.wait()
    there = finished(tmp_path)
    assert there < ROUNDS * CYCLES - 1, "it was killed too late to show anything"
    told = run(tmp_path)
    assert f"found {there}" in told or f"found {there + 1}" in told  # a worker may outlive its driver for a moment
    assert rows(tmp_path) == undisturbed[0]
    assert digests(tmp_path) == undisturbed[1]
    assert_recorded(tmp_path)
    assert not partials(tmp_path)


def test_an_interrupted_driver_says_how_to_go_on(undisturbed, tmp_path):
    """SIGINT ends with 75, all that is finished, and the resuming command, no run RUNNING; resumed, bits are equal."""
    process = start(tmp_path)
    wait_for(in_a_later_epoch, tmp_path, process, 0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 75
    told = (tmp_path / "killed.log").read_text()
    assert "Interrupted" in told
    assert "resume  " in told
    assert told.count(" (1)") == len(rows(tmp_path)), "the table shows every finished round of each cycle"
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert "RUNNING" not in {run.info.status for run in runs}
    run_here(tmp_path)
    assert rows(tmp_path) == undisturbed[0]
    assert digests(tmp_path) == undisturbed[1]
    assert_recorded(tmp_path)


SLACK_S = 4.0
"""For a machine that runs two trials and this test on two cores"""


@pytest.mark.parametrize("attempt", [1, 3, 5])
def test_sigterm_at_any_moment_costs_one_interval_at_most(attempt, undisturbed, tmp_path):
    """SIGTERM at a seeded moment, starting up included: 75, the resuming command, finished work kept, equal bits."""
    moment = random.Random(attempt).uniform(0.25, 0.9) * undisturbed[2][()]
    while True:
        process = start(tmp_path)
        time.sleep(moment)
        saved = [path.stat().st_mtime for path in (tmp_path / NAME).glob("*/*/*") if path.suffix == ".safetensors"]
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / NAME).glob("rounds/*/manifest.json")}
        process.send_signal(signal.SIGTERM)
        sent = time.time()
        code = process.wait(timeout=60)
        if "Interrupted" in (tmp_path / "killed.log").read_text() or code not in (0, -signal.SIGTERM):
            break
        moment /= 2  # this time it was faster than when it was measured: it had ended, or was about to
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
    assert code == 75, (tmp_path / "killed.log").read_text()
    told = (tmp_path / "killed.log").read_text()
    assert "Interrupted" in told
    assert "resume  python sweeps/imdb_lt.py" in told
    assert "Traceback" not in told
    if saved:  # the first trial is under way: what it did since is at most `--partial-every 1`
        assert sent - max(saved) < 1 + SLACK_S
    run_here(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a finished round was computed again"
    assert rows(tmp_path) == undisturbed[0]
    assert digests(tmp_path) == undisturbed[1]
    assert_recorded(tmp_path)


def test_a_second_signal_ends_at_once(tmp_path):
    """Two signals in a row end with 75 within moments, whatever the first one still waits for."""
    process = start(tmp_path)
    wait_for(in_round_0, tmp_path, process, 0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=3) == 75
    assert "Ended at once" in (tmp_path / "killed.log").read_text()


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """A Ray cluster of its own, which outlives the drivers that join it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = tempfile.mkdtemp(prefix="lt_ray_test_")  # sockets below it must have short names
    words = ["ray", "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false"]
    words += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={temporary}"]
    words[0] = str(Path(sys.executable).parent / "ray")
    log = tmp_path_factory.mktemp("cluster") / "log"
    with log.open("w") as file:
        head = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 60
    while "--block" not in log.read_text():
        assert head.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    yield
    head.terminate()
    head.wait(timeout=60)
    shutil.rmtree(temporary, ignore_errors=True)


def test_a_killed_driver_of_a_running_cluster_changes_nothing(cluster, undisturbed, tmp_path):
    """On a cluster that lives on, whose workers may still write when the driver is gone, the same command resumes."""
    process = start(tmp_path, "--address", "auto")
    wait_for(in_a_later_epoch, tmp_path, process, 0.2)
    process.kill()
    process.wait()
    run(tmp_path, "--address", "auto")
    assert rows(tmp_path) == undisturbed[0]
    assert digests(tmp_path) == undisturbed[1]
    assert_recorded(tmp_path)
    refused = subprocess.run(
        command(tmp_path, "--address", "auto", "--gpus-per-trial", "0.5"), cwd=ROOT, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "`--gpus-per-trial <= 0` must hold, since this cluster's largest node has 0" in refused.stderr


def test_a_killed_worker_changes_nothing(undisturbed, tmp_path):
    """kill -9 of a trial's process: Ray starts it again, the sweep ends with 0 and equal bits."""
    process = start(tmp_path)
    wait_for(in_a_later_epoch, tmp_path, process, 0.2)
    victims = workers(process.pid)
    assert victims
    os.kill(victims[0], signal.SIGKILL)
    assert process.wait(timeout=200) == 0, (tmp_path / "killed.log").read_text()
    assert rows(tmp_path) == undisturbed[0]
    assert digests(tmp_path) == undisturbed[1]
    assert_recorded(tmp_path)


def test_a_truncated_newest_round_is_computed_again(undisturbed, tmp_path):
    """The newest round cut short is set aside with a warning and computed again, and nothing else is."""
    run_here(tmp_path)
    weights = sorted((tmp_path / NAME / "rounds").glob("*/weights.safetensors"), key=lambda path: path.stat().st_mtime)
    weights[-1].write_bytes(weights[-1].read_bytes()[:-100])
    done = subprocess.run(command(tmp_path, "--local"), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "set aside as damaged" in done.stderr
    assert "Computed 1 round," in done.stdout
    assert rows(tmp_path) == undisturbed[0]
    assert digests(tmp_path) == undisturbed[1]
    assert_recorded(tmp_path)


def test_a_finished_sweep_computes_nothing_and_local_is_ray(undisturbed, tmp_path):
    """Without Ray the bits are the same, and running a finished sweep again computes nothing and says so."""
    run_here(tmp_path)
    assert rows(tmp_path) == undisturbed[0]
    assert digests(tmp_path) == undisturbed[1]
    told = run(tmp_path)
    assert f"Nothing to compute: all {CYCLES * ROUNDS - 1} rounds were in the store" in told
    assert_recorded(tmp_path)
