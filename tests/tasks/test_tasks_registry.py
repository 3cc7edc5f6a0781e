"""From a task to encoded data, and the cache between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lt_ray.cycle import Folder, Toy
from lt_ray.errors import DataError
from lt_ray.tasks import registry, text

TOY = Toy(train=40, validation=20, test=20)
ROWS = "".join(f"film number {i},{i % 2}\n" for i in range(20))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("text,label\n" + ROWS)
    return tmp_path / "data"


def test_a_cached_task_is_not_encoded_again(tmp_path: Path) -> None:
    """The second load gives the same data from the same directory and writes nothing."""
    first, directory = registry.load(TOY, 100, cache=tmp_path)
    assert directory is not None
    os.utime(directory / text.TENSORS, (1, 1))
    second, again = registry.load(TOY, 100, cache=tmp_path)
    assert (second.digest, again) == (first.digest, directory)
    assert (directory / text.TENSORS).stat().st_mtime == 1
    assert text.load(directory).digest == registry.load(TOY, 100)[0].digest == first.digest


def test_the_key_is_all_that_makes_the_data(tmp_path: Path, data_dir: Path) -> None:
    """Another vocabulary, task field or text is kept elsewhere."""
    cache = tmp_path / "cache"
    directories = [
        registry.load(TOY, 100, cache=cache)[1],
        registry.load(TOY, 101, cache=cache)[1],
        registry.load(TOY.model_copy(update={"data_seed": 1}), 100, cache=cache)[1],
        registry.load(Folder(), 100, data_dir, cache)[1],
        registry.load(Folder(max_tokens=2), 100, data_dir, cache)[1],
    ]
    (data_dir / "train.csv").write_text("text,label\n" + ROWS.replace("number 7", "number 8"))
    directories.append(registry.load(Folder(), 100, data_dir, cache)[1])
    assert len(set(directories)) == len(directories) == len(list(cache.iterdir()))


def test_a_damaged_cache_is_encoded_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Damaged cached data gives a warning, and is replaced by the same data."""
    first, directory = registry.load(TOY, 100, cache=tmp_path)
    assert directory is not None
    os.truncate(directory / text.TENSORS, 1000)
    second, again = registry.load(TOY, 100, cache=tmp_path)
    assert (second.digest, again) == (first.digest, directory)
    assert caplog.text.count("encoded again") == 1
    registry.load(TOY, 100, cache=tmp_path)
    assert caplog.text.count("encoded again") == 1


def test_a_folder_must_be_named() -> None:
    """The task `folder` without a data directory is a DataError that says how to give one."""
    with pytest.raises(DataError, match="--data-dir"):
        registry.load(Folder(), 100)
