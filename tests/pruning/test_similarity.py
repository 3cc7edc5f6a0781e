"""CKA against the papers' formulas in plain float64, and block plans against plans made by hand."""

import copy
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lt_ray.errors import DegenerateError
from lt_ray.pruning import similarity
from lt_ray.pruning.similarity import MinibatchCka, TokenCka, centred_gram, clusters, plan, pooled

Array = npt.NDArray[np.float64]
Batch = list[Tensor]
LETTERS = {"a": 0.98, "b": 0.99, "c": 1.0, "x": 0.97, "y": 0.5}


# --- the formulas ---------------------------------------------------------------------------------------------------


def linear_gram(features: Tensor) -> Array:
    wide = features.double().numpy()
    wide = wide - wide.mean(0)
    return wide @ wide.T


def unbiased_hsic(k: Array, m: Array) -> float:
    """Nguyen et al. 2020, eq. 3, term by term."""
    n = len(k)
    k, m = k.copy(), m.copy()
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    trace = np.trace(k @ m)
    sums = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return float((trace + sums - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3)))


def minibatch_reference(batches: list[Batch]) -> Array:
    """Nguyen et al. 2020, eq. 2: products and norms summed over batches, then divided."""
    blocks = len(batches[0])
    grams = [[linear_gram(features) for features in batch] for batch in batches]
    products = np.array([[sum(unbiased_hsic(g[i], g[j]) for g in grams) for j in range(blocks)] for i in range(blocks)])
    return products / np.sqrt(np.outer(products.diagonal(), products.diagonal()))


def token_reference(states: Batch, kept: Tensor) -> Array:
    """Kornblith et al. 2019, eq. 4 of each sentence's own tokens, then the mean over sentences."""
    blocks, values = len(states), []
    for sentence in range(len(kept)):
        real = kept[sentence]
        if int(real.sum()) < 2:
            continue
        grams = [linear_gram(state[sentence][real]) for state in states]
        norms = [np.linalg.norm(gram) for gram in grams]
        values.append(
            [[np.trace(grams[i] @ grams[j]) / (norms[i] * norms[j]) for j in range(blocks)] for i in range(blocks)]
        )
    return np.mean(values, axis=0)


def published_reference(batches: list[Batch]) -> Array:
    """torch_cka's estimator in float64: no mean removed, diagonal zeroed, each HSIC averaged over batches."""
    blocks = len(batches[0])
    product, own = np.zeros((blocks, blocks)), np.zeros(blocks)
    for batch in batches:
        raw = [features.double().numpy() for features in batch]
        grams = [features @ features.T for features in raw]
        own += [unbiased_hsic(gram, gram) / len(batches) for gram in grams]
        product += [[unbiased_hsic(k, m) / len(batches) for m in grams] for k in grams]
    return product / (np.sqrt(own)[:, None] * np.sqrt(own)[None, :])


# --- examples -------------------------------------------------------------------------------------------------------


def drifting(widths: list[int], n: int, batches: int = 1, mean: float = 0.0, seed: int = 0) -> list[Batch]:
    """Float32 features (n, d_l) of blocks that each see the one before through a random map, plus noise."""
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(a, b, generator=generator) / a**0.5 for a, b in pairwise(widths)]
    means = [mean * torch.randn(width, generator=generator) for width in widths]
    made = []
    for _ in range(batches):
        state = torch.randn(n, widths[0], generator=generator)
        batch = [state + means[0]]
        for weight, shift in zip(maps, means[1:], strict=True):
            state = state @ weight
            state = state + 0.5 * torch.randn(state.shape, generator=generator)
            batch.append(state + shift)
        made.append(batch)
    return made


def sentences(lengths: list[int], widths: list[int], mean: float = 0.0, seed: int = 0) -> tuple[Batch, Tensor]:
    longest = max(lengths)
    flat = drifting(widths, len(lengths) * longest, mean=mean, seed=seed)[0]
    kept = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
    return [state.reshape(len(lengths), longest, -1) for state in flat], kept


