"""The numbers that the research logs printed."""

from __future__ import annotations

import os
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import MODELS, Cnn, Encoder, ResNet
from lt_ray.cycle.prunings import OWN_MASKS, Magnitude, Similarity, Wanda
from lt_ray.cycle.tasks import TASKS, Emotion, ImageNet, Imdb
from lt_ray.cycle.training import FINE_TUNING, Training
from lt_ray.errors import DataError
from lt_ray.report.reading.published import COLUMNS, Published, load, matching

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "reports" / "published"
LOGS = Path(os.environ.get("LT_RAY_DATA", ROOT.parent / "shared" / "data")).parent / "seeds"

HEADER = ",".join(COLUMNS)
GOOD = "Result,imdb,cnn,dense,0,0,test_accuracy,84.07,%,log.txt,35,"
CELLS = {"train_loss": 1, "train_accuracy": 2, "test_loss": 3, "test_accuracy": 4}
"""Metric → its column in the logs' tables, after the model's name"""
HEADS = {
    "blocks": {"Num. of encoders"},
    "test_loss": {"Evaluation loss", "Evaluation loss after training"},
    "test_accuracy": {"Accuracy", "Accuracy after training"},
    "before_test_loss": {"Evaluation loss before training"},
    "before_test_accuracy": {"Accuracy before training"},
    "test_s": {"Evaluation time(s)"},
    "train_s": {"Training time(s)"},
    "parameters": {"Parameter"},
    "frozen_blocks": {"freeze"},
}
"""Metric → the heads of its column in BERT's tables"""
ZEROS = {"0.1": 702_720, "0.2": 1_411_584, "0.3": 2_120_448, "0.4": 2_829_312, "0.5": 3_538_944}
"""Sparsity → zeros of a BERT-base layer's linear weights (methods §4) [count]"""
RESNETS = (ResNet(path="microsoft/resnet-152"), ResNet(path="microsoft/resnet-50"))
"""The published ones"""
BERT_TABLES = range(95, 262)
"""Lines of `004` that the tables of BERT are in, counted from 1"""


def one(**fields: object) -> Published:
    """The one published row with these fields."""
    (row,) = [row for row in load(FOLDER) if all(getattr(row, name) == value for name, value in fields.items())]
    return row


def test_every_table_and_list_is_there() -> None:
    """Each file has the rows of its tables: 3 lists of 21, 2 tables of 2 × 4, 8 densities, 3 × 4, 2 + 4 of 2 × 4, and
    of BERT's: dense, similarity, Wanda, Wanda after similarity, of which one of Emotion's is retrained; of ResNets:
    dense and similarity, four tables of 152's and two of 50's."""
    counts = {path.name: len(path.read_text("utf-8").splitlines()) - 1 for path in FOLDER.glob("*.csv")}
    assert counts == {
        "000_imdb_cnn_rounds.csv": 63,
        "000_dense.csv": 16,
        "001_densities.csv": 8,
        "002_dense.csv": 12,
        "003_dense.csv": 16,
        "003_after_pruning.csv": 32,
        "004_emotion.csv": 6 + 6 * 7 + 5 * 4 + 4 * 4 * 4 + 4 * 7,
        "004_yahoo_answers.csv": 6 + 2 * 7 + 2 * 1 + 5 * 4 + 5 * 2 * 4,
        "004_imagenet.csv": 4 + 4 * 4 * 7 + 6 + 2 * 4 * 7,
    }
    rows = load(FOLDER)
    assert len(rows) == sum(counts.values())
    assert Counter(row.file[:3] for row in rows) == {"000": 79, "001": 8, "002": 12, "003": 48, "004": 420}
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert all(re.search(rf"`{name}` \|.*\| {count} \|", readme) for name, count in counts.items())


def test_words_are_ours() -> None:
    """Tasks and models have the names that a cycle gives them, so that ours find theirs."""
    rows = load(FOLDER)
    assert {row.task for row in rows} <= set(TASKS)
    assert {row.model for row in rows} <= {*MODELS, *(model.published for model in RESNETS), ""}
    lists = [row for row in rows if row.file[:3] != "004"]
    assert {row.arm for row in lists} == {"dense", "rewind@0", OWN_MASKS, ""}
    assert {row.unit for row in rows if row.metric.endswith("_loss")} == {"nats"}
    assert {row.unit for row in lists if row.metric.endswith("_accuracy")} == {"%"}
    assert {row.unit for row in rows if row.metric.endswith("_s")} == {"s"}


