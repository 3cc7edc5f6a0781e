"""From a task to encoded data, and the cache between."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.tasks import Folder, Imdb, Task, Toy, YelpFull, YelpPolarity
from lt_ray.errors import DataError
from lt_ray.models import pretrained
from lt_ray.rounds import inputs as datasets
from lt_ray.tasks import kept, registry, text, toy
from lt_ray.tasks.task import SPLITS, Data

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
    os.utime(directory / kept.TENSORS, (1, 1))
    second, again = registry.load(TOY, 100, cache=tmp_path)
    assert (second.digest, again) == (first.digest, directory)
    assert (directory / kept.TENSORS).stat().st_mtime == 1
    assert Data.load(directory).digest == registry.load(TOY, 100)[0].digest == first.digest


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
    os.truncate(directory / kept.TENSORS, 1000)
    second, again = registry.load(TOY, 100, cache=tmp_path)
    assert (second.digest, again) == (first.digest, directory)
    assert caplog.text.count("made again") == 1
    registry.load(TOY, 100, cache=tmp_path)
    assert caplog.text.count("made again") == 1


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


def test_documents_of_words_are_cut_to_what_the_model_reads(tmp_path: Path, data_dir: Path) -> None:
    """A model of train words that reads 2 tokens gets the first 2 of each document, kept elsewhere than whole ones;
    to ask for more is a DataError that names the most, and to ask for fewer is heard."""
    whole, elsewhere = registry.load(Folder(), 100, data_dir, tmp_path / "cache")
    cut, directory = registry.load(Folder(), 100, data_dir, tmp_path / "cache", positions=2)
    assert directory != elsewhere
    assert set(whole.split("train").lengths.tolist()) == {3}
    for split in map(cut.split, SPLITS):
        assert set(split.lengths.tolist()) == {2}
    assert (
        cut.split("train").tokens.reshape(-1, 2).tolist() == whole.split("train").tokens.reshape(-1, 3)[:, :2].tolist()
    )
    with pytest.raises(DataError, match=r"`task.max_tokens` must be .*it can read 2 tokens.*got 3; .*max_tokens=2"):
        registry.load(Folder(max_tokens=3), 100, data_dir, positions=2)
    assert registry.load(Folder(max_tokens=1), 100, data_dir, positions=2)[0].longest == 1


def test_a_sources_train_words_are_the_vocabulary() -> None:
    """With a source, the task has its own documents in the source's words: the rows of an embedding are shared."""
    (own, _), (theirs, _) = registry.load(OTHER, 100), registry.load(TOY, 100)
    across, _ = registry.load(OTHER, 100, source=TOY)
    assert across.rows == theirs.rows
    assert across.digest not in (own.digest, theirs.digest)
    assert np.array_equal(across.split("train").labels, own.split("train").labels)
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
    with pytest.raises(DataError, match=r"`source\.sizes` must be.*--set source\.sizes="):
        registry.load(TOY, 100, tmp_path, source=Imdb(sizes=(30, 20, 10)))
    with pytest.raises(DataError, match="source `folder` must have a data directory"):
        registry.load(TOY, 100, source=Folder())


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built-in corpus's tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    toy.write_tokenizer(folder)
    return folder


def changed(folder: Path, target: Path, program: tuple[str, str] = ("", ""), **changes: object) -> Path:
    """Copy a tokenizer with one part of its program replaced by another, and other entries in its configuration."""
    shutil.copytree(folder, target)
    path = target / "tokenizer.json"
    assert program[0] in path.read_text()
    path.write_text(path.read_text().replace(*program, 1))
    path = target / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return target


def test_a_tokenizers_tokens_are_the_vocabulary(own: Path) -> None:
    """A folder in place of a number gives the tokens of the tokenizer in it, cut as the task says."""
    data, directory = registry.load(TOY, own)
    expected = text.encode_with(registry.corpus(TOY), registry.tokenizer(own), None)
    assert (data.digest, directory) == (expected.digest, None)
    assert data.padding == 0
    assert data.digest != registry.load(TOY, data.rows - 2)[0].digest