def minibatch(batches: list[Batch]) -> Array:
    cka = MinibatchCka(len(batches[0]))
    for batch in batches:
        cka.add([*map(centred_gram, batch)])
    return cka.matrix().numpy()


def tokens(states: Batch, kept: Tensor) -> Array:
    cka = TokenCka(len(states))
    cka.add(states, kept)
    return cka.matrix().numpy()


def apart(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max())


def alike(*runs: int) -> Tensor:
    """CKA of runs of equal blocks: `alike(1, 3)` = block 0 alone, blocks 1, 2, 3 alike."""
    group = torch.repeat_interleave(torch.arange(len(runs)), torch.tensor(runs))
    return torch.where(group.unsqueeze(0) == group.unsqueeze(1), 1.0, 0.5).double()


def planted(*rows: str) -> Tensor:
    """CKA above the diagonal, a letter a value: a = 0.98, b = 0.99, c = 1, x = 0.97, y = 0.5."""
    cka = torch.eye(len(rows) + 1, dtype=torch.float64)
    for i, row in enumerate(rows):
        for j, letter in enumerate(row, i + 1):
            cka[i, j] = cka[j, i] = LETTERS[letter]
    return cka


# --- CKA over batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.0, 1.0, 1e4])
@pytest.mark.parametrize(
    ("widths", "n", "batches"),
    [
        ([5, 5, 5], 4, 3),
        ([64] * 4, 8, 2),
        ([8192, 8192], 8, 1),
        ([768] * 3, 33, 2),
        ([3, 40, 7], 64, 2),
        ([20] * 5, 130, 1),
    ],
)
def test_minibatch_cka_is_its_formula(widths, n, batches, mean):
    """From float32 features, with means of 0 to 1e4, CKA is within 2e-6 of the papers' formulas in float64."""
    made = drifting(widths, n, batches, mean, seed=n)
    assert apart(minibatch(made), minibatch_reference(made)) <= 2e-6


@pytest.mark.parametrize("seed", range(4))
def test_few_examples_of_many_features(seed):
    """Four examples of 4,096 features, which after centring differ little, still give CKA within 2e-6."""
    made = drifting([4096] * 4, n=4, seed=seed)
    assert apart(minibatch(made), minibatch_reference(made)) <= 2e-6


def test_batches_of_unequal_sizes():
    """Each batch's HSIC is an estimate of the same number, so that a last batch of 8 weighs as much as one of 60."""
    made = drifting([7, 7, 7], n=60, seed=1) + drifting([7, 7, 7], n=8, seed=2)
    assert apart(minibatch(made), minibatch_reference(made)) <= 2e-6


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    widths=st.lists(st.integers(2, 40), min_size=1, max_size=4),
    n=st.integers(6, 70),
    batches=st.integers(1, 3),
    seed=st.integers(0, 10_000),
)
def test_minibatch_cka_of_any_shape(widths, n, batches, seed):
    """Any number of blocks, of unequal widths, in any number of batches, gives a symmetric matrix by the formula."""
    made = drifting(widths, n, batches, mean=3.0, seed=seed)
    matrix = minibatch(made)
    assert matrix.dtype == np.float64
    assert np.array_equal(matrix, matrix.T)
    assert np.array_equal(matrix.diagonal(), np.ones(len(widths)))
    assert apart(matrix, minibatch_reference(made)) <= 2e-6


def test_minibatch_cka_is_the_published_program_s():
    """Where features have no large mean, so that torch_cka gives a number, CKA agrees with it within 5e-5."""
    made = drifting([48] * 5, n=64, batches=3, mean=1.0)
    assert apart(minibatch(made), published_reference(made)) <= 5e-5


def test_batches_are_summed_and_then_divided():
    """CKA is the sum of products over the root of summed norms: a batch of ten times the scale weighs 10⁴ as much."""
    first, second = drifting([6, 6], n=8, batches=2, seed=3)
    loud = [10 * features for features in second]
    together = minibatch([first, loud])
    assert apart(together, minibatch([second])) < 1e-3
    assert apart(together, (minibatch([first]) + minibatch([loud])) / 2) > 0.01
    assert apart(together, minibatch_reference([first, loud])) <= 2e-6


