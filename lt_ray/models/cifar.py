"""Networks for small pictures: the residual ones of He et al. 2016, and VGG, both as OpenLTH has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_ray.cycle.models import CifarResNet, CifarVgg, SmallPictureModel
from lt_ray.errors import ModelError
from lt_ray.models.model import Blocks, Model, Stack

_STAGES = 3
_VGG: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Layers of VGG → convolutions of each group [count]"""
_VGG_FILTERS = (1, 2, 4, 8, 8)
"""Filters of each group, in multiples of the first one's [count]"""


class Shortcut(nn.Module):
    """What a block is added to where it halves the side of the maps: every second pixel, new channels full of zeros.

    Source: He et al. 2016 (arXiv:1512.03385), option A; it has no parameters.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps, float (B, channels, ⌈H/2⌉, ⌈W/2⌉), of maps with fewer channels."""
        new = self._channels - maps.shape[1]
        return F.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, new // 2, new - new // 2))


class Block(nn.Module):
    """Two convolutions of 3 × 3, each normalised, added to what came in.

    - `before`, `channels`: of the maps that come in and go out; where they differ, the side is halved [count]
    - `projects`: whether a convolution of 1 × 1 brings what came in to the new shape, or a `Shortcut` does
    """

    def __init__(self, before: int, channels: int, *, projects: bool) -> None:
        super().__init__()
        stride = 1 if before == channels else 2
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if before != channels and projects:
            convolution = nn.Conv2d(before, channels, 1, stride=2, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels))
        elif before != channels:
            self.shortcut = Shortcut(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps, float (B, channels, H', W')."""
        inner = self.norm2(self.conv2(F.relu_(self.norm1(self.conv1(maps)))))
        inner += self.shortcut(maps)
        return F.relu_(inner)


class ResNet(nn.Module):
    """Convolution of 3 × 3 → three stages of blocks → mean over the pixels → linear.

    - `depths`: blocks of each stage, which has twice the channels of the one before and half the side [count]
    - `width`: channels of the first stage [count]

    Source: He et al. 2016 (arXiv:1512.03385), section 4.2, and OpenLTH's `cifar_resnet`.
    """

    def __init__(self, inputs: int, depths: Sequence[int], width: int, outputs: int, *, projects: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.stages = nn.ModuleList()
        before = width
        for stage, depth in enumerate(depths):
            channels = width * 2**stage
            first = Block(before, channels, projects=projects)
            rest = (Block(channels, channels, projects=projects) for _ in range(depth - 1))
            self.stages.append(nn.ModuleList([first, *rest]))
            before = channels
        self.output = nn.Linear(before, outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits, float (B, outputs), of pictures, float (B, inputs, H, W)."""
        maps = F.relu_(self.norm(self.conv(pictures)))
        for stage in self.stages:
            for block in stage.children():
                maps = block(maps)
        logits: Tensor = self.output(maps.mean(dim=(2, 3)))
        return logits


class Convolution(nn.Module):
    """A convolution of 3 × 3, normalised, then ReLU."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps, float (B, channels, H, W)."""
        return F.relu_(self.norm(self.conv(maps)))


class Vgg(nn.Module):
    """Five groups of convolutions, the side halved between them by maxima → mean over the pixels → linear.

    - `depths`: convolutions of each group [count]
    - `width`: filters of the first group; 1, 2, 4, 8, 8 times as many are in the groups [count]

    Source: OpenLTH's `cifar_vgg`, after Simonyan & Zisserman 2015 (arXiv:1409.1556): batch norms, one linear layer.
    """

    def __init__(self, inputs: int, depths: Sequence[int], width: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = inputs
        for group, (depth, times) in enumerate(zip(depths, _VGG_FILTERS, strict=True)):
            layers += [nn.MaxPool2d(2)] if group else []
            for _ in range(depth):
                layers.append(Convolution(before, width * times))
                before = width * times
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(before, outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits, float (B, outputs), of pictures, float (B, inputs, H, W)."""
        logits: Tensor = self.output(self.layers(pictures).mean(dim=(2, 3)))
        return logits


S = TypeVar("S", bound=SmallPictureModel)


class SmallPictures(Model[S]):
    """What both have in common: how they are drawn."""

    def draw(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """Write a draw: Kaiming normal for matrices and kernels, and for biases uniform within 1/√inputs.

        Source: OpenLTH's `kaiming_normal` (He et al. 2015, arXiv:1502.01852), which leaves biases as torch draws them.
        """
        if weight.dim() > 1:
            nn.init.kaiming_normal_(weight, generator=generator)
            return
        layer = self.dense.get_parameter(f"{name.rpartition('.')[0]}.weight")
        bound = 1 / math.sqrt(layer[0].numel())
        weight.uniform_(-bound, bound, generator=generator)

    def draw_norm(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """As every model, or scales uniform in [0, 1), as OpenLTH draws them."""
        super().draw_norm(name, weight, generator)
        if self.settings.norm_init == "uniform" and name.endswith("weight"):
            weight.uniform_(0, 1, generator=generator)


class CifarResNetModel(SmallPictures[CifarResNet]):
    """The network of `ResNet`."""

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the module, with some of its blocks or all."""
        projects = self.settings.shortcut == "projection"
        return ResNet(self.facts.shape[0], self.depths(blocks), self.settings.width, self.outputs, projects=projects)

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Its stages; the first block of each stays."""
        depth = (self.settings.depth - 2) // (2 * _STAGES)
        return tuple(Stack(f"stages.{stage}", depth, fixed=(0,)) for stage in range(_STAGES))


class CifarVggModel(SmallPictures[CifarVgg]):
    """The network of `Vgg`."""

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the module; it has no blocks. Raises `ModelError` where pictures are too small for it."""
        channels, *sides = self.facts.shape
        halvings = len(_VGG_FILTERS) - 1
        if min(sides) < 2**halvings:
            raise ModelError(
                f"`cifar_vgg` halves the side of a picture {halvings} times, so it must be at least {2**halvings} "
                f"pixels, but got {min(sides)}: take a larger `task.size`, or --model cifar_resnet"
            )
        return Vgg(channels, _VGG[self.settings.depth], self.settings.width, self.outputs)
