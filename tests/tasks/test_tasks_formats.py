"""Quotes, columns and class names in files of tables."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lt_ray.cycle.tasks import Emotion, Folder
from lt_ray.errors import DataError
from lt_ray.tasks import files, public

HEADER = ["text", "label"]


def table(rows: Sequence[Sequence[str]], delimiter: str = ",", header: Sequence[str] = HEADER) -> str:
    """Write rows as an exporter that knows nothing of quotes would."""
    return "".join(delimiter.join(row) + "\n" for row in [header, *rows])


def plain(n: int = 200) -> list[list[str]]:
    return [[f"film {i} was fine", str(i % 2)] for i in range(n)]


def texts_of(directory: Path, task: Folder = Folder()) -> list[str]:  # noqa: B008 - frozen
    corpus = files.corpus(task, directory)
    return sorted(corpus.train.texts + corpus.validation.texts + corpus.test.texts)


STRAY: dict[str, tuple[Callable[[list[list[str]]], None], str]] = {
    "one": (lambda rows: rows[10].__setitem__(0, '"film was fine'), r"row 11 \(line 12\)"),
    "two": (lambda rows: [row.__setitem__(0, '"film was fine') for row in rows[10:120:100]], r"row 11 \(line 12\)"),
    "three": (lambda rows: [row.__setitem__(0, '"film was fine') for row in rows[10:120:50]], r"row 11 \(line 12\)"),
    "closed by another at a text's end": (
        lambda rows: [rows[10].__setitem__(0, '"film was fine'), rows[110].__setitem__(0, 'a film of 5"')],
        r"row 11 \(line 12\)",
    ),
    "a quoted word first": (lambda rows: rows[10].__setitem__(0, '"Heat" was fine'), r"row 11 \(line 12\)"),
    "in the label": (lambda rows: rows[10].__setitem__(1, '"1'), r"row 11 \(line 12\)"),
    "in the last row": (lambda rows: rows[-1].__setitem__(0, '"film was fine'), r"row 200 \(line 201\)"),
    "in the header": (lambda rows: rows.insert(0, ['"x', "0"]), r"row 1 \(line 2\)"),
}


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("case", STRAY)
def test_a_stray_quote_swallows_no_row(tmp_path: Path, case: str, delimiter: str) -> None:
    """A field that opens with a stray quote, however many there are, is refused with the row where it opens."""
    rows = plain()
    change, where = STRAY[case]
    change(rows)
    (tmp_path / ("train.csv" if delimiter == "," else "train.tsv")).write_text(table(rows, delimiter))
    with pytest.raises(DataError, match=rf"quote.* {where}.*JSON lines or Parquet"):
        files.corpus(Folder(), tmp_path)


def test_a_stray_quote_in_a_column_that_is_not_read_is_refused(tmp_path: Path) -> None:
    """Also a column that nobody reads can swallow rows; a quote in the header has no row."""
    rows = [[*row, "note"] for row in plain(20)]
    rows[4][2] = '"note'
    (tmp_path / "train.csv").write_text(table(rows, header=["text", "label", "note"]))
    with pytest.raises(DataError, match=r"row 5 \(line 6\)"):
        files.corpus(Folder(), tmp_path)
    (tmp_path / "train.csv").write_text(table(plain(20), header=['"text', "label"]))
    with pytest.raises(DataError, match="the one that opens in the header does not"):
        files.corpus(Folder(), tmp_path)


TEXTS = [
    "plain",
    'all of it "quoted"',
    '"',
    '""',
    '"begins with one',
    'ends with one"',
    "two\nlines",
    "two\r\nlines, and a comma",
    "a list:\n1, one\n2, two\n3, three",
    "Dear all, hello\nBye",
    '"So," she said,\n"no."',
    "\n\nblank lines\n\n",
    "a\ttab",
    'x,1\n"y",0',
    "a\u2028b",
    'five 5" nails, 6" nails',
]


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [["text", "label", "note"], ["label", "note", "text"]])
def test_whatever_is_quoted_well_is_read(tmp_path: Path, delimiter: str, end: str, header: list[str]) -> None:
    """Any text that a spreadsheet's writer has quoted comes back as it was, with line breaks, quotes and delimiters."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header, delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows({"text": text, "label": i % 2, "note": text[::-1]} for i, text in enumerate(TEXTS))
    path = tmp_path / ("train.csv" if delimiter == "," else "train.tsv")
    path.write_bytes(stream.getvalue().encode())
    assert texts_of(tmp_path) == sorted(TEXTS)


