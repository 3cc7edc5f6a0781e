"""A recurrent layer through time, on the CPU, over packed documents: the LSTM's and the RNN's hot path.

Autograd keeps a graph of every step, and each of its slices fills a gradient as large as the whole batch: a step of the
training grows with the square of the longest document. Here the loop does only what depends on the step before;
the projection of the inputs and the gradients of all weights are one matrix product each, over all tokens of the batch,
none of them padding (`benchmarks/` has the ratios; equal up to the order of float additions).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_Steps = list[tuple[slice, slice, slice]]
_through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
_through_tanh = torch.ops.aten.tanh_backward.grad_input


def through_time(layer: nn.RNNBase, inputs: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the states of a layer after every token, its directions side by side, float (N, directions · hidden).

    - `layer`: an nn.LSTM, or nn.RNN with tanh, of one layer with biases
    - `inputs`: float (N, features), packed: the documents' first tokens, longest document first, then their second ones
    - `sizes`: documents that have a token at each position, falling [count]

    Source: Hochreiter & Schmidhuber 1997, Elman 1990, with torch's gates and two biases.
    """
    recurrence = _Lstm if isinstance(layer, nn.LSTM) else _Rnn
    outputs = []
    for suffix in ("", "_reverse") if layer.bidirectional else ("",):
        weights = [layer.get_parameter(f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh")]
        bias = layer.get_parameter(f"bias_ih_l0{suffix}") + layer.get_parameter(f"bias_hh_l0{suffix}")
        outputs.append(recurrence.apply(inputs, *weights, bias, list(_steps(sizes, reverse=bool(suffix)))))
    return torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]


def _steps(sizes: Sequence[int], *, reverse: bool) -> Iterator[tuple[slice, slice, slice]]:
    """Yield, step by step, the rows read, those of them with a state before, and the rows that hold that state."""
    rows = [slice(end - size, end) for size, end in zip(sizes, itertools.accumulate(sizes), strict=True)]
    begin_before, size_before = 0, 0
    for now in reversed(rows) if reverse else rows:
        size = now.stop - now.start
        count = min(size_before, size)
        yield now, slice(now.start, now.start + count), slice(begin_before, begin_before + count)
        begin_before, size_before = now.start, size


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, w_in: Tensor, w_state: Tensor, bias: Tensor, steps: _Steps) -> Tensor:
        gates = torch.addmm(bias, inputs, w_in.t())
        state, cell, squashed = (gates.new_empty(len(inputs), w_state.shape[1]) for _ in range(3))
        for now, carried, before in steps:
            gates[carried].addmm_(state[before], w_state.t())
            let_in, keep, new, let_out = gates[now].chunk(4, dim=1)
            gates[now, : 2 * state.shape[1]].sigmoid_()
            new.tanh_()
            let_out.sigmoid_()
            torch.mul(let_in, new, out=cell[now])
            cell[carried].addcmul_(keep[: carried.stop - carried.start], cell[before])
            torch.tanh(cell[now], out=squashed[now])
            torch.mul(let_out, squashed[now], out=state[now])
        ctx.steps = steps
        ctx.save_for_backward(inputs, w_in, w_state, gates, cell, squashed, state)
        return state

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_in, w_state, gates, cell, squashed, state = ctx.saved_tensors
        for_state, for_gates = gradients[0].clone(), torch.empty_like(gates)
        for_cell, earlier = torch.zeros_like(cell), torch.zeros_like(state)
        for now, carried, before in reversed(ctx.steps):
            count = carried.stop - carried.start
            let_in, keep, new, let_out = gates[now].chunk(4, dim=1)
            for_in, for_keep, for_new, for_out = for_gates[now].chunk(4, dim=1)
            d_state, d_cell = for_state[now], for_cell[now]
            d_cell += torch.ops.aten.tanh_backward(d_state * let_out, squashed[now])
            _through_sigmoid(d_state * squashed[now], let_out, grad_input=for_out)
            _through_sigmoid(d_cell * new, let_in, grad_input=for_in)
            _through_tanh(d_cell * let_in, new, grad_input=for_new)
            _through_sigmoid(d_cell[:count] * cell[before], keep[:count], grad_input=for_keep[:count])
            for_keep[count:] = 0
            torch.mul(d_cell[:count], keep[:count], out=for_cell[before])
            for_state[before].addmm_(for_gates[carried], w_state)
            earlier[carried] = state[before]
        return _for_inputs_and_weights(for_gates, inputs, w_in, earlier)


class _Rnn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, w_in: Tensor, w_state: Tensor, bias: Tensor, steps: _Steps) -> Tensor:
        state = torch.addmm(bias, inputs, w_in.t())
        for now, carried, before in steps:
            state[carried].addmm_(state[before], w_state.t())
            state[now].tanh_()
        ctx.steps = steps
        ctx.save_for_backward(inputs, w_in, w_state, state)
        return state

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_in, w_state, state = ctx.saved_tensors
        for_state, earlier = gradients[0].clone(), torch.zeros_like(state)
        for now, carried, before in reversed(ctx.steps):
            _through_tanh(for_state[now], state[now], grad_input=for_state[now])
            for_state[before].addmm_(for_state[carried], w_state)
            earlier[carried] = state[before]
        return _for_inputs_and_weights(for_state, inputs, w_in, earlier)


def _for_inputs_and_weights(
    for_gates: Tensor, inputs: Tensor, w_in: Tensor, earlier: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients of what `forward` was given; `earlier` = the state before each token, (N, hidden)."""
    return for_gates @ w_in, for_gates.t() @ inputs, for_gates.t() @ earlier, for_gates.sum(0), None
