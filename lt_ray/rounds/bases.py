"""The pretrained model of a sweep: fetched once, kept where every worker finds it."""

from __future__ import annotations

from pathlib import Path

from lt_ray.cycle.cycle import Cycle
from lt_ray.models import encoder
from lt_ray.models.model import implementation
from lt_ray.models.pretrained import Base
from lt_ray.tasks import toy


def prepare(cycle: Cycle, cache: Path) -> tuple[Cycle, Base | None]:
    """Return the cycle with its model's digest, and the files it is made of; a cycle without any as it is.

    - `cache`: on a path that every node sees

    Raises `ModelError` where the model cannot be had or used.
    """
    model, base = implementation(cycle.model).fetch(cycle.model, cache, toy.write_tokenizer)
    return cycle.model_copy(update={"model": model}), base


def write_toy(folder: Path) -> None:
    """Write the built-in encoder's configuration and tokenizer; its weights are drawn from the seed."""
    toy.write_tokenizer(folder)
    encoder.write_toy(folder)