def test_the_words_of_bert_are_ours() -> None:
    """An arm of BERT's is what was done to it in order, and its round counts these prunings; nothing is in percent."""
    rows = [row for row in load(FOLDER) if row.model == "encoder"]
    assert {row.sparsity for row in rows} == {None}
    assert {row.metric for row in rows} == set(HEADS)
    assert all(row.table.startswith("BERT-base, ") for row in rows)
    units = {"loss": "nats", "accuracy": "", "s": "s", "blocks": "", "parameters": ""}
    assert all(row.unit == units[row.metric.rpartition("_")[2]] for row in rows)
    wanda = [f"wanda@{sparsity}" for sparsity in ZEROS]
    similarity = [f"similarity@{threshold}{part}" for threshold in ("0.99", "0.98") for part in ("", " freeze")]
    both = [f"{first} {then}" for first in similarity[2:] for then in wanda]
    assert {row.arm for row in rows if row.task == "emotion"} == {"dense", *wanda, *similarity, *both}
    assert {row.arm for row in rows if row.task == "yahoo_answers"} == {"dense", *wanda, *similarity, *both}
    rounds = {(row.task, row.arm): set[int | None]() for row in rows}
    for row in rows:
        rounds[row.task, row.arm].add(row.round)
    iterations = {"emotion": {1, 2}, "yahoo_answers": {1}}
    for task, several in iterations.items():
        assert rounds[task, "dense"] == {0}
        assert all(rounds[task, arm] == {1} for arm in [*wanda, *similarity[:2]])
        assert all(rounds[task, arm] == several for arm in similarity[2:])
        assert all(rounds[task, arm] == {iteration + 1 for iteration in several} for arm in both)


def test_numbers_are_as_printed() -> None:
    """Some numbers by hand: every digit that was printed is kept."""
    dense = one(file="000_f42987e0c89d0b98.txt", task="ag_news", model="cnn", metric="test_loss")
    assert (str(dense.value), dense.unit, dense.line, dense.round) == ("0.310", "nats", 79, 0)
    rnn = one(model="rnn", metric="test_accuracy")
    assert (rnn.value, rnn.unit, rnn.file, rnn.line) == (Decimal("58.12"), "%", "002_80b25de244d54520.txt", 36)
    last = one(arm="rewind@0", round=20, metric="test_accuracy")
    assert (str(last.value), last.sparsity, last.line) == ("74.81090764331209", 0.988, 29)
    density = one(metric="density", round=4)
    assert (str(density.value), density.sparsity, density.line) == ("41.1", 0.589, 62)
    assert density.error == "Called sparsity, but it is the density, in percent."
    pruned = one(task="imdb", model="lstm", arm=OWN_MASKS, metric="test_accuracy")
    assert (str(pruned.value), pruned.round, pruned.sparsity) == ("84.57", None, None)


def test_numbers_of_bert_are_as_printed() -> None:
    """Some of BERT's by hand: every digit that was printed is kept, millions are counts, and brackets are left out."""
    wanted: list[tuple[dict[str, object], tuple[str, str, int, str]]] = [
        ({"task": "emotion", "arm": "dense", "metric": "test_s"}, ("14.8684", "s", 114, "BERT-base, Original")),
        ({"task": "emotion", "arm": "similarity@0.98 freeze", "round": 2, "metric": "test_loss"},
         ("0.41388794", "nats", 130, "BERT-base, All [2nd iteration]")),
        ({"task": "emotion", "arm": "similarity@0.98", "round": 1, "metric": "test_accuracy"},
         ("0.934", "", 121, "BERT-base, All [1st iteration]")),
        ({"task": "emotion", "arm": "similarity@0.99", "metric": "parameters"},
         ("95311110", "", 120, "BERT-base, All [1st iteration]")),
        ({"task": "emotion", "arm": "wanda@0.1", "metric": "before_test_accuracy"},
         ("0.949", "", 136, "BERT-base, Wanda Sparsity Original")),
        ({"task": "emotion", "arm": "similarity@0.98 freeze wanda@0.4", "round": 3, "metric": "before_test_loss"},
         ("0.3540", "nats", 176, "BERT-base, Deeparc with Wanda Sparsity 40%")),
        ({"task": "emotion", "arm": "similarity@0.98 wanda@0.5", "round": 2, "metric": "test_accuracy"},
         ("0.942", "", 182, "BERT-base, Deeparc with Wanda Sparsity 50%")),
        ({"task": "emotion", "arm": "similarity@0.98 freeze wanda@0.5", "round": 2, "metric": "train_s"},
         ("936.1501", "s", 183, "BERT-base, Deeparc with Wanda Sparsity 50%")),
        ({"task": "yahoo_answers", "arm": "dense", "metric": "parameters"},
         ("109489930", "", 206, "BERT-base, Original")),
        ({"task": "yahoo_answers", "arm": "similarity@0.98 freeze", "metric": "frozen_blocks"},
         ("4", "", 215, "BERT-base, All [1st iteration]")),
        ({"task": "yahoo_answers", "arm": "similarity@0.99 freeze"}, ("12", "", 214, "BERT-base, All [1st iteration]")),
        ({"task": "yahoo_answers", "arm": "similarity@0.98 freeze wanda@0.5", "metric": "before_test_accuracy"},
         ("0.7183", "", 260, "BERT-base, Deeparc with Wanda Sparsity 50%")),
    ]  # fmt: skip
    for fields, expected in wanted:
        row = one(**fields)
        assert (str(row.value), row.unit, row.line, row.table) == expected


