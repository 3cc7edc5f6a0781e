"""Linear maps: which layers are one, how their weights lie, and which layers keep matrices and are none."""

from __future__ import annotations

from collections.abc import Iterator

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


def rows(layer: nn.Module, tensor: Tensor) -> Tensor:
    """Return a linear map's weight or mask as (out, in), a view; and back again."""
    return tensor.T if inputs_first(layer) else tensor


def shape(module: nn.Module, name: str) -> tuple[int, int]:
    """Return (outputs, inputs) of the linear map whose weight has this name [count]."""
    outputs, inputs = rows(module.get_submodule(name.rpartition(".")[0]), module.get_parameter(name)).shape
    return outputs, inputs


def unknown(module: nn.Module, stack: str = "", others: tuple[type[nn.Module], ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield (name, class) of the layers that keep matrices and are no known linear map, norm or embedding.

    - `stack`: name of the part that is looked at; empty = all
    - `others`: further kinds that are known
    """
    for name, child in module.named_modules():
        kind = type(child).__name__
        if not f"{name}.".startswith(f"{stack}." if stack else "") or is_linear(child) or "norm" in kind.lower():
            continue
        if isinstance(child, (nn.Embedding, *others)):
            continue
        kept = [p for _, p in child.named_parameters(recurse=False)]
        # Quantised layers keep their weights in buffers; what is made anew when a model is loaded is no weight.
        made_anew = child._non_persistent_buffers_set
        kept += [b for own, b in child.named_buffers(recurse=False) if stack and own not in made_anew]
        if any(tensor.dim() > 1 for tensor in kept):
            yield name, kind