def test_a_task_says_how_much_of_a_document_a_tokenizer_keeps(own: Path, data_dir: Path) -> None:
    """`max_tokens` counts a tokenizer's special tokens, too."""
    lengths = [
        registry.load(Folder(max_tokens=most), own, data_dir)[0].split("train").lengths.max() for most in (None, 4)
    ]
    assert lengths == [5, 4]


def test_a_tokenizers_data_is_kept_by_what_it_does(tmp_path: Path, own: Path, data_dir: Path) -> None:
    """The same tokenizer finds its data again wherever it lies; another program, special token or limit does not."""
    cache = tmp_path / "cache"
    first, directory = registry.load(Folder(), own, data_dir, cache)
    assert directory is not None
    os.utime(directory / kept.TENSORS, (1, 1))
    moved, again = registry.load(Folder(), changed(own, tmp_path / "moved"), data_dir, cache)
    assert (moved.digest, again) == (first.digest, directory)
    assert (directory / kept.TENSORS).stat().st_mtime == 1
    others = [
        (changed(own, tmp_path / "program", program=('"lowercase": true', '"lowercase": false')), Folder()),
        (changed(own, tmp_path / "special", pad_token="[MASK]"), Folder()),
        (changed(own, tmp_path / "limit", model_max_length=4), Folder()),
        (own, Folder(max_tokens=4)),
        (500, Folder()),
    ]
    directories = [registry.load(task, words, data_dir, cache)[1] for words, task in others]
    assert len({directory, *directories}) == 6 == len(list(cache.iterdir()))
    assert registry.load(Folder(), others[1][0], data_dir, cache)[0].padding == 4


def test_a_tokenizers_own_truncation_and_padding_are_no_part_of_it(tmp_path: Path, own: Path) -> None:
    """A tokenizer that was saved with truncation and padding switched on finds the data of the one without."""
    tokenizer = registry.tokenizer(own)
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=40)
    tokenizer.save_pretrained(tmp_path / "set")
    assert '"max_length": 5' in (tmp_path / "set" / "tokenizer.json").read_text()
    plain, switched = (registry.load(TOY, folder, cache=tmp_path / "cache") for folder in (own, tmp_path / "set"))
    assert switched[1] == plain[1]
    assert registry.load(TOY, tmp_path / "set")[0].digest == plain[0].digest


def test_a_source_is_nothing_to_a_tokenizer(tmp_path: Path, own: Path) -> None:
    """With a tokenizer, a task's data is the same with any source, and is found again."""
    alone, with_source = (registry.load(TOY, own, cache=tmp_path, source=source) for source in (None, OTHER))
    assert alone[1] == with_source[1]
    assert alone[0].digest == with_source[0].digest


