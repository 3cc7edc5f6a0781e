"""A sweep on Ray that is killed with -9 or signalled, and run again by the same command, ends as if nothing had been.

What the store holds at each moment is the same with and without Ray: `test_local_kill` kills a sweep at each. Here is
what Ray adds.

| moment | what it holds |
|---|---|
| kill -9 in round 0, on a cluster of its own | no process of Ray's outlives the driver |
| kill -9 in a later epoch, on a cluster that lives on | workers that write on, without a driver, harm nothing |
| SIGINT in a later epoch | the table of what is finished, no run RUNNING |
| SIGTERM while Ray starts | the end is in order, whoever listens to the signal then |
| a second signal while trials run | the end waits for nothing |

Workers and Ray's head are killed in `test_faults_on_ray`; sweeps on Ray are resumed on Ray in `test_conditions_sweep`,
`test_search_sweep`, `test_plugin_sweep` and `test_block_sweep_kill`.
"""

import signal
import time

import pytest
from clusters import cluster
from forking import TOLD, Moment
from killing import living, of_ray, tree
from small_sweep import DISTINCT, EPOCHS, SWEEP, assert_as, assert_interrupted, assert_nothing_runs, undisturbed

pytestmark = pytest.mark.slow

IN_A_LATER_EPOCH = EPOCHS + 4
"""Of a pruned round: so many events the driver has heard of [count]"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


def test_ray_and_a_process_of_its_own_change_nothing(expected, tmp_path):
    """From a shell, on Ray, the bits are those without Ray."""
    assert f"Computed {DISTINCT} rounds" in SWEEP.run_alone(tmp_path)
    assert_as(expected, tmp_path)


def test_an_interrupted_driver_says_how_to_go_on(expected, tmp_path):
    """SIGINT ends with 75, all that is finished and saved, and the resuming command, no run RUNNING; the same command
    without Ray goes on to equal bits."""
    process = SWEEP.start(tmp_path, at=[Moment(TOLD, IN_A_LATER_EPOCH, signal.SIGINT)])
    assert_interrupted(process.wait(), process.told)
    assert process.told.count(" (1)") == len(SWEEP.rows(tmp_path)) > 0, "the table shows every finished round"
    assert SWEEP.finished(tmp_path) < DISTINCT
    assert SWEEP.partials(tmp_path), "an interval of work is lost"
    assert_nothing_runs(tmp_path, process.told)
    SWEEP.run(tmp_path, "--local")
    assert_as(expected, tmp_path)


def test_a_signal_while_ray_starts_ends_in_order(tmp_path):
    """SIGTERM between the starts of Ray's processes, when Ray listens to it as well: 75 and the resuming command;
    nothing is computed."""
    process = SWEEP.start(tmp_path, at=[Moment("ray._private.services:start_raylet", 1, signal.SIGTERM)])
    assert process.wait() == 75, process.told
    assert "Interrupted" in process.told
    assert "resume  python sweeps/imdb_lt.py" in process.told
    assert "Traceback" not in process.told
    assert SWEEP.finished(tmp_path) == 0


def test_a_second_signal_ends_at_once(tmp_path):
    """Two signals in a row end with 75 within 3 s, whatever the first one still waits for."""
    process = SWEEP.start(tmp_path, at=[Moment(TOLD, 2, signal.SIGSTOP)])
    process.wait_until_stopped()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        process.send_signal(number)
    assert process.wait(3) == 75
    assert "Ended at once" in process.told
    assert "Interrupted" not in process.told, "it waited for the end of the trials"


def test_a_killed_driver_changes_nothing(expected, tmp_path, monkeypatch):
    """kill -9 of a driver with a cluster of its own, in round 0: workers, raylet and head, though in sessions of their
    own, die with it. Then of one on a cluster that lives on, in a later epoch: the same command ends with equal bits,
    each record in MLflow once; run again, the finished sweep computes nothing and says so."""
    process = SWEEP.start(tmp_path, at=[Moment(TOLD, 2, signal.SIGSTOP)])
    process.wait_until_stopped()
    # Ray's two agents look for their raylet only now and then, and hold nothing.
    members = [pid for pid in tree(process.pid) if pid not in of_ray(process.pid, b"Agent")]
    assert len(members) > 3, "the driver and Ray's processes"
    process.kill()
    deadline = time.monotonic() + 60
    while living(members):
        assert time.monotonic() < deadline, "an orphan"
        time.sleep(0.1)
    assert SWEEP.finished(tmp_path) == 0
    assert SWEEP.partials(tmp_path), "an interval of work is lost"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else `ray start` would ask for a token where the user has one
    with cluster(tmp_path / "head.log") as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        SWEEP.killed(tmp_path, "--address", "auto", at=Moment(TOLD, IN_A_LATER_EPOCH))
        there = SWEEP.finished(tmp_path)
        assert 0 < there < DISTINCT
        told = SWEEP.run(tmp_path, "--address", "auto")
        assert f"found {there}" in told or f"found {there + 1}" in told  # a worker may outlive its driver for a moment
        assert_as(expected, tmp_path)
        again = SWEEP.run(tmp_path, "--address", "auto")
        assert f"Nothing to compute: all {DISTINCT} rounds were in the store" in again
        assert_as(expected, tmp_path)
        refused = SWEEP.start(tmp_path, "--address", "auto", "--gpus-per-trial", "0.5")
        assert refused.wait() == 2
        assert "`--gpus-per-trial <= 0` must hold, since this cluster's largest node has 0" in refused.told
