"""Dropout of an encoder: one share for every place where it drops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

from lt_ray.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def set_(config: PretrainedConfig, dropout: float) -> None:
    """Give every field of a configuration that is a dropout this share, whatever the model calls it [0, 1).

    Fields that name a switch (ESM's `token_dropout`) and those that drop whole layers are none.
    """
    for name, value in list(vars(config).items()):
        is_share = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
        if is_share and ("dropout" in name or name.endswith("pdrop")):
            setattr(config, name, dropout)


def check(module: nn.Module, dropout: float, path: str) -> None:
    """Raise `ModelError` where a module drops another share than its configuration was given.

    - `path`: where the model is from, for the message
    """
    for name, share in _shares(module):
        if share not in (0, dropout):
            raise ModelError(
                f"`model.dropout` must reach every place where the model drops, but of {path} {name} drops {share:g} "
                f"whatever its configuration says, not {dropout:g}: leave `model.dropout` out, or name another model."
            )


def _shares(module: nn.Module) -> Iterator[tuple[str, float]]:
    """Yield (name, share) of the dropout layers and of the shares that modules pass to functions."""
    for name, child in module.named_modules():
        if isinstance(child, nn.Dropout):
            yield name, child.p
            continue
        for attribute, value in vars(child).items():
            if "drop" in attribute and isinstance(value, float) and not re.search("layer|path", attribute):
                yield f"{name}.{attribute}", value
