"""ResNets for ImageNet: transformers' and torchvision's, built with as many blocks as are left of each stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import TOY_RESNET, ResNet, StagedModel, TorchvisionResNet
from lt_ray.errors import ModelError
from lt_ray.models import pretrained
from lt_ray.models.hub import LABELS, HubModel, undrawn
from lt_ray.models.model import Blocks, Model, Stack
from lt_ray.models.pretrained import Base

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
S = TypeVar("S", bound=StagedModel)


class StagedNetwork(Model[S]):
    """What both have in common: how they are drawn, and a logit a class, as in what they are loaded from."""

    logit_a_class = True

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


class ResNetModel(StagedNetwork[ResNet], HubModel[ResNet]):
    """transformers' ResNet."""

    configurations = KNOWN
    output = "classifier"
    card = ("library_name: transformers", "pipeline_tag: image-classification")

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the classifier, with some of its blocks or all."""
        from transformers import ResNetConfig, ResNetForImageClassification

        changed = {"depths": self.depths(blocks), "num_channels": self.facts.shape[0], "dtype": torch.float32}
        with undrawn():
            config = ResNetConfig(**{**self._fields, **changed}, num_labels=self.outputs)
            module: nn.Module = ResNetForImageClassification(config)
        return module

    def forward(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """Return logits, float (B, outputs), of pictures, float (B, 3, H, W)."""
        logits: Tensor = module(pixel_values=inputs).logits
        return logits

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Its stages; the first block of each stays."""
        depths = self._fields["depths"]
        return tuple(Stack(f"resnet.encoder.stages.{i}.layers", depth, fixed=(0,)) for i, depth in enumerate(depths))

    @classmethod
    def fetch(cls, settings: ResNet, cache: Path, write_tokenizer: Callable[[Path], None]) -> tuple[ResNet, Base]:
        """Return the model with its digest, and its files, kept once for all workers; see `pretrained`."""
        drawn = settings.weights == "random" or settings.path == TOY_RESNET
        if drawn and settings.path in KNOWN:
            return pretrained.keep_state(KNOWN[settings.path], {}, settings, cache)
        return pretrained.keep(pretrained.find(settings), settings, cache)

    @cached_property
    def _fields(self) -> dict[str, Any]:
        """Its configuration's fields, with transformers' defaults where its file says nothing; those that its depths
        decide are left out."""
        from transformers import ResNetConfig

        defaults: dict[str, Any] = ResNetConfig().to_dict()
        decided = {"out_features", "out_indices", "stage_names", *LABELS}
        return {name: self.tree.get(name, default) for name, default in defaults.items() if name not in decided}


class TorchvisionModel(StagedNetwork[TorchvisionResNet]):
    """torchvision's ResNet: with weights of a state-dict file, or none."""

    output = "fc"

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return torchvision's module, with some of its blocks or all."""
        module: nn.Module = _torchvision()(self.settings.architecture, num_classes=self.outputs)
        for stack, dense in () if blocks is None else self.ranges:
            stage = list(module.get_submodule(stack.name).children())
            left = [stage[block - dense.start] for block in blocks or () if block in dense]
            module.register_module(stack.name, nn.Sequential(*left))
        return module

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Its stages; the first block of each stays."""
        stages = {name: part for name, part in self.dense.named_children() if isinstance(part, nn.Sequential)}
        return tuple(Stack(name, len(stage), fixed=(0,)) for name, stage in stages.items())

    @classmethod
    def fetch(
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
        model = cls(settings, Facts(inputs="images", width=classes, shape=(3, 224, 224)))
        expected = {name: tensor.shape for name, tensor in model.state(model.dense).items()}
        differing = [name for name, shape in expected.items() if name not in tensors or tensors[name].shape != shape]
        counted = [name for name in differing if not name.endswith("num_batches_tracked")]
        if counted or tensors.keys() - expected.keys():
            raise ModelError(
                f"`model.path` must be a state dict of {settings.architecture}, but of {settings.path} "
                f"{(counted or sorted(tensors.keys() - expected.keys()))[0]} is not its own: name another "
                "`model.architecture` or file"
            )
        return pretrained.keep_state({"model_type": settings.architecture}, tensors, settings, cache)


def _torchvision() -> Any:
    """torchvision's maker of modules by name."""
    try:
        from torchvision.models import get_model
    except ImportError:
        raise ModelError(
            "`--model torchvision` needs torchvision, which is not installed: pip install torchvision, or take --model "
            "microsoft/resnet-50"
        ) from None
    return get_model
