"""A user's own files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

from lt_ray.cycle.tasks import Folder
from lt_ray.errors import DataError
from lt_ray.tasks import files

ROWS: dict[str, Sequence[object]] = {
    "text": ['a "fine" film,\nreally', "NA", "dull", "bad"],
    "label": ["good", "good", "bad", "bad"],
}


def write(path: Path, rows: Mapping[str, Sequence[object]]) -> None:
    frame = pd.DataFrame(rows)
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".json":
            frame.to_json(path, orient="records")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl", ".json"])
def test_formats_are_equal(tmp_path: Path, suffix: str) -> None:
    """A split reads the same from every format: quotes, line breaks, the word NA, other columns beside."""
    write(tmp_path / f"train{suffix}", ROWS | {"stars": [1, 2, 3, None]})
    splits, classes, _ = files.read(tmp_path)
    assert splits["train"].texts == ROWS["text"]
    assert splits["train"].labels.tolist() == [1, 1, 0, 0]
    assert classes == ("bad", "good")


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev", "Validation"])
def test_validation_has_several_names(tmp_path: Path, name: str) -> None:
    """A file named validation, valid, val or dev is the validation split; formats may be mixed."""
    write(tmp_path / "train.csv", ROWS)
    write(tmp_path / f"{name}.jsonl", {"text": ["fine"], "label": ["good"]})
    splits, _, _ = files.read(tmp_path)
    assert splits["validation"].texts == ["fine"]
    assert splits["validation"].labels.tolist() == [1]


def test_whole_number_labels_are_sorted_by_value(tmp_path: Path) -> None:
    """Labels 2, 10, 1 are the classes 1, 2, 10, whether written as numbers, floats or digits."""
    write(tmp_path / "train.parquet", {"text": ["a", "b", "c"], "label": [2, 10, 1]})
    write(tmp_path / "test.jsonl", {"text": ["a", "b"], "label": [10.0, 1.0]})
    write(tmp_path / "val.csv", {"text": ["a"], "label": ["2"]})
    splits, classes, _ = files.read(tmp_path)
    assert classes == ("1", "2", "10")
    assert splits["train"].labels.tolist() == [1, 2, 0]
    assert splits["test"].labels.tolist() == [2, 0]
    assert splits["validation"].labels.tolist() == [1]


@pytest.mark.parametrize("labels", [[0, 2], ["bad", "good"]])
def test_labels_json_orders_the_classes(tmp_path: Path, labels: list[object]) -> None:
    """labels.json gives the classes and their order, for labels that are positions and for labels that are names."""
    (tmp_path / "labels.json").write_text('["bad", "middling", "good"]')
    write(tmp_path / "train.csv", {"text": ["a", "b"], "label": labels})
    splits, classes, _ = files.read(tmp_path)
    assert classes == ("bad", "middling", "good")
    assert splits["train"].labels.tolist() == [0, 2]


def many(n: int) -> dict[str, Sequence[object]]:
    return {"text": [f"text {i}" for i in range(n)], "label": [i % 2 for i in range(n)]}


def test_one_file_is_cut_in_three(tmp_path: Path) -> None:
    """A folder with one file of any name is cut into disjoint splits by the task's shares and seed."""
    write(tmp_path / "reviews.csv", many(40))
    corpora = [files.corpus(Folder(split_seed=seed), tmp_path) for seed in (0, 0, 1)]
    first = corpora[0]
    assert [len(split) for split in (first.train, first.validation, first.test)] == [28, 6, 6]
    every = first.train.texts + first.validation.texts + first.test.texts
    assert sorted(every) == sorted(str(text) for text in many(40)["text"])
    assert corpora[0].digest == corpora[1].digest != corpora[2].digest


def test_a_folders_cut_is_stratified(tmp_path: Path) -> None:
    """Each part of a folder's cut has the classes in train's proportions, also where test has a file of its own."""
    write(tmp_path / "train.csv", {"text": [f"text {i}" for i in range(40)], "label": [int(i < 10) for i in range(40)]})
    corpus = files.corpus(Folder(), tmp_path)
    parts = corpus.train, corpus.validation, corpus.test
    assert all(abs(int(part.labels.sum()) - len(part) / 4) <= 1 for part in parts)
    write(tmp_path / "test.csv", ROWS | {"label": [0, 1, 0, 1]})
    assert int(files.corpus(Folder(validation_share=0.2), tmp_path).validation.labels.sum()) == 2


def test_a_folder_of_its_own_is_second(tmp_path: Path) -> None:
    """The task `folder` reads the data directory, or the folder `folder` there where it holds no file itself."""
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "train.csv", many(40))
    (tmp_path / "labels.json").write_text("[]")
    assert files.place(tmp_path) == tmp_path / "folder"
    write(tmp_path / "reviews.csv", many(40))
    assert files.place(tmp_path) == tmp_path
    assert files.place(tmp_path / "folder") == tmp_path / "folder"
    assert files.place(tmp_path / "none") == tmp_path / "none"


def test_named_files_are_left_whole(tmp_path: Path) -> None:
    """Only the split without a file is cut from train."""
    write(tmp_path / "train.csv", many(40))
    write(tmp_path / "test.csv", ROWS | {"label": [0, 1, 0, 1]})
    corpus = files.corpus(Folder(validation_share=0.25), tmp_path)
    assert (len(corpus.train), len(corpus.validation)) == (30, 10)
    assert corpus.test.texts == ROWS["text"]


def csv(rows: str) -> dict[str, str]:
    return {"train.csv": "text,label\n" + rows}


GOOD = csv("a,0\nb,1\n")

