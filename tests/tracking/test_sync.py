"""The record survives its server and its process: what was not delivered is told again from the store."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from forking import Process
from mlflow import MlflowClient
from servers import database, free_port, serving
from typer.testing import CliRunner

from lt_ray.cli.main import app, main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.report.reading.rows import by_arm
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tracking.names import CYCLE_TAG, round_values
from lt_ray.tracking.records import Record
from lt_ray.tracking.server import check_access

E = 2
TINY = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=E, batch_size=30),
    schedule=(Magnitude(),) * 3,
)
CYCLES, ROUNDS = 4, 4
METRICS = ("loss", *(metric.name for metric in TINY.task.metrics))
EPOCH_METRICS = [f"training/{split}_{name}" for split in ("train", "val") for name in METRICS]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text("magnitude.restart: {grid: [rewind, random]}\n")


def sweep(uri: str, *words: str) -> int:
    """Run the tiny sweep without Ray: its exit code."""
    words = ("--local", "--seeds", "2", "--tracking-uri", uri, *words)
    with pytest.raises(SystemExit) as ended:
        main(name="tiny", cycle=TINY, space=Path("space.yaml"), argv=words)
    return int(ended.value.code or 0)


def sync(*words: str) -> tuple[int, str]:
    """`lt-ray sync tiny`: exit code, what it printed."""
    done = CliRunner().invoke(app, ["sync", "tiny", *words])
    return done.exit_code, " ".join(done.output.split())


def recorded(uri: str) -> Counter[tuple[str | None, str, int]]:
    """How often MLflow holds each (cycle, metric, step) of the tiny sweep, the summaries left out."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    counts: Counter[tuple[str | None, str, int]] = Counter()
    for run in client.search_runs([experiment.experiment_id]):
        assert run.info.status == "FINISHED"
        for metric in run.data.metrics:
            if not metric.startswith("summary/"):
                history = client.get_metric_history(run.info.run_id, metric)
                counts.update((run.data.tags.get(CYCLE_TAG), metric, point.step) for point in history)
    return counts


def runs(uri: str) -> int:
    client = MlflowClient(tracking_uri=uri)
    return len(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def everything() -> dict[tuple[str | None, str, int], int]:
    """What must be held, each once, from the store's own rows; the means of each arm's rounds are the
    parent's."""
    expected, own = {}, set()
    cycles = Record(SweepDirectory(Path("runs/tiny"))).cycles
    for _, cycle in cycles:
        assert len(cycle.results) == ROUNDS
        for result in cycle.results:
            has = set(round_values(result))
            expected |= {(cycle.id, metric, result.round): 1 for metric in has}
            own |= has
            steps = [result.round * E + epoch for epoch in range(1, E + 1)]
            expected |= {(cycle.id, metric, step): 1 for metric in EPOCH_METRICS for step in steps}
    assert len(own) == 14 + 3 * len(METRICS), "a model without blocks has no metrics of blocks"
    assert len(expected) == CYCLES * ROUNDS * (len(own) + E * len(EPOCH_METRICS))
    arms = by_arm((cycle for _, cycle in cycles), ("magnitude.restart",), "")
    assert len(arms) == 2
    means = {f"{metric} {arm}" for metric in ("round/test_accuracy", "round/sparsity") for arm in arms}
    return expected | {(None, metric, round): 1 for metric in means for round in range(ROUNDS)}


@contextmanager
def failing_between(server: str, fails) -> Iterator[tuple[str, list[int]]]:
    """A real HTTP proxy before a server: a request for which `fails(count)` is asked of nobody, or of the server and
    its answer thrown away, and answered 500, or with the (status, body) that `fails` gives; yields its URI and the
    statuses it gave."""
    given: list[int] = []
    host = server.removeprefix("http://")

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = fails(len(given))
            (status, answer), content = kind if isinstance(kind, tuple) else (500, b"not now"), "text/plain"
            if kind != "unasked" and not isinstance(kind, tuple):
                connection = http.client.HTTPConnection(host, timeout=30)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "accept-encoding")}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                read = response.read()
                if kind != "lost":
                    status, answer, content = response.status, read, response.headers["Content-Type"]
                connection.close()
            given.append(status)
            self.send_response(status)
            self.send_header("Content-Type", content or "text/plain")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, *_: object) -> None: ...

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", given
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


