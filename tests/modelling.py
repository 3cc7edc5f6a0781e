"""Models as tests want them: on facts by hand, of a configuration by hand."""

import json
from pathlib import Path

from lt_ray.cycle.facts import PADDING, Facts
from lt_ray.cycle.models import Encoder, ModelSettings
from lt_ray.models.model import Model, model_of
from lt_ray.models.pretrained import Base
from lt_ray.rounds import bases


def a_model(
    settings: ModelSettings, rows: int, targets: int = 2, padding: int = PADDING, base: Base | None = None
) -> Model:
    """A model of texts with so many tokens and classes."""
    return model_of(settings, Facts(width=targets, rows=rows, padding=padding), base)


def an_encoder(tree: dict, folder: Path, targets: int = 3, padding: int = 0, **fields) -> Model:
    """The encoder of a configuration, which is written into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(tree))
    return a_model(Encoder(path="small", **fields), 60 if "vocab_size" in tree else 1, targets, padding, Base(folder))


def a_small_encoder(folder: Path, **fields: int) -> Path:
    """The built-in encoder's configuration and tokenizer in a folder, of blocks of 8 features."""
    bases.write_toy(folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_size": 8, "intermediate_size": 12} | fields))
    return folder
