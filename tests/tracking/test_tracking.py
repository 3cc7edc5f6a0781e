import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from servers import database, free_port, serving

import lt_ray
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.tracking.events import Dataset, Ended, Opened, Point, Reported, RoundDone, Summed
from lt_ray.tracking.names import CYCLE_TAG, REASON_TAG, STATE_TAG, SWEEP_TAG, epoch_values, round_values
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker

E = 3
PARAMS = {"seed": 0, "training.epochs": E, "task.max_tokens": None, "training.length_batches": False}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sqlite(tmp_path) -> str:
    return database(tmp_path / "mlflow.db")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server"), free_port()) as uri:
        yield uri


@pytest.fixture(params=["sqlite", "server"])
def uri(request) -> str:
    return request.getfixturevalue(request.param)


class Record:
    """What MLflow holds of one sweep."""

    def __init__(self, uri: str, sweep_id: str, experiment: str = "tickets") -> None:
        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self.client.get_experiment_by_name(experiment)
        wanted = f"tags.`{SWEEP_TAG}` = '{sweep_id}'"
        ids = [self.experiment.experiment_id] if self.experiment else []
        self.runs: list[Run] = list(self.client.search_runs(ids, wanted)) if ids else []

    @property
    def parent(self) -> Run:
        (run,) = (run for run in self.runs if CYCLE_TAG not in run.data.tags)
        return run

    def holds(self, cycle: str, step: int) -> bool:
        known = any(run.data.tags.get(CYCLE_TAG) == cycle for run in self.runs)
        return known and any(at == step for at, _, _ in self.history(cycle, "round/test_accuracy"))

    def cycle(self, cycle: str) -> Run:
        (run,) = (run for run in self.runs if run.data.tags.get(CYCLE_TAG) == cycle)
        return run

    def history(self, cycle: str, metric: str) -> list[tuple[int, float, int]]:
        points = self.client.get_metric_history(self.cycle(cycle).info.run_id, metric)
        return [(point.step, point.value, point.timestamp) for point in points]


class Recorder(Tracker):
    """A tracker that is told of cycles and rounds as the driver tells it."""

    def __init__(self, target: Target, parent: Opened, **more) -> None:
        super().__init__(target, parent, **more)
        self._dataset = parent.dataset
        self._a_round: dict[str, object] = {}

    def cycle(self, cycle: str, name: str, params, tags=None, *, began: float | None = None, begun: bool = True):
        self._a_round[cycle] = params.get("training.epochs")
        at_ms = int(1000 * (time.time() if began is None else began))
        tags, data = tags or {}, self._dataset
        self.put(Opened(cycle=cycle, name=name, params=params, tags=tags, dataset=data, at_ms=at_ms, begun=begun))

    def round(self, result: RoundResult, epochs: list[EpochResult]):
        self.put(RoundDone(result=result, epochs=tuple(epochs), epochs_a_round=self._a_round.get(result.cycle)))

    def finish(self, cycle: str, status, reason: str = ""):
        self.put(Ended(cycle=cycle, status=status, reason=reason, at_ms=int(1000 * time.time())))

    def end(self, status, timeout_s: float = 60, report: Path | None = None) -> bool:
        self.put(Ended(cycle=None, status=status, at_ms=int(1000 * time.time())))
        if report is not None:
            self.put(Reported(folder=str(report)))
        return self.close(timeout_s)


def tracker(
    uri: str,
    sweep_id: str,
    warned: list[str] | None = None,
    experiment: str = "tickets",
    artifact_location: str | None = None,
    tags: dict[str, str] | None = None,
) -> Recorder:
    warn = [].append if warned is None else warned.append
    target = Target(uri, experiment, sweep_id, artifact_location)
    data = Dataset("toy", "0123456789abcdef", "{}")
    parent = Opened(
        cycle=None, name="a sweep", params={"samples": 2}, tags=tags or {}, dataset=data, at_ms=1_700_000_000_000
    )
    return Recorder(target, parent, warn=warn)


