"""IMDb, from a folder and from the hub's layout."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import datasets
import huggingface_hub.constants
import pandas as pd
import pytest

from lt_ray.cycle import Imdb
from lt_ray.errors import DataError
from lt_ray.tasks import imdb, registry

DATA = Path(os.environ.get("LT_RAY_DATA", Path(__file__).parents[2].parent / "shared" / "data"))

CARD = """---
configs:
- config_name: plain_text
  data_files:
  - split: train
    path: plain_text/train-*
  - split: test
    path: plain_text/test-*
  - split: unsupervised
    path: plain_text/unsupervised-*
dataset_info:
  config_name: plain_text
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': neg
          '1': pos
---
"""


@pytest.fixture(autouse=True)
def _own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has an empty cache, and a hub that nobody answers."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")


def rows(split: str, n: int, labels: tuple[int, ...] = (0, 1)) -> pd.DataFrame:
    return pd.DataFrame(
        {"text": [f"{split} {i}" for i in range(n)], "label": [labels[i % len(labels)] for i in range(n)]}
    )


def files(directory: Path, **sizes: int) -> Path:
    directory.mkdir(parents=True)
    for split, n in sizes.items():
        rows(split, n).to_parquet(directory / f"{split}.parquet")
    return directory


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A folder laid out as the hub keeps IMDb, its unlabelled split among it."""
    directory = tmp_path / "hub" / "imdb"
    (directory / "plain_text").mkdir(parents=True)
    (directory / "README.md").write_text(CARD)
    for split, labels in (("train", (0, 1)), ("test", (0, 1)), ("unsupervised", (-1,))):
        rows(split, 20, labels).to_parquet(directory / "plain_text" / f"{split}-00000-of-00001.parquet")
    return directory


def test_the_hubs_layout_is_read(hub: Path) -> None:
    """A folder in the hub's layout gives its train and test with the card's class names, and no unlabelled text."""
    corpus = imdb.corpus(Imdb(dataset=str(hub), sizes=(24, 10, 6)), None)
    texts = corpus.train.texts + corpus.validation.texts + corpus.test.texts
    assert sorted(texts) == sorted(f"{split} {i}" for split in ("train", "test") for i in range(20))
    assert corpus.classes == ("neg", "pos")
    for split in (corpus.train, corpus.validation, corpus.test):
        assert [int(text.split()[1]) % 2 for text in split.texts] == split.labels.tolist()


def cache_as_hub(hub: Path, revision: str) -> None:
    """Leave `hub` in the cache as a load of `stanfordnlp/imdb` at `revision` leaves it."""
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    datasets.load_dataset(str(hub), split="train", cache_dir=str(cache / "made"))
    (prepared,) = (path.parent for path in (cache / "made").rglob("dataset_info.json"))
    target = cache / "stanfordnlp___imdb" / "plain_text" / "0.0.0" / revision
    shutil.copytree(prepared, target)


def test_the_cache_is_enough(hub: Path) -> None:
    """Without a network, the task's revision is read from the cache."""
    task = Imdb(sizes=(24, 10, 6))
    cache_as_hub(hub, task.revision)
    assert len(imdb.corpus(task, None).train) == 24
    assert not datasets.config.HF_HUB_OFFLINE


def test_another_revision_in_the_cache_is_not_taken(hub: Path) -> None:
    """Without a network, another revision than the task's is no substitute."""
    cache_as_hub(hub, "0" * 40)
    with pytest.raises(DataError, match="within reach"):
        imdb.corpus(Imdb(sizes=(24, 10, 6)), None)


@pytest.mark.parametrize("dataset", ["stanfordnlp/imdb", "nobody", "a/b/c", "/nowhere"])
def test_no_hub_is_one_error_with_two_ways_out(dataset: str) -> None:
    """A data set out of reach is soon one DataError of two lines, with both ways out."""
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        imdb.corpus(Imdb(dataset=dataset), None)
    message = str(caught.value)
    assert f"`{dataset}`" in message
    assert "--data-dir DIR with DIR/imdb/train.parquet and DIR/imdb/test.parquet" in message
    assert "--toy" in message
    assert message.count("\n") == 1
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("nested", [True, False])
def test_pooled_sizes(tmp_path: Path, nested: bool) -> None:
    """The pooled split has the task's sizes, disjoint and out of all official splits, by its seed."""
    files(tmp_path / "data" / "imdb" if nested else tmp_path / "data", train=20, test=20, validation=10)
    first, again, other = (
        imdb.corpus(Imdb(sizes=(25, 15, 10), split_seed=seed), tmp_path / "data") for seed in (0, 0, 1)
    )
    assert [len(split) for split in (first.train, first.validation, first.test)] == [25, 15, 10]
    assert len({*first.train.texts, *first.validation.texts, *first.test.texts}) == 50
    assert {text.split()[0] for text in first.test.texts} == {"train", "test", "validation"}
    assert first.digest == again.digest != other.digest


def test_a_small_pool_is_named(tmp_path: Path) -> None:
    """A pool smaller than the sizes says both numbers and the sizes that would do."""
    files(tmp_path / "data", train=20, test=20)
    with pytest.raises(DataError, match=r"sum=50000, documents=40.*--set task\.sizes=\[22,9,8\]"):
        imdb.corpus(Imdb(), tmp_path / "data")


def test_official_split(tmp_path: Path) -> None:
    """The official split has the official test, whole and in order; validation is a share of train, or its file."""
    task = Imdb(split="official", validation_share=0.25)
    cut = imdb.corpus(task, files(tmp_path / "cut", train=20, test=20))
    assert (len(cut.train), len(cut.validation)) == (15, 5)
    assert len({*cut.train.texts, *cut.validation.texts}) == 20
    named = imdb.corpus(task, files(tmp_path / "named", train=20, test=20, validation=7))
    assert named.train.texts == [f"train {i}" for i in range(20)]
    assert named.validation.texts == [f"validation {i}" for i in range(7)]
    assert cut.test.texts == named.test.texts == [f"test {i}" for i in range(20)]


def test_no_test_file_is_named(tmp_path: Path) -> None:
    """IMDb without a test file is a DataError: its test split is never cut from train."""
    with pytest.raises(DataError, match="`test`"):
        imdb.corpus(Imdb(), files(tmp_path / "data", train=20))


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "imdb").is_dir(), reason="no IMDb: name its folder's parent with LT_RAY_DATA")
def test_the_real_reviews() -> None:
    """IMDb's 50,000 reviews are pooled into 28,000/12,000/10,000, and 25,000 words make 25,002 rows (METHODS §2)."""
    data, directory = registry.load(Imdb(), 25_000, DATA)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [28_000, 12_000, 10_000]
    assert data.rows == 25_002
    assert data.outputs == 1
    assert directory is None
