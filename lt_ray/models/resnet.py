"""ResNets for ImageNet: transformers' and torchvision's, built with as many blocks as are left of each stage."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import TOY_RESNET, ResNet, StagedModel, TorchvisionResNet
from lt_ray.errors import ModelError, StorageError
from lt_ray.models import pretrained
from lt_ray.models.model import Blocks, Generators, Model, Stack, stage_depths
from lt_ray.models.pretrained import Base, quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_BASIC = {"model_type": "resnet", "layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]}
_BOTTLENECK = {"model_type": "resnet", "layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048]}
KNOWN: dict[str, dict[str, Any]] = {
    "microsoft/resnet-18": _BASIC | {"depths": [2, 2, 2, 2]},
    "microsoft/resnet-26": _BOTTLENECK | {"depths": [2, 2, 2, 2]},
    "microsoft/resnet-34": _BASIC | {"depths": [3, 4, 6, 3]},
    "microsoft/resnet-50": _BOTTLENECK | {"depths": [3, 4, 6, 3]},
    "microsoft/resnet-101": _BOTTLENECK | {"depths": [3, 4, 23, 3]},
    "microsoft/resnet-152": _BOTTLENECK | {"depths": [3, 8, 36, 3]},
    TOY_RESNET: _BASIC | {"embedding_size": 8, "hidden_sizes": [8, 16, 32], "depths": [2, 4, 2]},
}
"""Configurations that need no file: enough to plan with, and all that is needed where weights are drawn"""
_TORCHVISION: dict[str, tuple[str, tuple[int, ...], dict[str, int]]] = {
    "resnet18": ("BasicBlock", (2, 2, 2, 2), {}),
    "resnet34": ("BasicBlock", (3, 4, 6, 3), {}),
    "resnet50": ("Bottleneck", (3, 4, 6, 3), {}),
    "resnet101": ("Bottleneck", (3, 4, 23, 3), {}),
    "resnet152": ("Bottleneck", (3, 8, 36, 3), {}),
    "resnext50_32x4d": ("Bottleneck", (3, 4, 6, 3), {"groups": 32, "width_per_group": 4}),
    "resnext101_32x8d": ("Bottleneck", (3, 4, 23, 3), {"groups": 32, "width_per_group": 8}),
    "wide_resnet50_2": ("Bottleneck", (3, 4, 6, 3), {"width_per_group": 128}),
}
"""torchvision's name → its kind of block, blocks of each stage, and what else its class is given"""

S = TypeVar("S", bound=StagedModel)


class StagedNetwork(Model[S]):
    """What both have in common: four stages, how they are drawn, weights that were found."""

    @property
    def outputs(self) -> int:
        """Logits of one example: one a class, as in what they are loaded from [count]."""
        return self.facts.width

    def initial(self, generator: Generators) -> dict[str, Tensor]:
        """Return the state that was found where it has the module's shapes, and a draw of the rest: of the head, where
        there are other classes."""
        drawn = self.drawn(generator)
        found = self.base.weights() if self.base is not None else {}
        return drawn | {n: t for n, t in found.items() if n in drawn and t.shape == drawn[n].shape}

    def draw(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """Write a draw: Kaiming normal by outputs for kernels, and uniform within 1/√inputs for the linear layer.

        Source: transformers' `ResNetPreTrainedModel` and torchvision's `ResNet`, which draw so.
        """
        if weight.dim() > 2:
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)
            return
        inputs = self.dense.get_parameter(f"{name.rpartition('.')[0]}.weight").shape[1]
        bound = 1 / math.sqrt(inputs)
        weight.uniform_(-bound, bound, generator=generator)

    @classmethod
    def kept_files(cls, settings: S, cache: Path) -> Base | None:
        """Return the files that `found` kept; raises `StorageError` where they are gone."""
        found = sorted(cache.glob(f"{settings.digest[:16]}-*")) if settings.digest else []
        if not found:
            raise StorageError(
                f"{cache} must hold what {settings.title} is made of, but does not: run the sweep's command again, "
                "which finds its rounds and writes it anew"
            )
        return Base(found[0])


