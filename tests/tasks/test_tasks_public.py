"""The public text sets, from folders and from the hub's layout."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import datasets
import huggingface_hub.constants
import pandas as pd
import pytest

from lt_ray.cycle.tasks import AgNews, Emotion, Imdb, PublicTexts, Sst2, YahooAnswers, YelpFull, YelpPolarity
from lt_ray.errors import DataError
from lt_ray.tasks import public, registry
from lt_ray.tasks.corpus import Corpus
from lt_ray.tasks.hub import BRANCH

LAYOUTS = {
    "imdb": ("plain_text", ("neg", "pos")),
    "ag_news": ("default", ("World", "Sports", "Business", "Sci/Tech")),
    "yelp_polarity": ("plain_text", ("1", "2")),
    "yelp_full": ("yelp_review_full", ("1 star", "2 star", "3 stars", "4 stars", "5 stars")),
    "emotion": ("split", ("sadness", "joy", "love", "anger", "fear", "surprise")),
    "yahoo_answers": (
        "yahoo_answers_topics",
        (
            "Society & Culture", "Science & Mathematics", "Health", "Education & Reference", "Computers & Internet",
            "Sports", "Business & Finance", "Entertainment & Music", "Family & Relationships", "Politics & Government",
        ),
    ),
}  # fmt: skip
"""Task → the configuration and the class names that its card on the hub has"""
TASKS: dict[str, PublicTexts] = {
    "imdb": Imdb(split="official"),
    "ag_news": AgNews(),
    "yelp_polarity": YelpPolarity(),
    "yelp_full": YelpFull(),
    "emotion": Emotion(),
    "yahoo_answers": YahooAnswers(validation_share=0.3),
}


@pytest.fixture(autouse=True)
def _own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has an empty cache, and a hub that nobody answers."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")


def rows(split: str, n: int, labels: tuple[int, ...] = (0, 1)) -> pd.DataFrame:
    return pd.DataFrame(
        {"text": [f"{split} {i}" for i in range(n)], "label": [labels[i % len(labels)] for i in range(n)]}
    )


def as_yahoo(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows as the hub keeps Yahoo's: the text is the title of a question, which has more to it."""
    frame = frame.rename(columns={"text": "question_title", "label": "topic"})
    more = {"question_content": [f"content {i}" for i in range(len(frame))], "best_answer": ""}
    return frame.assign(id=range(len(frame)), **more)


def files(directory: Path, classes: int = 2, **sizes: int) -> Path:
    directory.mkdir(parents=True)
    for split, n in sizes.items():
        rows(split, n, tuple(range(classes))).to_parquet(directory / f"{split}.parquet")
    return directory


def hub(tmp_path: Path, task: str) -> Path:
    """Lay a folder out as the hub keeps the task's data set, all that no task reads among it, and return it."""
    directory = tmp_path / "hub" / Path(TASKS[task].dataset).name
    configuration, classes = LAYOUTS[task]
    splits = {"train": tuple(range(len(classes))), "test": tuple(range(len(classes)))}
    splits |= {"unsupervised": (-1,)} if task == "imdb" else {}
    splits |= {"validation": splits["train"]} if task == "emotion" else {}
    (directory / configuration).mkdir(parents=True)
    card = ["---", "configs:", f"- config_name: {configuration}", "  default: true", "  data_files:"]
    for split, labels in splits.items():
        frame = rows(split, 20, labels)
        frame = as_yahoo(frame) if task == "yahoo_answers" else frame
        frame.to_parquet(directory / configuration / f"{split}-00000-of-00001.parquet")
        card += [f"  - split: {split}", f"    path: {configuration}/{split}-*"]
    if task == "emotion":
        (directory / "unsplit").mkdir()
        rows("unsplit", 60).to_parquet(directory / "unsplit" / "train-00000-of-00001.parquet")
        card += ["- config_name: unsplit", "  data_files:", "  - split: train", "    path: unsplit/train-*"]
    texts = ["text"] if task != "yahoo_answers" else ["question_title", "question_content", "best_answer"]
    card += ["dataset_info:", f"  config_name: {configuration}", "  features:"]
    card += [line for name in texts for line in (f"  - name: {name}", "    dtype: string")]
    card += ["  - name: id", "    dtype: int64", "  - name: topic"] if len(texts) > 1 else ["  - name: label"]
    card += ["    dtype:", "      class_label:", "        names:"]
    card += [f"          '{i}': '{name}'" for i, name in enumerate(classes)]
    (directory / "README.md").write_text("\n".join([*card, "---", ""]))
    return directory


