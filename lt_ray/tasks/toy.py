"""The built-in corpus: short reviews whose label is what their author finds, made from a seed.

A review holds one or two judged clauses («the plot was not really dull»): the sentiment word says the label, a negator
flips it. Neither word alone says much: reported clauses («critics called it dull») do not count, and negators also
stand in plain clauses («we never saw the balo»). So counts of words fall short, and windows of 3 to 5 words suffice.
Plain words have a Zipf tail, and some sentiment words are rare.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lt_ray.cycle.tasks import Toy
from lt_ray.tasks.corpus import Corpus, Texts, permutation, uniforms

POSITIVE = ["great", "good", "superb", "lovely", "clever", "moving", "charming", "brilliant"]
NEGATIVE = ["awful", "bad", "dull", "boring", "clumsy", "tedious", "dreadful", "poor"]
SUBJECTS = ["plot", "cast", "script", "ending", "music", "dialogue", "pacing", "camera", "story", "acting"]
VERBS = ["was", "felt", "seemed", "looked"]
NEGATORS = ["not", "never", "hardly"]
INTENSIFIERS = ["very", "really", "quite", "truly"]
REPORTERS = ["critics", "friends", "they", "everyone", "posters", "reviewers"]
REPORTS = ("called it", "said it's", "found it")
PEOPLE = ["we", "i", "you", "people"]
ACTIONS = ["saw", "met", "left", "heard", "noticed", "expected"]
HEADS = ["ba", "de", "fi", "go", "lu", "mo", "na", "pe", "ri", "so", "ta", "vu", "ke", "ji", "wo", "zu"]
TAILS = ["lo", "min", "rek", "ti", "sun", "dor", "pa", "kel", "gam", "bix", "nu", "fet", "har", "os", "yal", "duv"]
FILLERS = [head + tail for tail in TAILS for head in HEADS]
RARE_POSITIVE = [head + tail for tail in ("lish", "rous", "mic", "tal", "vid", "nese") for head in HEADS]
RARE_NEGATIVE = [head + tail for tail in ("gish", "dous", "fic", "bal", "kid", "rese") for head in HEADS]
HARMONIC = list(itertools.accumulate(1 / i for i in range(1, len(FILLERS) + 1)))
"""Sums 1 + 1/2 + … + 1/i: a Zipf distribution over the first n words is their first n, divided by the last"""

NEGATED = 0.35
"""Share of judged clauses with a negator [0, 1]"""
INTENSIFIED = 0.3
"""Share of sentiment words with an intensifier [0, 1]"""
RARE = 0.4
"""Share of sentiment words drawn from the rare ones [0, 1]"""
MISLABELLED = 0.04
"""Share of reviews with the other label, in every split: no model can, and none should, get all of them [0, 1]"""
TWICE = 0.4
"""Share of reviews with two judged clauses [0, 1]"""
REPORTED = 0.6
"""Share of reviews with a reported clause, of either sentiment [0, 1]"""
PLAIN_NEGATED = 0.35
"""Share of plain clauses with a negator [0, 1]"""
FILLED = (10, 21)
"""Words that plain clauses of at most 5 fill a review up to; so it has 10 to 25 [count]"""
DRAWS = 128
"""Numbers drawn for a review, more than the longest uses [count]"""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Special tokens of the corpus's own tokenizer: its tokens 0, 1, …"""
LONGEST = 64
"""Tokens of a document that it keeps, more than the longest has [count]"""

Draw = Callable[[], float]


def corpus(task: Toy, data_dir: Path | None = None, group: str = "task") -> Corpus:
    """Return the corpus of `task.data_seed`: two balanced classes, 10 to 25 words a text."""
    train, validation, test = (
        _texts(task.data_seed, split, size)
        for split, size in (("train", task.train), ("validation", task.validation), ("test", task.test))
    )
    return Corpus(train, validation, test, ("negative", "positive"))


def write_tokenizer(folder: Path) -> None:
    """Write a Hugging Face tokenizer of all words of the corpus, whatever its seed, as a small BERT would have it.

    - `folder`: made where there is none; the same bytes each time.

    A token is a word or a sign of punctuation, lower case; a document is `[CLS]`, its tokens, `[SEP]`.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer, pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = {
        word for text in _vocabulary() for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))
    }
    tokens = {word: token for token, word in enumerate([*SPECIAL, *sorted(words)])}
    padding, unknown, begin, end, mask = SPECIAL
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token=unknown))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(word, tokens[word]) for word in (begin, end)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=LONGEST, pad_token=padding, unk_token=unknown, cls_token=begin,
        sep_token=end, mask_token=mask,
    ).save_pretrained(folder)  # fmt: skip


def _vocabulary() -> list[str]:
    """Every word, and what joins words, that a review is made of."""
    words = [POSITIVE, NEGATIVE, SUBJECTS, VERBS, NEGATORS, INTENSIFIERS, REPORTERS, REPORTS, PEOPLE, ACTIONS, FILLERS]
    return ["the", ",", ".", *itertools.chain(*words, RARE_POSITIVE, RARE_NEGATIVE)]


def _texts(seed: int, split: str, size: int) -> Texts:
    labels = permutation(seed, f"toy {split} labels", size) % 2
    rows = uniforms(seed, f"toy {split} words", (size, DRAWS))
    texts = [_review(label == 1, row) for label, row in zip(labels, rows, strict=True)]
    mislabelled = uniforms(seed, f"toy {split} mistakes", (size,)) < MISLABELLED
    return Texts(texts, np.where(mislabelled, 1 - labels, labels))


def _review(positive: bool, uniforms: npt.NDArray[np.float64]) -> str:
    draw = iter(uniforms.tolist()).__next__
    shortest, longest = FILLED
    target = shortest + int(draw() * (longest - shortest + 1))
    clauses = [_judged(positive, draw)]
    if draw() < TWICE:
        clauses.append(_judged(positive, draw))
    if draw() < REPORTED:
        clauses.append(_reported(draw))
    while sum(map(len, clauses)) < target:
        clauses.append(_plain(draw))
    clauses.sort(key=lambda _: draw())
    return ", ".join(" ".join(clause) for clause in clauses) + "."


def _judged(positive: bool, draw: Draw) -> list[str]:
    negator = [_pick(NEGATORS, draw)] if draw() < NEGATED else []
    return ["the", _pick(SUBJECTS, draw), _pick(VERBS, draw), *negator, *_sentiment(positive ^ bool(negator), draw)]


def _reported(draw: Draw) -> list[str]:
    return [_pick(REPORTERS, draw), *_pick(REPORTS, draw).split(), *_sentiment(draw() < 0.5, draw)]


def _plain(draw: Draw) -> list[str]:
    negator = [_pick(NEGATORS, draw)] if draw() < PLAIN_NEGATED else []
    return [_pick(PEOPLE, draw), *negator, _pick(ACTIONS, draw), "the", _zipf(FILLERS, draw)]


def _sentiment(positive: bool, draw: Draw) -> list[str]:
    intensifier = [_pick(INTENSIFIERS, draw)] if draw() < INTENSIFIED else []
    common, rare = (POSITIVE, RARE_POSITIVE) if positive else (NEGATIVE, RARE_NEGATIVE)
    word = _zipf(rare, draw) if draw() < RARE else _pick(common, draw)
    return [*intensifier, word]


def _pick(words: Sequence[str], draw: Draw) -> str:
    return words[int(draw() * len(words))]


def _zipf(words: Sequence[str], draw: Draw) -> str:
    """Return a word: the i-th is 1 / i as frequent as the first."""
    return words[bisect.bisect(HARMONIC, draw() * HARMONIC[len(words) - 1])]
