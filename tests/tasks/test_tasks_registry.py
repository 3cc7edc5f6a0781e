"""From a task to encoded data, and the cache between."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lt_ray.cycle import Folder, Imdb, Task, Toy, YelpFull, YelpPolarity
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


OTHER = TOY.model_copy(update={"data_seed": 1})


def csv(directory: Path, words: str, classes: int = 2, n: int = 20) -> Path:
    """Write train and test of so many words that an embedding's rows say whose they are."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{words},{i % classes}\n" for i in range(n))
    for split in ("train", "test"):
        (directory / f"{split}.csv").write_text("text,label\n" + lines)
    return directory


def test_a_sources_train_words_are_the_vocabulary() -> None:
    """With a source, the task has its own documents in the source's words: the rows of an embedding are shared."""
    (own, _), (theirs, _) = registry.load(OTHER, 100), registry.load(TOY, 100)
    across, _ = registry.load(OTHER, 100, source=TOY)
    assert across.rows == theirs.rows
    assert across.digest not in (own.digest, theirs.digest)
    assert np.array_equal(across.train.labels, own.train.labels)
    expected = text.encode(registry.corpus(OTHER), 100, None, words_of=registry.corpus(TOY).train)
    assert across.digest == expected.digest
    assert registry.load(TOY, 100, source=TOY)[0].digest == theirs.digest, "one's own words are the usual ones"


def test_the_key_knows_the_source(tmp_path: Path) -> None:
    """Data in another source's words is kept elsewhere; the same source finds it again."""
    sources: list[Task | None] = [None, TOY, OTHER, TOY.model_copy(update={"train": 41})]
    directories = [registry.load(TOY, 100, cache=tmp_path, source=source)[1] for source in sources]
    assert len(set(directories)) == len(sources) == len(list(tmp_path.iterdir()))
    first, directory = registry.load(TOY, 100, cache=tmp_path, source=OTHER)
    assert directory == directories[2]
    assert first.digest == registry.load(TOY, 100, source=OTHER)[0].digest


def test_two_tasks_share_a_data_directory(tmp_path: Path) -> None:
    """Task and source are each read from their own folder; one of them may have its files in the directory itself."""
    csv(tmp_path / "imdb", "film plot cast")
    csv(tmp_path / "yelp", "soup", 5, 25)
    csv(tmp_path / "folder", "verse rhyme")
    for task in (YelpPolarity(), YelpFull(), Folder(), TOY):
        assert registry.load(task, 100, tmp_path, source=Imdb())[0].rows == 2 + 3
    assert registry.load(Imdb(), 100, tmp_path, source=YelpPolarity())[0].rows == 2 + 1
    assert registry.load(Imdb(), 100, tmp_path, source=Folder())[0].rows == 2 + 2
    csv(tmp_path, "one two three four five")
    assert registry.load(Imdb(), 100, tmp_path, source=Folder())[0].rows == 2 + 5
    assert registry.load(Folder(), 100, tmp_path, source=Imdb())[0].rows == 2 + 3
    data, _ = registry.load(TOY, 100, source=OTHER)
    assert data.rows > 50, "the built-in corpus needs no directory"


def test_two_tasks_never_read_one_set_of_files(tmp_path: Path) -> None:
    """Files in the data directory itself are one task's, not a task's and its source's at once."""
    csv(tmp_path, "film")
    with pytest.raises(DataError, match=r"their own files, but `yelp_polarity` and `imdb` both .* folder `imdb`"):
        registry.load(YelpPolarity(), 100, tmp_path, source=Imdb())
    split_anew = Imdb(split_seed=1)
    assert registry.load(Imdb(), 100, tmp_path, source=split_anew)[0].rows > 2


def test_a_broken_source_is_named_as_such(tmp_path: Path) -> None:
    """A message about the source names the source's keys."""
    csv(tmp_path / "imdb", "film")
    with pytest.raises(DataError, match=r"sum\(source\.sizes\).*--set source\.sizes="):
        registry.load(TOY, 100, tmp_path, source=Imdb(sizes=(30, 20, 10)))
    with pytest.raises(DataError, match="source `folder` must have a data directory"):
        registry.load(TOY, 100, source=Folder())
