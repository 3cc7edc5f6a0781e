"""Real MLflow servers and databases for tests."""

import functools
import os
import runpy
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from forking import IMPORTER


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@functools.cache
def _made() -> Path:
    """An empty database of MLflow, made once: its tables take seconds."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = Path(tempfile.mkdtemp(prefix="lt_ray_test_"))
    SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", str(folder))
    return folder / "mlflow.db"


def database(path: Path) -> str:
    """The URI of an empty database of MLflow, which is there when this returns."""
    shutil.copy(_made(), path)
    return f"sqlite:///{path}"


@contextmanager
def serving(folder: Path, port: int) -> Iterator[str]:
    """A real `mlflow server`, in a process group of its own, that answers when this yields."""
    if not (folder / "mlflow.db").exists():
        database(folder / "mlflow.db")
    process = IMPORTER.Process(target=_serve, args=(folder, port))
    process.start()
    assert process.pid is not None
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert process.exitcode is None, "the server ended before it answered"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.join(30)
        assert process.exitcode is not None, "the server does not end"


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _serve(folder: Path, port: int) -> None:
    """`mlflow server` in this process: it would start another one, whose imports take longer than a test."""
    import mlflow.server

    def served(command: Sequence[str], *, extra_env: Mapping[str, str], **_: object) -> None:
        os.environ.update(extra_env)
        sys.argv = list(command[2:])
        assert command[1:3] == ["-m", "uvicorn"]
        runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)

    os.setsid()
    os.chdir(folder)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    mlflow.server._exec_cmd = served
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    from mlflow.cli import cli

    cli(words)
