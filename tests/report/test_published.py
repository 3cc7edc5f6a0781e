"""The numbers that the research logs printed."""

from __future__ import annotations

import os
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from lt_ray.cycle import MODELS, TASKS
from lt_ray.errors import DataError
from lt_ray.report.published import COLUMNS, Published, load, matching

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "reports" / "published"
LOGS = Path(os.environ.get("LT_RAY_DATA", ROOT.parent / "shared" / "data")).parent / "seeds"

HEADER = ",".join(COLUMNS)
GOOD = "Result,imdb,cnn,dense,0,0,test_accuracy,84.07,%,log.txt,35,"
CELLS = {"train_loss": 1, "train_accuracy": 2, "test_loss": 3, "test_accuracy": 4}
"""Metric → its column in the logs' tables, after the model's name"""


def one(**fields: object) -> Published:
    """The one published row with these fields."""
    (row,) = [row for row in load(FOLDER) if all(getattr(row, name) == value for name, value in fields.items())]
    return row


def test_every_table_and_list_is_there() -> None:
    """Each file has the rows of its tables: 3 lists of 21, 2 tables of 2 × 4, 8 densities, 3 × 4, 2 + 4 of 2 × 4."""
    counts = {path.name: len(path.read_text("utf-8").splitlines()) - 1 for path in FOLDER.glob("*.csv")}
    assert counts == {
        "000_imdb_cnn_rounds.csv": 63,
        "000_dense.csv": 16,
        "001_densities.csv": 8,
        "002_dense.csv": 12,
        "003_dense.csv": 16,
        "003_after_pruning.csv": 32,
    }
    rows = load(FOLDER)
    assert len(rows) == sum(counts.values())
    assert Counter(row.file[:3] for row in rows) == {"000": 79, "001": 8, "002": 12, "003": 48}
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert all(re.search(rf"`{name}` \|.*\| {count} \|", readme) for name, count in counts.items())


def test_words_are_ours() -> None:
    """Tasks and models have the names that a cycle gives them, so that ours find theirs."""
    rows = load(FOLDER)
    assert {row.task for row in rows} <= set(TASKS)
    assert {row.model for row in rows} <= {*MODELS, ""}
    assert {row.arm for row in rows} == {"dense", "rewind@0", "random reinit", ""}
    assert {row.unit for row in rows if row.metric.endswith("_loss")} == {"nats"}
    assert {row.unit for row in rows if row.metric.endswith("_accuracy")} == {"%"}


def test_numbers_are_as_printed() -> None:
    """Some numbers by hand: every digit that was printed is kept."""
    dense = one(file="000_f42987e0c89d0b98.txt", task="ag_news", model="cnn", metric="test_loss")
    assert (str(dense.value), dense.unit, dense.line, dense.round, dense.error) == ("0.310", "nats", 79, 0, "")
    rnn = one(model="rnn", metric="test_accuracy")
    assert (rnn.value, rnn.unit, rnn.file, rnn.line) == (Decimal("58.12"), "%", "002_80b25de244d54520.txt", 36)
    last = one(arm="rewind@0", round=20, metric="test_accuracy")
    assert (str(last.value), last.sparsity, last.line) == ("74.81090764331209", 0.988, 29)
    density = one(metric="density", round=4)
    assert (str(density.value), density.sparsity, density.line) == ("41.1", 0.589, 62)
    assert "40.96" in density.error
    pruned = one(task="imdb", model="lstm", arm="random reinit", metric="test_accuracy")
    assert (str(pruned.value), pruned.round, pruned.sparsity) == ("84.57", None, None)


def test_known_errors_are_told() -> None:
    """Copies, unpaired arms, the kept embedding and means of batch means are told with the numbers they concern."""
    rows = load(FOLDER)
    told = {
        "verbatim copy": {("003", task, arm) for task, arm in
                          [("imdb", "rewind@0"), ("ag_news", "rewind@0"), ("ag_news", "random reinit")]},
        "unpaired": {("000", "imdb", "rewind@0"), ("000", "imdb", "random reinit")},
        "kept the trained embedding": {("000", "imdb", "random reinit"), ("003", "imdb", "random reinit")},
        "batch means": {("000", "imdb", "dense"), ("000", "ag_news", "dense"), ("003", "imdb", "dense"),
                        ("003", "ag_news", "dense"), ("003", "imdb", "random reinit"), ("000", "imdb", "rewind@0"),
                        ("000", "imdb", "random reinit")},
    }  # fmt: skip
    for words, where in told.items():
        assert {(row.file[:3], row.task, row.arm) for row in rows if words in row.error} == where
    assert all(row.error.endswith(".") for row in rows if row.error)


