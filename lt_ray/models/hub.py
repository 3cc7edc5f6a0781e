"""What classifiers of transformers have in common: configured by a tree, their logits, saved for `from_pretrained`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from lt_ray.cycle.models import Pretrained
from lt_ray.models.model import Blocks, Model
from lt_ray.models.pretrained import quiet

P = TypeVar("P", bound=Pretrained)
LABELS = ("id2label", "label2id", "num_labels")
"""What configurations say of classes"""


class HubModel(Model[P]):
    """A classifier of transformers: fetched from the hub or a folder, saved for `from_pretrained`."""

    logit_a_class = True
    configurations: Mapping[str, Mapping[str, Any]] = {}
    """Path → `config.json` of models that can be planned without their files"""

    @property
    def tree(self) -> Mapping[str, Any]:
        """Its `config.json`."""
        return self.base.config if self.base is not None else self.configurations[self.settings.path]

    @classmethod
    def known(cls, settings: P) -> bool:
        """Whether its configuration is known without its files."""
        return settings.path in cls.configurations

    def export(self, state: Mapping[str, Tensor], blocks: Blocks, about: Mapping[str, Any], out: Path) -> None:
        """Write what `save_pretrained` writes: `from_pretrained` loads it as it is."""
        module: Any = self.live(state, blocks, torch.device("cpu"))
        module.config.id2label = dict(enumerate(about["classes"]))
        module.config.label2id = {name: index for index, name in enumerate(about["classes"])}
        with quiet():
            module.save_pretrained(out)


@contextmanager
def undrawn() -> Iterator[None]:
    """Keep transformers from drawing the weights of the modules it makes, and from telling of them."""
    from transformers import initialization

    with quiet(), getattr(initialization, "no_init_weights", contextlib.nullcontext)():
        yield