class ResNetModel(StagedNetwork[ResNet]):
    """transformers' ResNet: found on the hub or in a folder, saved for `from_pretrained`."""

    output = "classifier"
    card = ("library_name: transformers", "pipeline_tag: image-classification")

    @property
    def kind(self) -> str:
        """What transformers calls its family."""
        return "resnet"

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the classifier, with some of its blocks or all."""
        return _classifier(self._configuration(blocks))

    def forward(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """Return logits, float (B, outputs), of pictures, float (B, 3, H, W)."""
        logits: Tensor = module(pixel_values=inputs).logits
        return logits

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Its stages; the first block of each stays."""
        depths = self._tree["depths"]
        return tuple(Stack(f"resnet.encoder.stages.{i}.layers", depth, fixed=(0,)) for i, depth in enumerate(depths))

    @classmethod
    def found(cls, settings: ResNet, cache: Path, write_tokenizer: Callable[[Path], None]) -> tuple[ResNet, Base]:
        """Return the model with its digest, and its files, kept once for all workers; see `pretrained`."""
        drawn = settings.weights == "random" or settings.path == TOY_RESNET
        if not (drawn and settings.path in KNOWN):
            return pretrained.keep(pretrained.find(settings), settings, cache)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(KNOWN[settings.path]))
            found = settings.model_copy(update={"weights": "random"})
            kept, base = pretrained.keep(Path(folder), found, cache)
        return settings.model_copy(update={"digest": kept.digest}), base

    @classmethod
    def known(cls, settings: ResNet) -> bool:
        """Whether its configuration is known without its files."""
        return settings.path in KNOWN

    def export(self, state: Mapping[str, Tensor], blocks: Blocks, told: Mapping[str, Any], out: Path) -> None:
        """Write what `save_pretrained` writes: `from_pretrained` loads it as it is."""
        config = self._configuration(blocks)
        config.id2label = dict(enumerate(told["classes"]))
        config.label2id = {name: index for index, name in enumerate(told["classes"])}
        module = _classifier(config)
        module.load_state_dict(dict(state))
        with quiet():
            module.save_pretrained(out)  # type: ignore[operator] # transformers' own method

    @cached_property
    def _tree(self) -> dict[str, Any]:
        """Its configuration, with transformers' defaults where its file says nothing."""
        from transformers import ResNetConfig

        tree = self.base.config if self.base is not None else KNOWN[self.settings.path]
        defaults: dict[str, Any] = ResNetConfig().to_dict()
        return {name: tree.get(name, default) for name, default in defaults.items()}

    def _configuration(self, blocks: Blocks) -> PretrainedConfig:
        from transformers import ResNetConfig

        tree = {name: value for name, value in self._tree.items() if name not in ("id2label", "label2id", "num_labels")}
        depths = list(stage_depths(self.stacks, blocks))
        tree |= {"depths": depths, "num_channels": self.facts.shape[0], "dtype": torch.float32}
        stages = {"out_features": None, "out_indices": None, "stage_names": None}
        return ResNetConfig(
            **{name: value for name, value in tree.items() if name not in stages}, num_labels=self.outputs
        )


def _classifier(config: PretrainedConfig) -> nn.Module:
    """The classifier on torch's default device, its weights without meaning."""
    from transformers import ResNetForImageClassification, initialization

    undrawn = getattr(initialization, "no_init_weights", contextlib.nullcontext)
    with quiet(), undrawn():
        module: nn.Module = ResNetForImageClassification(config)
    return module


class TorchvisionModel(StagedNetwork[TorchvisionResNet]):
    """torchvision's ResNet: with weights of a state-dict file, or none."""

    output = "fc"

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return torchvision's class, with some of its blocks or all."""
        classes = _torchvision()
        kind, _, more = _TORCHVISION[self.settings.architecture]
        depths = list(stage_depths(self.stacks, blocks))
        made: nn.Module = classes.ResNet(getattr(classes, kind), depths, num_classes=self.outputs, **more)
        return made

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Its stages; the first block of each stays."""
        _, depths, _ = _TORCHVISION[self.settings.architecture]
        return tuple(Stack(f"layer{stage}", depth, fixed=(0,)) for stage, depth in enumerate(depths, 1))

    @classmethod
    def found(
        cls, settings: TorchvisionResNet, cache: Path, write_tokenizer: Callable[[Path], None]
    ) -> tuple[TorchvisionResNet, Base | None]:
        """Return the model with the digest of its weights' file, and the file, kept once for all workers.

        Raises `ModelError` where torchvision is not there, or the file is no state of this architecture.
        """
        _torchvision()
        if settings.path is None:
            return settings, None
        tensors = pretrained.state_dict(Path(settings.path).expanduser())
        classes = tensors["fc.weight"].shape[0] if "fc.weight" in tensors else 1
        own = cls(settings, Facts(inputs="images", width=classes, shape=(3, 224, 224)))
        expected = {name: tensor.shape for name, tensor in own.state(own.dense).items()}
        differing = [name for name, shape in expected.items() if name not in tensors or tensors[name].shape != shape]
        counted = [name for name in differing if not name.endswith("num_batches_tracked")]
        if counted or tensors.keys() - expected.keys():
            raise ModelError(
                f"`model.path` must be a state dict of {settings.architecture}, but of {settings.path} "
                f"{(counted or sorted(tensors.keys() - expected.keys()))[0]} is not its own: name another "
                "`model.architecture` or file"
            )
        return pretrained.keep_state({"model_type": settings.architecture}, tensors, settings, cache)

    @classmethod
    def kept_files(cls, settings: TorchvisionResNet, cache: Path) -> Base | None:
        """Return the file that `found` kept, where there is one; raises `StorageError` where it is gone."""
        return None if settings.path is None else super().kept_files(settings, cache)


def _torchvision() -> Any:
    try:
        from torchvision.models import resnet
    except ImportError:
        raise ModelError(
            "`--model torchvision` needs torchvision, which is not installed: pip install torchvision, or take --model "
            "microsoft/resnet-50"
        ) from None
    return resnet