def test_equal_blocks_have_cka_1_and_unrelated_ones_0():
    """A block against itself gives 1; against independent features about 0, which the biased estimator would not."""
    one, other = torch.randn(2, 200, 300, generator=torch.Generator().manual_seed(0))
    matrix = minibatch([[one, one.clone(), other]])
    assert matrix[0, 1] == pytest.approx(1, abs=1e-12)
    assert abs(matrix[0, 2]) < 0.03


def test_cka_of_four_examples_by_hand():
    """Four examples split into halves 01|23 by one block and 03|12 by another have CKA −1/2, where biased CKA has 0."""
    # Kept by the estimator: K̃ of 4 examples is one number for each of the 3 ways to pair them, which add up to 0.
    # x = (1,1,−1,−1) has off-diagonal products 1, −1, −1 for the pairings 01|23, 02|13, 03|12, so K̃ ∝ (2, −1, −1);
    # y = (1,−1,−1,1) has K̃ ∝ (−1, −1, 2); their cosine is (−2 + 1 − 2) / 6 = −1/2.
    x = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    y = torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    assert minibatch([[x, y]]) == pytest.approx(np.array([[1, -0.5], [-0.5, 1]]), abs=1e-12)


def test_rotation_and_scale_change_nothing():
    """An orthogonal map of a block's features, or one factor for all of them, changes CKA by no more than 1e-6."""
    generator = torch.Generator().manual_seed(1)
    made = drifting([24, 24, 24], n=48, batches=2)
    turn = torch.linalg.qr(torch.randn(24, 24, generator=generator, dtype=torch.float64)).Q
    moved = [[a, (b.double() @ turn).float(), 1e-3 * c] for a, b, c in made]
    assert apart(minibatch(made), minibatch(moved)) <= 1e-6
    shifted = [[a, b + 5, c] for a, b, c in made]
    assert apart(minibatch(made), minibatch(shifted)) <= 1e-6


def test_the_order_of_examples_within_a_batch_does_not_matter():
    """Examples shuffled within their batch give the same CKA, within 1e-6."""
    made = drifting([24, 24, 24], n=48, batches=2)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(2))
    assert apart(minibatch(made), minibatch([[f[order] for f in batch] for batch in made])) <= 1e-6


def test_features_of_more_dimensions_are_flattened():
    """Features (n, channels, height, width) count as (n, channels · height · width)."""
    made = drifting([24, 24], n=10)[0]
    assert np.array_equal(minibatch([made]), minibatch([[f.reshape(10, 2, 3, 4) for f in made]]))


def test_autocast_around_cka_changes_no_bit():
    """Within a bfloat16 autocast, as evaluation runs on a GPU, CKA still computes in float32."""
    made = drifting([48, 48], n=40)
    states, kept = sentences([40, 33], [48, 48])
    plain = minibatch(made), tokens(states, kept)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(minibatch(made), plain[0])
        assert np.array_equal(tokens(states, kept), plain[1])


def test_half_features_are_widened():
    """bfloat16 features give what the same numbers in float32 do, and inputs are left as they were."""
    made = [[f.bfloat16() for f in batch] for batch in drifting([16, 16], n=40)]
    before = [f.clone() for f in made[0]]
    assert np.array_equal(minibatch(made), minibatch([[f.float() for f in batch] for batch in made]))
    assert all(torch.equal(f, b) for f, b in zip(made[0], before, strict=True))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_batch_needs_four_examples(n):
    """The unbiased estimator divides by n − 3: fewer than 4 examples are an error, and nothing was added."""
    cka = MinibatchCka(2)
    with pytest.raises(ValueError, match=f"at least 4 examples, but got {n}"):
        cka.add([centred_gram(torch.randn(n, 3)), centred_gram(torch.randn(n, 3))])
    assert cka.examples == 0