def test_the_parameters_of_bert_are_those_of_its_blocks() -> None:
    """Each count of parameters is methods §3's for its blocks, or, for Wanda after similarity, for its arm's blocks."""
    per_block = {
        "emotion": {12: 109_486_854, 10: 95_311_110, 8: 81_135_366, 6: 66_959_622},
        "yahoo_answers": {12: 109_489_930, 9: 88_226_314},
    }
    blocks: dict[tuple[str, str, int | None], Decimal] = {}
    parameters = 0
    rows = [row for row in load(FOLDER) if row.model == "encoder"]
    for row in rows:
        if row.metric == "blocks":
            blocks[row.task, row.arm, row.round] = row.value
    for row in rows:
        if row.metric == "parameters":
            before, _, wanda = row.arm.partition("wanda@")
            assert row.round is not None
            kept = blocks[row.task, before.strip() or "dense", row.round - bool(wanda)]
            assert row.value == per_block[row.task][int(kept)]
            parameters += 1
    assert parameters == (1 + 6 + 5 + 20) + (1 + 2 + 5 + 10)


@pytest.mark.skipif(not LOGS.is_dir(), reason=f"no logs in {LOGS}: set LT_RAY_DATA to the folder beside them")
def test_numbers_of_the_resnets_are_as_printed() -> None:
    """Every printed cell of their tables is a row, at its line, with all its digits but the brackets."""
    lines = (LOGS / "004_dc1e629172642766.txt").read_text("utf-8").splitlines()
    rows = [row for row in load(FOLDER) if row.task == "imagenet"]
    cells = ("test_accuracy_epoch_1", "test_accuracy_epoch_2", "test_accuracy", "blocks", "parameters", "test_s",
             "frozen_blocks")  # fmt: skip
    for row in rows:
        printed = lines[row.line - 1].strip("| ").split("|")[1 + cells.index(row.metric)].split("(")[0].strip(" sM")
        assert Decimal(printed) * (1_000_000 if row.metric == "parameters" else 1) == row.value
        assert ("Part" in lines[row.line - 1]) == ("freeze" in row.arm)
        heading = next(line for line in reversed(lines[: row.line]) if line.startswith("### "))
        assert ("Half" in heading) == ("stride 2" in row.arm)
        assert f"[{row.round}" in heading or row.arm == "dense"
    printed_cells = [
        cell for line in lines[25:93] if line.startswith(("| Res", "| Thr")) for cell in cells_of(line)[1:]
    ]
    assert len(rows) == sum(cell[:1].isdigit() for cell in printed_cells)


def test_the_parameters_of_the_resnets_are_those_of_their_blocks() -> None:
    """Each count of parameters is methods §3's for as many blocks, but for the three rows that are told to be wrong."""
    text = (ROOT / "docs" / "methods.md").read_text("utf-8")
    known = {
        (sum(map(int, depths.split(","))), int(count.replace(",", "")))
        for depths, count in re.findall(r"\(([\d,]+)\): ([\d,]+)", text)
    }
    rows = {(row.line, row.metric): row for row in load(FOLDER) if row.task == "imagenet"}
    lines = {line for line, _ in rows}
    wrong = {line for line in lines if (rows[line, "blocks"].value, rows[line, "parameters"].value) not in known}
    assert wrong == {59, 92, 93}
    assert "27 blocks" in rows[59, "blocks"].error
    assert rows[59, "parameters"].value == rows[61, "parameters"].value
    for line, other in ((92, 93), (93, 92)):
        assert f"swapped with line {other}" in rows[line, "parameters"].error
        assert (rows[line, "blocks"].value, rows[other, "parameters"].value) in known