def splits_of(corpus: Corpus) -> list[list[str]]:
    return [corpus.train.texts, corpus.validation.texts, corpus.test.texts]


def sizes_of(corpus: Corpus) -> list[int]:
    return [len(texts) for texts in splits_of(corpus)]


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_hubs_layout_is_read(tmp_path: Path, name: str) -> None:
    """A folder in the hub's layout gives its splits with the card's class names, and no unlabelled text."""
    task = TASKS[name].model_copy(update={"dataset": str(hub(tmp_path, name))})
    corpus = registry.corpus(task)
    if name == "emotion":  # the one with an official validation split
        assert splits_of(corpus)[:2] == [[f"{split} {i}" for i in range(20)] for split in ("train", "validation")]
    else:
        assert sizes_of(corpus) == [14, 6, 20]
        assert sorted(corpus.train.texts + corpus.validation.texts) == sorted(f"train {i}" for i in range(20))
    assert corpus.test.texts == [f"test {i}" for i in range(20)]
    assert corpus.classes == LAYOUTS[name][1]
    for split in (corpus.train, corpus.validation, corpus.test):
        assert [int(text.split()[1]) % len(corpus.classes) for text in split.texts] == split.labels.tolist()


def cache_as_hub(directory: Path, task: PublicTexts, revision: str, configuration: str | None = None) -> None:
    """Leave `directory` in the cache as a load of the task's data set at `revision` leaves it."""
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    configuration = configuration or LAYOUTS[task.name][0]
    datasets.load_dataset(str(directory), configuration, split="train", cache_dir=str(cache / configuration))
    (prepared,) = (path.parent for path in (cache / configuration).rglob("dataset_info.json"))
    owner = task.dataset.replace("/", "___")
    target = cache / owner / configuration / "0.0.0" / revision
    shutil.copytree(prepared, target)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_cache_is_enough(tmp_path: Path, name: str) -> None:
    """Without a network, the task's revision is read from the cache."""
    task = TASKS[name]
    cache_as_hub(hub(tmp_path, name), task, task.revision)
    assert len(public.corpus(task, None).train) == (20 if name == "emotion" else 14)
    assert not datasets.config.HF_HUB_OFFLINE


def test_another_configuration_in_the_cache_is_not_taken(tmp_path: Path) -> None:
    """Of Emotion's two configurations in the cache, the one with the official splits is read, and no other alone."""
    directory, task = hub(tmp_path, "emotion"), Emotion()
    cache_as_hub(directory, task, task.revision, "unsplit")
    with pytest.raises(DataError, match="within reach"):
        public.corpus(task, None)
    cache_as_hub(directory, task, task.revision)
    assert sizes_of(public.corpus(task, None)) == [20, 20, 20]


def test_another_revision_in_the_cache_is_not_taken(tmp_path: Path) -> None:
    """Without a network, another commit than the task's is no substitute, but any does for `main`."""
    task = AgNews()
    cache_as_hub(hub(tmp_path, "ag_news"), task, "0" * 40)
    with pytest.raises(DataError, match="within reach"):
        public.corpus(task, None)
    assert len(public.corpus(AgNews(revision="main"), None).train) == 14


def test_every_revision_is_a_commit() -> None:
    """A task names the commit of its data set, so that the same cycle reads the same texts for years."""
    revisions = {name: task.revision for name, task in TASKS.items() if task.revision != BRANCH}
    assert len(set(revisions.values())) == len(revisions)
    assert set(TASKS) - set(revisions) <= {"yahoo_answers"}
    assert all(len(revision) == 40 and set(revision) <= set("0123456789abcdef") for revision in revisions.values())