def test_blocks_must_be_as_many_as_announced_and_of_the_same_examples():
    """A missing block, unequal batches, tokens of another shape, and nothing at all are errors that say so."""
    with pytest.raises(ValueError, match="got 1 blocks"):
        MinibatchCka(2).add([centred_gram(torch.randn(5, 3))])
    with pytest.raises(ValueError, match=r"with \[5, 6\] examples"):
        MinibatchCka(2).add([centred_gram(torch.randn(n, 3)) for n in (5, 6)])
    with pytest.raises(ValueError, match=r"tokens \(2, 4\)"):
        TokenCka(1).add([torch.randn(2, 5, 3)], torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="needs examples"):
        MinibatchCka(2).matrix()
    with pytest.raises(ValueError, match="needs sentences"):
        TokenCka(2).matrix()


def test_examples_and_sentences_are_counted():
    """The number of examples or sentences behind a matrix is known, for it belongs to the report."""
    cka = MinibatchCka(2)
    for batch in drifting([4, 4], n=6, batches=3):
        cka.add([*map(centred_gram, batch)])
    assert cka.examples == 18
    states, kept = sentences([5, 1, 2, 0], [4])
    by_token = TokenCka(1)
    by_token.add(states, kept)
    assert by_token.sentences == 2


# --- CKA over tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.0, 1e4])
@pytest.mark.parametrize("lengths", [[2, 3, 9], [40, 5, 33, 17], [70, 64, 1, 65]])
def test_token_cka_is_its_formula(lengths, mean):
    """From float32 states, with means of 0 and 1e4, CKA is within 2e-6 of the formula sentence by sentence."""
    states, kept = sentences(lengths, [24, 7, 24], mean, seed=len(lengths))
    assert apart(tokens(states, kept), token_reference(states, kept)) <= 2e-6


def test_small_differences_at_large_means():
    """States that differ by 0.1 around 1e4, a hundred float32 roundings, lose no more than 2e-6 to the mean."""
    states, kept = sentences([70, 64, 33, 65], [24, 24, 3])
    far = [0.1 * state + 1e4 for state in states]
    assert apart(tokens(far, kept), token_reference(far, kept)) <= 2e-6


def test_padding_cannot_matter():
    """NaN, infinity and numbers at padding, and more padding, change CKA by no more than 1e-6; so does `pooled`."""
    states, kept = sentences([9, 4, 7], [12, 12])
    plain, pool = tokens(states, kept), pooled(states[0], kept)
    for garbage in (float("nan"), float("inf"), -1e30, 7.0):
        wider = [torch.nn.functional.pad(s, (0, 0, 0, 40), value=garbage) for s in states]
        more = torch.nn.functional.pad(kept, (0, 40), value=False)
        for state in wider:
            state[~more] = garbage
        assert apart(tokens(wider, more), plain) <= 1e-6
        assert torch.equal(pooled(wider[0], more), pool)


def test_kept_tokens_may_lie_anywhere():
    """A mask with holes counts the tokens it keeps, wherever they are."""
    states, _ = sentences([12, 12], [6, 6], seed=4)
    kept = torch.tensor([[True, False, True, True] * 3, [False, True, False, True] * 3])
    assert apart(tokens(states, kept), token_reference(states, kept)) <= 2e-6


def test_sentences_of_fewer_than_two_tokens_do_not_count():
    """One token has nothing to be compared with: such a sentence changes no mean, and none but such is an error."""
    states, kept = sentences([9, 1, 0, 7], [12, 12])
    rest = torch.tensor([0, 3])
    assert apart(tokens(states, kept), tokens([s[rest] for s in states], kept[rest])) <= 1e-12
    with pytest.raises(ValueError, match="sentences of 2 or more tokens"):
        tokens([s[1:3] for s in states], kept[1:3])


def test_sentences_weigh_the_same_however_they_are_batched(monkeypatch):
    """The mean is over sentences, of any length and scale: one by one, all at once, or in parts to save memory."""
    states, kept = sentences([30, 2, 11, 5], [12, 12])
    states = [state * torch.tensor([1.0, 100.0, 1.0, 0.01])[:, None, None] for state in states]
    one_by_one = TokenCka(2)
    for i in range(4):
        one_by_one.add([s[i : i + 1] for s in states], kept[i : i + 1])
    assert apart(tokens(states, kept), one_by_one.matrix().numpy()) <= 1e-12
    assert apart(tokens(states, kept), token_reference(states, kept)) <= 2e-6
    whole = tokens(states, kept)
    monkeypatch.setattr(similarity, "_ENTRIES", 2 * 30 * 30 * 3)
    assert apart(tokens(states, kept), whole) <= 1e-12


