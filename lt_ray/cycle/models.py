"""Models: what learns."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from lt_ray.cycle.kinds import Kinds
from lt_ray.cycle.settings import Settings, Share


class ModelSettings(Settings):
    """What all models have in common."""

    inputs: ClassVar[Literal["text", "arrays"]] = "text"
    """What an example is"""

    name: str


class WordModel(ModelSettings):
    """What models that learn their own word vectors have in common."""

    vocabulary: int = Field(default=25_000, ge=1)
    """Most frequent train words kept, besides the unknown word and the padding [count]"""
    embedding: int = Field(default=100, ge=1)
    """Features of a word [count]"""


class Cnn(WordModel):
    """The logs' CNN: embedding, convolutions of several widths, max over time, dropout, linear (Kim 2014)."""

    name: Literal["cnn"] = "cnn"
    filters: int = Field(default=100, ge=1)
    """Filters of each width [count]"""
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(3, 4, 5), min_length=1)
    """Words a filter sees [count]"""
    dropout: Share = 0.5
    """Share of features dropped before the last layer [0, 1)"""


class Recurrent(WordModel):
    """What the logs' recurrent models have in common: embedding, dropout, recurrent layers, their last states,
    dropout, linear."""

    hidden: int = Field(default=256, ge=1)
    """Features of a state, in each direction [count]"""
    layers: int = Field(default=1, ge=1)
    """Recurrent layers [count]"""
    bidirectional: bool = False
    """Read from both ends"""
    recurrent_init: Literal["orthogonal", "xavier"] = "orthogonal"
    """How weights from state to state are drawn; the others are Xavier normal, biases 0"""
    dropout: Share = 0.5
    """Share of features dropped after the embedding, between layers and before the last layer [0, 1)"""


class Lstm(Recurrent):
    """The logs' LSTM: two layers, both directions (Hochreiter & Schmidhuber 1997)."""

    name: Literal["lstm"] = "lstm"
    layers: int = Field(default=2, ge=1)
    bidirectional: bool = True


class Rnn(Recurrent):
    """The logs' plain RNN, with tanh: one layer, one direction (Elman 1990)."""

    name: Literal["rnn"] = "rnn"


class Encoder(ModelSettings):
    """A Hugging Face sequence classifier whose encoder is one stack of blocks: BERT, DistilBERT, RoBERTa, …"""

    name: Literal["encoder"] = "encoder"
    path: str = Field(default="google-bert/bert-base-uncased", min_length=1)
    """Its name on the hub, a folder laid out as there, or `toy` = built in; where it is found, not what it is"""
    revision: str | None = None
    """Its commit on the hub; None = the one that lt_ray pins, for others the newest"""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`pretrained` = as found, and a head drawn from the seed; `random` = all drawn from the seed by its initialiser"""
    dropout: Share | None = None
    """Share dropped wherever the model drops: embeddings, attention, blocks, head, but for whole layers (`layerdrop`);
    a model that drops somewhere whatever its configuration says is refused; None = as its configuration says [0, 1)"""
    digest: str | None = None
    """SHA-256 of what was found at `path`: its configuration and, where they are used, its weights; None = not looked
    at yet. It stands for `path` and `revision` in every identity"""

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        return tree if self.digest is None else tree | {"path": None, "revision": None}


def model_name(path: str) -> str:
    """Return what a model is called by where it was found: its name on the hub, or the end of its folder's path."""
    folder = path.startswith(("/", ".", "~")) or path.count("/") > 1
    return "/".join(path.rstrip("/").split("/")[-2:]) if folder else path


TOY_ENCODER = "toy"
"""Path of the built-in encoder"""
RECURRENT = ("lstm", "rnn")
"""Names of the recurrent ones"""
MODELS = Kinds[ModelSettings]("model", "name", (Cnn, Lstm, Rnn, Encoder))
Model = ModelSettings
