"""What is told of texts before anything is trained on them."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Folder, Imdb, Toy
from lt_ray.errors import DataError
from lt_ray.rounds import inputs as datasets
from lt_ray.tasks import registry, toy
from lt_ray.tasks.corpus import Corpus, Texts
from lt_ray.tasks.text import encode

DATA = Path(os.environ.get("LT_RAY_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
SPLITS = ("train", "validation", "test")


def write(directory: Path, **splits: list[tuple[str, str]]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        (directory / f"{split}.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return directory


def rows(name: str, *labels: str, n: int = 20) -> list[tuple[str, str]]:
    return [(f"{name} {i}", labels[i % len(labels)]) for i in range(n)]


def notes_of(directory: Path) -> list[str]:
    return list(registry.corpus(Folder(), directory).notes)


def test_a_rare_class_of_a_small_table_is_trained_on(tmp_path: Path) -> None:
    """Of 61 rows with one `other`, train has that one, whatever the seed, and what lacks it is told with its counts."""
    write(tmp_path, train=[*rows("text", "good", "bad", n=60), ("rare", "other")])
    for seed in range(5):
        corpus = registry.corpus(Folder(split_seed=seed), tmp_path)
        assert "rare" in corpus.train.texts
        validation, test = corpus.notes
        counts = "(`other`: train 1, validation 0, test 0): what it measures says nothing of them."
        assert validation == f"task `folder`: validation has no text of `other` {counts}"
        assert test == f"task `folder`: test has no text of `other` {counts}"


def test_train_has_every_class(tmp_path: Path) -> None:
    """A class that train lacks is refused by name with its counts."""
    write(tmp_path, train=rows("a", "0", "1"), test=rows("b", "2", "1"))
    (tmp_path / "labels.json").write_text('["bad", "good", "other"]')
    with pytest.raises(DataError, match=r"train must .* none of `other` \(`other`: train 0, validation 0, test 10\)"):
        registry.corpus(Folder(), tmp_path)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_split_has_one_class(tmp_path: Path, split: str) -> None:
    """A split in which a constant answer is always right is refused: its accuracy of 1 would say nothing."""
    write(tmp_path, train=rows("a", "bad", "good"), **{split: rows("b", "good")})
    with pytest.raises(DataError, match=rf"`folder`: {split} must have texts of two classes .* all 20 are `good`"):
        registry.corpus(Folder(), tmp_path)


def test_texts_in_two_splits_are_counted(tmp_path: Path) -> None:
    """Texts of test or validation that train has, letter by letter, are counted, as are those both have."""
    train, test = rows("a", "0", "1"), rows("b", "0", "1")
    write(tmp_path, train=train, validation=rows("c", "0", "1")[3:] + train[:3], test=test[2:] + train[:2])
    end = "what is known by heart counts as understood."
    assert notes_of(tmp_path) == [
        f"task `folder`: 2 of 20 texts of test are in train, too: {end}",
        f"task `folder`: 3 of 20 texts of validation are in train, too: {end}",
        f"task `folder`: 2 of 20 texts of test are in validation, too: {end}",
    ]
    write(tmp_path, validation=rows("c", "0", "1"), test=test)
    assert notes_of(tmp_path) == []


def test_what_the_toy_has_in_common_is_nothing() -> None:
    """The built-in corpus has nothing to tell, nor of itself as the source of another draw."""
    assert registry.corpus(Toy()).notes == ()
    assert registry.load(Toy(), 1000, source=Toy(data_seed=1))[0].notes == ()


CYCLE = Cycle(task=Folder(), model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)), schedule=(Magnitude(),))


def told(
    caplog: pytest.LogCaptureFixture, cycle: Cycle, data_dir: Path, cache: Path, words: int | Path = 100
) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "lt_ray"):
        found = datasets.prepare(cycle, words, data_dir, cache)
    messages = [record.getMessage() for record in caplog.records]
    assert list(found.notes) == messages
    return messages


def test_notes_are_told_again_from_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every note is logged once each time a sweep's data are prepared, encoded or cached; none once it is untrue."""
    train = rows("a", "0", "1")
    write(tmp_path / "data", train=train, test=rows("a", "0", "1", n=30)[10:], more=[("x", "0")])
    first = told(caplog, CYCLE, tmp_path / "data", tmp_path / "cache")
    expected = (
        "`more.csv` is not read",
        "9 of 20 texts of test are in train, too",
        "1 of 20 texts of test are in validation, too",
        r"validation: \d+% of 6 words are unknown",  # found in encoding, the others before
    )
    assert len(first) == len(expected)
    assert all(re.search(pattern, note) for pattern, note in zip(expected, first, strict=True)), first
    again = told(caplog, CYCLE, tmp_path / "data", tmp_path / "cache")
    assert again == first
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (tmp_path / "data" / "more.csv").unlink()
    assert told(caplog, CYCLE, tmp_path / "data", tmp_path / "cache") == first[1:]