def test_pooled_is_the_mean_of_kept_tokens():
    """The pooled state of tokens 1 and 3 of (1, 100, 3) is 2; half states give float32; no token is an error."""
    states = torch.tensor([[[1.0], [100.0], [3.0]]])
    kept = torch.tensor([[True, False, True]])
    assert pooled(states, kept).tolist() == [[2.0]]
    assert pooled(states.bfloat16(), kept).dtype == torch.float32
    with pytest.raises(ValueError, match="none in sentence 0"):
        pooled(states, torch.zeros(1, 3, dtype=torch.bool))


# --- degenerate blocks ----------------------------------------------------------------------------------------------


def constants() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    level = 1e4 * torch.randn(16, generator=generator).repeat(40, 1)
    up = torch.rand(40, 16, generator=generator) > 0.5
    return {
        "zero": torch.zeros(40, 16),
        "equal": level,
        "equal but for rounding": torch.where(up, level, torch.nextafter(level, torch.tensor(torch.inf))),
    }


@pytest.mark.parametrize("kind", constants())
@pytest.mark.parametrize("n", [8, 40])
def test_a_constant_block_is_named(kind, n):
    """A block with the same output for all examples is a DegenerateError with its position, never NaN."""
    batch = [f[:n] for f in drifting([16, 16, 16], n=40)[0]]
    batch[1] = constants()[kind][:n]
    with pytest.raises(DegenerateError, match=r"from block 1 \(of 0\.\.2\).*leave the block out"):
        minibatch([batch, batch])
    states = [f.unsqueeze(0) for f in batch]
    with pytest.raises(DegenerateError, match=r"from block 1 \(of 0\.\.2\)"):
        tokens(states, torch.ones(1, n, dtype=torch.bool))


def test_a_constant_block_stays_constant_after_pooling():
    """The mean of equal states is that state, bit for bit, however long the sentence, and is found constant."""
    states, kept = sentences([3, 7, 512, 257, 13, 507], [64, 64])
    constant = (torch.full_like(states[0], 1e3) + 0.1 * torch.arange(64)).masked_fill(~kept.unsqueeze(-1), 5)
    assert torch.equal(pooled(constant, kept), constant[:, 0])
    with pytest.raises(DegenerateError, match="from block 0"):
        minibatch([[pooled(constant, kept), pooled(states[1], kept)]])


def test_constant_features_do_not_make_a_block_degenerate():
    """A block may have dead features, and large ones, beside those that differ: they add nothing to CKA."""
    made = drifting([8, 8], n=40)
    dead = torch.tensor([0.0, 1e4, -3.0]).repeat(40, 1)
    wider = [[torch.cat([f, dead], 1) for f in batch] for batch in made]
    assert apart(minibatch(wider), minibatch(made)) <= 1e-6


def test_a_block_that_differs_for_one_example_only_is_degenerate():
    """With one unlike example the unbiased norm is 0 but for rounding, and that is an error, not a random number."""
    for n in (6, 50):
        odd = torch.ones(n, 9)
        odd[3] = torch.randn(9, generator=torch.Generator().manual_seed(6))
        with pytest.raises(DegenerateError, match="from block 0"):
            minibatch([[odd, *drifting([9], n=n)[0]]])


def test_all_degenerate_blocks_are_named():
    """Several constant blocks are named together."""
    batch = drifting([4] * 4, n=8)[0]
    batch[0], batch[3] = torch.ones(8, 4), torch.ones(8, 4)
    with pytest.raises(DegenerateError, match="from block 0, 3"):
        minibatch([batch])


def test_a_block_that_is_constant_in_one_batch_only_is_not_degenerate():
    """One dull batch adds nothing to a block's products; the others still say how alike the blocks are."""
    dull, bright = drifting([5, 5], n=8, batches=2)
    dull[0] = torch.full_like(dull[0], 3.0)
    assert apart(minibatch([dull, bright]), minibatch_reference([dull, bright])) <= 2e-6