def test_what_is_called_a_copy_is_one() -> None:
    """The three tables that are called copies hold the numbers of the first, cell by cell."""
    tables: dict[tuple[str, str], list[tuple[str, str, Decimal]]] = {}
    for row in load(FOLDER):
        if row.file.startswith("003") and row.arm != "dense":
            tables.setdefault((row.task, row.arm), []).append((row.model, row.metric, row.value))
    first, *copies = tables.values()
    assert len(first) == 8
    assert copies == [first] * 3


def test_the_accuracies_are_means_of_batch_means() -> None:
    """10,000 documents in batches of 64: every accuracy is a whole number of 64ths over 157 batches, no mean of all."""
    values = [row.value for row in load(FOLDER) if row.table.endswith("initialization")]
    assert len(values) == 42
    sums = [value / 100 * 157 * 64 for value in values]
    assert all(abs(total - round(total)) < Decimal("1e-6") for total in sums)
    assert not all(abs(value * 100 - round(value * 100)) < Decimal("1e-6") for value in values)


def test_the_sparsities_are_nominal() -> None:
    """The printed sparsities are 1 − 0.8^round, rounded to three digits, and stand beside both arms' accuracies."""
    rows = [row for row in load(FOLDER) if row.table.startswith("IMDB-CNN result")]
    printed = [row.value for row in rows if row.metric == "sparsity"]
    assert printed == [round(1 - Decimal("0.8") ** k, 3) for k in range(21)]
    for arm in ("rewind@0", "random reinit"):
        assert [row.sparsity for row in rows if row.arm == arm] == [float(value) for value in printed]


def test_matching_is_one_tasks_one_models() -> None:
    """The selector gives a task's and a model's rows, in their order."""
    rows = load(FOLDER)
    found = matching(rows, "ag_news", "lstm")
    assert len(found) == 4 + 4 + 8
    assert {(row.task, row.model) for row in found} == {("ag_news", "lstm")}
    assert list(found) == [row for row in rows if row in found]
    assert matching(rows, "yelp_polarity", "cnn") == ()


@pytest.mark.skipif(not LOGS.is_dir(), reason=f"no logs in {LOGS}: set LT_RAY_DATA to the folder beside them")
def test_each_number_stands_where_its_row_says() -> None:
    """Each value is the number at its place on its line of its log: a table's cell, or a list's entry."""
    seen = 0
    for row in load(FOLDER):
        line = (LOGS / row.file).read_text(encoding="utf-8").split("\n")[row.line - 1]
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert cells[0].lower() == row.model
            assert cells[CELLS[row.metric]] == f"{row.value}{row.unit.replace('nats', '')}"
        else:
            entries = re.findall(r"\d+(?:\.\d+)?", line)
            assert row.round is not None
            assert entries[row.round // (4 if row.metric == "density" else 1)] == str(row.value)
        seen += 1
    assert seen == 147


BROKEN = {
    "header": ("table,task\n", ["the header must be `table,task,model", "but it is `table,task`"]),
    "nothing": ("", ["the header must be"]),
    "cells": (f"{HEADER}\n{GOOD}\n{GOOD}, and more\n", ["line 3", "12 cells, but it has 13", "quote commas"]),
    "quote": (f'{HEADER}\n"{GOOD}\n', ["readable as CSV"]),
    "value": (
        f"{HEADER}\n{GOOD}\n{GOOD.replace('84.07', 'high')}\n",
        ["line 3", "`value`"],
    ),
    "endless": (f"{HEADER}\n{GOOD.replace('84.07', 'nan')}\n", ["line 2", "`value`"]),
    "unit": (f"{HEADER}\n{GOOD.replace('%', 'percent')}\n", ["line 2", "`unit` must be '%'", "'percent'"]),
    "percent": (f"{HEADER}\n{GOOD.replace('0,0', '0,98.8')}\n", ["`sparsity` must be less than or equal to 1", "98.8"]),
    "line": (f"{HEADER}\n{GOOD.replace('35', '0')}\n", ["`line`"]),
    "task": (f"{HEADER}\n{GOOD.replace('imdb', '')}\n", ["`task`"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(tmp_path: Path, case: str) -> None:
    """A file that breaks a rule gives one DataError of one line with the file, the rule and the value."""
    content, parts = BROKEN[case]
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "table.csv"))
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


def test_a_folder_without_tables_is_named(tmp_path: Path) -> None:
    """A folder that is missing or holds no table is a DataError; other files in it, and an empty table, are not."""
    (tmp_path / "README.md").write_text("")
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=r"published results must .*another"):
            load(folder)
    (tmp_path / "table.csv").write_text(HEADER + "\n")
    assert load(tmp_path) == ()
