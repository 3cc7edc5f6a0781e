"""Restart: what the kept weights become after pruning."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from torch import Tensor

from lt_ray.pruning.masks import Weights


def sharing(drawn: Weights, initial: Weights, patterns: Collection[str]) -> dict[str, Tensor]:
    """Return the `drawn` weights, but the `initial` ones for every name that matches one of the shell patterns."""
    return {name: initial[name] if matches(name, patterns) else weight for name, weight in drawn.items()}


def matches(name: str, patterns: Collection[str]) -> bool:
    """Return whether a parameter name matches one of the shell patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