BROKEN: dict[str, tuple[dict[str, str], list[str]]] = {
    "no file": ({"notes.md": ""}, ["must hold a file `train`", "notes.md"]),
    "nothing": ({}, ["must hold a file `train`", "it holds nothing"]),
    "no train": ({"test.csv": "text,label\na,0\n"}, ["must be named `train`", "test.csv"]),
    "no train of many": ({"one.csv": "", "two.csv": ""}, ["must be named `train`", "one.csv", "two.csv"]),
    "misspelt": (GOOD | {"valdation.csv": ""}, ["valdation.csv", "Did you mean `validation`?"]),
    "two of a split": (GOOD | {"val.csv": "", "dev.json": ""}, ["one file", "`dev.json`, `val.csv`", "keep one"]),
    "empty": ({"train.csv": ""}, ["train.csv", "readable as csv", "it is empty"]),
    "header alone": (csv(""), ["train.csv", "at least one row"]),
    "no parquet": ({"train.parquet": "text,label\n"}, ["train.parquet", "readable as parquet"]),
    "comma not quoted": (
        csv("a,0\nwell, well,1\n"),
        ["train.csv", "header's 2 columns, but row 2 (line 3) has 3", "in double quotes"],
    ),
    "by columns": ({"train.json": pd.DataFrame(ROWS).to_json()}, ["train.json", "one table by columns", "records"]),
    "no JSON": ({"train.jsonl": '{"text": "a", "label": 0}\n{"text"\n'}, ["train.jsonl", "line 2"]),
    "no object": ({"train.json": '[{"text": "a", "label": 0}, 7]'}, ["train.json", "row 2", "int"]),
    "no row": ({"train.json": "[]"}, ["train.json", "no row"]),
    "no text column": (
        {"train.csv": "texts,label,id\na,0,1\n"},
        ["`text` is not among `texts`, `label`, `id`", "Did you mean `texts`?"],
    ),
    "no label column": ({"train.csv": "text,klass\na,0\n"}, ["`label` is not among `text`, `klass`"]),
    "empty text": (csv("a,0\n ,1\n"), ["train.csv", "row 2", "' '"]),
    "null text": ({"train.json": '[{"text": "a", "label": 0}, {"label": 1}]'}, ["train.json", "row 2", "None"]),
    "text of another kind": ({"train.json": '[{"text": 7, "label": 0}]'}, ["train.json", "row 1", "7"]),
    "broken text": ({"train.json": r'[{"text": "\ud83d", "label": 0}]'}, ["train.json", "row 1", "Unicode"]),
    "null label": ({"train.json": '[{"text": "a", "label": null}]'}, ["train.json", "`label`", "row 1", "None"]),
    "half a label": ({"train.json": '[{"text": "a", "label": 0.5}]'}, ["train.json", "`label`", "row 1", "0.5"]),
    "endless label": ({"train.json": '[{"text": "a", "label": Infinity}]'}, ["train.json", "row 1", "inf"]),
    "empty label": (csv("a,0\nb,\n"), ["train.csv", "row 2", "''"]),
    "one class": (csv("a,1\nb,1\n"), ["train.csv", "two classes", "'1'"]),
    "label not in train": (
        csv("a,good\nb,bad\n") | {"test.csv": "text,label\nc,god\n"},
        ["test.csv", "row 1 has `god`", "`bad`, `good`", "Did you mean `good`?"],
    ),
    "label out of range": (
        csv("a,0\nb,1\nc,2\n") | {"labels.json": '["x", "y"]'},
        ["train.csv", "row 3 has `2`", "`0`, `1`"],
    ),
    "label without a name": (csv("a,x\nb,z\n") | {"labels.json": '["x", "y"]'}, ["row 2 has `z`", "`x`, `y`"]),
    "labels.json no JSON": (GOOD | {"labels.json": "x, y"}, ["labels.json", "must be JSON"]),
    "labels.json no list": (GOOD | {"labels.json": '{"x": 0}'}, ["labels.json", "must be a list", "dict"]),
    "labels.json twice": (GOOD | {"labels.json": '["x", "x"]'}, ["labels.json", "different", "`x`, `x`"]),
    "too few to cut": (GOOD, ["2 rows for train", "2 rows become", "task.validation_share"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(tmp_path: Path, case: str) -> None:
    """Each file that breaks a rule gives one DataError of one line with the file, the rule and the value."""
    contents, parts = BROKEN[case]
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        files.corpus(Folder(), tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path))
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A folder that is not there, or is a file, gives a DataError that says how to name another."""
    (tmp_path / "file").write_text("")
    for name in ("none", "file"):
        with pytest.raises(DataError, match=rf"{name}: .*--data-dir"):
            files.read(tmp_path / name)


def test_parquet_labels_may_be_null(tmp_path: Path) -> None:
    """A null label in a Parquet column of numbers is named by its row."""
    write(tmp_path / "train.parquet", {"text": ["a", "b"], "label": [1, None]})
    with pytest.raises(DataError, match=r"train\.parquet: `label` .* row 2"):
        files.read(tmp_path)


def test_a_long_text_is_read_whole(tmp_path: Path) -> None:
    """A quoted CSV text longer than any reader's block is one text."""
    long = "word\n" * 1_000_000
    write(tmp_path / "train.csv", {"text": [long, "b"], "label": [0, 1]})
    splits, _, _ = files.read(tmp_path)
    assert splits["train"].texts[0] == long


def test_json_lines_may_hold_any_line_separator(tmp_path: Path) -> None:
    """A JSON line ends at a line feed alone, not at the separators that a text may hold."""
    lines = [json.dumps({"text": text, "label": i}, ensure_ascii=False) for i, text in enumerate(["a\u2028b", "c"])]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert files.read(tmp_path)[0]["train"].texts == ["a\u2028b", "c"]
