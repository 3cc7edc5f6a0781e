"""The contract of a model: what learns, on the facts of one data set.

A model is one class: it makes a torch module of its settings (`build`) and says how the module is called (`forward`).
All else has a default that it may replace: how weights are drawn, which tensors are of which kind, which blocks can be
removed, what it asks of texts, where its weights are fetched from, how it is exported. Its settings name the class
(`ModelSettings.implementation`), and `MODELS` has the settings: nothing else of lt_ray names a model.

A model's *state* is its parameters and the buffers that are kept with them, such as the statistics of a batch norm, by
the names that the module gives them; tied tensors are one. Masks are of parameters alone.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from lt_ray.cycle.facts import Facts, Reads
from lt_ray.cycle.kinds import resolved
from lt_ray.cycle.models import ModelSettings
from lt_ray.models import maps
from lt_ray.models.on_meta import on_meta
from lt_ray.models.pretrained import Base, kept

S = TypeVar("S", bound=ModelSettings)
T = TypeVar("T")
Blocks = tuple[int, ...] | None
"""Positions of a model's blocks in the dense one, counted through all its stacks, rising; None where it has none"""
Generators = Callable[[str], torch.Generator]
"""Tensor name → generator of its draw, so that no tensor's draw depends on another's shape"""
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class Stack:
    """Blocks that run one after the other, each on what the one before returned."""

    name: str
    """Of the `nn.ModuleList` in the module, such as `bert.encoder.layer`"""
    blocks: int
    """[count]"""
    fixed: tuple[int, ...] = ()
    """Places in the stack that no pruning may remove, as a ResNet stage's first block"""


