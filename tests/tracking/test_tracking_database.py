"""The default database: a kill while MLflow makes it leaves none, never half of one."""

from pathlib import Path

import pytest
from forking import Moment, Process

from lt_ray.tracking.events import Ended, Opened
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker

PARENT = Opened(cycle=None, name="a sweep", params={"samples": 2}, tags={}, at_ms=0)
RECORDER = """
import sys
from lt_ray.tracking.events import Ended, Opened
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker
parent = Opened(cycle=None, name="a sweep", params={"samples": 2}, tags={}, at_ms=0)
tracker = Tracker(Target(sys.argv[1], "tickets", "s1"), parent)
tracker.put(Ended(cycle=None, status="FINISHED", at_ms=1))
tracker.close()
"""
A_STEP = "alembic.runtime.migration:HeadMaintainer.update_to_step"
"""One of the some fifty in which MLflow makes its tables"""
MOMENTS = [Moment("mlflow.store.db.utils:_initialize_tables"), Moment(A_STEP, 2), Moment(A_STEP, 25), Moment("os:link")]


@pytest.mark.slow
def test_a_kill_while_the_database_is_made_leaves_none_or_a_whole_one(tmp_path: Path):
    """Killed before, while and after the tables are made, the next record finds a database it can use."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "record.py").write_text(RECORDER)
    for moment in MOMENTS:
        process = Process([str(tmp_path / "record.py"), uri], tmp_path / "told.log", [moment])
        assert process.wait() == -9, f"{moment} did not come: {process.told}"
        assert not (tmp_path / "mlflow.db").exists()
    assert len(list(tmp_path.glob(".mlflow.db.*"))) >= len(MOMENTS) - 1, "it was killed while a database was made"
    warned: list[str] = []
    tracker = Tracker(Target(uri, "tickets", "s1"), PARENT, warn=warned.append)
    tracker.put(Ended(cycle=None, status="FINISHED", at_ms=1))
    assert tracker.close()
    assert warned == []
    assert (tmp_path / "mlflow.db").exists()