def a_round(cycle: str, number: int, epochs: int = E, **changes) -> tuple[RoundResult, list[EpochResult]]:
    then = 1_700_000_000 + 100 * number
    losses = {"train_loss": 0.1 + 0.2, "train_accuracy": 1 / 3, "val_loss": 0.4, "val_accuracy": 0.8}
    common = {"cycle": cycle, "seed": 0, "round": number, "train_s": 1.5, **losses}
    rows = [EpochResult(epoch=e, eval_s=0.5, finished_at=then + e / 3, **common) for e in range(1, epochs + 1)]
    sizes = {"sparsity": 0.2 * number, "density": 1 - 0.2 * number, "remaining": 80, "prunable": 100}
    fields = {
        "parameters": 120,
        "restart_epoch": None,
        "epochs": epochs,
        "best_epoch": epochs,
        "eval_s": 0.25,
    }
    fields |= {"test_loss": 0.5, "test_accuracy": 0.7, "key": f"key{number}", "source": "computed"}
    return RoundResult(**{**common, **sizes, **fields, "finished_at": then + 10.123, **changes}), rows


def record(uri: str, sweep_id: str, cycles: tuple[str, ...] = ("c1", "c2"), end: bool = True) -> bool:
    """Record a sweep of two-round cycles; without `end` as a killed driver leaves it."""
    mine = tracker(uri, sweep_id)
    for cycle in cycles:
        mine.cycle(cycle, f"cycle {cycle}", PARAMS)
        mine.round(*a_round(cycle, 1, epochs=2, source="reused"))
        mine.round(*a_round(cycle, 0))
        if end:
            mine.finish(cycle, "FINISHED")
    if end:
        return mine.end("FINISHED", timeout_s=30)
    wait_for(lambda: Record(uri, sweep_id).holds(cycles[-1], step=0))
    return True


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in 30 s"
        time.sleep(0.02)


def test_recorded_twice_is_recorded_once(uri):
    """A sweep recorded again leaves one row for each metric and step, with the stored value and time."""
    assert record(uri, "twice")
    once = Record(uri, "twice")
    assert record(uri, "twice")
    twice = Record(uri, "twice")
    result, epochs = a_round("c1", 0)
    metrics = {*round_values(result), *dict(epoch_values(epochs[0]))}
    assert len(metrics) >= 17 + 4
    assert len(twice.runs) == 3
    for cycle in ("c1", "c2"):
        assert set(twice.cycle(cycle).data.metrics) == metrics
        for metric in metrics:
            rows = twice.history(cycle, metric)
            assert sorted(rows) == sorted(once.history(cycle, metric))
            assert set(Counter(step for step, _, _ in rows).values()) == {1}
    assert sorted(twice.history("c1", "round/test_accuracy")) == [
        (0, 0.7, 1_700_000_010_123),
        (1, 0.7, 1_700_000_110_123),
    ]


def test_epochs_of_rounds_do_not_overlap(sqlite):
    """Epoch e of round r stands at step r · E + e, whichever round came first and wherever one stopped."""
    record(sqlite, "steps")
    steps = [step for step, _, _ in Record(sqlite, "steps").history("c1", "training/train_loss")]
    assert sorted(steps) == [1, 2, 3, E + 1, E + 2]


def test_not_a_number_is_recorded_once(uri):
    """NaN and infinity are recorded, and recorded twice they are still one row."""
    for _ in range(2):
        mine = tracker(uri, "nan")
        mine.cycle("c1", "c1", PARAMS)
        mine.round(*a_round("c1", 0, val_loss=float("nan"), test_loss=float("inf")))
        assert mine.end("FAILED", timeout_s=30)
    record = Record(uri, "nan")
    assert len(record.history("c1", "round/val_loss")) == len(record.history("c1", "round/test_loss")) == 1