def test_ours_find_the_arms_of_the_resnets() -> None:
    """A similarity pruning is called what the tables call it, stride and freezing with it."""
    arms = {row.arm for row in load(FOLDER) if row.task == "imagenet"} - {"dense"}
    ours = {
        Similarity(threshold=threshold, stride=stride, freeze=freeze).published
        for threshold in (0.95, 0.98, 0.99)
        for stride in (1, 2)
        for freeze in (False, True)
    }
    assert arms == ours - {"similarity@0.95 stride 2", "similarity@0.95 stride 2 freeze"}


def test_known_errors_are_told() -> None:
    """Copies, unpaired arms, the kept embedding and means of batch means are told with the numbers they concern."""
    rows = [row for row in load(FOLDER) if row.task != "imagenet"]
    told = {
        "verbatim copy": {("003", task, arm) for task, arm in
                          [("imdb", "rewind@0"), ("ag_news", "rewind@0"), ("ag_news", OWN_MASKS)]},
        "unpaired": {("000", "imdb", "rewind@0"), ("000", "imdb", OWN_MASKS)},
        "kept the trained embedding": {("000", "imdb", OWN_MASKS), ("003", "imdb", OWN_MASKS)},
        "batch means": {("000", "imdb", "dense"), ("000", "ag_news", "dense"), ("003", "imdb", "dense"),
                        ("003", "ag_news", "dense"), ("003", "imdb", OWN_MASKS), ("000", "imdb", "rewind@0"),
                        ("000", "imdb", OWN_MASKS)},
    }  # fmt: skip
    similar = {row.arm for row in rows if row.arm.startswith("similarity")}
    part = {arm for arm in similar if "freeze" in arm}
    sets = ("emotion", "yahoo_answers")
    told |= {
        "compares the accuracy threshold in the wrong unit, 4 points with a share": {
            ("004", task, arm) for task in sets for arm in similar
        },
        "setting an attribute on the module": {
            ("004", task, arm) for task in sets for arm in part if (task, arm) != (sets[1], "similarity@0.99 freeze")
        },
        "Inflated by the warm-up": {("004", "emotion", "dense")},
        "Zeros are counted": {("004", row.task, row.arm) for row in rows if "wanda" in row.arm},
        "mixes points and fractions": {
            ("004", "emotion", row.arm)
            for row in rows
            if 119 < row.line < 137 and row.task == "emotion" and row.arm in {*similar, "wanda@0.1"}
        },
    }
    for words, where in told.items():
        assert {(row.file[:3], row.task, row.arm) for row in rows if words in row.error} == where
    assert all(row.error.endswith(".") for row in rows if row.error)


def test_known_errors_stand_beside_the_numbers_of_bert_that_they_concern() -> None:
    """What was done to the model is told with blocks, losses and accuracies, Wanda's zeros with the parameters they
    are among, and the warm-up with the one time that it is in."""
    for row in (row for row in load(FOLDER) if row.model == "encoder"):
        similar, part = row.arm.startswith("similarity"), "freeze" in row.arm
        results = row.metric.endswith(("_loss", "_accuracy"))
        assert ("accuracy threshold in the wrong unit" in row.error) == (
            similar and (results or row.metric == "blocks")
        )
        frozen = results or row.metric in ("train_s", "frozen_blocks")
        assert ("attribute on the module" in row.error) == (part and frozen)
        assert ("warm-up" in row.error) == ((row.line, row.metric) == (114, "test_s"))
        _, _, sparsity = row.arm.partition("wanda@")
        zeros = (
            f"{ZEROS[sparsity]:,} of a layer's 7,077,888 linear weights zero at {sparsity} " if sparsity else "Zeros"
        )
        assert (zeros in row.error) == (row.metric == "parameters" and sparsity != "")
    warm = one(task="emotion", arm="wanda@0.1", metric="test_s")
    assert f"takes {warm.value} s in line {warm.line}" in one(task="emotion", arm="dense", metric="test_s").error