def broken(folder: Path, own: Path, case: str) -> Path:
    """Make a folder without a usable tokenizer and return it."""
    if case == "missing":
        return folder
    folder.mkdir()
    match case:
        case "broken":
            shutil.copytree(own, folder, dirs_exist_ok=True)
            (folder / "tokenizer.json").write_text("{")
        case "slow":
            (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
            (folder / "config.json").write_text('{"model_type": "canine"}')
        case "no words":
            (folder / "config.json").write_text('{"model_type": "bert"}')
        case "empty pieces":
            (folder / "config.json").write_text('{"model_type": "deberta-v2"}')
        case "pieces of another":
            (folder / "config.json").write_text('{"model_type": "bert"}')
            (folder / "spm.model").write_bytes(b"")
        case "code":
            auto = {"AutoTokenizer": [None, "tokens.Tokens"]}
            (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Tokens", "auto_map": auto}))
            (folder / "tokens.py").write_text("raise SystemExit")
    return folder


BROKEN = {
    "missing": "a tokenizer must be a folder, but there is none; name",
    "empty": "must hold a tokenizer that can be read, but it does not",
    "broken": "must hold a tokenizer that can be read, but it does not",
    "code": "must hold a tokenizer that can be read, but it does not",
    "slow": "a tokenizer must be a fast one, .* but this is a CanineTokenizer",
    "no words": "no vocabulary of a BertTokenizer, which so has 5 tokens, 5 special ones",
    "empty pieces": "no vocabulary of a DebertaV2Tokenizer, which so has 7 tokens, 5 special ones",
    "pieces of another": "no vocabulary of a BertTokenizer, which so has 5 tokens",
}


@pytest.mark.parametrize("case", BROKEN)
def test_no_tokenizer_is_one_error(tmp_path: Path, own: Path, case: str) -> None:
    """A folder without a tokenizer, or with one that cannot be used, is one DataError of one line; no code is run."""
    folder = broken(tmp_path / "tokenizer", own, case)
    with pytest.raises(DataError, match=BROKEN[case]) as caught:
        registry.load(TOY, folder)
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("deberta-v2", "spm.model"), ("xlm-roberta", "sentencepiece.bpe.model"), ("llama", "tokenizer.model")],
)
def test_a_vocabulary_of_pieces_is_converted_or_refused(tmp_path: Path, kind: str, name: str) -> None:
    """The copy of a model has its vocabulary of pieces; it is converted, or the missing package is named."""
    source = tmp_path / "model"
    source.mkdir()
    (source / "config.json").write_text(json.dumps({"model_type": kind, "vocab_size": 1000}))
    (source / name).write_bytes(pieces())
    encoder = Encoder(path=str(source), weights="random")
    _, base = pretrained.keep(source, encoder, tmp_path / "cache")
    if importlib.util.find_spec("sentencepiece") is None:
        with pytest.raises(DataError, match=rf"{re.escape(name)} must be converted .* `pip install sentencepiece`"):
            registry.tokenizer(base.directory)
    else:
        assert {"▁good", "▁bad", "▁film"} <= registry.tokenizer(base.directory).get_vocab().keys()


def pieces() -> bytes:
    """A SentencePiece file of some pieces, as the protocol's bytes: the two readers of them do not bear each other."""

    def message(field: int, content: bytes) -> bytes:
        return bytes([field << 3 | 2, len(content)]) + content

    named = ((2, "<unk>"), (3, "<s>"), (3, "</s>"), *((1, f"▁{word}") for word in ("good", "bad", "film")))
    made = [
        message(1, message(1, piece.encode()) + b"\x15" + struct.pack("<f", -float(kind == 1)) + bytes([3 << 3, kind]))
        for kind, piece in named
    ]
    return b"".join(made) + message(2, bytes([3 << 3, 1])) + message(3, message(1, b"identity"))


def test_a_vocabulary_far_smaller_than_the_embedding_is_refused(tmp_path: Path, own: Path) -> None:
    """A tokenizer with fewer than half as many tokens as the model has rows is another model's: told with both."""
    rows = len(registry.tokenizer(own))
    cycle = Cycle(task=TOY, model=Encoder(path="small"))
    shutil.copytree(own, tmp_path / "model")
    for size, refused in ((2 * rows, False), (2 * rows + 1, True)):
        tree = {"model_type": "bert", "num_hidden_layers": 2, "vocab_size": size, "pad_token_id": 0}
        (tmp_path / "model" / "config.json").write_text(json.dumps(tree))
        base = pretrained.Base(tmp_path / "model")
        if refused:
            with pytest.raises(DataError, match=rf"has {rows} tokens and the model an embedding of {size:,} rows"):
                datasets.prepare(cycle, base.directory, None, tmp_path / "cache", base)
        else:
            datasets.prepare(cycle, base.directory, None, tmp_path / "cache", base)


def test_a_tokenizer_is_read_quietly_and_only_where_it_is_needed(own: Path) -> None:
    """Nothing is printed, and the library behind tokenizers is not imported for a vocabulary of train words."""
    program = """
import sys
from pathlib import Path
from lt_ray.cycle.tasks import Toy
from lt_ray.tasks import registry
task = Toy(train=20, validation=20, test=20)
registry.load(task, 100)
assert "transformers" not in sys.modules
registry.load(task, Path(sys.argv[1]))
assert "transformers" in sys.modules
"""
    words = [sys.executable, "-W", "error", "-c", program, str(own)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