def test_kills_leave_one_run_a_cycle(uri):
    """After two killed drivers and one that ends, there is one parent, one run a cycle, and none RUNNING."""
    record(uri, "killed", end=False)
    record(uri, "killed", ("c1",), end=False)
    assert record(uri, "killed")
    record_ = Record(uri, "killed")
    assert len(record_.runs) == 3
    assert {run.info.status for run in record_.runs} == {"FINISHED"}


def test_close_ends_what_a_killed_driver_left(sqlite):
    """Closing ends the runs that nobody finished as KILLED, in this process or in one before."""
    record(sqlite, "left", ("c1", "c2"), end=False)
    mine = tracker(sqlite, "left")
    mine.cycle("c2", "c2", PARAMS)
    mine.cycle("c3", "c3", PARAMS)
    mine.finish("c2", "FAILED", "the worker was lost")
    assert mine.end("FAILED", timeout_s=30)
    record_ = Record(sqlite, "left")
    assert [record_.cycle(c).info.status for c in ("c1", "c2", "c3")] == ["KILLED", "FAILED", "KILLED"]
    assert record_.parent.info.status == "FAILED"
    assert record_.cycle("c2").data.tags[REASON_TAG] == "the worker was lost"


def test_a_cycle_that_goes_on_is_running(sqlite):
    """A finished cycle that is opened again is RUNNING and has lost its reason."""
    mine = tracker(sqlite, "again")
    mine.cycle("c1", "c1", PARAMS)
    mine.round(*a_round("c1", 0))
    mine.finish("c1", "FAILED", "no memory")
    wait_for(lambda: Record(sqlite, "again").holds("c1", step=0))
    wait_for(lambda: Record(sqlite, "again").cycle("c1").info.status == "FAILED")
    assert Record(sqlite, "again").cycle("c1").data.tags[REASON_TAG] == "no memory"
    mine.cycle("c1", "c1", PARAMS)
    wait_for(lambda: Record(sqlite, "again").cycle("c1").info.status == "RUNNING")
    assert mine.end("KILLED", timeout_s=30)
    assert REASON_TAG not in Record(sqlite, "again").cycle("c1").data.tags


def test_a_run_made_before_its_cycle_began_starts_when_that_begins(sqlite):
    """A cycle that had no place to run before the sweep was interrupted starts when it gets one; told again, or of a
    cycle that has begun, nothing moves."""
    moments = {}
    for began, begun in ((100, False), (200, False), (300, True), (400, True), (500, False)):
        mine = tracker(sqlite, "waiting")
        mine.cycle("c1", "c1", PARAMS, began=began, begun=begun)
        assert mine.end("KILLED", timeout_s=30)
        moments[began] = Record(sqlite, "waiting").cycle("c1").info.start_time
    assert moments == {100: 100_000, 200: 100_000, 300: 300_000, 400: 300_000, 500: 300_000}


def test_children_are_nested(uri):
    """A cycle's run bears the sweep's tag, its own and its parent's id, and the given name and parameters."""
    mine = tracker(uri, "nested", tags={"question": "lottery"})
    mine.cycle("c1", "lr 0.001", PARAMS, {"host": "here"})
    assert mine.end("FINISHED", timeout_s=30)
    record_ = Record(uri, "nested")
    parent, child = record_.parent, record_.cycle("c1")
    assert (parent.info.run_name, child.info.run_name) == ("a sweep", "lr 0.001")
    assert (parent.data.tags[SWEEP_TAG], parent.data.tags["question"]) == ("nested", "lottery")
    assert (child.data.tags[SWEEP_TAG], child.data.tags["host"]) == ("nested", "here")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.data.params == {"samples": "2"}
    assert child.data.params == {
        "seed": "0", "training.epochs": "3", "task.max_tokens": "none", "training.length_batches": "false",
    }  # fmt: skip