def test_one_constant_sentence_is_degenerate():
    """A block that is constant in one of several sentences has no CKA there, and a mean without it would mislead."""
    states, kept = sentences([9, 4, 7], [12, 12])
    states[1][2] = 1.0
    with pytest.raises(DegenerateError, match="from block 1"):
        tokens(states, kept)


def test_large_means_are_not_taken_for_constants():
    """Features that differ by 1e-5 of their mean are features: a hundred float32 roundings are a difference."""
    made = drifting([32, 32], n=40)
    far = [[1e3 + 1e-2 * f for f in batch] for batch in made]
    assert apart(minibatch(far), minibatch_reference(far)) <= 2e-6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_outputs_that_are_not_finite_are_an_error(value):
    """NaN, infinity, or what overflows when squared, is a ValueError that names the block."""
    batch = drifting([4, 4, 4], n=40)[0]
    batch[2][1, 1] = value
    with pytest.raises(ValueError, match=r"finite.*from block 2"):
        minibatch([batch])
    with pytest.raises(ValueError, match=r"finite.*from block 2"):
        tokens([f.unsqueeze(0) for f in batch], torch.ones(1, 40, dtype=torch.bool))


# --- clusters and plans ---------------------------------------------------------------------------------------------

MIXED = planted(
    "baxyyy",  # block 0: 1 at 0.99, 2 at the threshold itself, 3 below
    "ayyyy",   # block 1: 2 at the threshold itself
    "byyy",    # block 2: 3 at 0.99
    "byy",     # block 3: 4 at 0.99
    "yy",
    "c",       # block 5: 6 equal
)  # fmt: skip


def test_anchor_joins_at_the_threshold():
    """`anchor` compares with the cluster's first block, and a tie with the threshold joins."""
    assert clusters(MIXED, 0.98, "anchor") == ((0, 1, 2), (3, 4), (5, 6))
    assert clusters(MIXED, 0.98) == clusters(MIXED, 0.98, "anchor")


def test_chain_does_not_join_at_the_threshold():
    """`chain` compares with the block before, and a tie with the threshold starts a new cluster."""
    assert clusters(MIXED, 0.98, "chain") == ((0, 1), (2, 3, 4), (5, 6))


def test_a_chain_may_drift_where_an_anchor_does_not():
    """Each block like the next but unlike the one after: one chain, but anchored pairs."""
    drift = planted("byyy", "byy", "by", "b")
    assert clusters(drift, 0.98, "chain") == ((0, 1, 2, 3, 4),)
    assert clusters(drift, 0.98, "anchor") == ((0, 1), (2, 3), (4,))


def test_equal_blocks_at_threshold_1():
    """At threshold 1 `anchor` still joins equal blocks, and `chain`, with its >, joins none."""
    assert clusters(alike(2, 1), 1.0, "anchor") == ((0, 1), (2,))
    assert clusters(alike(2, 1), 1.0, "chain") == ((0,), (1,), (2,))


@pytest.mark.parametrize(
    ("stride", "removed"), [(1, (1, 2, 3, 4, 5, 6)), (2, (1, 3, 5)), (3, (1, 4)), (4, (1, 5)), (6, (1,)), (9, (1,))]
)
def test_strides_within_a_cluster(stride, removed):
    """Of a cluster of 7, positions 1::stride go."""
    assert plan(alike(7), threshold=0.98, stride=stride).removed == removed


