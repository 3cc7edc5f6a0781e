"""Models: what learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lt_ray.cycle.kinds import Kinds
from lt_ray.cycle.metrics import Inputs
from lt_ray.cycle.settings import Meant, Settings, Share

Unfound = Meant(lambda model: model.digest is None)
"""Of fields that say where a model is found: its digest stands for them once it is"""
TOY_ENCODER = TOY_RESNET = "toy"
"""Path of the built-in encoder, and of the built-in ResNet"""


class ModelSettings(Settings):
    """What all models have in common, and what their settings say besides their fields."""

    implementation: ClassVar[str | Callable[..., Any]]
    """`module:Class` of the `lt_ray.models.model.Model` that they describe, loaded when it is needed, or the class"""
    inputs: ClassVar[Inputs] = "text"
    """What an example is"""
    has_blocks: ClassVar[bool] = False
    """Whether it has a stack of blocks, which can be removed one by one"""
    has_statistics: ClassVar[bool] = True
    """Whether it may have batch norms, whose statistics can be estimated anew"""
    brings_words: ClassVar[bool] = False
    """Whether it has a vocabulary of its own, so that no task can give it another's words"""
    toy: ClassVar[Mapping[str, Any]] = {
        "task.name": "toy",
        "training.epochs": 4,
        "training.patience": None,
        "training.lr": 0.005,
        "training.batch_size": 50,
        "magnitude.fraction": 0.4,
    }
    """Fields of a cycle under which it learns a built-in task in seconds: what `--toy` makes of a sweep. Those of
    prunings that are not in the schedule say nothing"""
    name: str

    @property
    def title(self) -> str:
        """What a model card calls it."""
        return f"lt_ray's model `{self.name}`"

    @property
    def published(self) -> str:
        """What published tables call it."""
        return self.name


class WordModel(ModelSettings):
    """What models that learn their own word vectors have in common."""

    has_statistics = False
    toy: ClassVar[Mapping[str, Any]] = {**ModelSettings.toy, "model.vocabulary": 2000, "model.embedding": 12}

    vocabulary: int = Field(default=25_000, ge=1)
    """Most frequent train words kept, besides the unknown word and the padding [count]"""
    embedding: int = Field(default=100, ge=1)
    """Features of a word [count]"""


class Cnn(WordModel):
    """The research logs' CNN: embedding, convolutions of several widths, max over time, dropout, linear (Kim 2014)."""

    implementation = "lt_ray.models.text:CnnModel"
    toy: ClassVar[Mapping[str, Any]] = {**WordModel.toy, "model.filters": 6}
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

    implementation = "lt_ray.models.text:RecurrentModel"
    toy: ClassVar[Mapping[str, Any]] = {**WordModel.toy, "model.hidden": 12, "model.dropout": 0.2, "training.lr": 0.03}
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


class Transformer(WordModel):
    """A transformer trained from nothing: words and learned positions, pre-norm blocks, mean over the words, linear
    (Vaswani et al. 2017)."""

    implementation = "lt_ray.models.transformer:TransformerModel"
    has_blocks = True
    toy: ClassVar[Mapping[str, Any]] = {**WordModel.toy, "model.hidden": 24, "training.lr": 0.01}
    name: Literal["transformer"] = "transformer"
    embedding: int = Field(default=128, ge=1)
    layers: int = Field(default=4, ge=1)
    """Blocks [count]"""
    heads: int = Field(default=4, ge=1)
    """Heads of a block's attention, which part the features of a word [count]"""
    hidden: int = Field(default=512, ge=1)
    """Features within a block's MLP [count]"""
    positions: int = Field(default=512, ge=1)
    """First tokens of a document that it reads; the others are cut [count]"""
    dropout: Share = 0.1
    """Share of features dropped after the embedding, after attention and MLP, and before the last layer [0, 1)"""

    @model_validator(mode="after")
    def _heads_part_the_features(self) -> Transformer:
        if self.embedding % self.heads:
            raise ValueError(
                "`model.embedding` must be a multiple of `model.heads`, but got "
                f"(embedding={self.embedding}, heads={self.heads})"
            )
        return self


class SmallPictureModel(ModelSettings):
    """What models of small pictures, such as CIFAR's, have in common."""

    inputs = "images"
    toy: ClassVar[Mapping[str, Any]] = {
        "task.name": "toy_images",
        "task.train": 800,
        "task.validation": 300,
        "task.test": 400,
        "training.epochs": 12,
        "training.milestones": [8, 10],
        "training.batch_size": 50,
    }
    norm_init: Literal["uniform", "ones"] = "uniform"
    """Initial scales of batch norms: `uniform` in [0, 1) as in OpenLTH, or `ones` as in He et al. 2016"""


class CifarResNet(SmallPictureModel):
    """A residual network for small pictures: three stages of blocks with two convolutions each (He et al. 2016,
    arXiv:1512.03385, section 4.2)."""

    implementation = "lt_ray.models.cifar:CifarResNetModel"
    has_blocks = True
    toy: ClassVar[Mapping[str, Any]] = {
        **SmallPictureModel.toy,
        "task.train": 300,
        "model.depth": 8,
        "model.width": 4,
        "magnitude.fraction": 0.4,
    }
    name: Literal["cifar_resnet"] = "cifar_resnet"
    depth: int = Field(default=20, ge=8)
    """Layers with weights, 6n + 2: 20, 32, 44, 56, 110 are those of He et al. [count]"""
    width: int = Field(default=16, ge=1)
    """Channels of the first stage, doubled in each other [count]"""
    shortcut: Literal["projection", "padding"] = "projection"
    """How a block's input is added where channels double: by a convolution of 1 × 1 as in OpenLTH, or padded with zeros
    as in He et al. 2016"""

    @field_validator("depth")
    @classmethod
    def _depth_is_of_three_stages(cls, value: int) -> int:
        if (value - 2) % 6:
            raise ValueError(f"`model.depth` must be 6n + 2, such as 20, 32 or 56, but got {value}")
        return value


