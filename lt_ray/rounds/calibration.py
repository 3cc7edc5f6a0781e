"""Calibration: what the blocks of a model see of calibration batches, and Wanda's masks by it (docs/methods.md §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from lt_ray.models import maps
from lt_ray.pruning import wanda
from lt_ray.pruning.masks import Masks
from lt_ray.training.measure import evaluating

Forward = Callable[[Tensor], object]
Kept = Callable[[Tensor], Tensor | None]
Reduce = Callable[[Tensor, Tensor | None], Tensor]
_Call = Callable[[Tensor, dict[str, Tensor]], Tensor]
Sparsity = float | tuple[int, int]
"""Share of each output row that is pruned, [0, 1), or a pattern (n, m): n of every m inputs stay."""
_AT_A_TIME = 16
"""Examples whose maps are squared at a time: float64 copies stay small [count]"""


def block_outputs(
    blocks: Sequence[nn.Module],
    forward: Forward,
    batches: Iterable[Tensor],
    kept: Kept,
    reduce: Reduce = lambda states, _kept: states,
) -> Iterator[tuple[list[Tensor], Tensor | None]]:
    """Yield, for each batch, what every block returns, without gradients.

    - `blocks`: members of the model that `forward` runs, in eval mode
    - `forward`: inputs (B, …) → logits
    - `batches`: inputs (B, …), such as tokens int64 (B, T)
    - `kept`: inputs → True where a token is no padding, bool (B, T); None where there is no padding
    - `reduce`: (a block's output, kept) → what is kept of it, so that no two outputs need to be held at once

    Yields a tensor per block (of a tuple that it returns, the first), and kept. The blocks carry hooks only while
    `forward` runs. Raises ValueError if it leaves a block out.
    """
    assert not any(block.training for block in blocks), "calibration needs eval mode"
    for inputs in batches:
        outputs: dict[nn.Module, Tensor] = {}
        looked_at = kept(inputs)
        with torch.no_grad(), ExitStack() as hooks:
            for block in blocks:
                hooks.enter_context(block.register_forward_hook(partial(_keep_output, outputs, reduce, looked_at)))
            forward(inputs)
        if missing := [index for index, block in enumerate(blocks) if block not in outputs]:
            raise ValueError(f"forward must run each of the blocks, but it left out {missing=}.")
        yield [outputs[block] for block in blocks], looked_at


def sequential_masks(
    module: nn.Module,
    blocks: Sequence[nn.Module],
    forward: Forward,
    batches: Iterable[Tensor],
    kept: Kept,
    masks: Masks,
    sparsity: Sparsity,
) -> dict[str, Tensor]:
    """Return smaller masks: Wanda's on the linear maps of the blocks, the others as they are. Each block is measured
    with the blocks before it already pruned.

    A convolution is a linear map of patches: the norm of a kernel's weight is that of what it is multiplied with at all
    places of all examples, its column of im2col; weights of one filter are a row.

    - `module`: the model, holding zeros where `masks` prune; neither its weights nor its training flags change
    - `blocks`: members of it; in each, the first argument (or `hidden_states`) is what the block before returned
    - `forward`: inputs (B, …) → logits; it runs `module`
    - `batches`: calibration inputs (B, …), such as tokens int64 (B, T), read once
    - `kept`: inputs → True where a token is no padding, bool (B, T); None where there is no padding
    - `masks`: masks before, at least of the weights of the blocks' linear layers

    Raises ValueError if no batch reaches a linear layer of the blocks, and if the blocks are no chain. It holds the
    hidden states of all batches, on their device.

    Source: Sun et al. 2023, arXiv:2306.11695, section 3, whose program does so.
    """
    smaller: dict[str, Tensor] = {}
    with evaluating(module), torch.no_grad():
        runs = [(*_record(blocks, forward, inputs), kept(inputs)) for inputs in batches]
        hidden = [first for first, _, _ in runs]
        for index, linears in enumerate(_linears(module, blocks)):
            passes = ((partial(calls[index], hidden[i], {}), kept_) for i, (_, calls, kept_) in enumerate(runs))
            norms = _norms(linears, passes)
            pruned = {}
            for linear in linears:
                mask = _smaller(linear.layer, norms[linear.name], masks[linear.name], sparsity)
                weight = linear.layer.get_parameter("weight")
                pruned[linear.name_in_block] = weight.where(mask.to(weight.device), 0)
                smaller[linear.name] = mask
            for i, (_, calls, _) in enumerate(runs if index + 1 < len(blocks) else ()):
                hidden[i] = calls[index](hidden[i], pruned)
    return {name: smaller.get(name, mask).clone() for name, mask in masks.items()}


def input_norms(
    module: nn.Module, blocks: Sequence[nn.Module], forward: Forward, batches: Iterable[Tensor], kept: Kept
) -> dict[str, Tensor]:
    """Return the norms of the inputs of the blocks' linear layers in the model as it is, from one pass.

    - `module`, `blocks`, `forward`, `batches`, `kept`: see `sequential_masks`

    Returns weight name → norm of each input over all kept tokens, float64 (in,); of a convolution over all places,
    (C · kernel,).
    """
    linears = list(chain.from_iterable(_linears(module, blocks)))
    with evaluating(module), torch.no_grad():
        return _norms(linears, ((partial(forward, tokens), kept(tokens)) for tokens in batches))


def one_pass_masks(
    module: nn.Module, norms: Mapping[str, Tensor], masks: Masks, sparsity: Sparsity
) -> dict[str, Tensor]:
    """Return smaller masks by the `input_norms` of a model as it is: Wanda's on its linear maps, the others as they
    are."""
    smaller = {}
    for name, norm in norms.items():
        smaller[name] = _smaller(module.get_submodule(name.rpartition(".")[0]), norm, masks[name], sparsity)
    return {name: smaller.get(name, mask).clone() for name, mask in masks.items()}


@torch.no_grad()
def recalibrate_(module: nn.Module, forward: Forward, batches: Iterable[Tensor]) -> None:
    """Estimate the statistics of a module's batch norms anew: their mean over the batches, dropout off.

    - `forward`: inputs (B, …) → logits; it runs `module`

    A module without batch norms is left as it is, and no batch is read.
    """
    norms = [child for child in module.modules() if isinstance(child, _BatchNorm) and child.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with evaluating(module):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True
        for inputs in batches:
            forward(inputs)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training = momentum, False


@dataclass(frozen=True)
class _Linear:
    """A linear map of a block, and what its weight is called in the model and in the block."""

    layer: nn.Module
    name: str
    name_in_block: str


def _record(blocks: Sequence[nn.Module], forward: Forward, inputs: Tensor) -> tuple[Tensor, list[_Call]]:
    """Run the model on one batch; return the first block's input, (B, …), and for each block how it was called."""
    states: list[Tensor] = []  # the first block's input, and what the latest block returned
    calls: list[_Call] = []

    def before(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        index, named = len(calls), "hidden_states" in kwargs
        state = kwargs["hidden_states"] if named else args[0]
        if index == len(blocks) or block is not blocks[index] or (index and state is not states[-1]):
            raise ValueError(
                "in sequential mode, forward must run the blocks once each, in order, each on what the one before "
                f"returned, but call {index} is another, of {type(block).__name__}: use one_pass."
            )
        if not index:
            states.append(state)
        calls.append(
            partial(_called, block, args if named else args[1:], kwargs | {"hidden_states": None} if named else kwargs)
        )

    def after(_block: nn.Module, _args: object, output: object) -> None:
        states[1:] = [_hidden(output)]

    with ExitStack() as hooks:
        for block in blocks:
            hooks.enter_context(block.register_forward_pre_hook(before, with_kwargs=True))
            hooks.enter_context(block.register_forward_hook(after))
        forward(inputs)
    if len(calls) < len(blocks):
        raise ValueError(f"forward must run all {len(blocks)} blocks, but it ran {len(calls)}.")
    return states[0], calls


def _called(
    block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], hidden: Tensor, weights: dict[str, Tensor]
) -> Tensor:
    """What a block returns for hidden states, with `weights` instead of its own of these names.

    - `args`, `kwargs`: of its call, where the hidden states are the first or `hidden_states`
    """
    if "hidden_states" in kwargs:
        return _hidden(functional_call(block, weights, args, {**kwargs, "hidden_states": hidden}))
    return _hidden(functional_call(block, weights, (hidden, *args), kwargs))


def _norms(
    linears: Sequence[_Linear], passes: Iterable[tuple[Callable[[], object], Tensor | None]]
) -> dict[str, Tensor]:
    """Norms of the inputs of each linear layer over all passes (what to run, kept), float64 (in,) on the CPU."""
    meter = _Meter()
    with ExitStack() as hooks:
        for linear in linears:
            hooks.enter_context(linear.layer.register_forward_pre_hook(partial(meter, linear.name)))
        for run, kept in passes:
            meter.start(kept)
            run()
    if missing := [linear.name for linear in linears if linear.name not in meter.sums]:
        raise ValueError(f"calibration batches must reach each linear layer of the blocks, but {missing[0]} saw none.")
    return {name: sums.sqrt().cpu() for name, sums in meter.sums.items()}


class _Meter:
    """Adds up the squared inputs of linear layers; query, key and value have one input in common, squared once.

    The paper's program divides the squares by the number of batches, which ranks alike within a row.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def start(self, kept: Tensor | None) -> None:
        self._kept = kept
        self._last: tuple[Tensor, int] | None = None
        self._seen: set[str] = set()

    def __call__(self, name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x, kept = inputs[0], self._kept
        if (kept is not None and x.shape[:-1] != kept.shape) or name in self._seen:
            seen = "inputs" if kept is None else f"tokens {tuple(kept.shape)}"
            raise ValueError(
                f"a linear map must see each token once and nothing else, but {name} sees {tuple(x.shape)} of {seen}"
                f"{' again' if name in self._seen else ''}."
            )
        self._seen.add(name)
        if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
            sums = _patch_sums(layer, x)
        else:
            # A tensor written to since it was squared has another version; those of inference_mode have none.
            version = None if x.is_inference() else x._version
            if self._last is None or version is None or self._last[0] is not x or self._last[1] != version:
                self._sums = wanda.sums_of_squares(x, kept)
                self._last = None if version is None else (x, version)
            sums = self._sums
        self.sums[name] = self.sums[name] + sums if name in self.sums else sums


def _patch_sums(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """What a convolution's kernel weights are multiplied with, squared and summed over examples and places, float64
    (C · kernel)."""
    squares = torch.zeros(x.shape[1:], dtype=torch.float64, device=x.device)
    for part in torch.split(x.detach(), _AT_A_TIME):
        squares += part.double().square().sum(0)
    return wanda.sums_over_patches(maps.padded(layer, squares), layer.kernel_size, layer.stride, layer.dilation)


def _smaller(layer: nn.Module, norms: Tensor, mask: Tensor, sparsity: Sparsity) -> Tensor:
    """A linear map's mask, lying as its weight does; each of its groups has inputs of its own."""
    parts, weight, mask = maps.groups(layer), maps.rows(layer, layer.get_parameter("weight")), maps.rows(layer, mask)
    pruned = [
        wanda.select_pattern(*group, *sparsity) if isinstance(sparsity, tuple) else wanda.select(*group, sparsity)
        for group in zip(weight.chunk(parts), norms.chunk(parts), mask.chunk(parts), strict=True)
    ]
    return maps.from_rows(layer, torch.cat(pruned) if parts > 1 else pruned[0])


def _linears(module: nn.Module, blocks: Sequence[nn.Module]) -> list[list[_Linear]]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [
        [
            _Linear(child, names[id(child.get_parameter("weight"))], f"{path}.weight".lstrip("."))
            for path, child in block.named_modules()
            if maps.is_linear(child) or maps.is_convolution(child)
        ]
        for block in blocks
    ]


def _hidden(output: Any) -> Tensor:
    state: Tensor = output[0] if isinstance(output, tuple) else output
    return state


def _keep_output(
    outputs: dict[nn.Module, Tensor], reduce: Reduce, kept: Tensor | None, block: nn.Module, _: object, output: object
) -> None:
    outputs[block] = reduce(_hidden(output), kept)