@pytest.mark.parametrize("rule", ["anchor", "chain"])
@pytest.mark.parametrize(
    ("runs", "stride", "removed", "frozen"),
    [
        ((1, 1, 3, 1, 1, 1), 1, (3, 4), (0, 1, 6, 7)),  # 2 and 5 stand beside the run 3, 4
        ((1, 1, 3, 1, 1, 1), 2, (3,), (0, 1, 5, 6, 7)),  # 2 and 4
        ((1, 1, 3, 1, 1, 1), 3, (3,), (0, 1, 5, 6, 7)),
        ((1, 1, 2), 1, (3,), (0, 1)),  # the run ends the stack: only 2 stands beside it
        ((3, 1, 1), 1, (1, 2), (4,)),  # 0 and 3
        ((1, 1, 4, 4, 1, 1), 1, (3, 4, 5, 7, 8, 9), (0, 1, 11)),  # 2, 6, 6, 10
        ((1, 1, 4, 4, 1, 1), 2, (3, 5, 7, 9), (0, 1, 11)),  # 2, 4, 6, 8, 10
        ((1, 1, 4, 4, 1, 1), 3, (3, 7), (0, 1, 5, 9, 10, 11)),  # 2, 4, 6, 8
        ((5,), 1, (1, 2, 3, 4), ()),
        ((1, 1, 1), 1, (), ()),  # nothing goes, nothing is frozen
    ],
)
def test_frozen_blocks_by_hand(rule, runs, stride, removed, frozen):
    """Frozen is every kept block but the last before and the first after each removed run, by either rule."""
    made = plan(alike(*runs), threshold=0.98, stride=stride, rule=rule, freeze=True)
    assert (made.removed, made.frozen) == (removed, frozen)
    assert made.kept == tuple(i for i in range(sum(runs)) if i not in removed)
    assert plan(alike(*runs), threshold=0.98, stride=stride, rule=rule).frozen == ()


def test_a_plan_follows_its_rule():
    """The same matrix, planned by both rules: what goes are positions 1:: of each rule's own clusters."""
    assert plan(MIXED, threshold=0.98).removed == (1, 2, 4, 6)
    assert plan(MIXED, threshold=0.98, rule="chain").removed == (1, 3, 4, 6)
    assert plan(MIXED, threshold=0.98, rule="chain").clusters == ((0, 1), (2, 3, 4), (5, 6))


def test_fixed_blocks_stay():
    """A fixed block stays and the others keep their turn, as if it had been removed with them."""
    assert plan(alike(5), threshold=0.98, fixed={2}).removed == (1, 3, 4)
    assert plan(alike(5), threshold=0.98, stride=2, fixed={3}).removed == (1,)
    assert plan(alike(2, 5), threshold=0.98, fixed=(4,), freeze=True).frozen == ()
    assert plan(alike(1, 1, 5), threshold=0.98, fixed=(3, 4, 5), freeze=True).frozen == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "0 < threshold <= 1"),
        ({"threshold": 98}, "98 % is 0.98"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": 0.98, "stride": 0}, "stride >= 1"),
        ({"threshold": 0.98, "fixed": (3,)}, r"positions in 0\.\.2"),
        ({"threshold": 0.98, "fixed": (-1,)}, r"positions in 0\.\.2"),
    ],
)
def test_options_out_of_range(options, message):
    """A threshold outside (0, 1], such as 98, a stride below 1 and a fixed block that is none are errors."""
    with pytest.raises(ValueError, match=message):
        plan(alike(3), **options)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), blocks=st.integers(1, 9), rule=st.sampled_from(["anchor", "chain"]), freeze=st.booleans())
