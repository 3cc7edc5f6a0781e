"""Linear maps, also convolutions: which layers are one, how their weights lie, which keep matrices and are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

_INPUTS_FIRST = "transformers.pytorch_utils.Conv1D"


def inputs_first(layer: nn.Module) -> bool:
    """Return whether a linear map keeps its weight as (in, out), as GPT-2's do; torch's own keep (out, in)."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}" == _INPUTS_FIRST


def is_linear(layer: nn.Module) -> bool:
    """Return whether a layer is a linear map of a known kind.

    A subclass is none: it may keep or use its weight in another way, as quantised ones and those of
    `nn.MultiheadAttention` do.
    """
    return type(layer) is nn.Linear or inputs_first(layer)


def is_convolution(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution of one or two axes; a subclass is none."""
    return type(layer) in (nn.Conv1d, nn.Conv2d)


def rows(layer: nn.Module, tensor: Tensor) -> Tensor:
    """Return a linear map's weight or mask as (out, in), a view: a kernel's row is all that makes one output."""
    if is_convolution(layer):
        return tensor.flatten(1)
    return tensor.T if inputs_first(layer) else tensor


def from_rows(layer: nn.Module, tensor: Tensor) -> Tensor:
    """Return what `rows` was given."""
    if is_convolution(layer):
        return tensor.reshape(layer.get_parameter("weight").shape)
    return (tensor.T if inputs_first(layer) else tensor).contiguous()


def groups(layer: nn.Module) -> int:
    """Return in how many equal parts a map's rows and inputs fall, each part of its own inputs [count]."""
    return layer.groups if isinstance(layer, (nn.Conv1d, nn.Conv2d)) else 1


def padded(layer: nn.Conv1d | nn.Conv2d, values: Tensor) -> Tensor:
    """Return values, (C, …), with what a convolution puts around them; of squares, the squares of that."""
    around = cast("list[int]", list(layer._reversed_padding_repeated_twice))
    return F.pad(values, around, "constant" if layer.padding_mode == "zeros" else layer.padding_mode)


def shape(module: nn.Module, name: str) -> tuple[int, int]:
    """Return (outputs, inputs of one) of the linear map whose weight has this name [count]."""
    outputs, inputs = rows(module.get_submodule(name.rpartition(".")[0]), module.get_parameter(name)).shape
    return outputs, inputs


def unknown(
    module: nn.Module, stack: str = "", known: Callable[[nn.Module], bool] = is_linear
) -> Iterator[tuple[str, str]]:
    """Yield (name, class) of the layers that keep matrices and are no known linear map, norm or embedding.

    - `stack`: name of the part that is looked at; empty = all
    - `known`: whether a layer is of a kind that is known
    """
    for name, child in module.named_modules():
        kind = type(child).__name__
        if not f"{name}.".startswith(f"{stack}." if stack else "") or known(child) or "norm" in kind.lower():
            continue
        if isinstance(child, nn.Embedding):
            continue
        kept = [p for _, p in child.named_parameters(recurse=False)]
        # Quantised layers keep their weights in buffers; what is made anew when a model is loaded is no weight.
        made_anew = child._non_persistent_buffers_set
        kept += [b for buffer, b in child.named_buffers(recurse=False) if stack and buffer not in made_anew]
        if any(tensor.dim() > 1 for tensor in kept):
            yield name, kind
