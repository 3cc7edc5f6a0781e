"""Wanda's masks against a plain statement of the paper, methods §4's figures, and laws of masks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer

from lt_ray.pruning import wanda

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)


def stated(weight: Tensor, norms: Tensor, mask: Tensor, sparsity: float | tuple[int, int]) -> Tensor:
    """Row by row: the pruned ones first, then by |w| · norm in float64, then by column; the lowest go."""
    out, features = weight.shape
    group, gone = (features, int(features * sparsity)) if isinstance(sparsity, float) else (sparsity[1], None)
    gone = gone if gone is not None else sparsity[1] - sparsity[0]
    after = mask.clone()
    for i in range(out):
        for start in range(0, features, group):
            key = {
                j: (bool(mask[i, j]), abs(float(weight[i, j])) * float(norms[j]), j)
                for j in range(start, start + group)
            }
            for j in sorted(key, key=key.__getitem__)[:gone]:
                after[i, j] = False
    return after


def layer(
    out: int, features: int, seed: int = 0, levels: int | None = None, pruned: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, norms and a mask; with `levels`, of so few values that most scores tie."""
    generator = torch.Generator().manual_seed(seed)
    if levels is None:
        weight = torch.randn(out, features, generator=generator)
        norms = torch.rand(features, generator=generator, dtype=torch.float64) * 10
    else:
        weight = torch.randint(-levels, levels + 1, (out, features), generator=generator).float()
        norms = torch.randint(0, levels + 1, (features,), generator=generator).double()
    return weight, norms, torch.rand(out, features, generator=generator) >= pruned


def full(weight: Tensor) -> Tensor:
    return torch.ones_like(weight, dtype=torch.bool)


def test_one_row_by_hand():
    """Of scores |w| · norm = 3, 2, 8, 1 in a row, 0.5 removes the 2 and the 1, signs ignored, however large the w."""
    weight, norms = torch.tensor([[3.0, -2.0, 0.5, 10.0]]), torch.tensor([1.0, 1.0, 16.0, 0.1], dtype=torch.float64)
    after = wanda.select(weight, norms, full(weight), 0.5)
    assert after.tolist() == [[True, False, True, False]]


def test_each_row_loses_as_many():
    """Rows are ranked alone: one with small weights loses no more than one with large weights."""
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [100.0, 200.0, 300.0, 400.0]])
    after = wanda.select(weight, torch.ones(4, dtype=torch.float64), full(weight), 0.5)
    assert after.tolist() == [[False, False, True, True]] * 2


def test_ties_go_by_column():
    """Of equal scores the lower column goes first, in rows and in patterns."""
    weight, norms = torch.ones(2, 8), torch.ones(8, dtype=torch.float64)
    after = wanda.select(weight, norms, full(weight), 0.375)
    assert after.tolist() == [[False] * 3 + [True] * 5] * 2
    assert wanda.select_pattern(weight, norms, full(weight), 1, 4).tolist() == [[False, False, False, True] * 2] * 2


@pytest.mark.parametrize("pruned", [0.0, 0.25, 0.7])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize(("out", "features"), [(5, 40), (300, 16), (1, 1), (3, 2)])
def test_rows_are_the_papers(out, features, levels, pruned):
    """With or without ties and an earlier mask, `select` removes what a stable sort of float64 scores does."""
    weight, norms, mask = layer(out, features, levels=levels, pruned=pruned)
    for share in (0.0, *SHARES, 0.77):
        assert torch.equal(wanda.select(weight, norms, mask, share), stated(weight, norms, mask, share)), share


@pytest.mark.parametrize("pruned", [0.0, 0.25, 0.7])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (1, 4), (3, 4)])
def test_patterns_are_the_papers(n, m, levels, pruned):
    """`select_pattern` keeps the n highest of every m inputs, by float64 score and column, of an earlier mask too."""
    weight, norms, mask = layer(20, 48, levels=levels, pruned=pruned)
    after = wanda.select_pattern(weight, norms, mask, n, m)
    assert torch.equal(after, stated(weight, norms, mask, (n, m)))
    groups = after.reshape(20, -1, m).sum(2)
    assert bool((groups == n).all()) if not pruned else bool((groups <= n).all())


