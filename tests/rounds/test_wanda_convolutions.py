"""Wanda on convolutions against its statement by im2col, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lt_ray.rounds import calibration

LAYERS = {
    "plain": lambda: nn.Conv2d(4, 6, 3),
    "padded": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "strided": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, (3, 2), padding=(2, 0), groups=4),
    "dilated": lambda: nn.Conv2d(4, 6, (3, 2), stride=(1, 2), dilation=(2, 3), padding=(1, 3)),
    "same": lambda: nn.Conv2d(4, 6, (3, 5), padding="same"),
    "reflected": lambda: nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"),
    "circular": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", groups=2),
    "projection": lambda: nn.Conv2d(4, 6, 1, stride=2),
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def stated(layer: nn.Conv2d, x: torch.Tensor, mask: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Of each filter the ⌊K · sparsity⌋ lowest |w| · ‖column of im2col‖ go, pruned ones first, then by position."""
    around = layer._reversed_padding_repeated_twice
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    columns = F.unfold(F.pad(x.double(), around, mode), layer.kernel_size, layer.dilation, stride=layer.stride)
    norms = columns.square().sum(dim=(0, 2)).sqrt().reshape(layer.groups, -1)
    after = mask.clone().flatten(1)
    for row, weights in enumerate(layer.weight.double().flatten(1)):
        scores = weights.abs() * norms[row // (len(after) // layer.groups)]
        scores[~after[row]] = -1
        after[row, scores.argsort(stable=True)[: int(len(scores) * sparsity)]] = False
    return after.reshape(mask.shape)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("mode", ["one_pass", "sequential"])
def test_masks_are_those_of_im2col(name, mode):
    """Groups, strides, paddings and dilations: a weight's norm is over all that it is multiplied with, in every
    batch; what was pruned stays pruned."""
    torch.manual_seed(0)
    module = nn.Sequential(LAYERS[name]()).eval()
    pictures = [torch.randn(size, 4, 7, 9) * torch.rand(4, 1, 1) for size in (20, 3)]
    before = {key: torch.rand(p.shape) > 0.1 for key, p in module.named_parameters()}
    with torch.no_grad():
        module[0].weight *= before["0.weight"]
    given = (module, [module[0]], module, pictures, lambda _: None)
    for sparsity in (0.3, 0.5):
        if mode == "sequential":
            masks = calibration.sequential_masks(*given, before, sparsity)
        else:
            masks = calibration.one_pass_masks(module, calibration.input_norms(*given), before, sparsity)
        assert torch.equal(masks["0.weight"], stated(module[0], torch.cat(pictures), before["0.weight"], sparsity))
        assert torch.equal(masks["0.bias"], before["0.bias"])


def test_a_pattern_is_within_each_filter():
    """2:4 keeps two of every four consecutive weights of a filter."""
    module = nn.Sequential(nn.Conv2d(4, 6, 2, groups=2)).eval()
    masks = {key: torch.ones_like(p, dtype=torch.bool) for key, p in module.named_parameters()}
    given = (module, [module[0]], module, [torch.randn(5, 4, 6, 6)], lambda _: None, masks, (2, 4))
    after = calibration.sequential_masks(*given)
    assert bool((after["0.weight"].reshape(-1, 4).sum(1) == 2).all())


def test_each_block_sees_what_the_pruned_ones_before_return():
    """Sequential: the second convolution's norms are of maps that the pruned first one makes."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 4, 3)).eval()
    pictures = torch.randn(8, 3, 6, 6)
    masks = {key: torch.ones_like(p, dtype=torch.bool) for key, p in module.named_parameters()}
    after = calibration.sequential_masks(module, list(module), module, [pictures], lambda _: None, masks, 0.5)
    first = stated(module[0], pictures, masks["0.weight"], 0.5)
    with torch.no_grad():
        between = F.conv2d(pictures, module[0].weight * first, module[0].bias, padding=1)
    assert torch.equal(after["0.weight"], first)
    assert torch.equal(after["1.weight"], stated(module[1], between, masks["1.weight"], 0.5))
    assert not torch.equal(after["1.weight"], stated(module[1], module[0](pictures), masks["1.weight"], 0.5))


def test_convolutions_of_one_axis():
    """A kernel over a line is one over pictures of height 1."""
    torch.manual_seed(0)
    line, plane = nn.Conv1d(4, 6, 3, stride=2, padding=1), nn.Conv2d(4, 6, (1, 3), stride=(1, 2), padding=(0, 1))
    plane.load_state_dict({"weight": line.weight.detach().unsqueeze(2), "bias": line.bias.detach()})
    x, found = torch.randn(5, 4, 11), []
    for layer, inputs in ((line, x), (plane, x.unsqueeze(2))):
        module = nn.Sequential(layer).eval()
        masks = {key: torch.ones_like(p, dtype=torch.bool) for key, p in module.named_parameters()}
        after = calibration.sequential_masks(module, [layer], module, [inputs], lambda _: None, masks, 0.4)
        found.append(after["0.weight"].flatten())
    assert torch.equal(*found)