def test_the_state_of_a_cycle_can_be_searched(sqlite):
    """A cycle that a rule ended early is FINISHED and `stopped`, with the rule; another one is `finished`."""
    mine = tracker(sqlite, "states")
    for cycle, reason in (("c1", "fell 0.1 below dense"), ("c2", "")):
        mine.cycle(cycle, cycle, PARAMS)
        mine.finish(cycle, "FINISHED", reason)
    assert mine.end("FINISHED", timeout_s=30)
    record_ = Record(sqlite, "states")
    tags = [record_.cycle(cycle).data.tags for cycle in ("c1", "c2")]
    assert [tag[STATE_TAG] for tag in tags] == ["stopped", "finished"]
    assert [tag.get(REASON_TAG) for tag in tags] == ["fell 0.1 below dense", None]
    found = record_.client.search_runs([record_.experiment.experiment_id], f"tags.`{STATE_TAG}` = 'stopped'")
    assert [run.data.tags[CYCLE_TAG] for run in found] == ["c1"]


def test_summaries_and_data_sets_are_recorded_once(uri):
    """A summary sent twice is one row, and one with newer rounds is the value that is shown; the data set is one."""
    for value, at in ((0.7, 1), (0.7, 1), (0.8, 2)):
        mine = tracker(uri, "summed")
        mine.cycle("c1", "c1", PARAMS)
        mine.put(
            Summed(cycle="c1", points=(Point("summary/best", value, at, 0),), tags={"mlflow.note.content": "**best**"})
        )
        assert mine.end("FINISHED", timeout_s=30)
    run = Record(uri, "summed").cycle("c1")
    assert sorted(Record(uri, "summed").history("c1", "summary/best")) == [(0, 0.7, 1), (0, 0.8, 2)]
    assert run.data.metrics == {"summary/best": 0.8}
    assert [found.dataset.digest for found in run.inputs.dataset_inputs] == ["01234567"]
    assert run.data.tags["mlflow.note.content"] == "**best**"


def test_deleted_runs_stay_deleted(sqlite):
    """A run deleted in MLflow is not used again: a new one takes its place."""
    record(sqlite, "deleted")
    deleted = Record(sqlite, "deleted").cycle("c1").info.run_id
    Record(sqlite, "deleted").client.delete_run(deleted)
    assert record(sqlite, "deleted")
    assert Record(sqlite, "deleted").cycle("c1").info.run_id != deleted


def test_a_deleted_experiment_is_restored(sqlite, tmp_path):
    """An experiment deleted in MLflow comes back, with the artifact location it was created with."""
    assert tracker(sqlite, "gone", artifact_location=f"file://{tmp_path}/artifacts").end("FINISHED")
    before = Record(sqlite, "gone")
    before.client.delete_experiment(before.experiment.experiment_id)
    assert record(sqlite, "gone")
    after = Record(sqlite, "gone").experiment
    assert (after.lifecycle_stage, after.artifact_location) == ("active", f"file://{tmp_path}/artifacts")


def test_sweeps_that_start_together_share_an_experiment(uri):
    """Sweeps that find no experiment, and no data set in it, at the same moment create them once; all are recorded."""
    warned: list[str] = []
    for new in ("first", "second", "third"):  # each try hits the moment by chance
        together = [tracker(uri, f"{new}{i}", warned, experiment=new) for i in range(6)]
        assert [mine.end("FINISHED", timeout_s=120) for mine in together] == [True] * 6, warned
        runs = [Record(uri, f"{new}{i}", new).runs for i in range(6)]
        assert [[len(run.inputs.dataset_inputs) for run in found] for found in runs] == [[1]] * 6
    assert warned == []


