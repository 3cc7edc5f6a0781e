"""The built-in corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import feeding
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from lt_ray.cycle.tasks import Toy
from lt_ray.tasks import registry, text, toy
from lt_ray.tasks.task import SPLITS
from lt_ray.tasks.text import PADDING, UNKNOWN, Split


def test_it_is_its_data_seeds_own() -> None:
    """The same task gives the same corpus, another data seed another, and the splits differ."""
    task = Toy(train=50, validation=50, test=50)
    first, again, other = (toy.corpus(t) for t in (task, task, task.model_copy(update={"data_seed": 1})))
    assert first.digest == again.digest != other.digest
    assert first.train.texts != first.validation.texts != first.test.texts


def test_another_data_seed_is_another_corpus_of_the_same_language() -> None:
    """Corpora of two data seeds share no review, but nearly all words, each with the sense that it has in the other."""
    a, b = (toy.corpus(Toy(data_seed=seed)) for seed in (0, 1))
    assert not set(a.train.texts) & set(b.train.texts + b.validation.texts + b.test.texts)
    data = text.encode(b, 25_000, None, words_of=a.train)
    assert (data.split("train").tokens == UNKNOWN).mean() < 0.005
    shares = []
    for corpus in (a, b):  # share of positives among the reviews with a judged clause that no negator flips
        for words in (toy.POSITIVE, toy.NEGATIVE):
            judged = [f"{verb} {word}" for verb in toy.VERBS for word in words]
            labels = [
                label
                for review, label in zip(corpus.train.texts, corpus.train.labels, strict=True)
                if any(clause in review for clause in judged)
            ]
            shares.append(np.mean(labels))
    assert shares == pytest.approx([1 - toy.MISLABELLED, toy.MISLABELLED] * 2, abs=0.03)


def test_reviews_are_short_and_balanced() -> None:
    """About half of the reviews are positive, each has 10 to 25 words, and nearly all differ."""
    train = toy.corpus(Toy()).train
    lengths = [len(review.replace(",", "").replace(".", "").split()) for review in train.texts]
    assert len(train) == 2000
    assert train.labels.mean() == pytest.approx(0.5, abs=0.03)
    assert min(lengths) >= 10
    assert max(lengths) <= 25
    assert len(set(train.texts)) > 1980


def test_its_tokenizer_knows_every_word(tmp_path: Path) -> None:
    """No text of any seed has an unknown token or is cut, and a token is a word or a sign, as printed, lower case."""
    toy.write_tokenizer(tmp_path)
    tokenizer = registry.tokenizer(tmp_path)
    assert tokenizer("The plot wasn't dull.").tokens() == [
        "[CLS]", "the", "plot", "[UNK]", "'", "[UNK]", "dull", ".", "[SEP]"
    ]  # fmt: skip
    assert tokenizer.convert_tokens_to_ids(list(toy.SPECIAL)) == [0, 1, 2, 3, 4]
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    assert tokenizer.special_tokens_map == dict(zip(names, toy.SPECIAL, strict=True))
    assert tokenizer.model_max_length == 64
    seen = set()
    for seed in range(4):
        corpus = toy.corpus(Toy(data_seed=seed))
        data = text.encode_with(corpus, tokenizer, None)
        for split in map(data.split, SPLITS):
            assert not np.isin(split.tokens, [tokenizer.unk_token_id, tokenizer.mask_token_id, data.padding]).any()
            assert split.lengths.max() < toy.LONGEST
            seen |= set(split.tokens.tolist())
        words = tokenizer.decode(data.split("test").tokens[1 : data.split("test").lengths[0] - 1]).split()
        assert "".join(words) == corpus.test.texts[0].replace(" ", "")
    assert data.rows - len(seen) == 3, "padding, unknown and mask alone are in no text: every token is a word of some"


def test_its_tokenizer_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Written twice, its files are the same, and its words are in their own order, not in that of a process."""
    for name in ("a", "b"):
        toy.write_tokenizer(tmp_path / name / "tokenizer")
    a, b = ({path.name: path.read_bytes() for path in (tmp_path / name / "tokenizer").iterdir()} for name in "ab")
    assert a == b
    assert set(a) >= {"tokenizer.json", "tokenizer_config.json"}
    tokenizer = registry.tokenizer(tmp_path / "a" / "tokenizer")
    words = tokenizer.convert_ids_to_tokens(list(range(len(toy.SPECIAL), len(tokenizer))))
    assert words == sorted(words)


class Cnn(nn.Module):
    """Windows of 3 to 5 words, and the strongest of each."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, 50, padding_idx=PADDING)
        self.windows = nn.ModuleList(nn.Conv1d(50, 50, width) for width in (3, 4, 5))
        self.out = nn.Linear(150, 1)
        nn.init.xavier_normal_(self.embedding.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.embedding(tokens).transpose(1, 2)
        found = torch.cat([window(words).relu().amax(2) for window in self.windows], 1)
        scores: Tensor = self.out(found)
        return scores.squeeze(1)


class BagOfWords(nn.Module):
    """Logistic regression on the counts of words."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.out = nn.Linear(rows, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        counts = one_hot(tokens, self.rows).sum(1).float()
        counts[:, PADDING] = 0
        scores: Tensor = self.out(counts)
        return scores.squeeze(1)


def accuracy(model: nn.Module, split: Split) -> float:
    with torch.no_grad():
        right = [(model(tokens) > 0) == labels for tokens, labels in feeding.measuring_batches(split, 10_000)]
    return torch.cat(right).float().mean().item()


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Such small tensors gain nothing from a second thread, and lose much where it waits for a busy core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_windows_solve_what_counts_cannot() -> None:
    """Counts of words stay at 0.80 test accuracy or below; a small CNN reaches 0.93 in 6 epochs."""
    data = text.encode(toy.corpus(Toy()), 25_000, None)
    best = {}
    for kind, epochs in ((BagOfWords, 20), (Cnn, 6)):
        torch.manual_seed(0)
        model = kind(data.rows)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        found = []
        for epoch in range(epochs):
            order = np.random.default_rng(epoch).permutation(len(data.split("train")))
            for tokens, labels in feeding.batches(data.split("train"), order, 64, length_batches=False):
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(model(tokens), labels.float()).backward()
                optimizer.step()
            found.append(accuracy(model, data.split("test")))
        best[kind] = max(found)
    assert best[BagOfWords] <= 0.80
    assert best[Cnn] >= 0.93
