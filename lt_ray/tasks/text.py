"""Text as arrays: encoding a corpus once, cutting it into batches, keeping it on disk."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from lt_ray.cycle.facts import PADDING, UNKNOWN, Facts
from lt_ray.errors import DataError
from lt_ray.tasks import literal, notes
from lt_ray.tasks.corpus import Corpus, Texts
from lt_ray.tasks.task import SPLITS, Data, Integers, SplitName, asked
from lt_ray.training.batch import Batch

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

ENCODING = 3
"""Raised when `encode` or `encode_with` comes to give other data, or tell other things, for the same corpus."""
LONGEST = 512
"""Tokens kept of a document where a tokenizer names no limit of its own: what a BERT reads [count]"""
NO_LIMIT = 10**6
"""Limit of a tokenizer from which it is none: the library says 10^30 where it knows none [count]"""

TOKENS = 32_768
"""Most tokens of a measuring batch [count]"""
POOL = 100
"""Batches whose documents are sorted by length together [count]"""
CHUNK = 1024
"""Documents encoded at a time: the library's encodings take some 100 bytes a token [count]"""

# The tokenizer always parts brackets from letters, so no text can hold these two as words.
SPECIAL_WORDS = {"[unknown]": UNKNOWN, "[padding]": PADDING}


@dataclass(frozen=True, eq=False)
class Split:
    """Encoded documents, end to end: document i is `tokens[offsets[i]:offsets[i + 1]]`."""

    tokens: npt.NDArray[np.int32]
    """Shape `(total,)`"""
    offsets: Integers
    """Shape `(n + 1,)`"""
    labels: npt.NDArray[Any]
    """Classes int64 `(n,)`, labels float32 `(n, L)` of 0 and 1, or numbers float32 `(n, 1)`"""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Integers:
        """Tokens of each document, int64 of shape `(n,)`; at least 1."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class TextData(Data, kind="text"):
    """Documents as tokens."""

    PARTS: ClassVar[tuple[str, ...]] = ("tokens", "offsets", "labels")
    TARGETS: ClassVar[str] = "labels"
    OWN: ClassVar[tuple[str, ...]] = ("rows", "padding")

    rows: int
    """Rows of an embedding: the words kept, the unknown word and the padding; or a tokenizer's tokens [count]"""
    padding: int = PADDING
    """Token that fills a batch; it stands in no document"""

    @classmethod
    def of(
        cls, splits: Mapping[str, Split], classes: tuple[str, ...], rows: int, padding: int, notes: tuple[str, ...] = ()
    ) -> TextData:
        """Return data made of encoded splits: `train`, `validation` and `test`."""
        arrays = {f"{split}.{part}": getattr(splits[split], part) for split in SPLITS for part in cls.PARTS}
        return cls(arrays, classes, rows, padding, notes=notes)

    def split(self, name: SplitName) -> Split:
        """Return the documents of a split."""
        return Split(*(self.arrays[f"{name}.{part}"] for part in self.PARTS))

    @property
    def longest(self) -> int:
        """Tokens of the longest document of train [count]."""
        return int(self.split("train").lengths.max())

    @property
    def facts(self) -> Facts:
        """What a model must know of it."""
        return Facts("text", *asked(self.targets("train"), self.classes), self.rows, self.padding)

    def some(self, split: SplitName, examples: Integers, size: int) -> Iterator[Batch]:
        """Yield some documents of a split, in the order given, each batch padded to its longest."""
        for first in range(0, len(examples), size):
            yield self._collated(self.split(split), examples[first : first + size])

    def epoch(
        self, order: Integers, size: int, *, by_length: bool = False, first: int = 0, seed: int = 0, epoch: int = 0
    ) -> Iterator[Batch]:
        """Yield one epoch of train, each batch padded to its longest document.

        - `by_length`: sort each pool of 100 batches by length (ties keep `order`), so that a batch holds documents of
          like length. A sorted epoch would train on short documents first, so the batches, the short last one too,
          come in an order of their own, drawn from a digest of `order`: uniform whatever the lengths, and the same for
          equal ones
        """
        documents, train = order, self.split("train")
        starts = np.arange(0, len(order), size)
        turns: Integers = np.arange(len(starts))
        if by_length:
            pools = np.arange(len(order)) // (POOL * size)
            documents = order[np.lexsort((train.lengths[order], pools))]
            # Their places in `order` would not do: equal lengths keep it, and the last batch would come last.
            seed = int.from_bytes(hashlib.sha256(order.astype(np.int64).tobytes()).digest()[:8], "big") >> 1
            turns = torch.randperm(len(starts), generator=torch.Generator().manual_seed(seed)).numpy()
        for start in starts[turns[first:]].tolist():
            yield self._collated(train, documents[start : start + size])

    def measuring(self, split: SplitName, tokens: int = TOKENS) -> Iterator[Batch]:
        """Yield every document of a split once, shortest first.

        - `tokens`: most tokens of a batch, padding counted, unless one document alone has more [count]
        """
        whole = self.split(split)
        documents = np.argsort(whole.lengths, kind="stable")
        lengths = whole.lengths[documents]
        first = 0
        while first < len(documents):
            # Sorted, so the padded size of the first 1, 2, … documents rises, and no later one is shorter.
            longest = lengths[first : first + max(1, tokens // int(lengths[first]))]
            padded = longest * np.arange(1, len(longest) + 1)
            count = max(1, int(np.searchsorted(padded, tokens, side="right")))
            yield self._collated(whole, documents[first : first + count])
            first += count

    def _collated(self, split: Split, documents: Integers) -> Batch:
        begins = split.offsets[documents]
        lengths = split.offsets[documents + 1] - begins
        ends = np.cumsum(lengths)
        tokens = np.full((len(documents), int(lengths.max())), self.padding, dtype=np.int64)
        inside = np.arange(tokens.shape[1]) < lengths[:, None]
        tokens[inside] = split.tokens[np.repeat(begins - (ends - lengths), lengths) + np.arange(ends[-1])]
        return Batch(torch.from_numpy(tokens), torch.from_numpy(split.labels[documents]))


def encode(corpus: Corpus, vocabulary: int, max_tokens: int | None, words_of: Texts | None = None) -> TextData:
    """Return the corpus as tokens: words and runs of punctuation, lower case.

    - `vocabulary`: most frequent words of the train split that are kept [count]. Their tokens are 2, 3, … by falling
      frequency, ties by the word; every other word is `UNKNOWN`.
    - `max_tokens`: tokens kept of a document; None = all [count].
    - `words_of`: the texts whose words are the vocabulary, instead of the corpus's train split: its whole documents,
      whatever `max_tokens` keeps. Two corpora with the same `words_of` fit one embedding.

    A document without any word is one `UNKNOWN`. Texts of validation and test never reach the vocabulary.
    """
    words = _most_frequent((corpus.train if words_of is None else words_of).texts, vocabulary)
    tokenizer = _tokenizer(SPECIAL_WORDS | {word: token for token, word in enumerate(words, len(SPECIAL_WORDS))})

    def tokens_of(texts: list[str]) -> list[list[int]]:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids[:max_tokens] or [UNKNOWN] for encoding in encodings]

    spoken = [True] * len(SPECIAL_WORDS) + [any(map(str.isalnum, word)) for word in words]
    return _encoded(corpus, tokens_of, PADDING, UNKNOWN, np.array(spoken))


def encode_with(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None, positions: int | None = None
) -> TextData:
    """Return the corpus as the tokens of a Hugging Face tokenizer, its special tokens around each document.

    - `tokenizer`: a fast one; it is left as it is, and what it was set to truncate and pad to does not count.
    - `max_tokens`: first tokens kept of a document, special ones included; None = as many as the tokenizer's
      `model_max_length`, or `LONGEST` where that is no limit, and the model can read [count].
    - `positions`: tokens that the model can read, whatever the tokenizer says; None = any number [count].

    A special token that is written out in a text, as «[SEP]», is text. A document without any token is one unknown
    token. `rows` counts the tokenizer's tokens, `padding` is its own.

    Raises `DataError` where the tokenizer has no padding token, or one that stands in a document, and where
    `max_tokens` leaves no room for a token of text, or is more than can be read.
    """
    padding, unknown = tokenizer.pad_token_id, tokenizer.unk_token_id
    if not isinstance(padding, int):
        raise DataError(
            "a tokenizer must have a padding token, to fill batches with, but this one has none; set its `pad_token` "
            "and save it again, or take another model's."
        )
    longest, special = longest_document(tokenizer, max_tokens, positions), tokenizer.num_special_tokens_to_add()
    if longest <= special:
        raise DataError(
            f"`task.max_tokens > {special}`, the special tokens around a document, must hold with this tokenizer, but "
            f"got {longest}; keep more with --set task.max_tokens=N."
        )
    backend = literal.backend_of(tokenizer)
    backend.enable_truncation(longest)

    def tokens_of(texts: list[str]) -> list[list[int]]:
        documents: list[list[int]] = []
        for text, encoding in zip(texts, backend.encode_batch_fast(texts), strict=True):
            if not encoding.ids and not isinstance(unknown, int):
                raise DataError(
                    f"a text must become a token, but this tokenizer makes none of {text[:60]!r} and has no unknown "
                    "token; remove the text, or set the tokenizer's `unk_token`."
                )
            tokens: list[int] = encoding.ids or [unknown]
            if padding in tokens:
                raise DataError(
                    f"the padding token must stand in no document, but `{tokenizer.pad_token}` ({padding}) does in "
                    f"{text[:60]!r}; remove it from the text, or give the tokenizer a `pad_token` of its own."
                )
            documents.append(tokens)
        return documents

    spoken = ~np.isin(np.arange(len(tokenizer)), [token for token in tokenizer.all_special_ids if token != unknown])
    return _encoded(corpus, tokens_of, padding, unknown if isinstance(unknown, int) else None, spoken)


def _encoded(
    corpus: Corpus,
    tokens_of: Callable[[list[str]], list[list[int]]],
    padding: int,
    unknown: int | None,
    spoken: npt.NDArray[np.bool_],
) -> TextData:
    """Return the corpus as tokens, with its notes and those of its unknown words.

    - `spoken`: of each token of the vocabulary, whether it is a word, known or not; shape `(rows,)`
    """
    splits = {name: _encode_split(texts, tokens_of) for name, texts in corpus.splits.items()}
    said = list(corpus.notes)
    for name, split in splits.items():
        if unknown is not None:
            said += notes.of_words(f"{corpus.name}: {name}", split.tokens == unknown, spoken[split.tokens])
    return TextData.of(splits, corpus.classes, len(spoken), padding, tuple(said))


def longest_document(tokenizer: PreTrainedTokenizerBase, max_tokens: int | None, positions: int | None = None) -> int:
    """Return the tokens that `encode_with` keeps of a document at most, special ones included [count].

    Raises `DataError` where `max_tokens` is more than the tokenizer or the model can take.
    """
    own = tokenizer.model_max_length if tokenizer.model_max_length < NO_LIMIT else None
    if own is None or (positions is not None and positions <= own):
        check_length(max_tokens, positions)
    else:
        check_length(max_tokens, own, "its tokenizer keeps")
    most = LONGEST if own is None else own
    return max_tokens or (most if positions is None else min(most, positions))


def check_length(max_tokens: int | None, most: int | None, whose: str = "it can read") -> None:
    """Raise `DataError` where `max_tokens` is more than the model takes; None = any number, or no limit."""
    if max_tokens is not None and most is not None and max_tokens > most:
        raise DataError(
            f"`task.max_tokens` must be at most what the model takes ({whose} {most} tokens), but got {max_tokens}; "
            f"keep less with --set task.max_tokens={most}."
        )


def _tokenizer(tokens: dict[str, int]) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token="[unknown]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("<br />", " "), normalizers.NFC(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def _most_frequent(texts: list[str], count: int) -> list[str]:
    from tokenizers import trainers

    tokenizer = _tokenizer(SPECIAL_WORDS)
    # The trainer sorts by falling frequency, then by the word; a special word given to it would be found in texts.
    trainer = trainers.WordLevelTrainer(vocab_size=count, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokens: dict[str, int] = tokenizer.get_vocab()
    return sorted(tokens, key=tokens.__getitem__)


def _encode_split(texts: Texts, tokens_of: Callable[[list[str]], list[list[int]]]) -> Split:
    chunks: list[npt.NDArray[np.int32]] = []
    lengths: list[int] = []
    for first in range(0, len(texts), CHUNK):
        documents = tokens_of(texts.texts[first : first + CHUNK])
        lengths.extend(map(len, documents))
        chunks.append(np.fromiter(itertools.chain.from_iterable(documents), dtype=np.int32))
    return Split(
        tokens=np.concatenate(chunks),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=texts.labels,
    )
