"""Encoders with a classification head and one stack of blocks: built, cut shorter, drawn; what they read and drop."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lt_ray.cycle.facts import Reads
from lt_ray.cycle.models import TOY_ENCODER, Encoder
from lt_ray.errors import ModelError
from lt_ray.models import pretrained
from lt_ray.models.hub import LABELS, HubModel, undrawn
from lt_ray.models.model import Blocks, Stack
from lt_ray.models.on_meta import on_meta
from lt_ray.models.pretrained import Base, quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_PER_BLOCK = (
    "attention_layers", "attention_window", "indexer_types", "kv_source_layers", "kv_sharing_modes", "layer_rope_theta",
    "layer_types", "layers_block_type", "mlp_layer_types", "no_rope_layers", "num_attention_heads_per_layer",
    "per_layer_config",
)  # fmt: skip
"""Names under which configurations keep a list with a value for each block"""
_POSITIONS = (
    "position_embeddings", "position_embedding", "embed_positions", "positions_embed", "wpe",
    "char_position_embeddings",
)  # fmt: skip
"""Names under which models keep a row for each position"""


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

    with quiet():
        fields = {name: value for name, value in tree.items() if name not in ("model_type", *LABELS)}
        config = AutoConfig.for_model(tree["model_type"], **fields)
        config.num_labels = outputs
        if dropout is not None:
            _set_dropout(config, dropout)
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


def build(config: PretrainedConfig) -> nn.Module:
    """Return the classifier on torch's default device; its weights mean nothing yet.

    Raises `ModelError` where the model does not have one stack of as many blocks as its configuration says, and where
    transformers makes no model of its configuration.
    """
    from transformers import AutoModelForSequenceClassification

    if getattr(config, "use_cache", False):
        config.use_cache = False  # each text is read once; blocks that are called again would see their own keys twice
    try:
        with undrawn():
            module: nn.Module = AutoModelForSequenceClassification.from_config(config)
    except (ArithmeticError, AttributeError, ImportError, LookupError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise ModelError(
            f"a configuration must be one that transformers can make a classifier of, but of this {config.model_type} "
            f"it cannot ({type(error).__name__}: {said}): name another model, such as BERT, DistilBERT or RoBERTa."
        ) from None
    stack_name(module)
    return module


def readable(tree: Mapping[str, Any]) -> int | None:
    """Return the tokens, special ones included, that the classifier of a config.json can read of a document; None = any
    number [count].

    It is the rows of its table of positions, less those before the first token's (RoBERTa's follow the padding's row),
    and at most its configuration's `max_position_embeddings`. Rotary and relative positions have no table.
    """
    with on_meta():
        module = build(configuration(tree, 2, None))
    said = getattr(module.config, "max_position_embeddings", None)
    limits = [said] if isinstance(said, int) and said > 0 else []
    for name, table in module.named_modules():
        rows = getattr(table, "weight", None)
        if name.rpartition(".")[2] not in _POSITIONS or not isinstance(rows, Tensor):
            continue
        padding, offset = getattr(table, "padding_idx", None), getattr(table, "offset", 0)
        limits.append(len(rows) - (offset if padding is None else int(padding) + 1))
    return min(limits, default=None)


def stack_name(module: nn.Module) -> str:
    """Return the name of the stack of blocks, such as `bert.encoder.layer`; raises `ModelError` where there is none."""
    depth = int(getattr(module.config, "num_hidden_layers", 0))
    stacks = [
        name
        for name, child in module.named_modules()
        if isinstance(child, nn.ModuleList) and len(child) == depth and depth > 0
    ]
    outermost = [name for name in stacks if not any(name.startswith(f"{other}.") for other in stacks)]
    if len(outermost) != 1:
        kind = module.config.model_type  # type: ignore[union-attr]
        raise ModelError(
            f"an encoder must have one stack of blocks, as many as its configuration says ({depth}), but {kind} has "
            f"{len(outermost)}: name another model, such as BERT, DistilBERT or RoBERTa."
        )
    name: str = outermost[0]
    return name


KNOWN = {"google-bert/bert-base-uncased": {"model_type": "bert"}}
"""Configurations that are transformers' defaults: enough to plan with where the hub is out of reach"""
_TOY = {
    "model_type": "bert",
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "initializer_range": 0.05,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 0,
}
"""The built-in encoder: six small blocks"""
_PROBLEMS = {
    "classes": "single_label_classification",
    "labels": "multi_label_classification",
    "numbers": "regression",
}
"""What transformers calls the kinds of targets"""


