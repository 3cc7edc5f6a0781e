"""ResNets of transformers and torchvision: cut as the research logs cut them, loaded and saved."""

import itertools
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import ModelSettings, ResNet, TorchvisionResNet
from lt_ray.errors import ModelError
from lt_ray.models.model import Model, implementation, model_of
from lt_ray.models.on_meta import on_meta
from lt_ray.training.randomness import generators

CPU = torch.device("cpu")
TINY = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24], "depths": [3, 2, 2]}
TINY |= {"layer_type": "bottleneck", "num_channels": 3}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def on_pictures(settings: ModelSettings, classes: int = 1000, base=None, side: int = 64) -> Model:
    return model_of(settings, Facts(inputs="images", width=classes, shape=(3, side, side)), base)


def blocks_of(dense, left) -> tuple[int, ...]:
    """The first blocks of each stage, so many of them."""
    firsts = itertools.accumulate(dense, initial=0)
    return tuple(first + place for first, depth in zip(firsts, left, strict=False) for place in range(depth))


R152, R50 = (3, 8, 36, 3), (3, 4, 6, 3)
LOGS = [
    ("152", R152, R152, 60_192_808),
    ("152", R152, (3, 6, 15, 2), 31_709_224),
    ("152", R152, (3, 6, 11, 2), 27_240_488),
    ("152", R152, (3, 6, 22, 2), 39_529_512),
    ("152", R152, (3, 6, 21, 2), 38_412_328),
    ("152", R152, (3, 5, 10, 2), 25_843_240),
    ("152", R152, (3, 4, 5, 2), 19_977_256),
    ("152", R152, (3, 5, 7, 2), 22_491_688),
    ("152", R152, (3, 4, 8, 2), 23_328_808),
    ("152", R152, (3, 5, 17, 2), 33_663_528),
    ("152", R152, (3, 4, 14, 2), 30_031_912),
    ("152", R152, (3, 5, 12, 2), 28_077_608),
    ("50", R50, R50, 25_557_032),
    ("50", R50, (3, 3, 5, 3), 24_159_784),
    ("50", R50, (2, 2, 3, 3), 21_574_952),
    ("50", R50, (3, 2, 5, 3), 23_879_720),
    ("50", R50, (1, 1, 3, 3), 21_224_488),
    ("50", R50, (3, 2, 3, 3), 21_645_352),
    ("50", R50, (2, 1, 3, 3), 21_294_888),
]
"""`004` and METHODS: ResNet, its depths, those that are left, parameters"""


@pytest.mark.parametrize(("which", "dense", "left", "parameters"), LOGS)
def test_removals_leave_the_logs_parameters(which, dense, left, parameters):
    """Every ResNet of the log, by a removal on the configuration: depths and parameters to the last one."""
    model = on_pictures(ResNet(path=f"microsoft/resnet-{which}"))
    assert tuple(stack.blocks for stack in model.stacks) == dense
    with on_meta():
        shorter = model.build(blocks_of(dense, left))
    assert tuple(shorter.config.depths) == left
    assert sum(p.numel() for p in shorter.parameters()) == parameters


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A folder as the hub lays it out: a bottleneck ResNet of 5 classes, its statistics not the initial ones."""
    from transformers import ResNetConfig, ResNetForImageClassification

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    tree = {name: value for name, value in TINY.items() if name != "model_type"}
    module = ResNetForImageClassification(ResNetConfig(**tree, num_labels=5))
    module.train()(pixel_values=torch.randn(8, 3, 32, 32))
    module.save_pretrained(folder)
    return folder


def found(settings, cache) -> tuple:
    return implementation(settings).fetch(settings, cache, lambda _: None)


def test_what_was_found_is_what_training_begins_with(tiny, tmp_path):
    """With as many classes the outputs are transformers' own, statistics and head included; with others the head is
    drawn and all else kept; the digest stands for the path; random weights keep nothing."""
    from transformers import AutoModelForImageClassification

    settings, base = found(ResNet(path=str(tiny)), tmp_path)
    model = on_pictures(settings, 5, base, side=32)
    state = model.initial(generators(0, "init"))
    module = model.live(state, model.blocks, CPU).eval()
    theirs = AutoModelForImageClassification.from_pretrained(tiny).eval()
    pictures = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.forward(module, pictures), theirs(pixel_values=pictures).logits)
    other = on_pictures(settings, 7, base, side=32).initial(generators(0, "init"))
    differing = {name for name in state if state[name].shape != other[name].shape or not state[name].equal(other[name])}
    assert differing == set(model.output_names) == {"classifier.1.weight", "classifier.1.bias"}
    assert settings.meaning()["path"] is None
    drawn, drawn_base = found(ResNet(path=str(tiny), weights="random"), tmp_path)
    assert drawn.digest != settings.digest
    assert drawn_base.weights() == {}
    assert implementation(settings).kept_files(settings, tmp_path).digest == settings.digest


def test_a_drawn_resnet_needs_no_hub(tmp_path):
    """Of the known names `--from-config` needs no file: the same digest everywhere."""
    settings, base = found(ResNet(path="microsoft/resnet-26", weights="random"), tmp_path)
    again, _ = found(ResNet(path="microsoft/resnet-26", weights="random"), tmp_path / "other")
    assert settings.digest == again.digest
    assert tuple(stack.blocks for stack in on_pictures(settings, 10, base).stacks) == (2, 2, 2, 2)


def test_what_is_no_resnet_is_refused(tmp_path):
    """A folder with a text model's configuration is one clear error."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="must be a ResNet of transformers, but its `model_type` is 'bert'"):
        found(ResNet(path=str(tmp_path)), tmp_path / "cache")


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_a_shorter_resnet_is_loaded_from_pretrained(kind, tmp_path):
    """`export` writes rewritten depths: `from_pretrained` gives equal outputs, names and classes."""
    from transformers import AutoModelForImageClassification

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(TINY | {"layer_type": kind}))
    settings, base = found(ResNet(path=str(tmp_path / "model"), weights="random"), tmp_path)
    model, kept = on_pictures(settings, 3, base, side=32), (0, 2, 3, 5, 6)
    state = model.initial(generators(0, "init"))
    state = {name: tensor + 0.3 if "running" in name else tensor for name, tensor in state.items()}
    shorter = model.cut(state, kept)
    model.export(shorter, kept, {"classes": ["a", "b", "c"]}, tmp_path / "out")
    theirs = AutoModelForImageClassification.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.depths == [2, 1, 2]
    assert theirs.config.id2label == {0: "a", 1: "b", 2: "c"}
    pictures = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        ours = model.forward(model.live(shorter, kept, CPU).eval(), pictures)
        assert torch.equal(ours, theirs(pixel_values=pictures).logits)