class Model(Generic[S]):
    """One model on one data set.

    - `settings`: its fields
    - `facts`: what the data tell
    - `base`: the files that it is made of, where it has any
    """

    output = "output"
    """Name of the layer that gives the answer"""
    logit_a_class = False
    """Whether two classes have two logits, as more have, and not one: of class 1"""
    card: tuple[str, ...] = ()
    """Lines of a model card's head"""

    def __init__(self, settings: S, facts: Facts, base: Base | None = None) -> None:
        self.settings = settings
        self.facts = facts
        self.base = base

    # What every model says itself

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the module on torch's default device, weights drawn or not.

        - `blocks`: those that it keeps; None = all
        """
        raise NotImplementedError

    # What it may say otherwise

    def forward(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """Return the outputs, float (B, `outputs`), of a module of this model for a batch's inputs, (B, …)."""
        outputs: Tensor = module(inputs)
        return outputs

    @property
    def outputs(self) -> int:
        """Outputs for one example: one a target, but one alone for two classes unless `logit_a_class` [count]."""
        one_alone = self.facts.targets == "classes" and self.facts.width == 2 and not self.logit_a_class
        return 1 if one_alone else self.facts.width

    def kept(self, inputs: Tensor) -> Tensor | None:
        """Return where a batch's inputs are looked at, bool (B, T): False at padding; None where there is none."""
        return inputs != self.facts.padding if self.facts.inputs == "text" else None

    def probe(self, examples: int, tokens: int, short: int) -> Tensor:
        """Return a batch without meaning: documents, int64 (examples, tokens), all but the first `short`, or what else
        the model takes, float (examples, …)."""
        if self.facts.inputs != "text":
            return torch.rand(examples, *self.facts.shape, generator=torch.Generator().manual_seed(0))
        batch = torch.full((examples, tokens), 0 if self.facts.padding else 1)
        batch[1:, short:] = self.facts.padding
        return batch

    def draw(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """Write a draw of the initialiser into a parameter: Xavier normal for matrices and kernels, 0 for vectors."""
        if weight.dim() > 1:
            nn.init.xavier_normal_(weight, generator=generator)
        else:
            weight.zero_()

    def draw_norm(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """Write what a parameter of a normalising layer begins with: 1 for scales, 0 for shifts."""
        weight.fill_(float(name.endswith("weight")))

    def initial(self, generator: Generators) -> dict[str, Tensor]:
        """Return the state that a training begins with, on the CPU: what `base` has in the module's shapes, and a draw
        of the rest, such as the head where there are other classes."""
        drawn = self.drawn(generator)
        weights = {} if self.base is None else self.base.weights()
        return drawn | {n: t for n, t in weights.items() if n in drawn and t.shape == drawn[n].shape}

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks of blocks."""
        return ()

    @property
    def kind(self) -> str:
        """What messages call it."""
        return self.settings.name

    @property
    def empty_rows(self) -> Mapping[str, int]:
        """Parameters of which a row is never read, and that row: it holds zeros that count as pruned."""
        return {}

    @property
    def output_names(self) -> tuple[str, ...]:
        """The parameters of the output layer."""
        return tuple(name for name in self.sizes if name.startswith(f"{self.output}."))

    @classmethod
    def fetch(cls, settings: S, cache: Path, write_tokenizer: Callable[[Path], None]) -> tuple[S, Base | None]:
        """Return the settings with the digest of the files that the model is made of, and the files; None without any.

        - `cache`: where they are kept, on a path that every node sees
        - `write_tokenizer`: writes the tokenizer of the built-in corpus into a folder

        Raises `ModelError` where the files cannot be had or used.
        """
        return settings, None

    @classmethod
    def kept_files(cls, settings: S, cache: Path) -> Base | None:
        """Return the files that `fetch` kept, None without any; raises `StorageError` where they are gone."""
        digest = getattr(settings, "digest", None)
        return None if digest is None else kept(digest, settings.title, cache)

    @classmethod
    def known(cls, settings: S) -> bool:
        """Whether its shapes are known without its files."""
        return True

    @classmethod
    def reads(cls, settings: S, base: Base | None) -> Reads:
        """Return what it asks of texts: by its settings' `vocabulary` and `positions`, where they have them."""
        return Reads(getattr(settings, "vocabulary", 1), getattr(settings, "positions", None))

    def export(self, state: Mapping[str, Tensor], blocks: Blocks, about: Mapping[str, Any], out: Path) -> None:
        """Write a state into a folder: weights as safetensors, and in `config.json` what they are loaded by.

        - `about`: plain values: the cycle, the facts, the classes, what else the data tell
        """
        safetensors.torch.save_file(dict(state), out / WEIGHTS)
        tree = {**about, "blocks": blocks}
        (out / CONFIG).write_text(json.dumps(tree, indent=1))

    # What follows from it

    @cached_property
    def dense(self) -> nn.Module:
        """The dense module on the meta device: shapes, no weights."""
        with on_meta():
            return self.build()

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The dense model's parameters: name → weights [count]."""
        return {name: parameter.numel() for name, parameter in self.dense.named_parameters()}

    @cached_property
    def block_size(self) -> int | None:
        """Parameters of a block; None for a model without blocks, and where they differ [count]."""
        sizes = {sum(p.numel() for p in block.parameters()) for block in self.blocks_of(self.dense)}
        return sizes.pop() if len(sizes) == 1 else None

    @cached_property
    def blocks(self) -> Blocks:
        """The dense model's blocks."""
        return tuple(block for _, blocks in self.ranges for block in blocks) or None

    @cached_property
    def ranges(self) -> tuple[tuple[Stack, range], ...]:
        """The stacks, each with its blocks' positions in the dense model."""
        ends = itertools.accumulate(stack.blocks for stack in self.stacks)
        return tuple((stack, range(end - stack.blocks, end)) for stack, end in zip(self.stacks, ends, strict=True))

    def depths(self, blocks: Blocks) -> list[int]:
        """Return how many blocks are left of each stack; all where `blocks` is None [count]."""
        return [len(dense) if blocks is None else sum(block in dense for block in blocks) for _, dense in self.ranges]

    def blank(self, blocks: Blocks, device: torch.device) -> nn.Module:
        """Return the module with some blocks on a device: buffers initialised, weights without meaning."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return self.build(blocks).to(device)

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the live tensors of a module's state."""
        kept = module.state_dict().keys()
        buffers = {name: buffer for name, buffer in module.named_buffers() if name in kept}
        return {**dict(module.named_parameters()), **buffers}

    def live(
        self, state: Mapping[str, Tensor], blocks: Blocks, device: torch.device, frozen: Iterable[int] = ()
    ) -> nn.Module:
        """Return the module with some blocks and this state on a device.

        - `frozen`: positions in the dense model of the blocks that no gradient reaches: no optimizer holds them
        """
        made = self.blank(blocks, device)
        tensors = self.state(made)
        assert tensors.keys() == state.keys()
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(state[name])
        names = self._names(blocks)
        for block in frozenset(frozen) & names.keys():
            made.get_submodule(names[block]).requires_grad_(False)
        return made

    def blocks_of(self, module: nn.Module) -> list[nn.Module]:
        """Return the blocks of a module of this model, in order."""
        return [block for stack in self.stacks for block in module.get_submodule(stack.name).children()]

    def drawn(self, generator: Generators) -> dict[str, Tensor]:
        """Return a state that the initialiser draws, on the CPU: buffers begin as they are made."""
        norms = frozenset(norm_names(self.dense))
        drawn = {}
        for name, parameter in self.dense.named_parameters():
            drawn[name] = torch.zeros(parameter.shape, device="cpu")
            draw = self.draw_norm if name in norms else self.draw
            draw(name, drawn[name], generator(name))
        if self.state(self.dense).keys() - drawn.keys():
            made = self.state(self.blank(self.blocks, torch.device("cpu")))
            drawn |= {name: tensor for name, tensor in made.items() if name not in drawn}
        return drawn

    def initial_masks(self) -> dict[str, Tensor]:
        """Return the masks of the dense model: all True, but for rows that are never read."""
        shapes = {name: parameter.shape for name, parameter in self.dense.named_parameters()}
        masks = {name: torch.ones(shape, dtype=torch.bool, device="cpu") for name, shape in shapes.items()}
        for name, row in self.empty_rows.items():
            masks[name][row] = False
        return masks

    def initial_counts(self) -> dict[str, int]:
        """Return how many weights of each parameter the masks of the dense model keep, without making them [count]."""
        gone = {name: self.dense.get_parameter(name)[row].numel() for name, row in self.empty_rows.items()}
        return {name: size - gone.get(name, 0) for name, size in self.sizes.items()}

    @cached_property
    def weight_names(self) -> tuple[str, ...]:
        """The weights of convolutional, linear and recurrent layers: OpenLTH's prunable tensors."""
        return tuple(
            f"{layer}.{name}" if layer else name
            for layer, child in self.dense.named_modules()
            if has_weights(child)
            for name, _ in child.named_parameters(recurse=False)
            if name.startswith("weight")
        )

    @cached_property
    def block_names(self) -> tuple[str, ...]:
        """The parameters of the blocks."""
        return tuple(name for name in self.sizes if self._block(name))

    @cached_property
    def linear_names(self) -> tuple[str, ...]:
        """The weights of the linear maps within blocks, of every kind that is known: what Wanda prunes."""
        layers = (name for name, child in self.dense.named_modules() if self.is_map(child))
        return tuple(f"{name}.weight" for name in layers if self._block(f"{name}.weight"))

    def unknown_maps(self, *, in_blocks: bool = False) -> list[tuple[str, str]]:
        """Return (name, class) of the layers that keep matrices and are of no kind that `weight_names` knows.

        - `in_blocks`: of those within blocks, and of no kind that `linear_names` knows
        """
        if in_blocks:
            return [item for stack in self.stacks for item in maps.unknown(self.dense, stack.name, self.is_map)]
        return list(maps.unknown(self.dense, known=has_weights))

    def is_map(self, layer: nn.Module) -> bool:
        """Return whether a layer is a linear map, or a convolution of something else than tokens."""
        return maps.is_linear(layer) or (self.facts.inputs != "text" and maps.is_convolution(layer))

    def undecayed_names(self, module: nn.Module) -> frozenset[str]:
        """Return the biases and the parameters of normalising layers, which decay of `matrices` spares."""
        vectors = {name for name, parameter in module.named_parameters() if parameter.dim() < 2}
        return frozenset(vectors | set(norm_names(module)))

    def cut(self, tensors: Mapping[str, T], after: Blocks, before: Blocks = None) -> dict[str, T]:
        """Return the entries of a state, or of masks, without removed blocks, renamed as in the model that is left.

        - `after`: blocks that are kept
        - `before`: blocks of the model that the names are of; None = the dense one
        """
        before = before or self.blocks
        if after is None or after == before:
            return dict(tensors)
        then = self._names(after)
        names = {name: then.get(block) for block, name in self._names(before).items()}
        left = {}
        for name, value in tensors.items():
            block = self._block(name)
            if block is None:
                left[name] = value
            elif names[block] is not None:
                left[f"{names[block]}{name[len(block) :]}"] = value
        return left

    def counts(self, masks: Mapping[str, Tensor], blocks: Blocks) -> dict[str, tuple[int, int]]:
        """Return the dense model's parameters: name → (weights that masks and blocks keep, weights) [count]."""
        dense = self.cut({name: name for name in self.sizes}, blocks)
        kept = {dense[name]: int(mask.sum()) for name, mask in masks.items()}
        return {name: (kept.get(name, 0), size) for name, size in self.sizes.items()}

    def _names(self, blocks: Blocks) -> dict[int, str]:
        """Block, by its position in the dense model → its name in the model with some blocks."""
        names: dict[int, str] = {}
        for stack, dense in self.ranges:
            left = [block for block in blocks or () if block in dense]
            names |= {block: f"{stack.name}.{place}" for place, block in enumerate(left)}
        return names

    def _block(self, name: str) -> str | None:
        """The block that a parameter's name begins with."""
        stacks = "|".join(re.escape(stack.name) for stack in self.stacks)
        block = re.match(rf"(?:{stacks})\.\d+(?=\.)", name) if stacks else None
        return None if block is None else block[0]


def model_of(settings: ModelSettings, facts: Facts, base: Base | None = None) -> Model[Any]:
    """Return the model that settings describe, on a data set's facts; see `Model`."""
    model: Model[Any] = implementation(settings)(settings, facts, base)
    return model


def implementation(settings: ModelSettings) -> type[Model[Any]]:
    """Return the class of the model that settings describe."""
    model = resolved(settings.implementation)
    assert isinstance(model, type)
    assert issubclass(model, Model)
    return model


def has_weights(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution, a linear map or recurrent."""
    return maps.is_linear(layer) or isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.RNNBase))


def norm_names(module: nn.Module) -> Sequence[str]:
    """Return the names of the parameters of normalising layers."""
    norms = [(name, child) for name, child in module.named_modules() if "norm" in type(child).__name__.lower()]
    return [f"{layer}.{name}" for layer, norm in norms for name, _ in norm.named_parameters(recurse=False)]
