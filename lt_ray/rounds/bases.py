"""The pretrained model of a sweep: found once, kept where every worker finds it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import TOY_ENCODER, Encoder
from lt_ray.models import pretrained
from lt_ray.models.pretrained import Base
from lt_ray.tasks import toy

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
"""The built-in encoder: six small blocks; its tokenizer knows the words of the built-in corpus"""


def prepare(cycle: Cycle, cache: Path) -> tuple[Cycle, Base | None]:
    """Return the cycle with its encoder's digest, and what the encoder is made of; a cycle without one as it is.

    - `cache`: on a path that every node sees

    Raises `ModelError` where the model cannot be had or used.
    """
    model = cycle.model
    if not isinstance(model, Encoder):
        return cycle, None
    if model.path == TOY_ENCODER:
        with tempfile.TemporaryDirectory() as folder:
            write_toy(Path(folder))
            found, base = pretrained.keep(Path(folder), model, cache)
    else:
        found, base = pretrained.keep(pretrained.find(model), model, cache)
    return cycle.model_copy(update={"model": found}), base


def write_toy(folder: Path) -> None:
    """Write the built-in encoder's configuration and tokenizer; its weights are drawn from the seed."""
    toy.write_tokenizer(folder)
    words = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    (folder / "config.json").write_text(json.dumps(_TOY | {"vocab_size": words}))