def test_laws_of_plans(data, blocks, rule, freeze):
    """Of any matrix: clusters cover all blocks in order, first and fixed ones stay, a larger stride removes no more."""
    letters = st.sampled_from("abcxy")
    rows = [data.draw(st.text(letters, min_size=blocks - i - 1, max_size=blocks - i - 1)) for i in range(blocks - 1)]
    cka, fixed = planted(*rows), data.draw(st.sets(st.integers(0, blocks - 1), max_size=2))
    counts = []
    for stride in (1, 2, 3):
        made = plan(cka, threshold=0.98, stride=stride, rule=rule, freeze=freeze, fixed=fixed)
        assert [block for cluster in made.clusters for block in cluster] == list(range(blocks))
        assert made.clusters == clusters(cka, 0.98, rule)
        assert sorted(made.kept + made.removed) == list(range(blocks))
        assert {cluster[0] for cluster in made.clusters} | fixed <= set(made.kept)
        assert set(made.frozen) <= set(made.kept)
        trained = set(made.kept) - set(made.frozen)
        if freeze and made.removed:
            assert trained == {k for k in made.kept if {k - 1, k + 1} & set(made.removed)}
        else:
            assert trained == set(made.kept)
        counts.append(len(plan(cka, threshold=0.98, stride=stride, rule=rule).removed))
    assert counts == sorted(counts, reverse=True)
    assert counts == [sum(-(-(len(c) - 1) // stride) for c in clusters(cka, 0.98, rule)) for stride in (1, 2, 3)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_torch_cka_package_itself_agrees(seed: int) -> None:
    """The package that others use gives our matrix within 5e-5, where means are small: it does not remove them."""
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from torch_cka import CKA

    torch.manual_seed(seed)
    widths = (24, 32, 16, 16, 8)
    layers = [nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in pairwise(widths)]
    model = nn.Sequential(*layers).eval()
    names = [str(place) for place in range(len(layers))]
    examples = torch.randn(96, widths[0])
    loader = DataLoader(TensorDataset(examples), batch_size=32)
    theirs = CKA(model, copy.deepcopy(model), "one", "two", names, names)
    theirs.compare(loader, loader)
    ours = MinibatchCka(len(layers))
    for batch in examples.split(32):
        features = []
        with torch.no_grad():
            for layer in layers:
                batch = layer(batch)
                features.append(batch)
        ours.add([*map(centred_gram, features)])
    assert float((theirs.export()["CKA"].double() - ours.matrix()).abs().max()) < 5e-5


def planted_clusters(clusters) -> torch.Tensor:
    """CKA 0.995 within clusters of these sizes, 0.5 between them."""
    cka = torch.full((sum(clusters), sum(clusters)), 0.5, dtype=torch.float64)
    first = 0
    for size in clusters:
        cka[first : first + size, first : first + size] = 0.995
        first += size
    return cka.fill_diagonal_(1)


def depths_left(depths, plan) -> tuple[int, ...]:
    firsts = [sum(depths[:stage]) for stage in range(len(depths) + 1)]
    return tuple(sum(a <= block < b for block in plan.kept) for a, b in pairwise(firsts))


def firsts_of(depths) -> list[int]:
    return [sum(depths[:stage]) for stage in range(len(depths))]


@pytest.mark.parametrize(("stride", "left", "blocks"), [(1, (3, 6, 15, 2), 26), (2, (3, 6, 22, 2), 33)])
def test_resnet_152_is_left_with_the_logs_depths(stride, left, blocks):
    """Clusters over all 50 blocks, of which a stage's first stays: 0.99 leaves what `004` prints, 26 and 33 layers."""
    depths = (3, 8, 36, 3)
    alike = [1, 1, 1, 2, 2, 1, 1, 1, 1, 1, *[2] * 7, *[3] * 7, 2, 1]
    assert sum(alike) == 50
    found = plan(planted_clusters(alike), threshold=0.99, stride=stride, fixed=firsts_of(depths))
    assert depths_left(depths, found) == left
    assert len(found.kept) == blocks


@given(st.data())
def test_no_fixed_block_ever_goes(data):
    """Whatever blocks are alike: a stage's first blocks stay, and clusters cover all blocks."""
    depths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    many = sum(depths)
    values = data.draw(st.lists(st.floats(0, 1), min_size=many * many, max_size=many * many))
    cka = torch.tensor(values, dtype=torch.float64).reshape(many, many)
    options = {
        "threshold": data.draw(st.sampled_from([0.01, 0.3, 0.7, 1.0])),
        "stride": data.draw(st.integers(1, 3)),
        "rule": data.draw(st.sampled_from(["anchor", "chain"])),
        "freeze": data.draw(st.booleans()),
    }
    found = plan(cka, fixed=firsts_of(depths), **options)
    assert not set(firsts_of(depths)) & set(found.removed)
    assert sorted(found.kept + found.removed) == list(range(many))
    assert sorted(chain.from_iterable(found.clusters)) == list(range(many))
    whole = plan(cka, **options)
    assert set(found.removed) == set(whole.removed) - set(firsts_of(depths))
