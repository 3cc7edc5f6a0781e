"""Text as arrays: encoding a corpus once, cutting it into batches, keeping it on disk."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lt_ray.cycle import canonical
from lt_ray.errors import DamagedError
from lt_ray.tasks.corpus import Corpus, Texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = 0
"""Token of every word outside the vocabulary; row 0 of the embedding."""
PADDING = 1
"""Token that fills a batch up to its longest document; row 1 of the embedding."""
ENCODING = 1
"""Raised when `encode` comes to give other tokens for the same corpus."""

POOL = 100
"""Batches whose documents are sorted by length together [count]"""
CHUNK = 1024
"""Documents encoded at a time: the library's encodings take some 100 bytes a token [count]"""

# The tokenizer always parts brackets from letters, so no text can hold these two as words.
SPECIAL_WORDS = {"[unknown]": UNKNOWN, "[padding]": PADDING}

TENSORS = "arrays.safetensors"
DESCRIPTION = "data.json"

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Encoded documents, end to end: document i is `tokens[offsets[i]:offsets[i + 1]]`."""

    tokens: npt.NDArray[np.int32]
    """Shape `(total,)`"""
    offsets: Integers
    """Shape `(n + 1,)`"""
    labels: Integers
    """Shape `(n,)`"""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Integers:
        """Tokens of each document, int64 of shape `(n,)`; at least 1."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class TextData:
    """An encoded task: all of it that reaches a model."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    rows: int
    """Rows of an embedding: the words kept, the unknown word and the padding [count]"""
    digest: str
    """SHA-256 of the arrays of all splits, the class names and `rows`"""

    @property
    def outputs(self) -> int:
        """Outputs of a classifier: 1 for two classes (binary cross-entropy), else one a class [count]."""
        return 1 if len(self.classes) == 2 else len(self.classes)


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
    train, validation, test = (
        _encode_split(tokenizer, texts, max_tokens) for texts in (corpus.train, corpus.validation, corpus.test)
    )
    return _text_data(train, validation, test, corpus.classes, len(SPECIAL_WORDS) + len(words))


def batches(
    split: Split, order: Integers, batch_size: int, length_batches: bool, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of (tokens int64 `(B, T)`, labels int64 `(B,)`), padded to each batch's longest document.

    - `order`: the epoch's permutation of 0 … n−1, int64 of shape `(n,)`.
    - `length_batches`: sort each pool of 100 batches by length (ties keep `order`), so that a batch holds documents of
      like length. A sorted epoch would train on short documents first, so each batch then takes the place in `order`
      of one of its documents: the one with the smallest index. `order` is uniform whatever the lengths, hence so is
      the batches' order, and it needs no draw of its own.
    - `start`: batches skipped without being built [count].
    """
    documents = order
    starts = np.arange(0, len(order), batch_size)
    turns: Integers = np.arange(len(starts))
    if length_batches:
        pools = np.arange(len(order)) // (POOL * batch_size)
        documents = order[np.lexsort((split.lengths[order], pools))]
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        turns = np.argsort(places[np.minimum.reduceat(documents, starts)])
    for first in starts[turns[start:]].tolist():
        yield _collate(split, documents[first : first + batch_size])