def test_long_and_odd_parameters(uri):
    """Parameters and tags of any number, length and spelling are recorded; a changed one keeps its value."""
    odd = {
        "long": "x" * 9000,
        "k" * 300: 1,
        "k" * 301: 2,
        "": "",
        "a?b[0]": "ä\n",
        "../up": 1.0,
        "/": True,
        "x//y": 0,
    }
    many = {f"p{i}": i for i in range(150)}
    warned = []
    for long in ("x" * 9000, "y"):
        mine = tracker(uri, "odd", warned, tags={f"t{i}": "v" * 9000 for i in range(120)})
        mine.cycle("c1", "n" * 300, odd | many | PARAMS | {"long": long})
        assert mine.end("FINISHED", timeout_s=30)
    params = Record(uri, "odd").cycle("c1").data.params
    assert warned == []
    assert len(params) == len(odd) + len(many) + len(PARAMS)
    assert params["long"] == "x" * 5999 + "…"
    assert (params["a_b_0_"], params["_.._up"], params["p149"]) == ("ä\n", "1.0", "149")
    assert len(Record(uri, "odd").parent.data.tags) > 120


def test_a_long_round_takes_several_batches(uri):
    """A round with more points than MLflow takes at once is recorded whole."""
    mine = tracker(uri, "long")
    mine.cycle("c1", "c1", {"training.epochs": 450})
    mine.round(*a_round("c1", 0, epochs=450))
    assert mine.end("FINISHED", timeout_s=30)
    assert len(Record(uri, "long").history("c1", "training/val_loss")) == 450


def test_what_mlflow_refuses_is_left_out(sqlite):
    """Records that can never be taken are left out with one warning; those after them arrive."""
    warned = []
    mine = tracker(sqlite, "refused", warned)
    for cycle in ("never opened", "nor this one"):
        mine.round(*a_round(cycle, 0))
    mine.cycle("c1", "c1", PARAMS)
    mine.round(*a_round("c1", 0, finished_at=-1.0))
    mine.round(*a_round("c1", 1))
    assert mine.end("FINISHED", timeout_s=30) is False
    assert len(warned) == 1
    assert "never opened" in warned[0]
    assert [step for step, _, _ in Record(sqlite, "refused").history("c1", "round/test_accuracy")] == [1]


def test_a_dead_artifact_store_costs_nothing_but_the_artifacts(sqlite, tmp_path):
    """Where the report cannot be kept, the rest is recorded, one warning says so, and close ends soon."""
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "table.md").write_text("table")
    warned = []
    mine = tracker(sqlite, "artifacts", warned, artifact_location="file:///proc/none")
    mine.cycle("c1", "c1", PARAMS)
    mine.finish("c1", "FINISHED")
    started = time.monotonic()
    assert mine.end("FINISHED", timeout_s=60, report=tmp_path / "report") is False
    assert time.monotonic() - started < 50
    assert {run.info.status for run in Record(sqlite, "artifacts").runs} == {"FINISHED"}
    assert len(warned) == 1
    assert "left out a part of the record" in warned[0]


def test_a_dead_server_costs_nothing():
    """With nothing listening, calls return at once, one warning says so, and close gives up in time."""
    warned = []
    started = time.monotonic()
    mine = tracker(f"http://user:secret@127.0.0.1:{free_port()}", "dead", warned)
    for cycle in range(200):
        mine.cycle(str(cycle), "c", PARAMS)
        mine.round(*a_round(str(cycle), 0))
        mine.finish(str(cycle), "FINISHED")
    assert time.monotonic() - started < 2
    started = time.monotonic()
    assert mine.end("FINISHED", timeout_s=3) is False
    assert time.monotonic() - started < 4
    assert len(warned) == 1
    assert "does not answer ([Errno 111] Connection refused)" in warned[0]
    assert "secret" not in warned[0]


def test_a_dead_server_is_given_up_after_so_many_tries():
    """With a bound of two tries, closing without a limit of time ends, and says that nobody answers."""
    warned: list[str] = []
    parent = Opened(cycle=None, name="s", params={}, tags={}, at_ms=0)
    mine = Tracker(Target(f"http://127.0.0.1:{free_port()}", "dead", "tries"), parent, warn=warned.append, tries=2)
    mine.put(Ended(cycle=None, status="FINISHED", at_ms=1))
    assert mine.close(None) is False
    assert not mine.answers
    assert "does not answer" in mine.why
    assert len(warned) == 1