@pytest.mark.parametrize("dataset", ["stanfordnlp/imdb", "nobody", "a/b/c", "/nowhere"])
def test_no_hub_is_one_error_with_two_ways_out(dataset: str) -> None:
    """A data set out of reach is soon one DataError of two lines, with both ways out."""
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        public.corpus(Imdb(dataset=dataset), None)
    message = str(caught.value)
    assert message.startswith(f"task.dataset: `{dataset}`")
    assert "--data-dir DIR with DIR/imdb/train.parquet and DIR/imdb/test.parquet" in message
    assert "--toy" in message
    assert message.count("\n") == 1
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("task", "folder"), [(task, folder) for task in TASKS for folder in [*TASKS[task].folders, ""]]
)
def test_a_task_is_found_in_its_folder_or_in_the_directory_itself(tmp_path: Path, task: str, folder: str) -> None:
    """A task's files are in a folder that bears its name, or in the data directory itself, other folders beside it."""
    classes = len(LAYOUTS[task][1])
    files(tmp_path / "data" / folder, classes, train=20, test=20)
    files(tmp_path / "data" / "squad", 7, train=20, test=20)
    assert sizes_of(public.corpus(TASKS[task], tmp_path / "data")) == [14, 6, 20]


def test_a_tasks_own_folder_comes_first(tmp_path: Path) -> None:
    """Where several folders could be the task's, the one named as the task is."""
    files(tmp_path / "yelp", 5, train=50, test=20)
    files(tmp_path / "yelp_polarity", train=20, test=20)
    assert sizes_of(public.corpus(YelpPolarity(), tmp_path)) == [14, 6, 20]
    assert sizes_of(public.corpus(YelpFull(), tmp_path)) == [35, 15, 20]


@pytest.mark.parametrize("numbers", [None, range(1, 6), ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]])
def test_stars_become_polarity(tmp_path: Path, numbers: list[object] | None) -> None:
    """Of five stars, 1 and 2 are negative, 4 and 5 positive, and reviews with 3 are dropped, in every split."""
    files(tmp_path / "yelp", 5, train=25, validation=10, test=15)
    if numbers is not None:
        for path in (tmp_path / "yelp").iterdir():
            frame = pd.read_parquet(path)
            frame["label"] = [numbers[label] for label in frame["label"]]
            frame.to_parquet(path)
    corpus = public.corpus(YelpPolarity(), tmp_path)
    assert corpus.classes == ("negative", "positive")
    for texts, split, n in zip((corpus.train, corpus.validation, corpus.test), ("train", "validation", "test"),
                               (25, 10, 15), strict=True):  # fmt: skip
        assert texts.texts == [f"{split} {i}" for i in range(n) if i % 5 != 2]
        assert texts.labels.tolist() == [int(i % 5 > 2) for i in range(n) if i % 5 != 2]


