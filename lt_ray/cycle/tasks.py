"""Tasks: what is learnt."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lt_ray.cycle.kinds import Kinds
from lt_ray.cycle.metrics import Targets
from lt_ray.cycle.pictures import Cifar10, ImageNet, Images, ToyImages
from lt_ray.cycle.settings import Meant
from lt_ray.cycle.task import Columns, Generated, Implementation, Public, check_cut
from lt_ray.cycle.task import TaskSettings as TaskSettings


class Toy(Generated):
    """The built-in corpus: generated, seeded, offline."""

    implementation: ClassVar[Implementation] = "lt_ray.tasks.toy:corpus"
    class_count: ClassVar[int | None] = 2

    name: Literal["toy"] = "toy"


class FileTexts(TaskSettings):
    """What texts that are read from tables have in common."""

    split_seed: int = Field(default=0, ge=0)
    """Seed of the cut; the cycle's own seed does not touch the data"""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens kept of a document; None = all [count]"""
    columns: Columns = None
    """Columns of a table: one or more whose texts, joined by a space, are the text, then the label's; None = `text` and
    `label`, or the hub's own"""


class PublicTexts(Public, FileTexts):
    """What the public text sets have in common: where they are, and how they are cut.

    The research logs' cuts (docs/methods.md §2) are the defaults: 30 % of what is not test validates, and a pooled cut
    tests on 20 %. Every cut is stratified: each part has the classes in the proportions of what it is cut from.
    """

    implementation: ClassVar[Implementation] = "lt_ray.tasks.public:corpus"
    hub_columns: ClassVar[tuple[str, ...]] = ("text", "label")
    """Columns of the hub's table: texts, then the label"""
    configuration: ClassVar[str | None] = None
    """Of the hub's, where it has several: the one it takes by default"""

    split: Literal["pooled", "official"] = "official"
    """`pooled` = all official splits together, cut anew; `official` = the official test, and a validation split cut
    from the official train where none is given"""
    sizes: tuple[int, int, int] | None = None
    """Train, validation and test, drawn from all there are, stratified; None = all, by shares [count]"""
    validation_share: float = Field(default=0.3, gt=0, lt=1)
    """Share that validates of what is not test, where no sizes are given [0, 1]"""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the pooled texts that tests, where no sizes are given [0, 1]"""

    @field_validator("sizes")
    @classmethod
    def _sizes_are_positive(cls, sizes: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if sizes is not None and min(sizes) < 1:
            raise ValueError(f"`sizes >= 1` must hold, but got {sizes}")
        return sizes


class Imdb(PublicTexts):
    """IMDb reviews, two classes (Maas et al. 2011, ACL); pooled as the logs do: 28,000/12,000/10,000 of 50,000."""

    folders: ClassVar[tuple[str, ...]] = ("imdb",)
    class_count: ClassVar[int | None] = 2

    name: Literal["imdb"] = "imdb"
    dataset: str = "stanfordnlp/imdb"
    revision: str = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
    split: Literal["pooled", "official"] = "pooled"


class AgNews(PublicTexts):
    """AG's news, four classes (Zhang et al. 2015, NeurIPS); the logs' 84,000/36,000/7,600 of 120,000 + 7,600."""

    folders: ClassVar[tuple[str, ...]] = ("ag_news",)
    class_count: ClassVar[int | None] = 4

    name: Literal["ag_news"] = "ag_news"
    dataset: str = "fancyzhx/ag_news"
    revision: str = "eb185aade064a813bc0b7f42de02595523103ca4"


class YelpPolarity(PublicTexts):
    """Yelp reviews, two classes: 1 and 2 stars against 4 and 5 (Zhang et al. 2015, NeurIPS)."""

    folders: ClassVar[tuple[str, ...]] = ("yelp_polarity", "yelp")
    class_count: ClassVar[int | None] = 2

    name: Literal["yelp_polarity"] = "yelp_polarity"
    dataset: str = "fancyzhx/yelp_polarity"
    revision: str = "bbf1c97a1f0cf005e5aded43839fd814654a1557"


class YelpFull(PublicTexts):
    """Yelp reviews, five classes: the stars (Zhang et al. 2015, NeurIPS)."""

    folders: ClassVar[tuple[str, ...]] = ("yelp_full", "yelp_review_full", "yelp")
    class_count: ClassVar[int | None] = 5

    name: Literal["yelp_full"] = "yelp_full"
    dataset: str = "Yelp/yelp_review_full"
    revision: str = "c1f9ee939b7d05667af864ee1cb066393154bf85"


class Emotion(PublicTexts):
    """English tweets, six emotions (Saravia et al. 2018, EMNLP); the official 16,000/2,000/2,000."""

    folders: ClassVar[tuple[str, ...]] = ("emotion",)
    class_count: ClassVar[int | None] = 6
    configuration: ClassVar[str | None] = "split"

    name: Literal["emotion"] = "emotion"
    dataset: str = "dair-ai/emotion"
    revision: str = "cab853a1dbdf4c42c2b3ef2173804746df8825fe"


class Sst2(PublicTexts):
    """Sentences of film reviews, two classes (Socher et al. 2013, EMNLP; GLUE: Wang et al. 2019, ICLR). GLUE keeps the
    labels of its test to itself, so the 872 of its validation test, and a cut of the 67,349 of train validates."""

    folders: ClassVar[tuple[str, ...]] = ("sst2", "glue/sst2")
    class_count: ClassVar[int | None] = 2
    hub_columns: ClassVar[tuple[str, ...]] = ("sentence", "label")
    configuration: ClassVar[str | None] = "sst2"
    tests_on: ClassVar[str] = "validation"

    name: Literal["sst2"] = "sst2"
    dataset: str = "nyu-mll/glue"
    revision: str = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
    validation_share: float = Field(default=0.05, gt=0, lt=1)
    """Share that validates of the official train [0, 1]"""


class YahooAnswers(PublicTexts):
    """Yahoo! Answers topics, ten classes (Zhang et al. 2015, NeurIPS)."""

    folders: ClassVar[tuple[str, ...]] = ("yahoo_answers", "yahoo_answers_topics")
    class_count: ClassVar[int | None] = 10
    hub_columns: ClassVar[tuple[str, ...]] = ("question_title", "topic")

    name: Literal["yahoo_answers"] = "yahoo_answers"
    dataset: str = "community-datasets/yahoo_answers_topics"
    revision: str = "6652a1e7c94f7260a0bfd0c9092dd48e2d536ea1"
    validation_share: float = Field(default=0.05, gt=0, lt=1)
    """Share that validates of the official train, of which there are 1,400,000 [0, 1]"""


class Folder(FileTexts):
    """A user's own files with `text` and `label`; a cut is stratified: each part has the classes as train had them."""

    implementation: ClassVar[Implementation] = "lt_ray.tasks.files:corpus"

    name: Literal["folder"] = "folder"
    label: Literal["class", "several", "number"] = "class"
    """What the label's column holds: one of the classes; any of several labels, as a list or parted by `separator`; or
    a number"""
    separator: Annotated[str, Meant(lambda task: task.label == "several")] = Field(default=",", min_length=1)
    """Between several labels in one text"""
    validation_share: float = Field(default=0.15, gt=0, lt=1)
    """Share cut for validation where no file is named for it [0, 1]"""
    test_share: float = Field(default=0.15, gt=0, lt=1)
    """Share cut for test where no file is named for it [0, 1]"""

    @property
    def targets(self) -> Targets:
        """What a model is to say of an example."""
        kinds: dict[str, Targets] = {"class": "classes", "several": "labels", "number": "numbers"}
        return kinds[self.label]

    @model_validator(mode="after")
    def _shares_leave_a_train_split(self) -> Folder:
        check_cut(self.validation_share, self.test_share)
        return self


TASKS = Kinds[TaskSettings](
    "task",
    "name",
    (
        *(Toy, Imdb, AgNews, YelpPolarity, YelpFull, Emotion, Sst2, YahooAnswers, Folder),
        *(ToyImages, Images, Cifar10, ImageNet),
    ),
)
Task = TaskSettings
