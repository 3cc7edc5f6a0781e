"""The logs' text models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_ray.models.max_over_time import max_over_time


class TextCnn(nn.Module):
    """Embedding → convolutions of several widths → ReLU → max over time → dropout → linear.

    - `rows`: embedding rows, words and the unknown and padding rows together
    - `outputs`: 1 for two classes (a logit of class 1), else the number of classes
    - `padding`: id of the padding row, which stays 0

    Source: Kim 2014 (arXiv:1408.5882), as the logs use it; Conv1d over words equals their Conv2d over (width × all
    features). Differences: `max(widths)` padding words follow every document, so its logits do not depend on how
    long its neighbours in the batch are; on the CPU in float32 the max over time is computed by `max_over_time`,
    elsewhere by the convolutions themselves.
    """

    def __init__(
        self,
        rows: int,
        embedding: int,
        filters: int,
        widths: Sequence[int],
        dropout: float,
        outputs: int,
        padding: int,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.embedding = nn.Embedding(rows, embedding, padding_idx=padding)
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, filters, width) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(filters * len(self.widths), outputs)
        self._padding = padding

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, float (B, outputs), for token ids, int64 (B, T)."""
        tokens = F.pad(tokens, (0, max(self.widths)), value=self._padding)
        if tokens.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            kernels = [convolution.get_parameter("weight") for convolution in self.convolutions]
            biases = [convolution.get_parameter("bias") for convolution in self.convolutions]
            pooled = max_over_time(tokens, self._padding, self.embedding.weight, kernels, biases)
        else:
            features = self.embedding(tokens).transpose(1, 2)
            pooled = torch.cat([convolution(features).amax(dim=2) for convolution in self.convolutions], dim=1)
        logits: Tensor = self.output(self.dropout(torch.relu(pooled)))
        return logits
