"""The sweep on real reviews, as far as two cores can go in a minute or two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("LT_RAY_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "imdb").is_dir(), reason=f"no IMDb below {DATA}: set LT_RAY_DATA to the data sets' folder"
)
def test_two_epochs_of_the_dense_imdb_cnn_reach_the_logs_accuracy(tmp_path):
    """All 28,000/12,000/10,000 reviews, 2,620,801 parameters: test accuracy 0.88 or more (the logs: 0.889 after 10)."""
    words = [
        sys.executable, "sweeps/imdb_lt.py", "--local", "--data-dir", str(DATA), "--rounds", "0", "--tracking-uri",
        "none", "--set", "training.epochs=2", "--set", "training.lr=0.001", "--set", "model.dropout=0.5",
        "--set", "magnitude.rewind_epoch=0", "--set", "magnitude.restart=rewind", "--storage", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    words = [sys.executable, "-m", "lt_ray", "status", "imdb_lt", "--storage", str(tmp_path), "--json"]
    (row,) = map(json.loads, subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.splitlines())
    assert row["parameters"] == 2_620_801
    assert row["remaining"] == 2_620_701
    assert row["test_accuracy"] >= 0.88
