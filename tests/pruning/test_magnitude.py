"""Magnitude pruning against hand-made examples, methods §2's figures, and other programs' rules."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modelling import a_model
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from lt_ray.cycle.models import Cnn, Lstm
from lt_ray.pruning import magnitude, masks
from lt_ray.training.randomness import generators


def distinct(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        values = torch.randperm(math.prod(shape), generator=generator).float() + 1
        signs = torch.randint(0, 2, (len(values),), generator=generator) * 2 - 1
        weights[name] = (values * signs).reshape(shape)
    return weights


def full(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def sequence(before: dict[str, Tensor], rounds: int) -> list[int]:
    weights = distinct({name: tuple(mask.shape) for name, mask in before.items()})
    counts = [masks.remaining(before)]
    for _ in range(rounds):
        before = magnitude.prune(weights, before, 0.2)
        counts.append(masks.remaining(before))
    return counts


def lstm_masks(targets: int) -> dict[str, Tensor]:
    return a_model(Lstm(), rows=25_002, targets=targets).initial_masks()


def test_the_logs_21_sparsities():
    """Twenty prunings of 20 % give `000_*.txt`'s list, round(1 − 0.8^k, 3), on tensors of the research logs' CNN."""
    listed = [0, 0.2, 0.36, 0.488, 0.59, 0.672, 0.738, 0.79, 0.832, 0.866, 0.893, 0.914, 0.931, 0.945, 0.956]
    listed += [0.965, 0.972, 0.977, 0.982, 0.986, 0.988]
    counts = sequence(a_model(Cnn(), rows=25_002).initial_masks(), rounds=20)
    assert [round(1 - 0.8**k, 3) for k in range(21)] == listed
    # The padding row is pruned from the start: 100 of 2,620,801 weights, less than the third decimal.
    assert [round(1 - count / counts[0], 3) for count in counts] == listed


def test_remaining_counts_of_the_ag_news_lstm():
    """The AG-news LSTM's 21 remaining counts are methods §2's, weight for weight."""
    before = lstm_masks(targets=4)
    assert masks.size(before) == 4_812_396
    assert sequence(before, rounds=20) == [
        4812296, 3849833, 3079864, 2463888, 1971106, 1576880, 1261501, 1009195, 807353, 645882, 516697,
        413356, 330678, 264539, 211629, 169298, 135435, 108343, 86670, 69331, 55459,
    ]  # fmt: skip


def test_remaining_counts_of_the_imdb_lstm():
    """The IMDb LSTM has 4,810,857 parameters, of which 55,441 remain after 20 rounds."""
    before = lstm_masks(targets=2)
    assert masks.size(before) == 4_810_857
    assert sequence(before, rounds=20)[-1] == 55_441


def test_remaining_counts_of_the_imdb_cnn_with_50_002_words():
    """The IMDb CNN with 50,002 rows keeps 92,242, 73,794 and 59,035 weights after 18, 19 and 20 rounds."""
    before = a_model(Cnn(), rows=50_002).initial_masks()
    assert masks.size(before) == 5_120_801
    assert sequence(before, rounds=20)[18:] == [92_242, 73_794, 59_035]


def test_density_at_every_fourth_round():
    """`001_*.txt`'s «sparsity» list is density in percent at rounds 0, 4, …, 28, to 0.15 points."""
    counts = sequence({"w": torch.ones(1_000_000, dtype=torch.bool)}, rounds=28)
    densities = [100 * counts[k] / counts[0] for k in range(0, 29, 4)]
    assert densities == pytest.approx([100, 41.1, 16.9, 7.0, 2.9, 1.2, 0.5, 0.2], abs=0.15)


def test_one_pruning_by_hand():
    """Of |w| = 1…6 the percentile rule at 0.5 removes ceil(0.5 · 5) = 3, the three smallest, signs ignored."""
    weights = {"w": torch.tensor([3.0, -1.0, 6.0, -5.0, 2.0, 4.0])}
    after = magnitude.prune(weights, full(weights), 0.5)
    assert after["w"].tolist() == [False, False, True, True, False, True]


@pytest.mark.parametrize(("rounding", "removed"), [("percentile", 2), ("nearest", 2), ("ceil", 3)])
def test_roundings_differ_by_name(rounding, removed):
    """Of 7 weights at 0.3, percentile removes ceil(1.8) = 2, nearest round(2.1) = 2, ceil(2.1) = 3."""
    weights = {"w": torch.arange(1.0, 8.0)}
    after = magnitude.prune(weights, full(weights), 0.3, rounding=rounding)
    assert int((~after["w"]).sum()) == removed


@settings(max_examples=200)
@given(values=st.lists(st.integers(-20, 20), min_size=2, max_size=60), fraction=st.floats(0.01, 0.95), data=st.data())
def test_percentile_is_numpys_percentile(values, fraction, data):
    """With or without ties, the percentile rule removes what `|w| < numpy.percentile(|w|)` removes in float64."""
    weights = {"w": torch.tensor(values, dtype=torch.float32)}
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    after = magnitude.prune(weights, {"w": mask}, fraction)
    left = np.abs(np.array(values, dtype=np.float64))[mask.numpy()]
    # numpy's own position q/100 · (n−1) and ours, f · (n−1), differ by rounding; exact positions are compared below.
    position = fraction * (len(left) - 1)
    if len(left) < 2 or abs(position - round(position)) < 1e-6:
        return
    expected = left < np.percentile(left, 100 * fraction)
    assert (~after["w"][mask]).numpy().tolist() == expected.tolist()