def test_what_the_readme_calls_odd_is_so() -> None:
    """The oddities that the tables' README tells are in their numbers."""
    readme = (FOLDER / "README.md").read_text("utf-8")

    def values(task: str, metric: str, **fields: object) -> list[float]:
        rows = [row for row in load(FOLDER) if (row.task, row.metric) == (task, metric)]
        return [float(row.value) for row in rows if all(getattr(row, name) == value for name, value in fields.items())]

    for task in ("emotion", "yahoo_answers"):
        (accuracy,), (loss,) = values(task, "test_accuracy", arm="dense"), values(task, "test_loss", arm="dense")
        assert f"{accuracy}" in readme
        for sparsity in ZEROS if task == "yahoo_answers" else ["0.1"]:
            assert values(task, "before_test_accuracy", arm=f"wanda@{sparsity}")[0] > accuracy
            assert values(task, "before_test_loss", arm=f"wanda@{sparsity}")[0] < loss
    times: dict[str, list[float]] = {"emotion": [], "yahoo_answers": []}
    saved: dict[str, list[float]] = {"emotion": [], "yahoo_answers": []}
    for task in times:
        arms = [("dense", 0), ("similarity@0.99", 1), ("similarity@0.98", 1), ("similarity@0.98", 2)]
        for arm, after in arms:
            for seconds in values(task, "train_s", arm=arm, round=after):
                times[task].append(seconds / values(task, "blocks", arm=arm, round=after)[0])
                for part in values(task, "train_s", arm=f"{arm} freeze", round=after):
                    saved[task].append(100 * (1 - part / seconds))
    assert (round(min(times["emotion"])), round(max(times["emotion"]))) == (131, 133)
    assert [round(time) for time in times["yahoo_answers"]] == [3444, 3510]
    assert (round(min(saved["emotion"])), round(max(saved["emotion"]))) == (11, 14)
    assert [f"{percent:.1f}" for percent in saved["yahoo_answers"]] == ["-0.3"]


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


def test_losses_are_told_to_be_means_of_batch_means_as_accuracies_are() -> None:
    """The logs' program averages both over batches: each number of `000` and `003` that is no copy says so."""
    rows = [
        row for row in load(FOLDER) if row.file[:3] in ("000", "003") and row.metric.endswith(("_loss", "accuracy"))
    ]
    told = [row for row in rows if "means of batch means" in row.error or "a mean of batch means" in row.error]
    assert {row.metric for row in told} == set(CELLS)
    assert all("verbatim copy" in row.error for row in rows if row not in told)
    assert len(rows) - len(told) == 24


def test_the_densities_of_001_are_those_of_lenet() -> None:
    """20 % a round and 10 % of the output layer of LeNet-300-100 leave, in percent, what the log prints: no error."""
    hidden, output = 784 * 300 + 300 * 100, 100 * 10
    rows = [row for row in load(FOLDER) if row.metric == "density"]
    assert [row.round for row in rows] == list(range(0, 29, 4))
    for row in rows:
        assert row.round is not None
        left = 100 * (hidden * 0.8**row.round + output * 0.9**row.round) / (hidden + output)
        assert f"{left:.{0 if row.round == 0 else 1}f}" == str(row.value)
        assert row.error == "Called sparsity, but it is the density, in percent."


def test_what_each_published_run_was_is_told() -> None:
    """Every row has conditions, of fields that a cycle has; the two encoders' studies are those of their sweeps."""
    rows = load(FOLDER)
    assert all(row.conditions is not None for row in rows)
    fields = {*Cycle(task=Imdb(), model=Cnn(), training=Training(), schedule=(Magnitude(),)).flat()}
    fields |= {*Cycle(task=ImageNet(), model=RESNETS[0], schedule=(Similarity(features="flattened"),)).flat()}
    encoder = Cycle(task=Emotion(), model=Encoder(), training=FINE_TUNING, schedule=(Similarity(), Wanda())).flat()
    for row in rows:
        assert set(row.conditions or {}) <= {*fields, *encoder, "train", "validation", "test"}
    for name in ("emotion", "yahoo"):
        text = (ROOT / "sweeps" / f"{name}_deeparc.py").read_text("utf-8")
        assert 'Similarity(cka="tokens", epochs=3)' in text
    tokens = {(row.file[:3], row.model) for row in rows if (row.conditions or {}).get("similarity.cka") == "tokens"}
    assert tokens == {("004", "encoder")}