class EncoderModel(HubModel[Encoder]):
    """A classifier of texts with one stack of blocks, which is cut shorter."""

    configurations = KNOWN
    card = ("library_name: transformers", "pipeline_tag: text-classification")

    @property
    def kind(self) -> str:
        """What transformers calls its family."""
        return str(self._configuration(None).model_type)

    def build(self, blocks: Blocks = None) -> nn.Module:
        """Return the classifier; raises `ModelError` where it cannot be one, or is not what the settings say."""
        config = self._configuration(blocks)
        path, rows = self.settings.path, int(getattr(config, "vocab_size", self.facts.rows))
        if self.facts.rows > rows:
            raise ModelError(
                f"`--model {path}`: its tokenizer must have no more tokens than its embedding has rows, but has "
                f"{self.facts.rows:,} for {rows:,}: give the tokenizer that belongs to it."
            )
        module = build(config)
        if self.settings.dropout is not None:
            _check_dropout(module, self.settings.dropout, path)
        return module

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Return its parameters: its buffers are made with it."""
        return dict(module.named_parameters())

    def forward(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """Return logits, float (B, outputs), of tokens, int64 (B, T); attention leaves the padding out."""
        logits: Tensor = module(input_ids=inputs, attention_mask=(inputs != self.facts.padding).long()).logits
        return logits

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Its one stack."""
        name = stack_name(self.dense)
        return (Stack(name, len(list(self.dense.get_submodule(name).children()))),)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The parameters of its whole head."""
        inner = f"{self.dense.base_model_prefix}."
        return tuple(name for name in self.sizes if not name.startswith(inner))

    def draw(self, name: str, weight: Tensor, generator: torch.Generator) -> None:
        """Write a draw: normal with the configuration's `initializer_range` for matrices, 0 for biases and for an
        embedding's padding row.

        Source: Devlin et al. 2019 (arXiv:1810.04805), as transformers does it; the draws are ours.
        """
        if weight.dim() < 2:
            weight.zero_()
            return
        weight.normal_(0.0, float(getattr(self.dense.config, "initializer_range", 0.02)), generator=generator)
        layer = self.dense.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
            weight[layer.padding_idx] = 0

    @classmethod
    def fetch(cls, settings: Encoder, cache: Path, write_tokenizer: Callable[[Path], None]) -> tuple[Encoder, Base]:
        """Return the encoder with its digest, and its files, kept once for all workers; see `pretrained`."""
        if settings.path != TOY_ENCODER:
            return pretrained.keep(pretrained.find(settings), settings, cache)
        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(Path(folder))
            write_toy(Path(folder))
            return pretrained.keep(Path(folder), settings, cache)

    @classmethod
    def reads(cls, settings: Encoder, base: Base | None) -> Reads:
        """Return the folder of its tokenizer, and how many tokens it can read."""
        return Reads(Path()) if base is None else Reads(base.directory, readable(base.config))

    def export(self, state: Mapping[str, Tensor], blocks: Blocks, about: Mapping[str, Any], out: Path) -> None:
        """Write what `save_pretrained` writes, its tokenizer beside it: `from_pretrained` loads it as it is."""
        from transformers import AutoTokenizer

        super().export(state, blocks, about, out)
        assert self.base is not None
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(self.base.directory, local_files_only=True)
            tokenizer.model_max_length = about["longest"]
            tokenizer.save_pretrained(out)

    def _configuration(self, blocks: Blocks) -> PretrainedConfig:
        config = configuration(self.tree, self.outputs, self.settings.dropout, blocks, self.facts.padding)
        config.problem_type = _PROBLEMS[self.facts.targets]
        return config


def write_toy(folder: Path) -> None:
    """Write the configuration of the built-in encoder for the tokenizer in a folder; its weights are drawn."""
    words = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    (folder / "config.json").write_text(json.dumps(_TOY | {"vocab_size": words}))


def _set_dropout(config: PretrainedConfig, dropout: float) -> None:
    """Give every field of a configuration that is a dropout this share, whatever the model calls it [0, 1).

    Fields that name a switch (ESM's `token_dropout`) and those that drop whole layers are none.
    """
    for name, value in list(vars(config).items()):
        is_share = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
        if is_share and ("dropout" in name or name.endswith("pdrop")):
            setattr(config, name, dropout)


def _check_dropout(module: nn.Module, dropout: float, path: str) -> None:
    """Raise `ModelError` where a module drops another share than its configuration was given.

    - `path`: where the model is from, for the message
    """
    for name, share in _dropouts(module):
        if share not in (0, dropout):
            raise ModelError(
                f"`model.dropout` must reach every place where the model drops, but of {path} {name} drops {share:g} "
                f"whatever its configuration says, not {dropout:g}: leave `model.dropout` out, or name another model."
            )


def _dropouts(module: nn.Module) -> Iterator[tuple[str, float]]:
    """Yield (name, share) of the dropout layers and of the shares that modules pass to functions."""
    for name, child in module.named_modules():
        if isinstance(child, nn.Dropout):
            yield name, child.p
            continue
        for attribute, value in vars(child).items():
            if "drop" in attribute and isinstance(value, float) and not re.search("layer|path", attribute):
                yield f"{name}.{attribute}", value
