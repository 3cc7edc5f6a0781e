"""A survey of a model before it is trained: do its blocks and their linear maps get what the prunings suppose?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lt_ray.errors import ModelError
from lt_ray.models.model import Model
from lt_ray.models.pretrained import quiet

DOCUMENTS, TOKENS = 3, 5
"""The batch that is passed: unequal, so that axes in another order are seen [count]"""
_SHORT = 3
WAY_OUT = "take another pruning, or name another model."

Shape = tuple[int, ...]


@dataclass
class Survey:
    """What reached the blocks and their linear maps in one pass over a few examples."""

    names: tuple[str, ...]
    """Names of the blocks, in order"""
    tokens: bool = True
    """Whether the examples are documents, so that states are of their tokens"""
    called: list[int] = field(default_factory=list)
    """Places of the blocks, in the order of their calls"""
    outputs: dict[int, str | Shape] = field(default_factory=dict)
    """Place → shape of what the block returned (of a tuple, the first), or the kind of what is no tensor"""
    broken: list[int] = field(default_factory=list)
    """Blocks that take more of the blocks before than the one before returned as hidden states, or something else"""
    inputs: dict[str, list[Shape]] = field(default_factory=dict)
    """Linear map of the blocks → shape of its input in each of its calls"""

    def check_blocks(self) -> None:
        """Raise `ModelError` unless each block runs once, in order, and returns (documents, tokens, features)."""
        if self.called != list(range(len(self.names))):
            raise ModelError(
                "`similarity` and `wanda` need blocks that run once each, in order, but those of "
                f"{self.names[0].rpartition('.')[0]} ran as {', '.join(map(str, self.called)) or 'none'}: {WAY_OUT}"
            )
        states = "(documents, tokens, features)" if self.tokens else "(examples, …)"
        for place, output in self.outputs.items():
            if isinstance(output, str) or not self._is_state(output):
                raise ModelError(
                    f"`similarity` and `wanda` need blocks that return states {states}, but of {self._passed} "
                    f"{self.names[place]} returns {_described(output)}: {WAY_OUT}"
                )

    def check_maps(self) -> None:
        """Raise `ModelError` unless each linear map of the blocks runs once and, of documents, sees tokens alone."""
        needed = "see each token of the documents once and nothing else" if self.tokens else "run once each"
        for name, shapes in self.inputs.items():
            if len(shapes) != 1 or (self.tokens and shapes[0][:-1] != (DOCUMENTS, TOKENS)):
                seen = " and ".join(map(str, shapes)) or "nothing"
                raise ModelError(
                    f"`wanda` needs linear maps that {needed}, but of {self._passed} {name} sees {seen}: {WAY_OUT}"
                )

    def _is_state(self, shape: Shape) -> bool:
        if self.tokens:
            return len(shape) == 3 and shape[:2] == (DOCUMENTS, TOKENS)
        return len(shape) > 1 and shape[0] == DOCUMENTS

    @property
    def _passed(self) -> str:
        return f"{DOCUMENTS} documents with {TOKENS} tokens" if self.tokens else f"{DOCUMENTS} examples"

    def check_chain(self) -> None:
        """Raise `ModelError` unless each block takes of the others only what the one before returned."""
        if self.broken:
            raise ModelError(
                "`wanda.mode: sequential` needs blocks that take of the others only what the one before returned, but "
                f"{self.names[self.broken[0]]} takes something else: take `one_pass`, or name another model."
            )


def survey(model: Model[Any]) -> Survey:
    """Return what one pass of a model with blocks shows; its weights have no values and need none.

    Raises `ModelError` where the model cannot take documents of different lengths in one batch.
    """
    module = model.blank(model.blocks, torch.device("cpu")).eval()
    names = tuple(f"{stack.name}.{place}" for stack in model.stacks for place in range(stack.blocks))
    surveyed = Survey(names, model.facts.inputs == "text")
    hidden: object = None  # what the latest block returned first
    others: list[object] = []  # what else blocks returned

    def before(place: int, _block: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        state = named["hidden_states"] if "hidden_states" in named else (args[0] if args else None)
        given = [value for value in (*args, *named.values()) if isinstance(value, Tensor)]
        handed_on = any(value is other for value in given for other in others)
        if (surveyed.called and state is not hidden) or handed_on:
            surveyed.broken.append(place)
        surveyed.called.append(place)

    def after(place: int, _block: nn.Module, _args: object, output: object) -> None:
        nonlocal hidden
        others.append(hidden)
        hidden, *more = output if isinstance(output, tuple) and output else (output,)
        others.extend(more)
        surveyed.outputs[place] = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__

    with torch.no_grad(), ExitStack() as hooks, quiet():
        for place, block in enumerate(model.blocks_of(module)):
            hooks.enter_context(block.register_forward_pre_hook(partial(before, place), with_kwargs=True))
            hooks.enter_context(block.register_forward_hook(partial(after, place)))
        for name in model.linear_names:
            layer = name.removesuffix(".weight")
            note = partial(_note_input, surveyed.inputs.setdefault(layer, []))
            hooks.enter_context(module.get_submodule(layer).register_forward_pre_hook(note))
        try:
            model.forward(module, model.probe(DOCUMENTS, TOKENS, _SHORT))
        except Exception as error:  # a model's own code raises whatever it likes
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise ModelError(
                f"a model must take {DOCUMENTS} {'documents of different lengths' if surveyed.tokens else 'examples'} "
                f"at once, but {model.kind} does not ({said}); name another model."
            ) from None
    return surveyed


def _note_input(shapes: list[Shape], _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    shapes.append(tuple(inputs[0].shape) if inputs else ())


def _described(output: str | Shape) -> str:
    return f"a {output}" if isinstance(output, str) else str(output)
