"""Where and how many trials run, and what a damaged plan costs."""

import json
import os
import shlex
import sys
import tempfile

import pytest

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.driver.cluster import _SOCKET_LENGTH, _private_directory
from lt_ray.driver.resources import Resources, describe_resources
from lt_ray.sweep.directory import SweepDirectory

TINY = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=1, batch_size=30),
    schedule=(Magnitude(),),
)


@pytest.mark.parametrize(
    ("gpus", "cpus", "nodes", "at_once"),
    [
        (0.4, 1, [(2, 16)], 4),  # two on each GPU, and a fifth on none
        (0.4, 1, [(1, 16), (1, 1)], 3),
        (0.25, 1, [(2, 16)], 8),
        (0, 2, [(0, 3), (0, 3)], 2),
        (2, 1, [(3, 16), (1, 16)], 1),
        (0.1, 0.1, [(1, 1)], 10),
    ],
)
def test_trials_at_once_are_counted_by_gpu_and_node(gpus, cpus, nodes, at_once):
    """No trial is spread over two shared GPUs or two nodes."""
    resources = Resources(gpus_per_trial=gpus, cpus_per_trial=cpus)
    told = describe_resources(resources, [{"GPU": gpu, "CPU": cpu} for gpu, cpu in nodes])
    assert told.split(" at once")[0] == str(at_once)


def test_a_long_tmpdir_leaves_room_for_sockets(tmp_path, monkeypatch):
    """Where TMPDIR is too long for Ray's sockets, Ray's files go into a shorter directory."""
    long = tmp_path / ("d" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    private = _private_directory()
    os.rmdir(private)
    assert len(private) <= _SOCKET_LENGTH


def test_damaged_points_of_a_search_are_asked_again(tmp_path, capsys):
    """Whichever cycle's file of an adaptive search is damaged, the same command asks the same points, writes the file
    again, and computes no round."""
    (tmp_path / "space.yaml").write_text("training.lr: {log_uniform: [0.001, 0.1]}\n")
    words = ["--local", "--storage", str(tmp_path / "runs"), "--tracking-uri", "none", "--search", "optuna"]
    words += ["--samples", "4", "--delay", "2"]

    def run() -> str:
        with pytest.raises(SystemExit) as ended:
            main(name="tiny", cycle=TINY, space=tmp_path / "space.yaml", argv=words)
        assert ended.value.code == 0
        return capsys.readouterr().err

    run()
    sweep = tmp_path / "runs" / "tiny"
    files = sorted((sweep / "cycles").glob("*.json"), key=lambda path: json.loads(path.read_text())["order"])
    rounds = {path: path.stat().st_mtime_ns for path in (sweep / "rounds").rglob("manifest.json")}
    assert len(rounds) == 8
    whole = {path: path.read_bytes() for path in files}
    assert len(whole) == 4
    for damaged in (files[:1], files[2:3], files[1:]):
        for path in damaged:
            path.write_bytes(b"{")
        assert run().count("was damaged") == len(damaged)
        assert {path: path.read_bytes() for path in (sweep / "cycles").glob("*.json")} == whole
        assert {path: path.stat().st_mtime_ns for path in (sweep / "rounds").rglob("manifest.json")} == rounds


def test_a_damaged_plan_is_written_anew(tmp_path, monkeypatch, capsys):
    """The same command writes a damaged cycle's file again, says so, and computes nothing; what it prints can be
    pasted, though the storage has a blank in its name."""
    storage = tmp_path / "my runs"
    words = ["--local", "--storage", str(storage), "--tracking-uri", "none"]
    monkeypatch.setattr(sys, "argv", ["tiny.py", *words])

    def run() -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(name="tiny", cycle=TINY, argv=words)
        assert ended.value.code == 0
        return capsys.readouterr()

    run()
    (path,) = (storage / "tiny" / "cycles").glob("*.json")
    whole = path.read_bytes()
    for damaged in (b"", b"{}", whole[:100]):
        path.write_bytes(damaged)
        out, err = run()
        assert path.read_bytes() == whole
        assert "was damaged: it is written anew" in " ".join(err.split())
        assert "Nothing to compute" in out
    (command,) = (line.removeprefix("status  ") for line in out.splitlines() if line.startswith("status  "))
    assert shlex.split(command) == ["lt-ray", "status", "tiny", "--storage", str(storage)]
    assert len(list(SweepDirectory(storage / "tiny").cycles())) == 1
    assert json.loads(whole)["order"] == 0
