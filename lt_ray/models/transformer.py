"""A transformer that is trained from nothing: attention over the words of a document, and their mean."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_ray.cycle.facts import PADDING, UNKNOWN
from lt_ray.cycle.models import Transformer
from lt_ray.errors import ModelError
from lt_ray.models.model import Blocks, Stack
from lt_ray.models.text import TextModel

_DEVIATION = 0.02
"""Of the initial rows of words and positions: of one size, however many words there are"""


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); dropout before each sum."""

    def __init__(self, features: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(features)
        self.query, self.key, self.value, self.out = (nn.Linear(features, features) for _ in range(4))
        self.mlp_norm = nn.LayerNorm(features)
        self.up, self.down = nn.Linear(features, hidden), nn.Linear(hidden, features)
        self.dropout = nn.Dropout(dropout)
        self._heads = heads

    def forward(self, states: Tensor, kept: Tensor) -> Tensor:
        """Return states, float (B, T, features).

        - `kept`: where a token is no padding, bool (B, T)
        """
        inputs = self.attention_norm(states)
        query, key, value = (
            layer(inputs).unflatten(2, (self._heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=kept[:, None, None, :])
        states = states + self.dropout(self.out(seen.transpose(1, 2).flatten(2)))
        given: Tensor = states + self.dropout(self.down(F.gelu(self.up(self.mlp_norm(states)))))
        return given


class TextTransformer(nn.Module):
    """Words + learned positions → dropout → blocks → norm → mean over the words → dropout → linear.

    - `rows`: embedding rows, words and the unknown and padding rows together
    - `blocks`: how many are left
    - `outputs`: 1 for two classes (a logit of class 1), else the number of classes

    The padding follows a document and never stands within one.

    Source: the encoder of Vaswani et al. 2017 (arXiv:1706.03762), norms as Xiong et al. 2020 (arXiv:2002.04745) place
    them: before each part of a block, and once at the end. Differs: positions are learned, the MLP has GELU, and the
    mean over the words is classified.
    """

    def __init__(self, settings: Transformer, rows: int, blocks: int, outputs: int) -> None:
        super().__init__()
        features = settings.embedding
        self.embedding = nn.Embedding(rows, features, padding_idx=PADDING)
        self.positions = nn.Embedding(settings.positions, features)
        self.blocks = nn.ModuleList(
            Block(features, settings.heads, settings.hidden, settings.dropout) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(features)
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(features, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, float (B, outputs), for token ids, int64 (B, T), each document of at least one token.

        Raises `ModelError` where T is more than the positions.
        """
        length, most = tokens.shape[1], self.positions.num_embeddings
        if length > most:
            raise ModelError(
                f"documents must have at most `model.positions` tokens, but got (tokens={length}, positions={most}): "
                "load them with what `Model.reads` says, or say --set model.positions=N"
            )
        kept = tokens != PADDING
        states = self.dropout(self.embedding(tokens) + self.positions(torch.arange(length, device=tokens.device)))
        for block in self.blocks:
            states = block(states, kept)
        words = kept.unsqueeze(2)
        mean = (self.norm(states) * words).sum(dim=1) / words.sum(dim=1)
        logits: Tensor = self.output(self.dropout(mean))
        return logits


class TransformerModel(TextModel[Transformer]):
    """The transformer of `TextTransformer`."""

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the module, with some of its blocks or all."""
        (count,) = self.depths(blocks)
        return TextTransformer(self.settings, self.facts.rows, count, self.outputs)

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Its one stack."""
        return (Stack("blocks", self.settings.layers),)

    def draw(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """As the text models, but normal with deviation 0.02 for the rows of words and positions."""
        if name not in ("embedding.weight", "positions.weight"):
            super().draw(name, weight, generator)
            return
        weight.normal_(0.0, _DEVIATION, generator=generator)
        if name == "embedding.weight":
            weight[[UNKNOWN, PADDING]] = 0
