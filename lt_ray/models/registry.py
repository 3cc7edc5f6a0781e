"""Which module a model's fields describe, how it is initialised, and what of it can be pruned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lt_ray.cycle import Cnn, Lstm, Model
from lt_ray.models.text import TextCnn, TextRecurrent

UNKNOWN, PADDING = 0, 1


def build(model: Model, rows: int, outputs: int) -> nn.Module:
    """Return the module on the meta device: shapes, no weights.

    - `rows`: embedding rows of the data
    - `outputs`: logits of one example
    """
    with torch.device("meta"):
        if isinstance(model, Cnn):
            return TextCnn(rows, model.embedding, model.filters, model.widths, model.dropout, outputs, padding=PADDING)
        return TextRecurrent(
            nn.LSTM if isinstance(model, Lstm) else nn.RNN,
            rows,
            model.embedding,
            model.hidden,
            model.layers,
            model.bidirectional,
            model.recurrent_init == "orthogonal",
            model.dropout,
            outputs,
            padding=PADDING,
        )


def initial_weights(module: nn.Module, generator: Callable[[str], torch.Generator]) -> dict[str, Tensor]:
    """Return a draw of the initialiser, on the CPU: Xavier normal for matrices and kernels (where the model says so,
    orthogonal for those from state to state), 0 for biases and for the unknown and padding rows of an embedding.

    A matrix is drawn whole, as torch keeps it: an LSTM's four gates one below the other.

    - `generator`: parameter name → generator of its draw, so that no tensor's draw depends on another's shape
    """
    orthogonal = module.orthogonal_names if isinstance(module, TextRecurrent) else ()
    weights = {}
    for name, parameter in module.named_parameters():
        weight = torch.zeros(parameter.shape, device="cpu")
        if name in orthogonal:
            nn.init.orthogonal_(weight, generator=generator(name))
        elif weight.dim() > 1:
            nn.init.xavier_normal_(weight, generator=generator(name))
        weights[name] = weight
    for name, _embedding in _embeddings(module):
        weights[f"{name}.weight"][[UNKNOWN, PADDING]] = 0
    return weights


def initial_masks(module: nn.Module) -> dict[str, Tensor]:
    """Return the masks of the dense model: all True, but for the padding rows, whose zeros count as pruned."""
    masks = {name: torch.ones(p.shape, dtype=torch.bool, device="cpu") for name, p in module.named_parameters()}
    for name, embedding in _embeddings(module):
        if embedding.padding_idx is not None:
            masks[f"{name}.weight"][embedding.padding_idx] = False
    return masks


def weight_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the weights of convolutional, linear and recurrent layers: OpenLTH's prunable tensors."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase)
    return tuple(
        f"{layer}.{name}" if layer else name
        for layer, child in module.named_modules()
        if isinstance(child, kinds)
        for name, _ in child.named_parameters(recurse=False)
        if name.startswith("weight")
    )


def output_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the output layer's parameters."""
    return tuple(name for name, _ in module.named_parameters() if name.startswith("output."))


def _embeddings(module: nn.Module) -> list[tuple[str, nn.Embedding]]:
    return [(name, child) for name, child in module.named_modules() if isinstance(child, nn.Embedding)]