def test_percentile_at_an_exact_position():
    """At f·(n−1) = 1 exactly, the threshold is the second smallest weight itself, and only the smallest goes."""
    weights = {"w": torch.arange(1.0, 7.0)}
    assert magnitude.prune(weights, full(weights), 0.2)["w"].tolist() == [False, True, True, True, True, True]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.77])
def test_nearest_is_torchs_global_rule(fraction):
    """`nearest`, `global` prunes the weights that torch.nn.utils.prune's global L1 pruning does."""
    module = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 7))
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    weights = {name: p.detach().clone() for name, p in module.named_parameters() if name.endswith("weight")}
    ours = magnitude.prune(weights, full(weights), fraction, scope="global", rounding="nearest")
    layers = [(module[0], "weight"), (module[1], "weight")]
    torch_prune.global_unstructured(layers, pruning_method=torch_prune.L1Unstructured, amount=fraction)
    for index in range(2):
        assert torch.equal(ours[f"{index}.weight"], module[index].weight_mask.bool())


def test_ties_go_by_position():
    """Of equal weights, `nearest` removes the first ones, across tensors in their order."""
    weights = {"a": torch.ones(4), "b": torch.ones(4)}
    after = magnitude.prune(weights, full(weights), 0.5, scope="global", rounding="nearest")
    # The first of equal weights is its tensor's largest and stays; four others go, the first ones first.
    assert after["a"].tolist() == [True, False, False, False]
    assert after["b"].tolist() == [True, False, True, True]
    local = magnitude.prune({"a": torch.ones(4)}, {"a": torch.ones(4, dtype=torch.bool)}, 0.5, rounding="nearest")
    assert local["a"].tolist() == [False, False, True, True]


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    fraction=st.floats(0.05, 0.95),
    scope=st.sampled_from(["local", "global"]),
    rounding=st.sampled_from(["percentile", "nearest", "ceil"]),
    seed=st.integers(0, 1000),
)
def test_masks_only_shrink_and_no_tensor_is_emptied(sizes, fraction, scope, rounding, seed):
    """Under every rule, a pruned weight never returns and the largest weight of each tensor stays, for ever."""
    weights = distinct({str(i): (size,) for i, size in enumerate(sizes)}, seed)
    before = full(weights)
    for _ in range(6):
        after = magnitude.prune(weights, before, fraction, scope=scope, rounding=rounding)
        for name, mask in after.items():
            assert not bool((mask & ~before[name]).any())
            assert bool(mask[weights[name].abs().argmax()])
        before = after


def test_global_removes_exactly_the_count_of_its_rule():
    """`global` ranks all tensors together: the small tensor loses nearly all, the total is the rule's count."""
    weights = {"small": torch.linspace(0.001, 0.01, 50), "large": torch.linspace(1, 2, 50)}
    after = magnitude.prune(weights, full(weights), 0.6, scope="global", rounding="nearest")
    assert int(after["small"].sum()) == 1  # its largest stays, so one of the large ones goes in its stead
    assert masks.remaining(after) == 40


def test_excluded_tensors_are_left_alone():
    """A tensor that is not named keeps its mask, also in a global ranking."""
    weights = distinct({"a": (10,), "b": (10,)})
    for scope in ("local", "global"):
        after = magnitude.prune(weights, full(weights), 0.5, scope=scope, names=["a"])
        assert bool(after["b"].all())
        assert int(after["a"].sum()) == 5


def test_random_pruning_takes_as_many_of_each_tensor_elsewhere():
    """The random control removes the same count per tensor, at other positions, and its masks shrink too."""
    weights = distinct({"a": (40,), "b": (6, 5)})
    before = magnitude.prune(weights, full(weights), 0.3)
    after = magnitude.prune(weights, before, 0.3, scope="global")
    counts = {name: int(mask.sum()) for name, mask in after.items()}
    drawn = magnitude.at_random(before, counts, generators(0, "random pruning", 1))
    assert {name: int(mask.sum()) for name, mask in drawn.items()} == {n: int(m.sum()) for n, m in after.items()}
    assert any(not torch.equal(drawn[name], after[name]) for name in drawn)
    assert not any(bool((drawn[name] & ~before[name]).any()) for name in drawn)


@settings(max_examples=50)
@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_packed_masks_come_back_in_an_eighth_of_the_bytes(shape, seed):
    """A mask of any shape survives packing bit for bit, and takes ⌈n/8⌉ bytes."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.5
    packed = masks.pack({"w": mask})
    assert packed["w"].numel() == -(-mask.numel() // 8)
    assert torch.equal(masks.unpack(packed, {"w": tuple(shape)})["w"], mask)