def test_scores_that_only_float64_tells_apart():
    """Scores that differ by 1e-12 of their size, equal in float32, rank as they do in float64."""
    generator = torch.Generator().manual_seed(0)
    norms = 1 + torch.randperm(64, generator=generator).double() * 1e-12
    weight = torch.ones(4, 64)
    after = wanda.select(weight, norms, full(weight), 0.5)
    assert torch.equal(after, (norms >= norms.sort().values[32]).expand(4, 64))


@pytest.mark.parametrize("scale", [1e-300, 1e-42, 1e38, 1e200])
def test_norms_beyond_float32(scale):
    """Norms too large or too small for float32 prune what they prune in float64."""
    weight, norms, mask = layer(6, 30, pruned=0.1)
    after = wanda.select(weight, norms * scale, mask, 0.5)
    assert torch.equal(after, stated(weight, norms * scale, mask, 0.5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_other_types(dtype):
    """Weights of any floating type are scored by their exact values."""
    weight, norms, mask = layer(6, 30)
    after = wanda.select(weight.to(dtype), norms, mask, 0.5)
    assert torch.equal(after, stated(weight.to(dtype), norms, mask, 0.5))


def test_pruned_weights_are_not_looked_at():
    """Whatever stands under a False mask, the largest weight or NaN, counts among the lowest and stays pruned."""
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0, math.nan, 100.0]])
    mask = torch.tensor([[True, True, True, True, False, False]])
    norms = torch.ones(6, dtype=torch.float64)
    selected = [wanda.select(weight, norms, mask, share) for share in (0.2, 0.5)]
    assert [after.tolist()[0] for after in selected] == [[True] * 4 + [False] * 2, [False] + [True] * 3 + [False] * 2]
    assert wanda.select_pattern(weight, norms, mask, 1, 3).tolist() == [[False, False, True, True, False, False]]


@settings(max_examples=150)
@given(
    out=st.integers(1, 6),
    features=st.integers(1, 24),
    seed=st.integers(0, 10_000),
    levels=st.sampled_from([None, 1, 3]),
    pruned=st.floats(0, 1),
    shares=st.lists(st.floats(0, 0.99), min_size=1, max_size=4),
)
def test_masks_only_shrink_and_nest(out, features, seed, levels, pruned, shares):
    """A pruned weight never returns; a higher sparsity's mask lies within a lower one's; each row has at most the rest
    of its count."""
    weight, norms, mask = layer(out, features, seed, levels, pruned)
    outer = mask
    for share in sorted(shares):
        after = wanda.select(weight, norms, mask, share)
        assert not bool((after & ~outer).any())
        before, left = mask.sum(1), features - wanda.removed_count(features, share)
        assert torch.equal(after.sum(1), before.clamp(max=left))
        outer = after


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), first=st.sampled_from(SHARES), more=st.floats(0, 0.4))
def test_pruning_on_from_a_mask_is_pruning_at_once(seed, first, more):
    """On unchanged weights and norms, pruning to 0.x and then on to more gives the mask of more at once."""
    weight, norms, mask = layer(5, 40, seed)
    before = wanda.select(weight, norms, mask, first)
    after = wanda.select(torch.where(before, weight, 0), norms, before, first + more)
    assert torch.equal(after, wanda.select(weight, norms, mask, first + more))


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("levels", [None, 2])
def test_rows_in_parts(monkeypatch, levels, rows):
    """However many rows are ranked at a time, the masks are those of all at once, with ties too."""
    weight, norms, mask = layer(130, 24, levels=levels, pruned=0.1)
    whole = [wanda.select(weight, norms, mask, share) for share in SHARES]
    monkeypatch.setattr(wanda, "_SCORES", rows * 24)
    parts = [wanda.select(weight, norms, mask, share) for share in SHARES]
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
    assert torch.equal(parts[-1], stated(weight, norms, mask, 0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_are_left_alone(dtype):
    """Weights, norms and masks given are as before, and the masks returned are new."""
    weight, norms, mask = layer(5, 12, pruned=0.3)
    given_ = weight.to(dtype), norms, mask
    copies = [tensor.clone() for tensor in given_]
    selected = [wanda.select(*given_, 0.0), wanda.select(*given_, 0.5), wanda.select_pattern(*given_, 2, 4)]
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(given_, copies, strict=True))
    assert all(after.data_ptr() != given_[2].data_ptr() for after in selected)


def test_zeros_of_a_bert_base_layer():
    """A BERT-base layer's 7,077,888 linear weights have methods §4's zeros at 0.1 … 0.5."""
    with torch.device("meta"):
        bert = BertLayer(BertConfig())
    shapes = [tuple(child.weight.shape) for child in bert.modules() if isinstance(child, nn.Linear)]
    assert sum(out * features for out, features in shapes) == 7_077_888
    zeros = [sum(out * wanda.removed_count(features, share) for out, features in shapes) for share in SHARES]
    assert zeros == [702_720, 1_411_584, 2_120_448, 2_829_312, 3_538_944]


def test_masks_of_a_bert_base_matrix_have_the_counts():
    """In a 3072 × 768 matrix, each row loses 76, 153, 230, 307 and 384 weights at 0.1 … 0.5."""
    weight, norms, mask = layer(3072, 768)
    for count, share in zip((76, 153, 230, 307, 384), SHARES, strict=True):
        assert bool((~wanda.select(weight, norms, mask, share)).sum(1).eq(count).all())


@pytest.mark.parametrize(
    ("features", "sparsity", "count"), [(100, 0.29, 29), (10, 0.7, 7), (768, 0.3, 230), (5, 0.5, 2), (10, 1 - 0.8, 2)]
)
def test_counts_are_cut_off_but_not_by_float_noise(features, sparsity, count):
    """int(in_features · sparsity): 5 · 0.5 is 2, and 100 · 0.29 is 29 though floats say 28.999999999999996."""
    assert wanda.removed_count(features, sparsity) == count


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 50.0, math.nan])
def test_sparsities_are_shares(sparsity):
    """A sparsity outside [0, 1), such as a percentage, is refused."""
    with pytest.raises(ValueError, match=r"`0 <= sparsity < 1` must hold, but got \(sparsity="):
        wanda.select(*layer(2, 4), sparsity)


