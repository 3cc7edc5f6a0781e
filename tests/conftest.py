"""What holds for every test, and which files begin."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("busy", deadline=None)  # a law is none of how fast a machine is
settings.load_profile("busy")

TESTS = Path(__file__).parent
LONGEST = (
    "driver/test_block_sweep_kill.py",
    "driver/test_sweep_kill.py",
    "test_real_data.py",
    "driver/test_conditions_sweep.py",
    "driver/test_search_sweep.py",
    "driver/test_faults_on_ray.py",
    "tracking/test_sync.py",
    "rounds/test_block_rounds.py",
    "driver/test_plugin_sweep.py",
    "driver/test_cluster.py",
    "driver/test_local_kill.py",
    "tracking/test_mlflow_limits.py",
    "tracking/test_tracking.py",
    "report/test_html.py",
)
"""Files that begin: one at the end would leave the other processes idle"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    assert all(path.exists() for path in places)
    items.sort(key=lambda item: places.get(item.path, len(places)))