class CifarVgg(SmallPictureModel):
    """VGG for small pictures, with batch norms and one linear layer (Simonyan & Zisserman 2015; as in OpenLTH)."""

    implementation = "lt_ray.models.cifar:CifarVggModel"
    toy: ClassVar[Mapping[str, Any]] = {**SmallPictureModel.toy, "model.depth": 11, "model.width": 8}
    name: Literal["cifar_vgg"] = "cifar_vgg"
    depth: Literal[11, 13, 16, 19] = 16
    """Layers with weights as Simonyan & Zisserman count them, three linear ones included [count]"""
    width: int = Field(default=64, ge=1)
    """Filters of the first group of convolutions; the others have 2, 4, 8 and 8 times as many [count]"""


class Pretrained(ModelSettings):
    """What models have in common that transformers loads, from the hub or a folder."""

    path: Annotated[str, Unfound]
    """Its name on the hub, a folder laid out as there, or `toy` = built in; where it is found, not what it is"""
    revision: Annotated[str | None, Unfound] = None
    """Its commit on the hub; None = the one that lt_ray pins, for others the newest"""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`pretrained` = as found, and a head drawn from the seed; `random` = all drawn from the seed by its initialiser"""
    digest: str | None = None
    """SHA-256 of what was found at `path`: its configuration and, where they are used, its weights; None = not looked
    at yet. It stands for `path` and `revision` in every identity"""

    @property
    def title(self) -> str:
        """Its name on the hub, or the end of its folder's path."""
        return f"`{model_name(self.path)}`"


class Encoder(Pretrained):
    """A Hugging Face sequence classifier whose encoder is one stack of blocks: BERT, DistilBERT, RoBERTa, …"""

    implementation = "lt_ray.models.encoder:EncoderModel"
    has_blocks = True
    has_statistics = False
    brings_words = True
    toy: ClassVar[Mapping[str, Any]] = {
        "task.name": "toy",
        "model.path": TOY_ENCODER,
        "model.revision": None,
        "training.epochs": 6,
        "training.lr": 0.001,
        "training.batch_size": 20,
        "training.warmup": 0.2,
        "similarity.epochs": 2,
        "similarity.calibration": 512,
        "similarity.calibration_batch": 128,
        "wanda.calibration": 256,
    }
    name: Literal["encoder"] = "encoder"
    path: Annotated[str, Unfound] = Field(default="google-bert/bert-base-uncased", min_length=1)
    dropout: Share | None = None
    """Share dropped wherever the model drops: embeddings, attention, blocks, head, but for whole layers (`layerdrop`);
    a model that drops somewhere whatever its configuration says is refused; None = as its configuration says [0, 1)"""


class ResNet(Pretrained):
    """A ResNet of transformers: microsoft/resnet-50, -152, -18, … (He et al. 2016, arXiv:1512.03385)."""

    implementation = "lt_ray.models.resnet:ResNetModel"
    inputs = "images"
    has_blocks = True
    toy: ClassVar[Mapping[str, Any]] = {
        **SmallPictureModel.toy,
        "model.path": TOY_RESNET,
        "model.revision": None,
        "training.lr": 0.01,
    }
    name: Literal["resnet"] = "resnet"
    path: Annotated[str, Unfound] = Field(default="microsoft/resnet-50", min_length=1)

    @property
    def published(self) -> str:
        """What published tables call it: they tell its depth."""
        return self.path.rstrip("/").rpartition("/")[2]


class TorchvisionResNet(ModelSettings):
    """A ResNet of torchvision, with weights of a file or drawn from the seed."""

    implementation = "lt_ray.models.resnet:TorchvisionModel"
    inputs = "images"
    has_blocks = True
    toy: ClassVar[Mapping[str, Any]] = {**SmallPictureModel.toy, "model.architecture": "resnet18", "model.path": None}
    name: Literal["torchvision"] = "torchvision"
    architecture: Literal[
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
        "wide_resnet50_2",
    ] = "resnet50"  # fmt: skip
    """Its name there"""
    path: Annotated[str | None, Unfound] = None
    """File of its state dict, as safetensors; where it is found, not what it is; None = drawn from the seed"""
    digest: str | None = None
    """SHA-256 of the state that was found at `path`; None = there is none, or it is not looked at yet. It stands for
    `path` in every identity"""

    @property
    def title(self) -> str:
        """torchvision's name of it."""
        return f"torchvision's `{self.architecture}`"


StagedModel = ResNet | TorchvisionResNet
"""ResNets for ImageNet"""


def model_name(path: str) -> str:
    """Return what a model is called by where it was found: its name on the hub, or the end of its folder's path."""
    folder = path.startswith(("/", ".", "~")) or path.count("/") > 1
    return "/".join(path.rstrip("/").split("/")[-2:]) if folder else path


MODELS = Kinds[ModelSettings](
    "model", "name", (Cnn, Lstm, Rnn, Transformer, Encoder, CifarResNet, CifarVgg, ResNet, TorchvisionResNet)
)
"""Every model; a user's own is one more"""
