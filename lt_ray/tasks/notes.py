"""What has to be told of texts before anything is trained on them, each in one sentence."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lt_ray.errors import DataError
from lt_ray.tasks.corpus import Corpus
from lt_ray.tasks.tables import listed

UNKNOWN_SHARE = 0.3
"""Share of a split's words outside the vocabulary from which it is told: some 0.02 of English reviews' are outside of
25,000 words, of a language without blanks between its words nearly all [0, 1]"""


def of_corpus(name: str, corpus: Corpus) -> Iterator[str]:
    """Yield notes for the user on a task's splits: classes that one lacks, and texts that two have in common.

    - `name`: who it is, as `` task `imdb` ``

    Raises `DataError` where train lacks a class, and where validation or test has one class alone: nothing can be
    learnt or measured there.
    """
    if corpus.train.labels.ndim == 1:
        labels = {split: texts.labels for split, texts in corpus.splits.items()}
        yield from of_classes(name, labels, corpus.classes)
    for split, texts in corpus.splits.items():
        if corpus.train.labels.ndim == 2 and not np.ptp(texts.labels, axis=0).any():
            raise DataError(
                f"{name}: {split} must have texts that differ in what is asked of them, but all {len(texts):,} have "
                "the same labels or number, where a constant answer would be right; give it others."
            )
    yield from of_examples(name, {split: texts.texts for split, texts in corpus.splits.items()})


def of_examples(name: str, splits: Mapping[str, Sequence[Hashable]], examples: str = "texts") -> Iterator[str]:
    """Yield notes on examples that two splits have in common.

    - `splits`: split → its examples, or what they are known by; `examples`: what messages call several of them
    """
    for split, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        yield from in_common(
            f"{name}: {{}} of {{}} {examples} of {split} are in {other}, too", splits[split], splits[other]
        )


def of_classes(
    name: str, labels: Mapping[Any, npt.NDArray[np.int64]], classes: Sequence[str], examples: str = "texts"
) -> Iterator[str]:
    """Yield notes on classes that a split lacks; raises `DataError` as `of_corpus` does.

    - `labels`: split → the classes of its examples; `examples`: what messages call several of them
    """
    counts = {split: np.bincount(has, minlength=len(classes)) for split, has in labels.items()}
    for split, has in counts.items():
        lacking = [classes[label] for label in np.flatnonzero(has == 0).tolist()]
        shown = "; ".join(_counted(counts, classes.index(label), label) for label in lacking[:3])
        if split == "train" and lacking:
            raise DataError(
                f"{name}: train must have {examples} of every class, but it has none of {listed(lacking)} ({shown}); "
                "give it some, or leave the class out everywhere."
            )
        if np.count_nonzero(has) == 1:
            raise DataError(
                f"{name}: {split} must have {examples} of two classes or more, but all {has.sum():,} are "
                f"`{classes[int(has.argmax())]}`, where a constant answer would be right; give it {examples} of "
                "other classes, or let it be cut from train."
            )
        if lacking:
            one = examples.removesuffix("s")
            yield f"{name}: {split} has no {one} of {listed(lacking)} ({shown}): what it measures says nothing of them."


def in_common(sentence: str, examples: Sequence[Hashable], others: Iterable[Hashable]) -> Iterator[str]:
    """Yield that some examples are among others, where any is.

    - `sentence`: what is said of (examples in common, all examples)
    """
    known = set(others)
    count = sum(example in known for example in examples)
    if count:
        yield f"{sentence.format(f'{count:,}', f'{len(examples):,}')}: what is known by heart counts as understood."


def of_words(split: str, unknown: npt.NDArray[np.bool_], words: npt.NDArray[np.bool_]) -> Iterator[str]:
    """Yield that a split's words are mostly unknown, where they are.

    - `unknown`, `words`: of each token, whether it stands for an unknown word, and whether it stands for a word at all;
      shape `(total,)`
    """
    all_words = int(np.count_nonzero(words))
    share = np.count_nonzero(unknown & words) / max(1, all_words)
    if share >= UNKNOWN_SHARE:
        yield (
            f"{split}: {share:.0%} of {all_words:,} words are unknown to the vocabulary, so the model cannot read "
            "them. Words are what blanks and punctuation part: for a language without blanks take an encoder with a "
            "tokenizer of that language, else a larger `model.vocabulary`, or more texts."
        )


def _counted(counts: dict[str, npt.NDArray[np.int64]], label: int, name: str) -> str:
    return f"`{name}`: " + ", ".join(f"{split} {has[label]:,}" for split, has in counts.items())
