"""The research logs' text models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from lt_ray.cycle.facts import PADDING, UNKNOWN
from lt_ray.cycle.models import Cnn, Lstm, ModelSettings, Recurrent
from lt_ray.models.max_over_time import max_over_time
from lt_ray.models.model import Blocks, Model
from lt_ray.models.through_time import through_time


class TextCnn(nn.Module):
    """Embedding → convolutions of several widths → ReLU → max over time → dropout → linear.

    - `rows`: embedding rows, words and the unknown and padding rows together
    - `outputs`: 1 for two classes (a logit of class 1), else the number of classes

    Source: Kim 2014 (arXiv:1408.5882), as the logs use it; Conv1d over words equals their Conv2d over (width × all
    features). Differences: `max(widths)` padding words follow every document, so its logits do not depend on how
    long its neighbours in the batch are; on the CPU in float32 the max over time is computed by `max_over_time`,
    elsewhere by the convolutions themselves.
    """

    def __init__(self, settings: Cnn, rows: int, outputs: int) -> None:
        super().__init__()
        features, filters = settings.embedding, settings.filters
        self.embedding = nn.Embedding(rows, features, padding_idx=PADDING)
        self.convolutions = nn.ModuleList(nn.Conv1d(features, filters, width) for width in settings.widths)
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(filters * len(settings.widths), outputs)
        self._widest = max(settings.widths)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, float (B, outputs), for token ids, int64 (B, T)."""
        tokens = F.pad(tokens, (0, self._widest), value=PADDING)
        if tokens.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            kernels = [convolution.get_parameter("weight") for convolution in self.convolutions]
            biases = [convolution.get_parameter("bias") for convolution in self.convolutions]
            pooled = max_over_time(tokens, PADDING, self.embedding.weight, kernels, biases)
        else:
            features = self.embedding(tokens).transpose(1, 2)
            pooled = torch.cat([convolution(features).amax(dim=2) for convolution in self.convolutions], dim=1)
        logits: Tensor = self.output(self.dropout(torch.relu(pooled)))
        return logits


class TextRecurrent(nn.Module):
    """Embedding → dropout → recurrent layers, with dropout between them → last states → dropout → linear.

    - `rows`: embedding rows, words and the unknown and padding rows together
    - `outputs`: 1 for two classes (a logit of class 1), else the number of classes

    The padding follows a document and never stands within one.

    Source: the logs' LSTM and RNN, the latter with tanh. The last states are the top layer's, forward after the last
    word and backward after the first, side by side. Differences: one torch layer for each layer instead of one for all,
    which has the same tensors in the same order under other names (`recurrent.1.weight_ih_l0` is their
    `weight_ih_l1`): the dropout between them is ours, since cuDNN's keeps a state of its own that no reseeding reaches.
    On the CPU `through_time` computes the layers, elsewhere torch. The layers compute in float32 under autocast too:
    cuDNN's autocast would choose float16, whatever it is asked for.
    """

    def __init__(self, settings: Recurrent, rows: int, outputs: int) -> None:
        super().__init__()
        kind = nn.LSTM if isinstance(settings, Lstm) else nn.RNN
        hidden, both = settings.hidden, settings.bidirectional
        features = hidden * (2 if both else 1)
        self.embedding = nn.Embedding(rows, settings.embedding, padding_idx=PADDING)
        self.recurrent = nn.ModuleList(
            kind(features if layer else settings.embedding, hidden, bidirectional=both)
            for layer in range(settings.layers)
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(features, outputs)
        self._hidden = hidden

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, float (B, outputs), for token ids, int64 (B, T), each document of at least one token."""
        lengths = (tokens != PADDING).sum(dim=1).cpu()
        packed = pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False)
        sizes = packed.batch_sizes
        states = self.embedding(packed.data)
        with torch.autocast(tokens.device.type, enabled=False):
            for layer in self.recurrent:
                states = self._through(layer, self.dropout(states), sizes)
        assert packed.sorted_indices is not None
        assert packed.unsorted_indices is not None
        ends = (sizes.cumsum(0) - sizes)[lengths - 1].to(tokens.device) + packed.unsorted_indices
        last = torch.cat([states[ends, : self._hidden], states[packed.unsorted_indices, self._hidden :]], dim=1)
        logits: Tensor = self.output(self.dropout(last))
        return logits

    @staticmethod
    def _through(layer: nn.Module, inputs: Tensor, sizes: Tensor) -> Tensor:
        """Return a layer's states, packed as its inputs are."""
        assert isinstance(layer, nn.RNNBase)
        if inputs.device.type == "cpu":
            return through_time(layer, inputs, sizes.tolist())
        states: Tensor = layer(PackedSequence(inputs, sizes))[0].data
        return states


S = TypeVar("S", bound=ModelSettings)


class TextModel(Model[S]):
    """What the models have in common whose words are the train texts': an embedding of them, in a layer `embedding`."""

    @property
    def empty_rows(self) -> Mapping[str, int]:
        """The padding's row of the embedding."""
        return {"embedding.weight": PADDING}

    def draw(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """As every model, and 0 for the rows of the unknown word and of the padding.

        A matrix is drawn whole, as torch keeps it: an LSTM's four gates one below the other.
        """
        super().draw(name, weight, generator)
        if name == "embedding.weight":
            weight[[UNKNOWN, PADDING]] = 0


class CnnModel(TextModel[Cnn]):
    """The CNN of `TextCnn`."""

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the module; it has no blocks."""
        return TextCnn(self.settings, self.facts.rows, self.outputs)


class RecurrentModel(TextModel[Recurrent]):
    """The LSTM and the RNN of `TextRecurrent`."""

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the module; it has no blocks."""
        return TextRecurrent(self.settings, self.facts.rows, self.outputs)

    def draw(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """As the text models, but for the weights from state to state where they are orthogonal."""
        if "weight_hh" in name and self.settings.recurrent_init == "orthogonal":
            nn.init.orthogonal_(weight, generator=generator)
        else:
            super().draw(name, weight, generator)
