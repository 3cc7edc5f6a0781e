"""ResNet-20 for CIFAR-10 as OpenLTH's `cifar_resnet` computes it, in torch alone: what lt_ray's is timed against."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class _Block(nn.Module):
    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        stride = 1 if before == channels else 2
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if before != channels:
            projection = nn.Conv2d(before, channels, 1, stride=2, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out + self.shortcut(x)
        return F.relu(out)


class OpenLthResNet(nn.Module):
    """A residual network for pictures of 32 × 32.

    - `depth`: layers, 6 n + 2 [count]
    """

    def __init__(self, depth: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        blocks, before = [], 16
        for channels in (16, 32, 64):
            for _ in range((depth - 2) // 6):
                blocks.append(_Block(before, channels))
                before = channels
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float (B, outputs), of pictures, float (B, 3, 32, 32)."""
        out = self.blocks(F.relu(self.bn(self.conv(x))))
        out = F.avg_pool2d(out, out.shape[3])
        logits: Tensor = self.fc(out.flatten(1))
        return logits
