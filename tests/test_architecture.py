"""Imports point down, the core needs neither ray nor mlflow, and the files say what they must."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "lt_ray").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere."""
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


def test_ray_and_mlflow_stay_in_their_files():
    """`ray` is imported in four files of driver/ alone, `mlflow` in three of tracking/."""
    assert len(MODULES) > 30
    users = {
        package: {str(path.relative_to(ROOT / "lt_ray")) for path in MODULES if package in imported(path)}
        for package in ("ray", "mlflow")
    }
    assert users == {
        "ray": {"driver/cluster.py", "driver/ray_processes.py", "driver/trainable.py", "driver/tuner.py"},
        "mlflow": {"tracking/reading.py", "tracking/runs.py", "tracking/server.py"},
    }


def test_layers():
    """import-linter's contracts in pyproject.toml hold."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


def test_the_core_runs_without_ray_and_mlflow():
    """With both made impossible to import, a toy cycle runs to its end."""
    program = """
import sys, tempfile, pathlib
sys.modules["ray"] = sys.modules["mlflow"] = None
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.tasks import registry
import lt_ray.sweep.directory, lt_ray.sweep.retention
task = Toy(train=60, validation=20, test=20)
cycle = Cycle(task=task, model=Cnn(embedding=4, filters=2), training=Training(epochs=1), schedule=(Magnitude(),))
data, _ = registry.load(task, 100)
with tempfile.TemporaryDirectory() as root:
    print(len(list(run_cycle(cycle, data, RoundStore(pathlib.Path(root))))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4"]


def test_nothing_is_unpickled():
    """No module of lt_ray names pickle, torch.load or torch.save."""
    for path in MODULES:
        text = path.read_text()
        assert "pickle" not in imported(path)
        assert "torch.load(" not in text.replace("safetensors.torch.load(", "")
        assert "torch.save(" not in text.replace("safetensors.torch.save(", "")