@pytest.mark.parametrize("with_tokenizer", [False, True])
def test_a_source_that_trains_on_the_test_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, with_tokenizer: bool
) -> None:
    """Test texts that a transfer's source trains on are counted, also with a tokenizer, which needs no source."""
    train = rows("a", "0", "1")
    write(tmp_path / "folder", train=train, test=rows("b", "0", "1"))
    write(tmp_path / "imdb", train=rows("c", "0", "1") + rows("b", "0", "1")[:5], test=rows("d", "0", "1"))
    words: int | Path = 100
    if with_tokenizer:
        words = tmp_path / "tokenizer"
        toy.write_tokenizer(words)
    cycle = CYCLE.model_copy(update={"source": Imdb(split="official", sizes=(20, 5, 20)), "tickets": "source"})
    notes = [note for note in told(caplog, cycle, tmp_path, tmp_path / "cache", words) if "trains on" in note]
    source = set(registry.corpus(cycle.source, tmp_path).train.texts)  # type: ignore[arg-type]
    count = sum(f"b {i}" in source for i in range(20))
    assert count
    assert [note.partition(":")[0] for note in notes] == [
        f"{count} of 20 test texts of task `folder` are among those that source `imdb` trains on"
    ]


def sentences(seed: int, n: int, letters: str, blanks: str) -> list[str]:
    """Sentences of random words of two letters, with or without blanks between."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(list(letters), size=2)) for _ in range(300)]
    draw = np.random.default_rng([seed, n])
    return [blanks.join(draw.choice(words, size=12)) + "。" for _ in range(n)]


@pytest.mark.parametrize(("blanks", "told_of"), [(" ", 0), ("", 2)])
def test_a_vocabulary_that_knows_no_word_is_told(blanks: str, told_of: int) -> None:
    """Without blanks between words every sentence is a word of its own: test and validation are told as unknown."""
    letters = "天地玄黃宇宙洪荒日月盈昃辰宿列張"
    sizes = (400, 101, 102)
    splits = [Texts(sentences(0, n, letters, blanks), np.arange(n) % 2) for n in sizes]
    data = encode(Corpus(*splits, classes=("0", "1"), name="task `folder`"), 25_000, None)
    assert len(data.notes) == told_of
    for split, n, note in zip(("validation", "test"), sizes[1:], data.notes, strict=False):
        assert note.startswith(f"task `folder`: {split}: 100% of {n} words are unknown to the vocabulary")
        assert "tokenizer" in note


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "imdb").is_dir(), reason=f"no IMDb below {DATA}: name its folder's parent with LT_RAY_DATA"
)
def test_what_imdb_has_twice_is_told() -> None:
    """IMDb's official splits share 123 texts: those that train and test have are counted."""
    corpus = registry.corpus(Imdb(split="official"), DATA)
    official = set(corpus.train.texts + corpus.validation.texts)
    assert len(official & set(corpus.test.texts)) == 123
    trained = set(corpus.train.texts)
    count = sum(text in trained for text in corpus.test.texts)
    assert corpus.notes[0].startswith(f"task `imdb`: {count} of 25,000 texts of test are in train, too")
