"""Tasks of pictures: what a model sees of one, and where the pictures are."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lt_ray.cycle.metrics import Inputs
from lt_ray.cycle.settings import Meant, Share
from lt_ray.cycle.task import Columns, Generated, Implementation, Public, TaskSettings, check_cut


class Pictures(TaskSettings):
    """What tasks of pictures have in common: what a model sees of one."""

    inputs: ClassVar[Inputs] = "images"

    size: int = Field(default=224, ge=1)
    """Side of the square that a model sees [pixels]"""
    crop: Literal["none", "padded", "resized"] = "none"
    """What training sees: `none` = what is measured; `padded` = that, moved by up to `padding` over a black border;
    `resized` = a random part, scaled to `size` (Szegedy et al. 2015)"""
    padding: Annotated[int, Meant(lambda task: task.crop == "padded", 4)] = Field(default=4, ge=1)
    """Of `padded` [pixels]"""
    least_area: Annotated[float, Meant(lambda task: task.crop == "resized", 0.08)] = Field(default=0.08, gt=0, le=1)
    """Of `resized`: share of the picture's area that a part has at least (0, 1]"""
    flip: bool = True
    """Mirror half of the pictures of an epoch left to right"""
    centre: float = Field(default=1.0, gt=0, le=1)
    """Side of the square that is measured, in the picture's middle, as a share of its shorter side (0, 1]"""
    normalisation: Literal["train", "imagenet"] = "train"
    """Whose channel means and deviations pictures are normalised by"""


class ToyImages(Generated, Pictures):
    """Built-in pictures: bars, crosses and squares on noise, generated, seeded, offline."""

    implementation: ClassVar[Implementation] = "lt_ray.tasks.images_toy:data"
    class_count: ClassVar[int | None] = 4

    name: Literal["toy_images"] = "toy_images"
    size: int = Field(default=16, ge=12)
    """Side of a picture [pixels]"""

    @field_validator("crop")
    @classmethod
    def _is_decoded(cls, crop: str) -> str:
        if crop == "resized":
            raise ValueError("`crop` of the built-in pictures must be none or padded, but got 'resized'")
        return crop


class FilePictures(Pictures):
    """What pictures that are read from files have in common. A cut is stratified, and a test that is given is kept."""

    implementation: ClassVar[Implementation] = "lt_ray.tasks.images:data"

    split_seed: int = Field(default=0, ge=0)
    """Seed of the cut; the cycle's own seed does not touch the data"""
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share cut from train for validation where none is given [0, 1]"""
    broken_share: Share = 0.0
    """Share of a split's pictures that may be broken, and are left out [0, 1)"""
    columns: Columns = None
    """Columns of a table of encoded pictures: the picture's, then the label's; None = `image` or `img`, and `label`"""

    @field_validator("columns")
    @classmethod
    def _columns_are_two(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if columns is not None and len(columns) != 2:
            raise ValueError(f"`columns` must be the picture's and the label's, but got {list(columns)}")
        return columns


class Images(FilePictures):
    """A user's own pictures: `train/CLASS/*` and so on, or tables of encoded ones."""

    name: Literal["images"] = "images"
    crop: Literal["none", "padded", "resized"] = "resized"
    centre: float = Field(default=0.875, gt=0, le=1)
    test_share: float = Field(default=0.15, gt=0, lt=1)
    """Share cut from train for test where none is given [0, 1]"""

    @model_validator(mode="after")
    def _shares_leave_a_train_split(self) -> Images:
        check_cut(self.validation_share, self.test_share)
        return self


class PublicPictures(Public, FilePictures):
    """What the public sets of pictures have in common."""

    hub_columns: ClassVar[tuple[str, str]]
    """Columns of the hub's table"""


class Cifar10(PublicPictures):
    """CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 pictures of 32 pixels, ten classes, moved by up to 4 pixels and
    mirrored (He et al. 2016, section 4.2)."""

    folders: ClassVar[tuple[str, ...]] = ("cifar10",)
    class_count: ClassVar[int | None] = 10
    hub_columns: ClassVar[tuple[str, str]] = ("img", "label")

    name: Literal["cifar10"] = "cifar10"
    size: int = Field(default=32, ge=1)
    crop: Literal["none", "padded", "resized"] = "padded"
    dataset: str = "uoft-cs/cifar10"
    revision: str = "0b2714987fa478483af9968de7c934580d0bb9a2"


class ImageNet(PublicPictures):
    """ImageNet-1k (Russakovsky et al. 2015): its validation's 50,000 test, and a cut of train's 1,281,167 validates."""

    folders: ClassVar[tuple[str, ...]] = ("imagenet", "imagenet-1k")
    class_count: ClassVar[int | None] = 1000
    hub_columns: ClassVar[tuple[str, str]] = ("image", "label")
    tests_on: ClassVar[str] = "validation"

    name: Literal["imagenet"] = "imagenet"
    crop: Literal["none", "padded", "resized"] = "resized"
    centre: float = Field(default=0.875, gt=0, le=1)
    normalisation: Literal["train", "imagenet"] = "imagenet"
    dataset: str = "ILSVRC/imagenet-1k"
    revision: str = "49e2ee26f3810fb5a7536bbf732a7b07389a47b5"
    validation_share: float = Field(default=0.02, gt=0, lt=1)
    """Share that validates of the official train [0, 1]"""
