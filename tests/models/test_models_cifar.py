"""Networks for small pictures: their sizes, their shortcuts, how they are drawn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lt_ray.cycle.cycle import parse
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import CifarResNet, CifarVgg, ModelSettings
from lt_ray.errors import CycleError, ModelError
from lt_ray.models.model import Model, model_of
from lt_ray.training.randomness import generators


def on_pictures(settings: ModelSettings, side: int = 32, classes: int = 10) -> Model:
    return model_of(settings, Facts(inputs="images", width=classes, shape=(3, side, side)))


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (CifarResNet(), 272_474),
        (CifarResNet(shortcut="padding"), 269_722),
        (CifarResNet(depth=32, shortcut="padding"), 464_154),
        (CifarResNet(depth=56, shortcut="padding"), 853_018),
        (CifarVgg(depth=16), 14_728_266),
    ],
)
def test_sizes_are_the_published_ones(settings, parameters):
    """ResNet-20 with projections is OpenLTH's, with padding He et al.'s (0.27, 0.46, 0.85 million); VGG-16 is
    OpenLTH's."""
    assert sum(on_pictures(settings).sizes.values()) == parameters


def test_depth_and_side_are_told_with_a_way_out():
    """A depth that is no 6n + 2 and a picture too small for VGG are one clear error."""
    with pytest.raises(CycleError, match=r"`model.depth` must be 6n \+ 2, such as 20, 32 or 56, but got 21"):
        parse({"model": {"name": "cifar_resnet", "depth": 21}})
    with pytest.raises(ModelError, match=r"at least 16 pixels, but got 8: take a larger `task.size`"):
        on_pictures(CifarVgg(), side=8).build()


@pytest.mark.parametrize("shortcut", ["projection", "padding"])
@pytest.mark.parametrize("side", [5, 32])
def test_a_resnet_is_its_formula(shortcut, side):
    """Outputs in training and in evaluation, and the statistics, are those of He et al.'s formula, written plainly."""
    model = on_pictures(CifarResNet(depth=14, width=4, shortcut=shortcut), side)
    state = model.initial(generators(0, "init"))
    module = model.live(state, model.blocks, torch.device("cpu"))
    pictures = torch.randn(6, 3, side, side)
    plain = {name: tensor.clone() for name, tensor in state.items()}

    def norm(maps, name, training):
        mean, var = plain[f"{name}.running_mean"], plain[f"{name}.running_var"]
        return F.batch_norm(maps, mean, var, plain[f"{name}.weight"], plain[f"{name}.bias"], training)

    def formula(training):
        maps = F.relu(norm(F.conv2d(pictures, plain["conv.weight"], padding=1), "norm", training))
        for stage in range(3):
            for block in range(2):
                name, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
                inner = F.conv2d(maps, plain[f"{name}.conv1.weight"], stride=stride, padding=1)
                inner = F.relu(norm(inner, f"{name}.norm1", training))
                inner = norm(F.conv2d(inner, plain[f"{name}.conv2.weight"], padding=1), f"{name}.norm2", training)
                if stride == 2 and shortcut == "projection":
                    maps = F.conv2d(maps, plain[f"{name}.shortcut.0.weight"], stride=2)
                    maps = norm(maps, f"{name}.shortcut.1", training)
                elif stride == 2:
                    half = torch.zeros_like(maps[:, ::2, ::2, ::2])
                    maps = torch.cat([half, maps[:, :, ::2, ::2], half], dim=1)
                maps = F.relu(inner + maps)
        return F.linear(maps.mean(dim=(2, 3)), plain["output.weight"], plain["output.bias"])

    for training in (True, False):
        torch.testing.assert_close(module.train(training)(pictures), formula(training), rtol=1e-4, atol=1e-5)
    live = model.state(module)
    for name in plain:
        if "running" in name:
            torch.testing.assert_close(live[name], plain[name], rtol=1e-4, atol=1e-6)


def test_an_initial_state_is_drawn_as_openlth_draws_it():
    """Kernels are normal with deviation √(2 / inputs), scales uniform in [0, 1) or 1, shifts 0, biases uniform within
    1/√inputs, statistics 0 and 1."""
    state = on_pictures(CifarVgg(depth=11)).initial(generators(0, "init"))
    kernel = state["layers.10.conv.weight"]
    assert float(kernel.std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    bias = state["layers.10.conv.bias"]
    assert float(bias.abs().max()) == pytest.approx((512 * 9) ** -0.5, rel=0.02)
    scale = state["layers.10.norm.weight"]
    assert 0 <= float(scale.min()) < 0.02
    assert 0.98 < float(scale.max()) < 1
    assert not state["layers.10.norm.bias"].any()
    ones = on_pictures(CifarResNet(norm_init="ones")).initial(generators(0, "init"))
    assert bool((ones["norm.weight"] == 1).all())
    assert bool((ones["norm.running_var"] == 1).all())
    assert not ones["norm.running_mean"].any()


def test_which_tensors_are_which():
    """Weights are those of convolutions and the linear layer, no norm's; a stage's first block stays."""
    model = on_pictures(CifarResNet())
    assert len(model.weight_names) == 22
    assert all(model.dense.get_parameter(name).dim() > 1 for name in model.weight_names)
    assert model.output_names == ("output.weight", "output.bias")
    assert [(stack.name, stack.blocks, stack.fixed) for stack in model.stacks] == [
        ("stages.0", 3, (0,)), ("stages.1", 3, (0,)), ("stages.2", 3, (0,)),
    ]  # fmt: skip
    assert len(model.linear_names) == 20
    assert not any(
        isinstance(model.dense.get_submodule(n.rpartition(".")[0]), nn.BatchNorm2d) for n in model.linear_names
    )
