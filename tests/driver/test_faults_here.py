"""Failures and faults of a sweep in this process: what is written down, what the command says, and how it goes on."""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lt_ray.board.status import row
from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import TIMES
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.driver import faults
from lt_ray.driver import flow as driver
from lt_ray.rounds.run import run_cycle
from lt_ray.sweep.directory import SweepDirectory

TINY = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=300, filters=20, widths=(2,)),
    training=Training(epochs=1, batch_size=30),
    schedule=(Magnitude(),) * 2,
)
ROUNDS = 3 * 2


def swept(storage: Path, monkeypatch, capsys) -> tuple[int, str, str]:
    words = ["--local", "--seeds", "2", "--storage", str(storage), "--tracking-uri", "none"]
    monkeypatch.setattr(sys, "argv", ["tiny.py", *words])
    with pytest.raises(SystemExit) as ended:
        main(name="tiny", cycle=TINY, argv=words)
    return ended.value.code, *capsys.readouterr()


def rows(storage: Path) -> list[dict]:
    directory, known = SweepDirectory(storage / "tiny"), {}
    return [
        {name: value for name, value in row("tiny", cycle, result).items() if name not in {*TIMES, "source"}}
        for cycle in directory.cycles()
        for result in directory.results(cycle, known)
    ]


def breaks(monkeypatch, error: Exception, *, seed: int) -> list[int]:
    """Make the cycle of one seed raise after its first round; return a list that grows with every attempt."""
    attempts = []

    def broken(cycle, *args, **options):
        events = run_cycle(cycle, *args, **options)
        if cycle.seed != seed:
            yield from events
            return
        attempts.append(seed)
        yield next(events)
        yield next(events)
        raise error

    monkeypatch.setattr(driver, "run_cycle", broken)
    return attempts


@pytest.mark.parametrize("kind", [IndexError, KeyError, TypeError, AttributeError, AssertionError])
def test_any_error_of_a_cycles_own_is_its_failure(kind, tmp_path, monkeypatch, capsys):
    """It is tried once and told in one line, its traceback is in the log, and the other cycle is finished."""
    attempts = breaks(monkeypatch, kind("out of\nrange"), seed=1)
    code, out, err = swept(tmp_path, monkeypatch, capsys)
    assert code == 1
    assert attempts == [1]
    (line,) = [line for line in err.splitlines() if "failed" in line]
    assert f"failed: {kind.__name__}: " in line
    assert "traceback in" in line
    assert "Traceback" not in out + err
    assert "in broken" in (tmp_path / "tiny" / "faults.log").read_text()
    (failure,) = (tmp_path / "tiny" / "failures").glob("*.json")
    assert json.loads(failure.read_text())["reason"].startswith(f"{kind.__name__}: ")
    assert len(rows(tmp_path)) == 3 + 1


def test_a_failure_that_cannot_be_written_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    """Where the failure's file cannot be written, the sweep says so and goes on with the other cycle."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "failures").symlink_to("/proc/self")  # where nobody can make a file
    breaks(monkeypatch, IndexError("7"), seed=0)
    code, out, err = swept(tmp_path, monkeypatch, capsys)
    assert code == 1
    assert "could not be written down (" in err
    assert "Traceback" not in out + err
    assert len(rows(tmp_path)) == 3 + 1


def test_a_round_that_falls_again_and_again_is_left_unfinished(tmp_path, monkeypatch, capsys):
    """A round that meets a fault at every attempt is left after six, not failed; the rest is finished, and 75."""
    monkeypatch.setattr(faults, "_PAUSE_S", 0.01)
    with monkeypatch.context() as disturbed:
        attempts = breaks(disturbed, MemoryError(), seed=0)
        code, out, err = swept(tmp_path, disturbed, capsys)
    assert code == 75
    assert len(attempts) == faults.PATIENCE
    assert err.count("fell to a fault that is not its own (MemoryError)") == faults.PATIENCE
    assert "Unfinished: " in out
    assert not list((tmp_path / "tiny").glob("failures/*"))
    assert len(rows(tmp_path)) == 3 + 1
    assert swept(tmp_path, monkeypatch, capsys)[0] == 0
    assert len(rows(tmp_path)) == ROUNDS


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own: (where, a function that gives it another size [kB])."""
    where = tmp_path / "disk"
    where.mkdir()

    def sized(kilobytes: int) -> None:
        words = ["mount", "-o", f"remount,size={kilobytes}k", str(where)]
        subprocess.run(words, check=True, capture_output=True)

    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(where)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system cannot be mounted here, which needs root")
    yield where, sized
    subprocess.run(["umount", "-l", str(where)], check=True, capture_output=True)


def test_a_full_disk_is_no_failure_and_a_larger_one_goes_on(small_disk, tmp_path, monkeypatch, capsys):
    """A disk that is full in mid-sweep: 75 and the reason, no failed cycle; made larger, the same command gives the
    rows of an undisturbed run."""
    monkeypatch.setattr(faults, "_PAUSE_S", 0.01)
    where, sized = small_disk
    assert swept(tmp_path / "undisturbed", monkeypatch, capsys)[0] == 0
    sized(300)
    code, out, err = swept(where, monkeypatch, capsys)
    assert code == 75, out + err
    assert "No space left on device" in out + err
    assert "Traceback" not in out + err
    assert not list((where / "tiny").glob("failures/*"))
    there = len(rows(where))
    assert there < ROUNDS
    sized(40_000)
    code, out, err = swept(where, monkeypatch, capsys)
    assert code == 0, out + err
    assert rows(where) == rows(tmp_path / "undisturbed")


def test_a_full_disk_before_the_first_round_is_one_sentence(small_disk, monkeypatch, capsys):
    """Where not even a plan can be written, one line says why and the command ends with 75."""
    where, _ = small_disk
    with contextlib.suppress(OSError), (where / "ballast").open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    code, out, err = swept(where, monkeypatch, capsys)
    assert code == 75
    (line,) = err.strip().splitlines()
    assert "No space left on device" in line
    assert "Traceback" not in out + err