def test_draws_are_transformers_own_distributions(tmp_path):
    """Kernels are normal with deviation √(2 / outputs), the head uniform within 1/√inputs, norms 1 and 0."""
    settings, base = found(ResNet(path="microsoft/resnet-18", weights="random"), tmp_path)
    state = on_pictures(settings, 10, base).initial(generators(0, "init"))
    kernel = state["resnet.encoder.stages.3.layers.1.layer.0.convolution.weight"]
    assert float(kernel.std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    head = state["classifier.1.weight"]
    assert float(head.abs().max()) == pytest.approx(512**-0.5, rel=0.01)
    assert bool((state["resnet.embedder.embedder.normalization.weight"] == 1).all())


# torchvision


def test_torchvisions_class_with_fewer_blocks_loads_the_state(tmp_path):
    """A state-dict file gives equal outputs; cut, it loads into torchvision's class with the new depths; the digest
    stands for the file."""
    resnet = pytest.importorskip("torchvision").models.resnet
    torch.manual_seed(0)
    theirs = resnet.resnet18(num_classes=5)
    theirs.train()(torch.randn(4, 3, 32, 32))
    for name in ("r18", "copy"):
        safetensors.torch.save_file(theirs.state_dict(), tmp_path / f"{name}.safetensors")
    settings, base = found(TorchvisionResNet(architecture="resnet18", path=str(tmp_path / "r18.safetensors")), tmp_path)
    same, _ = found(TorchvisionResNet(architecture="resnet18", path=str(tmp_path / "copy.safetensors")), tmp_path)
    assert settings.digest == same.digest
    assert settings.meaning() == same.meaning()
    model = on_pictures(settings, 5, base, side=32)
    state, pictures = model.initial(generators(0, "init")), torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        ours = model.forward(model.live(state, model.blocks, CPU).eval(), pictures)
        assert torch.equal(ours, theirs.eval()(pictures))
        kept = (0, 2, 3, 4, 6, 7)
        shorter = resnet.ResNet(resnet.BasicBlock, [1, 2, 1, 2], num_classes=5)
        shorter.load_state_dict(model.cut(state, kept))
        ours = model.forward(model.live(model.cut(state, kept), kept, CPU).eval(), pictures)
        assert torch.equal(ours, shorter.eval()(pictures))


def test_torchvisions_sizes_are_its_own():
    """ResNet-152 and ResNeXt-50 have torchvision's published parameters; an unknown state is refused."""
    pytest.importorskip("torchvision")
    for name, parameters in {"resnet152": 60_192_808, "resnext50_32x4d": 25_028_904, "resnet18": 11_689_512}.items():
        assert sum(on_pictures(TorchvisionResNet(architecture=name)).sizes.values()) == parameters


def test_a_state_of_another_architecture_is_refused(tmp_path):
    """Told by the first tensor that is not its own; a file that is no state dict is one clear error, too."""
    resnet = pytest.importorskip("torchvision").models.resnet
    safetensors.torch.save_file(resnet.resnet34(num_classes=5).state_dict(), tmp_path / "r34.safetensors")
    with pytest.raises(ModelError, match=r"must be a state dict of resnet18, but of .*layer1.2.*is not its own"):
        found(TorchvisionResNet(architecture="resnet18", path=str(tmp_path / "r34.safetensors")), tmp_path)
    (tmp_path / "r50.pth").write_text("no tensors")
    with pytest.raises(ModelError, match="must be a state dict as safetensors"):
        found(TorchvisionResNet(path=str(tmp_path / "r50.pth")), tmp_path)


def test_a_missing_torchvision_is_told_with_the_way_out(tmp_path, monkeypatch):
    """Without the package the model is refused before anything runs."""
    monkeypatch.setitem(__import__("sys").modules, "torchvision.models", None)
    with pytest.raises(ModelError, match="pip install torchvision, or take --model microsoft/resnet-50"):
        found(TorchvisionResNet(), tmp_path)
