"""Which module a model's fields describe, how it is initialised, and what of it can be pruned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import Cnn, Encoder, Lstm, Model, Recurrent
from lt_ray.errors import ModelError
from lt_ray.models import dropout, encoder, maps
from lt_ray.models.pretrained import Base
from lt_ray.models.text import TextCnn, TextRecurrent

UNKNOWN, PADDING = 0, 1
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


def outputs_of(model: Model, facts: Facts) -> int:
    """Return the outputs of one example [count]: one a class, label or number, but one alone for two classes of our own
    models."""
    return 1 if facts.targets == "classes" and facts.width == 2 and not isinstance(model, Encoder) else facts.width


def build(
    model: Model,
    rows: int,
    outputs: int,
    base: Base | None = None,
    blocks: Sequence[int] | None = None,
    padding: int | None = None,
) -> nn.Module:
    """Return the module on the meta device: shapes, no weights.

    - `rows`: embedding rows of the data
    - `outputs`: logits of one example
    - `base`: what an encoder is made of; None where its path says enough
    - `blocks`: positions of the blocks that an encoder keeps; None = all
    - `padding`: the token that fills a batch of an encoder whose configuration names none

    Raises `ModelError` where an encoder has no stack of blocks, or fewer rows than the data has tokens.
    """
    if isinstance(model, Encoder):
        tree = base.config if base is not None else encoder.known_model(model)
        assert tree is not None
        config = encoder.configuration(tree, outputs, model.dropout, blocks, padding)
        own = int(getattr(config, "vocab_size", rows))
        if rows > own:
            raise ModelError(
                f"`--model {model.path}`: its tokenizer must have no more tokens than its embedding has rows, but has "
                f"{rows:,} for {own:,}: give the tokenizer that belongs to it."
            )
        module = encoder.build(config)
        if model.dropout is not None:
            dropout.check(module, model.dropout, model.path)
        return module
    with torch.device("meta"):
        if isinstance(model, Cnn):
            return TextCnn(rows, model.embedding, model.filters, model.widths, model.dropout, outputs, padding=PADDING)
        assert isinstance(model, Recurrent)
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


def live(module: nn.Module, weights: Mapping[str, Tensor], device: torch.device) -> nn.Module:
    """Return a module like the one on the meta device, on a device and with these weights."""
    # A copy: torch moves a module in place.
    made = encoder.build(module.config, device) if is_encoder(module) else copy.deepcopy(module).to_empty(device=device)
    parameters = dict(made.named_parameters())
    assert parameters.keys() == weights.keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    return made


def logits(module: nn.Module, padding: int) -> Callable[[Tensor], Tensor]:
    """Return tokens, int64 (B, T) → logits, float (B, outputs).

    - `padding`: the token that fills a batch
    """
    return encoder.logits(module, padding) if is_encoder(module) else module


def is_encoder(module: nn.Module) -> bool:
    """Return whether a module is a Hugging Face one, with blocks, and none of ours."""
    return hasattr(module, "config")


def initial_weights(
    module: nn.Module, generator: Callable[[str], torch.Generator], base: Base | None = None
) -> dict[str, Tensor]:
    """Return the weights that a model begins with: those that were found, and a draw of the initialiser for the rest.

    - `generator`: parameter name → generator of its draw, so that no tensor's draw depends on another's shape
    - `base`: what an encoder is made of; its weights stand where they have the module's shapes
    """
    if not is_encoder(module):
        return _drawn(module, generator)
    weights = encoder.initial_weights(module, generator)
    found = base.weights() if base is not None else {}
    return weights | {n: w for n, w in found.items() if n in weights and w.shape == weights[n].shape}


def _drawn(module: nn.Module, generator: Callable[[str], torch.Generator]) -> dict[str, Tensor]:
    """Return a draw of the text models' initialiser, on the CPU: Xavier normal for matrices and kernels
    (where the model says so, orthogonal for those from state to state), 0 for biases and for the unknown and padding
    rows of an embedding.

    A matrix is drawn whole, as torch keeps it: an LSTM's four gates one below the other.
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
    """Return the masks of the dense model: all True, but for the text models' padding rows, whose zeros count as
    pruned.

    An encoder's padding row holds what it was trained with.
    """
    masks = {name: torch.ones(p.shape, dtype=torch.bool, device="cpu") for name, p in module.named_parameters()}
    if is_encoder(module):
        return masks
    for name, embedding in _embeddings(module):
        if embedding.padding_idx is not None:
            masks[f"{name}.weight"][embedding.padding_idx] = False
    return masks


def initial_counts(module: nn.Module) -> dict[str, int]:
    """Return how many weights of each parameter the masks of the dense model keep, without making them [count]."""
    counts = {name: parameter.numel() for name, parameter in module.named_parameters()}
    if is_encoder(module):
        return counts
    for name, embedding in _embeddings(module):
        if embedding.padding_idx is not None:
            counts[f"{name}.weight"] -= embedding.embedding_dim
    return counts


def weight_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the weights of convolutional, linear and recurrent layers: OpenLTH's prunable tensors."""
    return tuple(
        f"{layer}.{name}" if layer else name
        for layer, child in module.named_modules()
        if maps.is_linear(child) or isinstance(child, (*CONVOLUTIONS, nn.RNNBase))
        for name, _ in child.named_parameters(recurse=False)
        if name.startswith("weight")
    )


def output_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the output layer's parameters; of an encoder its whole head's."""
    if is_encoder(module):
        inner = str(module.base_model_prefix) + "."
        return tuple(name for name, _ in module.named_parameters() if not name.startswith(inner))
    return tuple(name for name, _ in module.named_parameters() if name.startswith("output."))


def undecayed_names(module: nn.Module) -> frozenset[str]:
    """Return the names of the biases and of the parameters of normalising layers, which decay of `matrices` spares."""
    vectors = {name for name, parameter in module.named_parameters() if parameter.dim() < 2}
    return frozenset(vectors | set(encoder.norm_names(module)))


def _embeddings(module: nn.Module) -> list[tuple[str, nn.Embedding]]:
    return [(name, child) for name, child in module.named_modules() if isinstance(child, nn.Embedding)]