def measuring_batches(split: Split, tokens_per_batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every document once as (tokens int64 `(B, T)`, labels int64 `(B,)`), shortest first.

    - `tokens_per_batch`: most tokens of a batch, padding counted, unless one document alone has more [count].
    """
    lengths = split.lengths
    documents = np.argsort(lengths, kind="stable")
    lengths = lengths[documents]
    first = 0
    while first < len(documents):
        # Sorted, so the padded size of the first 1, 2, … documents rises, and no later one is shorter than the first.
        longest = lengths[first : first + max(1, tokens_per_batch // int(lengths[first]))]
        padded = longest * np.arange(1, len(longest) + 1)
        count = max(1, int(np.searchsorted(padded, tokens_per_batch, side="right")))
        yield _collate(split, documents[first : first + count])
        first += count


def save(data: TextData, directory: Path) -> None:
    """Write `data` so that `load(directory)` returns it; the directory appears whole or not at all.

    Several processes may save the same data at once: the first wins. A damaged or other directory is replaced.
    """
    from safetensors.numpy import save_file

    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        save_file(_arrays(data.train, data.validation, data.test), temporary / TENSORS)
        description = {"classes": list(data.classes), "rows": data.rows, "digest": data.digest}
        (temporary / DESCRIPTION).write_text(canonical(description))
        for path in (temporary / TENSORS, temporary / DESCRIPTION, temporary):
            _fsync(path)
        _put(temporary, directory, data.digest)
        _fsync(directory.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(directory: Path) -> TextData:
    """Return what `save` wrote, its arrays mapped from the file and read-only.

    Raises `DamagedError` if a file is missing, cut short, or not what its digest says.
    """
    from safetensors import SafetensorError, safe_open

    try:
        # The torch reader maps the file; the numpy one copies it.
        with safe_open(directory / TENSORS, framework="pt") as file:
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 - not a dict
        description = json.loads((directory / DESCRIPTION).read_bytes())
        train, validation, test = (
            Split(arrays[f"{name}.tokens"], arrays[f"{name}.offsets"], arrays[f"{name}.labels"])
            for name in ("train", "validation", "test")
        )
        data = _text_data(train, validation, test, tuple(description["classes"]), description["rows"])
        written = description["digest"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{directory}: not a whole encoded data set ({error}).") from error
    if data.digest != written:
        raise DamagedError(f"{directory}: the arrays' digest must be {written}, but is {data.digest}.")
    for array in arrays.values():
        array.flags.writeable = False
    return data


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


def _encode_split(tokenizer: Tokenizer, texts: Texts, max_tokens: int | None) -> Split:
    chunks: list[npt.NDArray[np.int32]] = []
    lengths: list[int] = []
    for first in range(0, len(texts), CHUNK):
        encodings = tokenizer.encode_batch_fast(texts.texts[first : first + CHUNK], add_special_tokens=False)
        documents = [encoding.ids[:max_tokens] or [UNKNOWN] for encoding in encodings]
        lengths.extend(map(len, documents))
        chunks.append(np.fromiter(itertools.chain.from_iterable(documents), dtype=np.int32))
    return Split(
        tokens=np.concatenate(chunks),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=texts.labels.astype(np.int64),
    )


def _collate(split: Split, documents: Integers) -> tuple[Tensor, Tensor]:
    begins = split.offsets[documents]
    lengths = split.offsets[documents + 1] - begins
    ends = np.cumsum(lengths)
    tokens = np.full((len(documents), int(lengths.max())), PADDING, dtype=np.int64)
    inside = np.arange(tokens.shape[1]) < lengths[:, None]
    tokens[inside] = split.tokens[np.repeat(begins - (ends - lengths), lengths) + np.arange(ends[-1])]
    return torch.from_numpy(tokens), torch.from_numpy(split.labels[documents])


def _text_data(train: Split, validation: Split, test: Split, classes: tuple[str, ...], rows: int) -> TextData:
    arrays = _arrays(train, validation, test)
    shapes = {name: array.shape[0] for name, array in arrays.items()}
    sha = hashlib.sha256(canonical({"classes": list(classes), "rows": rows, "shapes": shapes}).encode())
    for array in arrays.values():
        sha.update(array.data)
    return TextData(train, validation, test, classes, rows, sha.hexdigest())


def _arrays(train: Split, validation: Split, test: Split) -> dict[str, npt.NDArray[np.int32] | Integers]:
    return {
        f"{name}.{part}": getattr(split, part)
        for name, split in (("train", train), ("validation", validation), ("test", test))
        for part in ("tokens", "offsets", "labels")
    }


def _put(temporary: Path, directory: Path, digest: str) -> None:
    """Rename `temporary` to `directory`, unless it already holds the same data."""
    while True:
        try:
            temporary.rename(directory)
            return
        except OSError:
            if not directory.exists():
                raise
        try:
            if load(directory).digest == digest:
                return
        except DamagedError:
            pass
        # Aside first: a directory is removed file by file, and nobody may meet it half removed.
        aside = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
        try:
            directory.rename(aside)
        except FileNotFoundError:
            continue  # another writer moved it
        shutil.rmtree(aside, ignore_errors=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
