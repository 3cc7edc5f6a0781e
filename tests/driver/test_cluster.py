"""Joining a cluster: a refused token is one clear error before anything is written."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from clusters import RAY, cluster
from forking import ROOT

pytestmark = pytest.mark.slow


def home_with_token(path: Path) -> dict[str, str]:
    """Environment of a user whose token is nobody else's."""
    path.mkdir()
    environment = os.environ | {"HOME": str(path), "RAY_AUTH_MODE": "token"}
    subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True, timeout=60)
    return environment


@pytest.fixture
def guarded_cluster(tmp_path):
    """A Ray cluster that asks for a token: (its address, the environment of the user who has the token)."""
    owner = home_with_token(tmp_path / "owner")
    with cluster(tmp_path / "head.log", owner) as address:
        yield address, owner


@pytest.fixture
def sweep():
    """A function that starts a sweep of one small cycle, in a process that imports everything itself: Ray reads the
    environment then. None outlives the test."""
    with contextlib.ExitStack() as started:

        def start(storage: Path, environment: dict[str, str], address: str) -> subprocess.Popen[str]:
            words = [sys.executable, "sweeps/imdb_lt.py", "--toy", "--rounds", "1", "--set", "training.lr=0.005"]
            words += ["--set", "model.dropout=0.3", "--set", "training.epochs=1", "--set", "task.train=100"]
            words += ["--set", "magnitude.restart=rewind", "--set", "magnitude.rewind_epoch=0", "--max-concurrent", "1"]
            process = subprocess.Popen(
                [*words, "--storage", str(storage), "--address", address, "--tracking-uri", "none"],
                cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def assert_joins(sweep: subprocess.Popen[str]) -> None:
    out, err = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, out + err


def refusal(sweep: subprocess.Popen[str]) -> str:
    """The one line with which a sweep ends that a cluster refuses."""
    out, err = sweep.communicate(timeout=300)
    assert sweep.returncode == 2, out + err
    (line,) = err.strip().splitlines()
    return line


def test_a_refused_token_is_one_error_and_the_right_one_joins(guarded_cluster, sweep, tmp_path):
    """With another token and with none: exit code 2, one line that says what to set, nothing written; else 0."""
    address, owner = guarded_cluster
    stranger = home_with_token(tmp_path / "stranger")
    tokenless = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    tokenless["HOME"] = str(tmp_path / "nobody")
    for refused in [sweep(tmp_path / "runs", environment, address) for environment in (stranger, tokenless)]:
        line = refusal(refused)
        assert line.startswith(f"error: `--address {address}`: the cluster refuses this shell's token")
        assert "RAY_AUTH_MODE=token" in line
    assert not (tmp_path / "runs").exists()
    assert_joins(sweep(tmp_path / "runs", owner, address))


def test_a_token_for_a_cluster_without_is_one_error_before_anything_runs(sweep, tmp_path):
    """A shell that has a token, and a cluster that has none: 2 and one line that says what to set, nothing written."""
    owner = home_with_token(tmp_path / "owner")
    with cluster(tmp_path / "head.log", owner | {"RAY_AUTH_MODE": "disabled"}) as address:
        guessed = {name: value for name, value in owner.items() if name != "RAY_AUTH_MODE"}
        refused = sweep(tmp_path / "refused", guessed, address)  # it waits for an answer, a minute long
        assert_joins(sweep(tmp_path / "runs", guessed | {"RAY_AUTH_MODE": "disabled"}, address))
        assert "RAY_AUTH_MODE=disabled" in refusal(refused)
        assert not (tmp_path / "refused" / "imdb_lt-toy").exists()