WRONG: dict[str, tuple[PublicTexts, int, list[str]]] = {
    "imdb": (Imdb(), 3, ["`imdb` must have 2 classes, but there are 3: `0`, `1`, `2`"]),
    "ag_news": (AgNews(), 2, ["`ag_news` must have 4 classes, but there are 2"]),
    "yelp_polarity": (YelpPolarity(), 4, ["`yelp_polarity` must have 2 classes (or 5, the stars), but there are 4"]),
    "yelp_full": (YelpFull(), 2, ["`yelp_full` must have 5 classes, but there are 2"]),
    "emotion": (Emotion(), 5, ["`emotion` must have 6 classes, but there are 5"]),
    "yahoo_answers": (YahooAnswers(), 9, ["`yahoo_answers` must have 10 classes, but there are 9"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_number_of_classes_is_named(tmp_path: Path, name: str) -> None:
    """Files with other classes than the task's are one DataError with the rule, the classes and the way out."""
    task, classes, parts = WRONG[name]
    files(tmp_path / name, classes, train=20, test=20)
    with pytest.raises(DataError) as caught:
        public.corpus(task, tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / name))
    assert "\n" not in message
    assert [part for part in [*parts, "--data-dir", "task `folder`"] if part not in message] == []


@pytest.mark.parametrize("names", ["five four one three two", "5 4 3 2 1", "1 2 3 4 6"])
def test_five_classes_that_are_no_stars_are_not_made_polarity(tmp_path: Path, names: str) -> None:
    """Five classes in another order than the stars', or of another sense, are a DataError."""
    files(tmp_path / "yelp", 5, train=20, test=20)
    quoted = ", ".join(f'"{name}"' for name in names.split())
    (tmp_path / "yelp" / "labels.json").write_text(f"[{quoted}]")
    with pytest.raises(DataError, match=rf"where they are stars.*but they are `{names.split()[0]}`.*labels\.json"):
        public.corpus(YelpPolarity(), tmp_path)


def test_a_split_of_three_stars_alone_is_named(tmp_path: Path) -> None:
    """A split that polarity would leave empty is a DataError."""
    files(tmp_path / "yelp", 5, train=20)
    rows("test", 5, (2,)).to_parquet(tmp_path / "yelp" / "test.parquet")
    with pytest.raises(DataError, match="other than 3 stars, but test holds none"):
        public.corpus(YelpPolarity(), tmp_path)


def yahoo(directory: Path, suffix: str = "parquet", **changes: list[object]) -> Path:
    """Write Yahoo's train and test with the hub's columns, 20 rows each, some of them changed from the first row on."""
    directory.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        frame = as_yahoo(rows(split, 20, tuple(range(10)))).astype(object)
        for name, values in changes.items():
            frame[name] = [*values, *list(frame.get(name, []))[len(values) :]]
        path = directory / f"{split}.{suffix}"
        match suffix:
            case "parquet":
                frame.to_parquet(path)
            case "csv":
                frame.to_csv(path, index=False)
            case _:
                frame.to_json(path, orient="records", lines=True)
    return directory


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_yahoos_text_is_its_columns_joined(tmp_path: Path, suffix: str) -> None:
    """A text is the task's columns in the task's order, joined by one space; what is empty leaves no space behind."""
    changes: dict[str, list[object]] = {"question_content": ["", None, "  "], "best_answer": ["yes", None]}
    directory = yahoo(tmp_path / "yahoo_answers_topics", suffix, **changes)
    expected = {
        ("question_title",): ["test 0", "test 1", "test 2", "test 3"],
        ("question_title", "question_content"): ["test 0", "test 1", "test 2", "test 3 content 3"],
        ("best_answer", "question_title"): ["yes test 0", "test 1", "test 2", "test 3"],
    }
    for columns, texts in expected.items():
        task = YahooAnswers(columns=(*columns, "topic"))
        corpus = public.corpus(task, tmp_path)
        assert corpus.test.texts[:4] == texts
        assert corpus.test.labels.tolist() == [i % 10 for i in range(20)]
        assert public.corpus(task, directory).digest == corpus.digest
    assert public.corpus(YahooAnswers(), directory).test.texts[:4] == expected[("question_title",)], "the default"
    assert {len(texts) for texts in (corpus.train, corpus.validation)} == {19, 1}, "5 % validate"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_rows_without_a_text_are_left_out_of_yahoos(tmp_path: Path, suffix: str) -> None:
    """A row whose columns are all empty is left out with its label, in every split, and each file's note counts."""
    directory = yahoo(tmp_path / "yahoo_answers", suffix, question_title=["", "kept", None, " "])
    corpus = public.corpus(YahooAnswers(), tmp_path)
    assert corpus.test.texts == ["kept", *(f"test {i}" for i in range(4, 20))]
    assert corpus.test.labels.tolist() == [1, *(i % 10 for i in range(4, 20))]
    assert len(corpus.train) + len(corpus.validation) == 17
    assert [text.partition(": ")[2] for text in corpus.notes] == [
        "3 of 20 rows have no text in `question_title`; they are left out."
    ] * 2
    told = {text.partition(": ")[0] for text in corpus.notes}
    assert told == {str(directory / f"{split}.{suffix}") for split in ("train", "test")}
    whole = public.corpus(YahooAnswers(columns=("question_title", "question_content", "topic")), tmp_path)
    assert whole.test.texts[:2] == ["content 0", "kept content 1"]
    assert not whole.notes


def test_a_text_of_yahoos_is_taken_as_it_is(tmp_path: Path) -> None:
    """Files with `text` and `label` are these, whatever other columns they have; columns that are named come first."""
    files(tmp_path / "plain", 10, train=20, test=20)
    yahoo(tmp_path / "both", text=[f"both {i}" for i in range(20)], label=[9 - i % 10 for i in range(20)])
    for folder, text, label in (("plain", "test 3", 3), ("both", "both 3", 6)):
        corpus = public.corpus(YahooAnswers(), tmp_path / folder)
        assert (corpus.test.texts[3], corpus.test.labels[3]) == (text, label)
    named = YahooAnswers(columns=("question_title", "topic"))
    assert public.corpus(named, tmp_path / "both").test.texts[3] == "test 3"
    with pytest.raises(DataError, match=r"`question_title`, `topic` that the task names .* not among `text`, `label`"):
        public.corpus(named, tmp_path / "plain")


BROKEN_YAHOO: dict[str, tuple[dict[str, list[object]], list[str]]] = {
    "no topic": (
        {"topic": []},
        ["`text` and `label`, or `question_title`, `topic`, must", "`topic` is not", "Rename the column to `topic`"],
    ),
    "no label": ({"text": ["a"] * 20}, ["but `label` is not among", "Rename the column to `label`"]),
    "nothing": ({"question_title": [""] * 20}, ["a text in `question_title`, but none of 20", "name other columns"]),
    "number": ({"question_title": ["", 7]}, ["`question_title` must be a text, but row 2 has 7"]),
    "no class": ({"question_title": [""], "topic": [0, 1, None]}, ["`topic` must be a whole number", "row 3 has None"]),
}


@pytest.mark.parametrize("case", BROKEN_YAHOO)
def test_a_broken_table_of_yahoos_is_named(tmp_path: Path, case: str) -> None:
    """A table in the hub's columns that breaks a rule is one DataError with the file, the rule, and row and value."""
    changes, parts = BROKEN_YAHOO[case]
    directory = yahoo(tmp_path / "yahoo_answers", "jsonl", **changes)
    if case in ("no topic", "no label"):
        for path in directory.iterdir():
            pd.read_json(path, lines=True).drop(columns="topic").to_json(path, orient="records", lines=True)
    with pytest.raises(DataError) as caught:
        public.corpus(YahooAnswers(), tmp_path)
    message = str(caught.value)
    assert message.startswith(str(directory))
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


def test_a_row_keeps_its_number_where_others_are_left_out(tmp_path: Path) -> None:
    """A label of test that train does not have is named with its row in the file, not among the rows with a text."""
    directory = yahoo(tmp_path, question_title=["", ""])
    frame = pd.read_parquet(directory / "test.parquet")
    frame.loc[4, "topic"] = 10
    frame.to_parquet(directory / "test.parquet")
    with pytest.raises(DataError, match=r"test\.parquet: a label must occur in train, but row 5 has `10`"):
        public.corpus(YahooAnswers(), tmp_path)


def test_a_directory_without_the_tasks_folder_is_named(tmp_path: Path) -> None:
    """A data directory with neither the task's folder nor files says which folders would do, and what it has."""
    files(tmp_path / "imdb", train=20, test=20)
    with pytest.raises(DataError, match=r"in a folder `yelp_polarity` or `yelp` there, but it holds `imdb`"):
        public.corpus(YelpPolarity(), tmp_path)


@pytest.mark.parametrize("nested", [True, False])
def test_pooled_sizes(tmp_path: Path, nested: bool) -> None:
    """The pooled split has the task's sizes, disjoint and out of all official splits, by its seed."""
    files(tmp_path / "data" / "imdb" if nested else tmp_path / "data", train=20, test=20, validation=10)
    first, again, other = (
        public.corpus(Imdb(sizes=(25, 15, 10), split_seed=seed), tmp_path / "data") for seed in (0, 0, 1)
    )
    assert sizes_of(first) == [25, 15, 10]
    assert len({text for texts in splits_of(first) for text in texts}) == 50
    assert {text.split()[0] for text in first.test.texts} == {"train", "test", "validation"}
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize(
    ("sizes", "shares", "expected"),
    [
        ({"train": 25, "test": 25}, (0.2, 0.3), [28, 12, 10]),  # IMDb's 28,000/12,000/10,000, a thousandth
        ({"train": 20, "test": 20, "validation": 9}, (0.2, 0.3), [27, 12, 10]),  # of 49: 9.8 → 10, 11.7 → 12
        ({"train": 20, "test": 20}, (0.5, 0.5), [10, 10, 20]),
    ],
)
def test_pooled_shares(tmp_path: Path, sizes: dict[str, int], shares: tuple[float, float], expected: list[int]) -> None:
    """Without sizes, test is its share of all documents, validation its share of the others, and all are used."""
    files(tmp_path / "imdb", **sizes)
    task = Imdb(test_share=shares[0], validation_share=shares[1])
    corpus = public.corpus(task, tmp_path)
    assert sizes_of(corpus) == expected
    assert len({text for texts in splits_of(corpus) for text in texts}) == sum(sizes.values())
    named = public.corpus(Imdb(sizes=(expected[0], expected[1], expected[2])), tmp_path)
    assert named.digest == corpus.digest, "sizes that are the shares make the same cut"


@pytest.mark.parametrize(
    ("sizes", "seed", "digest"),
    [
        ({"train": 20, "test": 20}, 0, "8731f649cf2414b3cb4c64408a0d9c307f8beabadaa4fbd153bf0934119ea5bd"),
        ({"train": 20, "test": 20}, 7, "bb7fe2b867842e9de406f8c2d1963b7bab35808446c519e2019a3c4a86b91d83"),
        (
            {"train": 20, "test": 20, "validation": 10},
            0,
            "8e31e2723e3c654638da2fe1593f3e8307865d9649f572070f6a53894f42a1bb",
        ),
    ],
)
def test_the_pooled_documents_are_those_of_old(tmp_path: Path, sizes: dict[str, int], seed: int, digest: str) -> None:
    """A pooled cut has the documents that the first stratified one drew (golden), so that results stay comparable."""
    assert public.corpus(Imdb(split_seed=seed), files(tmp_path / "imdb", **sizes)).digest == digest


def test_a_small_pool_is_named(tmp_path: Path) -> None:
    """A pool smaller than the sizes says both numbers and the sizes that would do."""
    files(tmp_path / "data", train=20, test=20)
    with pytest.raises(DataError, match=r"50000 of the 40 documents; .*--set task\.sizes=\[22,9,8\]\."):
        public.corpus(Imdb(sizes=(28_000, 12_000, 10_000)), tmp_path / "data")
    files(tmp_path / "tiny", train=2, test=1)
    with pytest.raises(DataError, match=r"3 rows become train 1, validation 1, test 1.*--set task\.test_share"):
        public.corpus(Imdb(), tmp_path / "tiny")


def test_official_split(tmp_path: Path) -> None:
    """The official split has the official test, whole and in order; validation is a share of train, or its file."""
    task = Imdb(split="official", validation_share=0.25)
    cut = public.corpus(task, files(tmp_path / "cut", train=20, test=20))
    assert (len(cut.train), len(cut.validation)) == (15, 5)
    assert len({*cut.train.texts, *cut.validation.texts}) == 20
    named = public.corpus(task, files(tmp_path / "named", train=20, test=20, validation=7))
    assert named.train.texts == [f"train {i}" for i in range(20)]
    assert named.validation.texts == [f"validation {i}" for i in range(7)]
    assert cut.test.texts == named.test.texts == [f"test {i}" for i in range(20)]


def test_the_logs_ag_news(tmp_path: Path) -> None:
    """AG-news' 120,000 and 7,600 official rows, a hundredth here, become the research logs' 84,000/36,000/7,600."""
    assert sizes_of(public.corpus(AgNews(), files(tmp_path / "ag_news", 4, train=1200, test=76))) == [840, 360, 76]


@pytest.mark.parametrize("validation", [0, 12])
def test_official_sizes(tmp_path: Path, validation: int) -> None:
    """Sizes draw each split from its own official one, disjoint, by the seed; train gives a missing validation."""
    given = {"validation": validation} if validation else {}
    files(tmp_path / "ag_news", 4, train=20, test=20, **given)
    first, again, other = (public.corpus(AgNews(sizes=(12, 6, 9), split_seed=seed), tmp_path) for seed in (0, 0, 1))
    assert sizes_of(first) == [12, 6, 9]
    assert len({text for texts in splits_of(first) for text in texts}) == 27
    origins = [{text.split()[0] for text in texts} for texts in splits_of(first)]
    assert origins == [{"train"}, {"validation"} if validation else {"train"}, {"test"}]
    assert first.digest == again.digest
    assert all(a != b for a, b in zip(splits_of(first), splits_of(other), strict=True))


@pytest.mark.parametrize(
    ("given", "sizes", "parts"),
    [
        ({}, (15, 15, 9), ["train and validation ask for 30 of the 20 in train", "--set task.sizes=[10,10,9]"]),
        ({}, (12, 6, 40), ["test ask for 40 of the 20 in test", "--set task.sizes=[12,6,20]"]),
        ({"validation": 4}, (20, 6, 20), ["validation ask for 6 of the 4 in validation", "[20,4,20]"]),
    ],
)
def test_too_small_an_official_split_is_named(
    tmp_path: Path, given: dict[str, int], sizes: tuple[int, int, int], parts: list[str]
) -> None:
    """Sizes beyond an official split say which, both numbers, and sizes that would do."""
    files(tmp_path / "ag_news", 4, train=20, test=20, **given)
    with pytest.raises(DataError) as caught:
        public.corpus(AgNews(sizes=sizes), tmp_path)
    assert [part for part in [*parts, "split=pooled"] if part not in str(caught.value)] == []


def test_no_test_file_is_named(tmp_path: Path) -> None:
    """A public set without a test file is a DataError: its test split is never cut from train."""
    with pytest.raises(DataError, match="`imdb` must have a `test` split"):
        public.corpus(Imdb(), files(tmp_path / "data", train=20))


@pytest.mark.parametrize("task", [Imdb(), Imdb(sizes=(25, 15, 8)), Imdb(split="official", sizes=(12, 6, 9))])
def test_every_cut_of_a_public_set_is_stratified(tmp_path: Path, task: Imdb) -> None:
    """Pooled or official, by shares or by sizes: each split has both classes in the proportions of its origin."""
    (tmp_path / "imdb").mkdir()
    for split in ("train", "test"):
        rows(split, 40, (0, 0, 0, 1)).to_parquet(tmp_path / "imdb" / f"{split}.parquet")
    corpus = public.corpus(task, tmp_path)
    for texts in (corpus.train, corpus.validation, corpus.test):
        assert abs(int(texts.labels.sum()) - len(texts) / 4) < 1


def glue(directory: Path) -> Path:
    """Lay a folder out as the hub keeps GLUE: several configurations, and a test split without labels."""
    (directory / "sst2").mkdir(parents=True)
    (directory / "cola").mkdir()
    card = ["---", "configs:"]
    for name in ("cola", "sst2"):
        card += [f"- config_name: {name}", "  data_files:"]
        for split, n, labels in (("train", 40, (0, 1)), ("validation", 12, (0, 1)), ("test", 8, (-1,))):
            frame = rows(f"{name} {split}", n, labels).rename(columns={"text": "sentence"}).assign(idx=range(n))
            frame.to_parquet(directory / name / f"{split}-00000-of-00001.parquet")
            card += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    (directory / "README.md").write_text("\n".join([*card, "---", ""]))
    return directory


def test_sst2_tests_on_the_split_that_has_labels(tmp_path: Path) -> None:
    """GLUE's test has no labels: its validation tests, train gives validation, from the hub's layout and a folder."""
    for source in (Sst2(dataset=str(glue(tmp_path / "glue"))), Sst2()):
        data_dir = None if source.dataset != Sst2().dataset else tmp_path / "data"
        if data_dir is not None:
            for split, n in (("train", 40), ("validation", 12)):
                (data_dir / "sst2").mkdir(parents=True, exist_ok=True)
                frame = rows(f"sst2 {split}", n).rename(columns={"text": "sentence"})
                frame.to_parquet(data_dir / "sst2" / f"{split}.parquet")
        corpus = public.corpus(source.model_copy(update={"validation_share": 0.25}), data_dir)
        assert sizes_of(corpus) == [30, 10, 12]
        assert all(text.startswith("sst2 validation") for text in corpus.test.texts)
        assert all(text.startswith("sst2 train") for text in corpus.train.texts + corpus.validation.texts)
