"""A sweep without Ray, killed with -9 or signalled at each of its steps, ends as if nothing had happened."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forking import ROOT, SAVED, Moment
from small_sweep import STEPS, SWEEP, assert_as, assert_interrupted, assert_nothing_runs, undisturbed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


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


def test_a_driver_killed_at_each_of_its_steps_changes_nothing(expected, tmp_path):
    """kill -9 without Ray at eight moments, after each the same command: no finished round is computed again, equal
    bits in the store, each record in MLflow once."""
    written: dict[str, int] = {}
    for moment in KILLS:
        SWEEP.killed(tmp_path, "--local", at=moment)
        now = SWEEP.written(tmp_path)
        assert now == now | written, "a finished round was computed again"
        written = now
    SWEEP.run(tmp_path, "--local")
    assert_as(expected, tmp_path)


STOPS = [
    Moment("lt_ray.rounds.inputs:prepare", 1, signal.SIGTERM),
    Moment(SAVED, 2 * STEPS, signal.SIGINT),
    Moment("lt_ray.store.files:os.fsync", 5, signal.SIGTERM),
    Moment("lt_ray.store.store:write_directory", 1, signal.SIGINT),
    Moment("lt_ray.driver.relay:Relay._finished", 1, signal.SIGTERM),
    Moment(SAVED, STEPS + 3, signal.SIGTERM),
]


def test_a_signal_at_any_step_ends_in_order_and_costs_nothing(expected, tmp_path):
    """SIGINT or SIGTERM without Ray at six moments, reading the data included: 75, the resuming command, all that is
    finished and saved is kept, no run RUNNING; at last equal bits."""
    written: dict[str, int] = {}
    for moment in STOPS:
        process = SWEEP.start(tmp_path, "--local", at=[moment])
        assert_interrupted(process.wait(), process.told)
        now = SWEEP.written(tmp_path)
        assert now == now | written, "a finished round was computed again"
        written = now
        if moment.function == SAVED:
            (saved,) = SWEEP.partials(tmp_path)
            epoch, step = divmod(moment.count - 1, STEPS + 1)
            # the first state of the process was that of the moment before, or none
            assert saved.name >= f"{epoch:06d}-{step:09d}", "an interval of work is lost"
        if moment is not STOPS[0]:
            assert_nothing_runs(tmp_path, process.told)
    SWEEP.run(tmp_path, "--local")
    assert_as(expected, tmp_path)


def test_a_signal_while_torch_is_loaded_ends_in_order(tmp_path):
    """SIGTERM in the first seconds, imports: 75 and the resuming command."""
    log = tmp_path / "told.log"
    with log.open("w") as file:
        words = [sys.executable, *SWEEP.command(tmp_path / "runs", "--local")]
        process = subprocess.Popen(words, cwd=ROOT, stdout=file, stderr=file)
    while "libtorch_cpu" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert_interrupted(process.wait(timeout=120), log.read_text())


def test_a_truncated_newest_round_is_computed_again(expected, tmp_path):
    """The newest round cut short is set aside with a warning and computed again, and nothing else is."""
    SWEEP.run(tmp_path, "--local")
    written = SWEEP.written(tmp_path)
    newest = max(written, key=lambda key: written[key])
    weights = tmp_path / SWEEP.name / "rounds" / newest / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    told = SWEEP.run(tmp_path, "--local")
    assert "set aside as damaged" in told
    assert "Computed 1 round," in told
    assert {key for key, at in SWEEP.written(tmp_path).items() if at != written[key]} == {newest}
    assert_as(expected, tmp_path)
