"""The default database: a kill while MLflow makes it leaves none, never half of one."""

import subprocess
import sys
from pathlib import Path

import pytest

from lt_ray.tracking.events import Closed, Opened
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker

PARENT = Opened(cycle=None, name="a sweep", params={"samples": 2}, tags={}, at_ms=0)
RECORDER = """
import sys
from lt_ray.tracking.events import Closed, Opened
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker
import mlflow.store.tracking.sqlalchemy_store  # else the delay would measure imports
print("ready", flush=True)
parent = Opened(cycle=None, name="a sweep", params={"samples": 2}, tags={}, at_ms=0)
tracker = Tracker(Target(sys.argv[1], "tickets", "s1"), parent)
tracker.put(Closed(status="FINISHED", at_ms=1))
tracker.close()
"""


def killed_recorder(uri: str, after_s: float) -> None:
    """A process that begins a record in `uri` and is killed with -9 `after_s` later."""
    process = subprocess.Popen([sys.executable, "-c", RECORDER, uri], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.2, 0.6, 1.2])
def test_a_kill_while_the_database_is_made_leaves_none_or_a_whole_one(after_s: float, tmp_path: Path):
    """Killed at any moment of making the tables, the next record finds a database it can use."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    killed_recorder(uri, after_s)
    warned: list[str] = []
    tracker = Tracker(Target(uri, "tickets", "s1"), PARENT, warn=warned.append)
    tracker.put(Closed(status="FINISHED", at_ms=1))
    assert tracker.close()
    assert warned == []
    assert (tmp_path / "mlflow.db").exists()
