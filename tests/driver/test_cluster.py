"""Joining a cluster: a refused token is one clear error before anything is written."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).parent / "ray")


def home_with_token(path: Path) -> dict[str, str]:
    """Environment of a user whose token is nobody else's."""
    path.mkdir()
    environment = os.environ | {"HOME": str(path), "RAY_AUTH_MODE": "token"}
    subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True, timeout=60)
    return environment


@contextlib.contextmanager
def cluster(log: Path, environment: dict[str, str]):
    """A Ray cluster that was started with an environment; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = tempfile.mkdtemp(prefix="lt_ray_test_")  # sockets below it must have short names
    words = [RAY, "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false"]
    words += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={temporary}"]
    with log.open("w") as file:
        head = subprocess.Popen(words, env=environment, stdout=file, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 90
    while "--block" not in log.read_text():
        assert head.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(timeout=60)
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture
def guarded_cluster(tmp_path):
    """A Ray cluster that asks for a token: (its address, the environment of the user who has the token)."""
    owner = home_with_token(tmp_path / "owner")
    with cluster(tmp_path / "head.log", owner) as address:
        yield address, owner


def sweep(storage: Path, environment: dict[str, str], address: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "sweeps/imdb_lt.py", "--toy", "--rounds", "1", "--set", "training.lr=0.005"]
    words += ["--set", "model.dropout=0.3", "--set", "training.epochs=1", "--max-concurrent", "1"]
    return subprocess.run(
        [*words, "--storage", str(storage), "--address", address, "--tracking-uri", "none"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_a_refused_token_is_one_error_and_the_right_one_joins(guarded_cluster, tmp_path):
    """With another token and with none: exit code 2, one line that says what to set, nothing written; else 0."""
    address, owner = guarded_cluster
    stranger = home_with_token(tmp_path / "stranger")
    tokenless = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    tokenless["HOME"] = str(tmp_path / "nobody")
    for environment in (stranger, tokenless):
        refused = sweep(tmp_path / "runs", environment, address)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        (line,) = refused.stderr.strip().splitlines()
        assert line.startswith(f"error: `--address {address}`: the cluster refuses this shell's token")
        assert "RAY_AUTH_MODE=token" in line
        assert not (tmp_path / "runs").exists()
    joined = sweep(tmp_path / "runs", owner, address)
    assert joined.returncode == 0, joined.stdout + joined.stderr


def test_a_token_for_a_cluster_without_is_one_error_before_anything_runs(tmp_path):
    """A shell that has a token, and a cluster that has none: 2 and one line that says what to set, nothing written."""
    owner = home_with_token(tmp_path / "owner")
    with cluster(tmp_path / "head.log", owner | {"RAY_AUTH_MODE": "disabled"}) as address:
        guessed = {name: value for name, value in owner.items() if name != "RAY_AUTH_MODE"}
        refused = sweep(tmp_path / "runs", guessed, address)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        (line,) = refused.stderr.strip().splitlines()
        assert "RAY_AUTH_MODE=disabled" in line
        assert not (tmp_path / "runs" / "imdb_lt-toy").exists()
        joined = sweep(tmp_path / "runs", guessed | {"RAY_AUTH_MODE": "disabled"}, address)
        assert joined.returncode == 0, joined.stdout + joined.stderr