@pytest.mark.slow
def test_a_server_away_for_the_whole_sweep_receives_all_by_sync(tmp_path, capfd):
    """With nothing listening the sweep ends with one warning and names `lt-ray sync`, which delivers all, once."""
    port = free_port()
    started = time.monotonic()
    assert sweep(f"http://user:secret@127.0.0.1:{port}") == 0
    assert time.monotonic() - started < 60
    printed = capfd.readouterr()
    assert printed.err.count("warning") == 1
    assert "lt-ray sync tiny --storage runs" in printed.out
    code, said = sync("--tracking-uri", f"http://user:secret@127.0.0.1:{port}")
    assert (code, said.count("error:")) == (2, 1)
    assert "does not answer" in said
    assert "secret" not in said + printed.out + printed.err
    files = [path for path in Path("runs/tiny").rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not any(b"secret" in path.read_bytes() for path in files)
    with serving(tmp_path, port) as uri:
        for _ in range(2):
            code, said = sync()
            assert (code, said) == (0, f"Delivered {1 + CYCLES} runs with {CYCLES * ROUNDS} rounds to {uri}")
            assert recorded(uri) == everything()
            assert runs(uri) == 1 + CYCLES
        client = MlflowClient(tracking_uri=uri)
        (experiment,) = (e for e in client.search_experiments() if e.name == "tiny")
        (parent,) = client.search_runs([experiment.experiment_id], "tags.`lt_ray.arm` IS NULL AND params.seeds = '2'")
        names = {item.path for item in client.list_artifacts(parent.info.run_id)}
        report = {"report.html", "report.md", "tables", "curves", "settings"}
        assert names == {"rounds.csv", "sweep.json"} | report
    other = database(tmp_path / "other.db")
    code, said = sync("--tracking-uri", other)
    assert code == 0, said
    assert recorded(other) == everything()


@pytest.mark.slow
def test_a_server_that_stops_in_mid_sweep_holds_everything_once(tmp_path, capfd):
    """A server stopped while rounds arrive and started again before the end holds every metric once."""
    port = free_port()
    first, second = serving(tmp_path, port), serving(tmp_path, port)
    ended = threading.Event()

    def stop_and_start(uri: str) -> None:
        while not any((tmp_path / "runs/tiny/rounds").glob("*/manifest.json")):
            time.sleep(0.02)
        first.__exit__(None, None, None)
        time.sleep(1)
        second.__enter__()
        ended.set()

    uri = first.__enter__()
    restarting = threading.Thread(target=stop_and_start, args=(uri,))
    restarting.start()
    code = sweep(uri)
    restarting.join()
    try:
        assert ended.is_set()
        assert code == 0
        assert capfd.readouterr().err.count("warning") <= 1
        assert sync()[0] == 0
        assert recorded(uri) == everything()
        assert runs(uri) == 1 + CYCLES
    finally:
        second.__exit__(None, None, None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unasked", "lost"])
def test_answers_500_lose_nothing_and_double_nothing(kind, tmp_path, capfd):
    """With every seventh answer a 500, whether the server has done what it was asked or not, all is held once."""
    with (
        serving(tmp_path, free_port()) as server,
        failing_between(server, lambda count: kind if count % 7 == 3 and count < 120 else "") as (uri, given),
    ):
        assert sweep(uri) == 0
        assert sync()[0] == 0
        assert given.count(500) > 10
        assert recorded(server) == everything()
        assert runs(server) == 1 + CYCLES
    assert capfd.readouterr().err.count("warning") <= 1


KILLED = """
import os, signal, sys
from pathlib import Path
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tracking.records import Record
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker
directory = SweepDirectory(Path(sys.argv[2]))
record = Record(directory)
tracker = Tracker(Target(sys.argv[1], record.parent.name, directory.read()["id"]), record.parent, warn=lambda _: None)
for event, _ in zip(record.events(), range(8)):
    tracker.put(event)
    print(type(event).__name__, flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.slow
@pytest.mark.parametrize("alive", [False, True])
def test_what_a_killed_process_did_not_deliver_is_delivered_once(alive, tmp_path):
    """Killed with -9 while it delivers, or waits for a dead server: the next run of the command delivers all, once."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    assert sweep("none") == 0
    (tmp_path / "killed.py").write_text(KILLED)
    with serving(tmp_path, port) if alive else nullcontext():
        process = Process([str(tmp_path / "killed.py"), uri, str(tmp_path / "runs/tiny")], tmp_path / "told.log")
        process.wait_until_stopped()
        assert "RoundDone" in process.told
        process.kill()
        process.wait()
        if alive:
            assert sweep(uri) == 0
            assert recorded(uri) == everything()
    with serving(tmp_path, port):
        assert sweep(uri) == 0
        assert recorded(uri) == everything()
        assert runs(uri) == 1 + CYCLES


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "but got ''"),
        ("foo://bar", "must be an MLflow server"),
        ("./mydir", "A folder cannot hold the records"),
        ("space.yaml", "must be an MLflow server"),
        ("file:///tmp", "A folder cannot hold the records"),
        ("http://", "must be an MLflow server"),
        ("http://host:port", "must be an MLflow server"),
        ("sqlite:///space.yaml", "holds something else"),
        ("sqlite:///none/mlflow.db", "has no folder to be in"),
        ("sqlite:////", "is a folder"),
    ],
)
def test_a_uri_that_can_never_work_is_refused_before_anything_starts(uri, said, capfd):
    """A malformed tracking URI is one error and exit code 2, and nothing is written."""
    assert sweep(uri) == 2
    printed = " ".join(capfd.readouterr().err.split())
    assert printed.count("error:") == 1
    assert said in printed
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b"You are not authenticated."), (403, b""), (407, b"no"), (403, b'{"detail": "Forbidden"}')],
)
def test_a_server_that_refuses_access_is_told_before_training(status, body, capfd):
    """A proxy that wants another password is one error that names the way out, exit code 2, and no sweep is begun."""
    with failing_between("", lambda _: (status, body)) as (uri, given):
        assert sweep(uri.replace("//", "//user:secret@")) == 2
        assert given == [status]
        printed = " ".join(capfd.readouterr().err.split())
        assert printed.startswith(f"error: `--tracking-uri {uri}` must take the sweep's record, but access is refused")
        assert "or `--tracking-uri none`" in printed
        assert "secret" not in printed
        assert not Path("runs/tiny").exists()
        assert sweep(uri, "--plan") == 0
        assert given == [status]


