"""Which files of a folder are which split."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from lt_ray.cycle.tasks import Folder, Imdb
from lt_ray.errors import DataError
from lt_ray.tasks import files, public


def write(path: Path, name: str, n: int = 20) -> None:
    frame = pd.DataFrame({"text": [f"{name} {i}" for i in range(n)], "label": [i % 2 for i in range(n)]})
    match path.name.partition(".")[2]:
        case "csv" | "csv.gz":
            frame.to_csv(path, index=False)
        case "parquet":
            frame.to_parquet(path)
        case _:
            frame.to_json(path, orient="records", lines=True)


@pytest.mark.parametrize("name", ["test.csv.gz", "test-00000-of-00001.csv", "test.ndjson", "Test.CSV"])
def test_a_test_file_of_any_known_name_is_the_test_split(tmp_path: Path, name: str) -> None:
    """A file that is named as the test split, compressed or as the hub's one shard, is read as it."""
    write(tmp_path / "train.csv", "train", 40)
    write(tmp_path / name.lower(), "test")
    (tmp_path / name.lower()).rename(tmp_path / name)
    assert files.corpus(Folder(), tmp_path).test.texts == [f"test {i}" for i in range(20)]


def test_shards_are_one_split_in_order(tmp_path: Path) -> None:
    """The hub's shards of a split are read in the order of their numbers, with or without its suffix of digits."""
    for shard in (11, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10):
        write(tmp_path / f"train-{shard:05}-of-00012.parquet", f"train {shard}", 4)
    write(tmp_path / "test-00000-of-00001-b42a775f407cee45.parquet", "test")
    for task, read in ((Folder(), files.corpus), (Imdb(split="official"), public.corpus)):
        corpus = read(task, tmp_path)  # type: ignore[operator]
        assert corpus.test.texts == [f"test {i}" for i in range(20)]
    splits = files.read(tmp_path).splits
    assert splits["train"].texts == [f"train {shard} {i}" for shard in range(12) for i in range(4)]
    assert splits["train"].labels.tolist() == [0, 1, 0, 1] * 12


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["train-00000-of-00003.csv", "train-00002-of-00003.csv"], ["all its shards", "no shard 1"]),
        (["train-00001-of-00002.csv"], ["all its shards", "no shard 0"]),
        (["train-00000-of-00001.csv", "train-00001-of-00001.csv"], ["all its shards", "there are more"]),
        (["train-00000-of-00001.csv", "train.csv"], ["one set of shards", "`train.csv`", "keep one"]),
        (["train-00000-of-00001.csv", "train-00000-of-00002.csv"], ["one set of shards", "keep one"]),
        (["train-00000-of-00001.csv", "train-00000-of-00001.jsonl"], ["one set of shards", "keep one"]),
        (["train.csv", "train.csv.gz"], ["one file", "`train.csv`, `train.csv.gz`", "keep one"]),
    ],
)
def test_a_split_in_part_or_twice_is_named(tmp_path: Path, names: list[str], parts: list[str]) -> None:
    """A missing shard, a shard too many and two sets of them are refused, with the files that are there."""
    for name in names:
        write(tmp_path / name, "train")
    with pytest.raises(DataError) as caught:
        files.corpus(Folder(), tmp_path)
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    "name",
    [
        "reviews_test.csv", "test_reviews.csv.gz", "testset.parquet", "ReviewsTest.csv", "test (1).csv", "eval.csv",
        "holdout.csv", "reviews-dev.jsonl", "test/", "validation/", "test.csv.zip", "test.txt", "test.xlsx",
        "test.feather", "dev.csv.bak", "test-1.csv",
    ],
)  # fmt: skip
def test_what_looks_like_a_split_is_never_passed_over(tmp_path: Path, name: str) -> None:
    """A file or folder whose name has a split's word and that is not read is refused by name, with the way out."""
    write(tmp_path / "train.csv", "train")
    path = tmp_path / name.rstrip("/")
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_bytes(gzip.compress(b"text,label\na,0\n") if name.endswith(".gz") else b"text,label\na,0\nb,1\n")
    with pytest.raises(DataError) as caught:
        files.corpus(Folder(), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "move it away" in message or "Did you mean" in message


@pytest.mark.parametrize("name", ["test-00000-of-00001.csv", "test.csv.gz", "reviews_test.csv", "dev.csv", "eval.csv"])
def test_a_lone_test_file_never_becomes_train(tmp_path: Path, name: str) -> None:
    """A folder whose only file is another split's has no train split."""
    write(tmp_path / name, "test")
    with pytest.raises(DataError, match=r"must be named `train`|must say its split alone"):
        files.corpus(Folder(), tmp_path)


@pytest.mark.parametrize("name", ["reviews.csv", "reviews_train.csv", "my_texts.csv.gz", "train-00000-of-00001.jsonl"])
def test_a_lone_file_of_any_other_name_is_train(tmp_path: Path, name: str) -> None:
    """A folder's only file may have any name but another split's; what is no table does not count."""
    write(tmp_path / name, "train", 40)
    for other in ("train.py", "test.log", "README.md", "train.sh"):
        (tmp_path / other).write_text("")
    corpus = files.corpus(Folder(), tmp_path)
    assert len(corpus.train) == 28
    assert not corpus.notes


def test_a_file_that_is_not_read_is_told(tmp_path: Path) -> None:
    """A table beside train whose name is no split's is left alone, and a note names it."""
    write(tmp_path / "train.csv", "train", 40)
    write(tmp_path / "unsupervised.csv", "more")
    (note,) = files.corpus(Folder(), tmp_path).notes
    assert note == f"{tmp_path}: `unsupervised.csv` is not read: it is named as no split."