def test_random_tables_are_read_as_written_or_refused(tmp_path: Path) -> None:
    """However quotes, commas and line breaks fall, a written table comes back whole or is refused, seldom."""
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        texts = ["".join(random.choice(list('abcde f",\n1'), size=12)) + f"x{i}" for i in range(20)]
        frame = pd.DataFrame({"text": texts, "label": [f"c{i % 2}" for i in range(20)]})
        frame.to_csv(tmp_path / "train.csv", index=False)
        try:
            assert texts_of(tmp_path) == sorted(texts)
        except DataError as error:
            if "swallows" not in str(error):
                raise
            refused += 1
    assert refused < 10


def test_a_class_that_a_quote_swallows_whole_is_missed(tmp_path: Path) -> None:
    """In a table sorted by class, two stray quotes that take all rows of a class between them are refused."""
    rows = [[f"film {i}", "abc"[i // 100]] for i in range(300)]
    rows[95][0], rows[205][0] = '"film', 'a film of 5"'
    (tmp_path / "train.csv").write_text(table(rows))
    with pytest.raises(DataError, match=r"row 96 \(line 97\) and swallows 110 more lines of 2 columns"):
        files.corpus(Folder(), tmp_path)


def test_a_quote_within_a_text_is_text(tmp_path: Path) -> None:
    """A quote in a field that does not begin with one is a letter like others."""
    rows = plain(20)
    rows[3][0], rows[4][0] = 'a 5" nail', 'he said "no"'
    (tmp_path / "train.csv").write_text(table(rows))
    assert {'a 5" nail', 'he said "no"'} < set(texts_of(tmp_path))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_column_is_there_once(tmp_path: Path, suffix: str) -> None:
    """A column of text or label that is there twice is refused, not decided by chance; any other may be."""
    names, rows = ["text", "label", "text", "n", "n"], [["a", "0", "b", "1", "2"], ["c", "1", "d", "3", "4"]] * 10
    path = tmp_path / f"train{suffix}"

    def write(names: list[str], rows: list[list[str]]) -> None:
        match suffix:
            case ".csv":
                path.write_text(table(rows, header=names))
            case ".jsonl":
                lines = [
                    ", ".join(f'"{name}": "{value}"' for name, value in zip(names, row, strict=True)) for row in rows
                ]
                path.write_text("".join(f"{{{line}}}\n" for line in lines))
            case _:
                import pyarrow
                from pyarrow import parquet

                columns = [pyarrow.array([row[i] for row in rows]) for i in range(len(names))]
                parquet.write_table(pyarrow.Table.from_arrays(columns, names=names), path)

    write(names, rows)
    with pytest.raises(DataError, match=r"must be there once, but `text` is there 2 times .*rename or remove"):
        files.corpus(Folder(), tmp_path)
    write(names[:2] + names[3:], [row[:2] + row[3:] for row in rows])
    assert len(texts_of(tmp_path)) == 20


OPENERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", OPENERS)
@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".ndjson", ".parquet"])
def test_compressed_files_are_read(tmp_path: Path, suffix: str, kind: str) -> None:
    """A compressed file is read as the file in it; one that is not what its name says, or cut short, is named."""
    frame = pd.DataFrame(plain(40), columns=HEADER)
    plain_path, path = tmp_path / f"x{kind}", tmp_path / "data" / f"train{kind}{suffix}"
    path.parent.mkdir()
    match kind:
        case ".csv":
            frame.to_csv(plain_path, index=False)
        case ".parquet":
            frame.to_parquet(plain_path)
        case _:
            frame.to_json(plain_path, orient="records", lines=True)
    whole = OPENERS[suffix](plain_path.read_bytes())
    path.write_bytes(whole)
    assert texts_of(path.parent) == sorted(frame["text"])
    for damaged in (whole[: len(whole) // 2], plain_path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"train{kind}{suffix}: the file must be readable as {kind[1:]}{suffix}"):
            files.corpus(Folder(), path.parent)


def hub_parquet(path: Path, names: list[str], labels: Sequence[int]) -> None:
    """Write a file as Hugging Face's library does, with the class names in its metadata."""
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    rows = {"text": [f"{path.stem} {i}" for i in range(len(labels))], "label": list(labels)}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)


def test_class_names_in_parquet_are_the_classes(tmp_path: Path) -> None:
    """ClassLabel names in a file's metadata name the classes; labels.json comes first, and files must agree."""
    hub_parquet(tmp_path / "train.parquet", ["world", "sports", "business"], [2, 0, 1] * 10)
    hub_parquet(tmp_path / "test.parquet", ["world", "sports", "business"], [1, 0, 2])
    corpus = files.corpus(Folder(), tmp_path)
    assert corpus.classes == ("world", "sports", "business")
    assert corpus.test.labels.tolist() == [1, 0, 2]
    (tmp_path / "labels.json").write_text('["w", "s", "b"]')
    assert files.corpus(Folder(), tmp_path).classes == ("w", "s", "b")
    (tmp_path / "labels.json").unlink()
    hub_parquet(tmp_path / "test.parquet", ["sports", "world", "business"], [1, 0, 2])
    with pytest.raises(
        DataError, match=r"test\.parquet: the class names .* the same in every file, .* `sports`, `world`"
    ):
        files.corpus(Folder(), tmp_path)
    hub_parquet(tmp_path / "test.parquet", ["world", "sports", "business"], [-1, -1, -1])
    with pytest.raises(DataError, match=r"test\.parquet: a label must be one of the named classes, but row 1 has `-1`"):
        files.corpus(Folder(), tmp_path)


@pytest.mark.parametrize(("other", "where"), [("good ", "train"), ("Good", "train"), (" GOOD", "test")])
def test_labels_differ_by_more_than_blanks_and_case(tmp_path: Path, other: str, where: str) -> None:
    """Labels that only outer blanks or case tell apart are a slip, named with both rows; labels.json may want them."""
    rows = [["a", "good"], ["b", "bad"]] * 10
    (tmp_path / "train.csv").write_text(table(rows + [["c", other]] * (where == "train")))
    (tmp_path / "test.csv").write_text(table([["d", "bad"], ["e", other if where == "test" else "good"]]))
    row = 21 if where == "train" else 2
    with pytest.raises(DataError, match=rf"{where}\.csv: labels .* but row {row} has '{other}', and row 1 of .*'good'"):
        files.corpus(Folder(), tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps(["bad", "good", other]))
    assert files.corpus(Folder(), tmp_path).classes == ("bad", "good", other)


def test_columns_may_be_named(tmp_path: Path) -> None:
    """`columns` names the columns of text and, last, the label's, for any task that reads files; no others will do."""
    rows = [[f"title {i}", f"body {i}", str(i % 6), "text", str(i % 3)] for i in range(60)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(table(rows, header=["title", "body", "stars", "text", "label"]))
    for task, read in ((Folder, files.corpus), (Emotion, public.corpus)):
        corpus = read(task(columns=("title", "body", "stars")), tmp_path)  # type: ignore[operator,arg-type]
        assert corpus.test.texts[7] == "title 7 body 7"
        assert corpus.test.labels.tolist() == [i % 6 for i in range(60)]
    assert files.corpus(Folder(columns=("title", "label")), tmp_path).classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"`titel` is not among .*Did you mean `title`\? .*--set task\.columns="):
        files.corpus(Folder(columns=("titel", "stars")), tmp_path)


@pytest.mark.parametrize("columns", [(), ("text",), ("a", "a"), ("a", "")])
def test_named_columns_are_text_and_label(columns: tuple[str, ...]) -> None:
    """Fewer than two columns, or one twice, are no columns of text and label."""
    with pytest.raises(ValueError, match=r"one or more columns of text and then the label's.*\[review,stars\]"):
        Folder(columns=columns)