@pytest.mark.parametrize(("n", "m", "rule"), [(0, 4, "0 < n < m"), (4, 4, "0 < n < m"), (2, 5, "divide in_features")])
def test_patterns_that_cannot_be(n, m, rule):
    """A pattern needs 0 < n < m and rows that split into groups of m."""
    with pytest.raises(ValueError, match=rule):
        wanda.select_pattern(*layer(2, 12), n, m)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_norms_must_be_finite(value):
    """Where an input feature has no finite norm, nothing is pruned by it: an error says so."""
    weight, norms, mask = layer(2, 4)
    norms[1] = value
    with pytest.raises(ValueError, match="1 of 4 are not"):
        wanda.select(weight, norms, mask, 0.5)
    with pytest.raises(ValueError, match="1 of 4 are not"):
        wanda.select_pattern(weight, norms, mask, 2, 4)


def test_sums_by_hand():
    """Tokens (3, 0), (4, 1) and a padding position give the sums of squares 9 + 16 and 0 + 1."""
    padded = torch.tensor([[[3.0, 0.0], [math.nan, 7.0]]]), torch.tensor([[True, False]])
    sums = wanda.sums_of_squares(*padded) + wanda.sums_of_squares(torch.tensor([[4.0, 1.0]]), None)
    assert sums.tolist() == [25.0, 1.0]
    assert sums.dtype == torch.float64


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 9), garbage=st.sampled_from([0.0, 1e30, math.inf, math.nan]))
def test_sums_over_batches_are_those_of_all_tokens(seed, cut, garbage):
    """However tokens are batched and whatever stands in the padding, their root is ‖x_j‖₂ over the kept ones."""
    generator = torch.Generator().manual_seed(seed)
    x, kept = torch.randn(9, 50, 6, generator=generator), torch.rand(9, 50, generator=generator) > 0.4
    x[~kept] = garbage
    sums = wanda.sums_of_squares(x[:cut], kept[:cut]) + wanda.sums_of_squares(x[cut:], kept[cut:])
    assert sums.sqrt().numpy() == pytest.approx(np.linalg.norm(x[kept].double().numpy(), axis=0), rel=1e-14)


def test_sums_do_not_saturate():
    """Squares are summed in float64: beside 1e8, tokens of 1 still count, 2²⁰ of them."""
    large = torch.ones(2**20 + 1, 1)
    large[0] = 1e8
    assert float(wanda.sums_of_squares(large, None)) == pytest.approx(1e16 + 2**20, abs=8)


def test_sums_leave_inputs_alone():
    """Activations are as before, float64 ones too, which need no conversion."""
    x = torch.randn(4, 3, dtype=torch.float64)
    before = x.clone()
    wanda.sums_of_squares(x, None)
    assert torch.equal(x, before)
