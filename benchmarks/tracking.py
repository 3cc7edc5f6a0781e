"""How long MLflow holds up a sweep: time in the tracker's calls for each result, with the server up, dead and failing.

The bound is 1 ms a result, whatever the server does. A result is a round with 10 epochs. `--minute` lets the server
answer 500 for a minute first, and then waits until everything was delivered.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.tracking.events import Ended, Opened, RoundDone
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker

CYCLES, ROUNDS, EPOCHS = 10, 21, 10
BETWEEN_S = 0.005
"""Between two results: some two hundred a second, more than any cluster gives"""
FAILING_S = 60


class Failing(BaseHTTPRequestHandler):
    """Answers 500, whatever it is asked."""

    def do_GET(self) -> None:
        """Answer 500."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PATCH = do_GET

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def result(cycle: str, number: int) -> tuple[RoundResult, list[EpochResult]]:
    """A round as a sweep gives it."""
    common = {"cycle": cycle, "seed": 0, "round": number, "train_s": 12.3, "eval_s": 0.4}
    common |= {"train_loss": 0.123456789, "train_accuracy": 0.9, "val_loss": 0.3, "val_accuracy": 0.88}
    epochs = [EpochResult(epoch=e, finished_at=1e9 + number * 100 + e, **common) for e in range(1, EPOCHS + 1)]
    own = {"parameters": 10**6, "restart_epoch": 0, "epochs": EPOCHS, "best_epoch": 7, "test_loss": 0.3}
    own |= {"test_accuracy": 0.89, "finished_at": 1e9 + number * 100 + 50, "key": "k" * 24, "sparsity": 0.5}
    own |= {"density": 0.5, "remaining": 500_000, "prunable": 10**6, "source": "computed"}
    return RoundResult(**common, **own), epochs


def blocked(uri: str, sweep: str, wait_s: float) -> tuple[list[float], float | None]:
    """Seconds in the tracker's calls, one figure a result; and after how long everything was delivered."""
    target = Target(uri, "benchmark", sweep)
    parent = Opened(cycle=None, name="benchmark", params={}, tags={}, at_ms=10**12)
    tracker = Tracker(target, parent, warn=lambda _: None)
    times = []
    started = time.perf_counter()
    for cycle in map(str, range(CYCLES)):
        params = {f"training.p{i}": i for i in range(30)}
        tracker.put(Opened(cycle=cycle, name=f"cycle {cycle}", params=params, tags={}, at_ms=10**12))
        for number in range(ROUNDS):
            given = result(cycle, number)
            time.sleep(BETWEEN_S)
            before = time.perf_counter()
            tracker.put(RoundDone(result=given[0], epochs=tuple(given[1]), epochs_a_round=EPOCHS))
            if number == ROUNDS - 1:
                tracker.put(Ended(cycle=cycle, status="FINISHED", reason="", at_ms=10**12))
            times.append(time.perf_counter() - before)
    tracker.put(Ended(cycle=None, status="FINISHED", at_ms=10**12))
    delivered = tracker.close(wait_s)
    return times, time.perf_counter() - started if delivered else None


def free_port() -> int:
    """A port nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A real `mlflow server` that answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.1)


def show(name: str, times: list[float], delivered_s: float | None) -> None:
    """Print one line."""
    ordered = sorted(1000 * value for value in times)
    said = f"delivered after {delivered_s:.0f} s" if delivered_s is not None else "left to `lt-ray sync`"
    print(
        f"{name:24} median {statistics.median(ordered):6.3f} ms   99 % {ordered[int(0.99 * len(ordered))]:6.3f} ms   "
        f"most {ordered[-1]:6.3f} ms   {said}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minute", action="store_true")
    minute = parser.parse_args().minute
    print(f"{CYCLES * ROUNDS} results; blocked in the driver's thread, a result (bound: 1 ms)")
    with tempfile.TemporaryDirectory() as folder:
        root, port = Path(folder), free_port()
        blocked(f"http://127.0.0.1:{port}", "warm-up", 0.1)
        show("server dead", *blocked(f"http://127.0.0.1:{port}", "dead", 1))
        failing = ThreadingHTTPServer(("127.0.0.1", port), Failing)
        threading.Thread(target=failing.serve_forever, daemon=True).start()
        show("server answers 500", *blocked(f"http://127.0.0.1:{port}", "failing", 1))
        servers = []

        def mend() -> None:
            time.sleep(FAILING_S)
            failing.shutdown()
            failing.server_close()
            servers.append(serve(root, port))

        mending = threading.Thread(target=mend)
        if minute:
            mending.start()
            show("500 for a minute", *blocked(f"http://127.0.0.1:{port}", "minute", 240))
            mending.join()
        else:
            failing.shutdown()
            failing.server_close()
            servers.append(serve(root, port))
        show("server up", *blocked(f"http://127.0.0.1:{port}", "up", 240))
        for server in servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


if __name__ == "__main__":
    main()