def test_a_silent_server_costs_nothing():
    """With a server that accepts and never answers, close gives up in time all the same."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mine = tracker(f"http://127.0.0.1:{silent.getsockname()[1]}", "silent")
        mine.cycle("c1", "c1", PARAMS)
        started = time.monotonic()
        assert mine.end("FINISHED", timeout_s=1) is False
        assert time.monotonic() - started < 2


def test_a_path_that_cannot_be_written_costs_nothing(tmp_path):
    """A database that cannot be opened is one warning, like a dead server."""
    (tmp_path / "file").write_text("")
    warned = []
    mine = tracker(f"sqlite:///{tmp_path}/file/mlflow.db", "path", warned)
    assert mine.end("FINISHED", timeout_s=2) is False
    assert len(warned) == 1


@pytest.mark.slow
def test_a_server_that_comes_back_receives_everything(tmp_path):
    """What was recorded while the server was away arrives when it is back, after one warning."""
    port, warned = free_port(), []
    mine = tracker(f"http://127.0.0.1:{port}", "late", warned)
    mine.cycle("c1", "c1", PARAMS)
    mine.round(*a_round("c1", 0))
    wait_for(lambda: warned)
    with serving(tmp_path, port) as uri:
        mine.round(*a_round("c1", 1))
        mine.finish("c1", "FINISHED")
        assert mine.end("FINISHED", timeout_s=60)
        record_ = Record(uri, "late")
        assert sorted(step for step, _, _ in record_.history("c1", "round/test_accuracy")) == [0, 1]
        assert {run.info.status for run in record_.runs} == {"FINISHED"}
    assert len(warned) == 1


@pytest.mark.slow
def test_a_server_that_restarts_loses_nothing(tmp_path):
    """A server that dies in the middle of a sweep and comes back holds each run and each point once."""
    port, warned = free_port(), []
    with serving(tmp_path, port) as uri:
        mine = tracker(uri, "restart", warned)
        mine.cycle("c1", "c1", PARAMS)
        mine.round(*a_round("c1", 0))
        wait_for(lambda: Record(uri, "restart").holds("c1", step=0))
    mine.cycle("c2", "c2", PARAMS)
    mine.round(*a_round("c1", 1))
    wait_for(lambda: warned)
    with serving(tmp_path, port) as uri:
        assert mine.end("FINISHED", timeout_s=60)
        record_ = Record(uri, "restart")
        assert len(record_.runs) == 3
        assert sorted(step for step, _, _ in record_.history("c1", "round/test_accuracy")) == [0, 1]
    assert len(warned) == 1


def test_nothing_is_printed(tmp_path, server):
    """Recording on a new database, on a server and on a dead one prints nothing but the one warning."""
    script = """
from lt_ray.tracking.events import Ended, Opened
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker
import sys
assert "mlflow" not in sys.modules
for uri, wanted in zip(sys.argv[1:], (True, True, False)):
    parent = Opened(cycle=None, name="s", params={}, tags={}, at_ms=0)
    tracker = Tracker(Target(uri, "printed", "printed"), parent)
    tracker.put(Opened(cycle="c1", name="c1", params={}, tags={}, at_ms=1))
    tracker.put(Ended(cycle="c1", status="FINISHED", reason="", at_ms=2))
    tracker.put(Ended(cycle=None, status="FINISHED", at_ms=3))
    assert tracker.close(20 if wanted else 1) is wanted
"""
    uris = [f"sqlite:///{tmp_path}/new.db", server, f"http://127.0.0.1:{free_port()}"]
    path = {"PYTHONPATH": str(Path(lt_ray.__file__).parents[1])}
    command = [sys.executable, "-c", script, *uris]
    done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1
    assert "does not answer" in done.stderr