@pytest.mark.parametrize("uri", ["postgresql+nosuch://user:secret@127.0.0.1/x", "mysql+aiomysql://127.0.0.1/x"])
def test_a_database_without_a_driver_is_told_before_training(uri, capfd):
    """A database whose driver is unknown, or not installed, is one error and exit code 2."""
    assert sweep(uri) == 2
    printed = capfd.readouterr().err
    assert "needs a driver of its database" in printed
    assert "secret" not in printed
    assert not Path("runs/tiny").exists()


@pytest.mark.parametrize(("status", "body"), [(500, b"Forbidden"), (502, b""), (404, b"no such page")])
def test_a_server_that_is_away_is_no_error(status, body):
    """Behind a proxy whose server is down, or with nothing listening, the sweep may begin."""
    with failing_between("", lambda _: (status, body)) as (uri, given):
        check_access(uri, "tiny")
        assert given == [status]
    check_access(uri, "tiny")


@pytest.mark.slow
def test_the_end_says_why_the_record_is_not_whole(capfd):
    """With a password that is refused once the sweep runs, the sweep ends with 0, and its last line has the reason."""
    unknown = (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no experiment"}')
    with failing_between("", lambda count: (401, b"expired") if count else unknown) as (uri, _):
        assert sweep(uri) == 0
        *_, said, why = capfd.readouterr().out.splitlines()
        assert "lt-ray sync tiny --storage runs" in said
        assert "MLflow was not told everything" in said
        assert why.split("(")[0].strip() == f"MLflow at {uri} refuses access"
        assert "error code 401" in why
        code, printed = sync()
        assert code == 2
        assert "refuses access" in printed


def starts(uri: str) -> list[tuple[float, float, float]]:
    """Of each cycle's run, in the order in which the cycles ran: its start, and when its first own round and its last
    one were finished [ms]."""
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = (e for e in client.search_experiments() if e.name == "tiny")
    began = {
        run.data.tags[CYCLE_TAG]: run.info.start_time
        for run in client.search_runs([experiment.experiment_id])
        if CYCLE_TAG in run.data.tags
    }
    found = []
    for _, cycle in Record(SweepDirectory(Path("runs/tiny"))).cycles:
        own = sorted(1000 * result.finished_at for result in cycle.results if result.source == "computed")
        found.append((own[0], own[-1], began[cycle.id]))
    return [(start, first, last) for first, last, start in sorted(found)]


def test_a_cycle_starts_with_its_first_trial(tmp_path):
    """One at a time, each cycle's run starts after all rounds of the cycle before and before its own first one, told
    while it ran or from the store; a command that goes on, and a later `lt-ray sync`, move no start."""
    uri, later = database(tmp_path / "live.db"), database(tmp_path / "later.db")
    assert sweep(uri) == 0
    assert sync("--tracking-uri", later)[0] == 0
    for held in (uri, later):
        found = starts(held)
        assert len(found) == CYCLES
        ended = 0.0
        for start, first, last in found:
            assert ended - 1 <= start <= first  # whole milliseconds
            ended = last
    before = starts(uri)
    assert sweep(uri) == 0
    assert sync("--tracking-uri", uri)[0] == 0
    assert starts(uri) == before


def test_sync_refuses_what_it_cannot_deliver(tmp_path):
    """A sweep that is not there and a record that goes nowhere are one error, exit code 2."""
    code, said = sync()
    assert (code, said.count("error:")) == (2, 1)
    assert sweep("none") == 0
    code, said = sync("--tracking-uri", "none")
    assert (code, said.count("error:")) == (2, 1)
    with SweepDirectory(Path("runs/tiny")).driving():
        code, said = sync("--tracking-uri", f"sqlite:///{tmp_path}/x.db")
    assert code == 2
    assert "is being run by another process" in said
