"""Encoders with a classification head and one stack of blocks: built, cut shorter, drawn."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from lt_ray.cycle.models import Encoder
from lt_ray.errors import ModelError
from lt_ray.models import dropout as drop
from lt_ray.models import maps, positions
from lt_ray.models.pretrained import quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig

T = TypeVar("T")

_PER_BLOCK = (
    "attention_layers", "attention_window", "indexer_types", "kv_source_layers", "kv_sharing_modes", "layer_rope_theta",
    "layer_types", "layers_block_type", "mlp_layer_types", "no_rope_layers", "num_attention_heads_per_layer",
    "per_layer_config",
)  # fmt: skip
"""Names under which configurations keep a list with a value for each block"""


def configuration(
    tree: Mapping[str, Any],
    outputs: int,
    dropout: float | None,
    blocks: Sequence[int] | None = None,
    padding: int | None = None,
) -> PretrainedConfig:
    """Return the configuration of a classifier.

    - `tree`: a model's config.json
    - `outputs`: classes [count]
    - `dropout`: for every place where the model drops; None = as the tree says [0, 1)
    - `blocks`: the positions that are kept of the tree's blocks; None = all. Lists with a value for each block are cut
      as the blocks are; other lists stay, however long they are
    - `padding`: the token that fills a batch, for a tree that names none: decoders classify by the last token before it
    """
    from transformers import AutoConfig

    tree = {key: value for key, value in tree.items() if key not in ("id2label", "label2id", "num_labels")}
    kind = tree["model_type"]
    with quiet():
        config = AutoConfig.for_model(kind, **{key: value for key, value in tree.items() if key != "model_type"})
        config.num_labels = outputs
        config.problem_type = "single_label_classification"
        if dropout is not None:
            drop.set_(config, dropout)
        if padding is not None and getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = padding
        if blocks is not None:
            depth = int(config.num_hidden_layers)
            for name in _PER_BLOCK:
                value = getattr(config, name, None)
                if isinstance(value, list) and len(value) == depth:
                    setattr(config, name, [value[position] for position in blocks])
            config.num_hidden_layers = len(blocks)
    config.dtype = torch.float32
    return config


def build(config: PretrainedConfig, device: str | torch.device = "meta") -> nn.Module:
    """Return the classifier on a device: on `meta` shapes alone, elsewhere with weights that mean nothing yet.

    Raises `ModelError` where the model does not have one stack of as many blocks as its configuration says, and where
    transformers makes no model of its configuration.
    """
    from transformers import AutoModelForSequenceClassification, initialization

    # Its buffers, such as positions, are made when it is: on the meta device they would have no values.
    made_on = torch.device("meta") if torch.device(device).type == "meta" else torch.device("cpu")
    undrawn = getattr(initialization, "no_init_weights", contextlib.nullcontext)
    if getattr(config, "use_cache", False):
        config.use_cache = False  # each text is read once; blocks that are called again would see their own keys twice
    try:
        with quiet(), undrawn(), made_on:
            module: nn.Module = AutoModelForSequenceClassification.from_config(config)
    except (ArithmeticError, AttributeError, ImportError, LookupError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise ModelError(
            f"a configuration must be one that transformers can make a classifier of, but of this {config.model_type} "
            f"it cannot ({type(error).__name__}: {said}): name another model, such as BERT, DistilBERT or RoBERTa."
        ) from None
    stack_name(module)
    return module.to(device) if made_on.type != "meta" else module


def readable(tree: Mapping[str, Any]) -> int | None:
    """Return the tokens that the model of a config.json can read of a document; None = any number [count]."""
    return positions.readable(build(configuration(tree, 2, None)))


def stack_name(module: nn.Module) -> str:
    """Return the name of the stack of blocks, such as `bert.encoder.layer`; raises `ModelError` where there is none."""
    depth = int(getattr(module.config, "num_hidden_layers", 0))
    found = [
        name
        for name, child in module.named_modules()
        if isinstance(child, nn.ModuleList) and len(child) == depth and depth > 0
    ]
    outermost = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    if len(outermost) != 1:
        kind = module.config.model_type  # type: ignore[union-attr]
        raise ModelError(
            f"an encoder must have one stack of blocks, as many as its configuration says ({depth}), but {kind} has "
            f"{len(outermost)}: name another model, such as BERT, DistilBERT or RoBERTa."
        )
    name: str = outermost[0]
    return name


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """Return the blocks, in order."""
    stack = module.get_submodule(stack_name(module))
    assert isinstance(stack, nn.ModuleList)
    return list(stack)


def logits(module: nn.Module, padding: int) -> Callable[[Tensor], Tensor]:
    """Return tokens, int64 (B, T) → logits, float (B, outputs); attention leaves the padding out.

    - `padding`: the token that fills a batch and stands in no document
    """

    def forward(tokens: Tensor) -> Tensor:
        found: Tensor = module(input_ids=tokens, attention_mask=(tokens != padding).long()).logits
        return found

    return forward


def renamed(name: str, stack: str, places: Mapping[int, int]) -> str | None:
    """Return a parameter's name once blocks have other places; None where its block has none.

    - `stack`: name of the stack of blocks
    - `places`: place before → place after
    """
    found = re.match(rf"{re.escape(stack)}\.(\d+)(?=\.)", name)
    if found is None:
        return name
    place = places.get(int(found[1]))
    return None if place is None else f"{stack}.{place}{name[found.end() :]}"


def without(tensors: Mapping[str, T], stack: str, kept: Sequence[int]) -> dict[str, T]:
    """Return what belongs to a parameter's name, of the kept blocks alone, renumbered as they then stand.

    - `kept`: places of the kept blocks, rising
    """
    places = {old: new for new, old in enumerate(kept)}
    named = ((renamed(name, stack, places), value) for name, value in tensors.items())
    return {name: value for name, value in named if name is not None}


def initial_weights(module: nn.Module, generator: Callable[[str], torch.Generator]) -> dict[str, Tensor]:
    """Return a draw of the initialiser, on the CPU: normal with the configuration's `initializer_range` for matrices,
    biases 0, norms 1, an embedding's padding row 0.

    - `generator`: parameter name → generator of its draw, so that no tensor's draw depends on another's shape

    Source: Devlin et al. 2019 (arXiv:1810.04805), as transformers does it; the draws are ours.
    """
    spread = float(getattr(module.config, "initializer_range", 0.02))
    norms = set(norm_names(module))
    weights = {}
    for name, parameter in module.named_parameters():
        if name in norms:
            weights[name] = torch.full(parameter.shape, float(name.endswith("weight")))
        elif parameter.dim() > 1:
            weights[name] = torch.empty(parameter.shape).normal_(0.0, spread, generator=generator(name))
        else:
            weights[name] = torch.zeros(parameter.shape)
    for name, child in module.named_modules():
        if isinstance(child, nn.Embedding) and child.padding_idx is not None:
            weights[f"{name}.weight"][child.padding_idx] = 0
    return weights


def norm_names(module: nn.Module) -> Iterable[str]:
    """Yield the names of the parameters of normalising layers."""
    for name, child in module.named_modules():
        if "norm" in type(child).__name__.lower():
            yield from (f"{name}.{own}" for own, _ in child.named_parameters(recurse=False))


def block_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the blocks' parameters."""
    stack = stack_name(module)
    return tuple(name for name, _ in module.named_parameters() if name.startswith(f"{stack}."))


def linear_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the weights of the linear maps within blocks, of every kind that is known."""
    stack = stack_name(module)
    return tuple(
        f"{name}.weight"
        for name, child in module.named_modules()
        if maps.is_linear(child) and name.startswith(f"{stack}.")
    )


def freeze(module: nn.Module, frozen: Iterable[int]) -> None:
    """Keep the parameters of these blocks as they are: no gradient reaches them, no optimizer holds them.

    - `frozen`: places of the blocks
    """
    blocks = blocks_of(module)
    for place in frozen:
        blocks[place].requires_grad_(False)


KNOWN = {"google-bert/bert-base-uncased": {"model_type": "bert"}}
"""Configurations that are transformers' defaults: enough to plan with where the hub is out of reach"""


def known_model(encoder: Encoder) -> dict[str, Any] | None:
    """Return the configuration of a model that is known without its files; None for others."""
    return KNOWN.get(encoder.path)