@pytest.mark.parametrize("content", ["000.txt: [1]", "000.txt: {imdb: {train: [1]}}", "{", "a: 1"])
def test_broken_conditions_are_named(tmp_path: Path, content: str) -> None:
    """Conditions that are no mapping of files, tasks and fields are a DataError of one line."""
    (tmp_path / "table.csv").write_text(f"{HEADER}\n{GOOD}\n")
    (tmp_path / "conditions.yaml").write_text(content)
    with pytest.raises(DataError, match=r"conditions\.yaml: conditions must be ") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_sparsities_are_nominal() -> None:
    """The printed sparsities are 1 − 0.8^round, rounded to three digits, and stand beside both arms' accuracies."""
    rows = [row for row in load(FOLDER) if row.table.startswith("IMDB-CNN result")]
    printed = [row.value for row in rows if row.metric == "sparsity"]
    assert printed == [round(1 - Decimal("0.8") ** k, 3) for k in range(21)]
    for arm in ("rewind@0", OWN_MASKS):
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
    for row in (row for row in load(FOLDER) if row.task != "imagenet"):
        lines = (LOGS / row.file).read_text(encoding="utf-8").split("\n")
        line = lines[row.line - 1]
        if row.file.startswith("004"):
            assert stands_in_a_table_of_bert(row, lines)
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert cells[0].lower() == row.model
            assert cells[CELLS[row.metric]] == f"{row.value}{row.unit.replace('nats', '')}"
        else:
            entries = re.findall(r"\d+(?:\.\d+)?", line)
            assert row.round is not None
            assert entries[row.round // (4 if row.metric == "density" else 1)] == str(row.value)
        seen += 1
    assert seen == 147 + 242


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def stands_in_a_table_of_bert(row: Published, lines: list[str]) -> bool:
    """Whether the row's cell, column head, title and section in `004` are what the row says."""
    above = [line for line in lines[: row.line - 1] if not line.startswith("| ---")]
    heads = cells_of(next(line for line in reversed(above) if line.startswith("|  |")))
    title = next(line for line in reversed(above) if line.startswith("### "))
    section = next(line for line in reversed(above) if line.startswith("## "))
    first, *cells = cells_of(lines[row.line - 1])
    (cell,) = [cell for head, cell in zip(heads[1:], cells, strict=True) if head in HEADS[row.metric]]
    found = re.fullmatch(r"([0-9.]+) ?(M)?(?:\([+-][0-9.]+%\)| ?\(=original\))?", cell)
    assert found is not None
    number = Decimal(found[1]).scaleb(6 if found[2] else 0)
    digits = str(row.value) == found[1] or (found[2] == "M" and row.value == number)
    assert (found[2] == "M") == (row.metric == "parameters")
    iteration = re.search(r"\[(\d)(?:차|st|nd)", first + title)
    wanda = re.search(r"Sparsity (\d)0%", title)
    named = re.fullmatch(r"Threshold(\d\d)(\(Part\))?(?:\[\d차\])?", first)
    if named is None:
        arm, prunings = ("dense", 0) if first == "Bert" else (f"wanda@{first}", 1)
    else:
        arm = f"similarity@0.{named[1]}" + (" freeze" if named[2] else "") + (f" wanda@0.{wanda[1]}" if wanda else "")
        prunings = (int(iteration[1]) if iteration else 1) + bool(wanda)
    return (
        digits
        and (row.table, row.arm, row.round) == (f"BERT-base, {title[4:].strip()}", arm, prunings)
        and section.startswith({"emotion": "## Dair AI Emotion", "yahoo_answers": "## Yahoo"}[row.task])
    )


@pytest.mark.skipif(not LOGS.is_dir(), reason=f"no logs in {LOGS}: set LT_RAY_DATA to the folder beside them")
def test_no_number_of_bert_is_left_out() -> None:
    """Each line of BERT's tables has as many rows as it has cells with a number, and no two rows are one cell."""
    rows = [row for row in load(FOLDER) if row.model == "encoder"]
    (name,) = {row.file for row in rows}
    lines = (LOGS / name).read_text(encoding="utf-8").split("\n")
    assert lines[BERT_TABLES[0] - 1].startswith("## Dair AI Emotion")
    assert lines[BERT_TABLES[-1]].startswith("## T5")
    printed = {}
    for number in BERT_TABLES:
        if (line := lines[number - 1]).startswith("| ") and not line.startswith(("|  |", "| ---")):
            printed[number] = sum(cell[0].isdigit() for cell in cells_of(line)[1:])
    assert printed == dict(Counter(row.line for row in rows))
    assert len({(row.line, row.metric) for row in rows}) == len(rows) == 242


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
