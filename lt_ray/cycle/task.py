"""What all tasks have in common: their settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from lt_ray.cycle.metrics import METRICS, Inputs, Metric, Targets, measured
from lt_ray.cycle.settings import Settings
from lt_ray.errors import nearest

Implementation = str | Callable[..., Any]


class TaskSettings(Settings):
    """What all tasks have in common."""

    implementation: ClassVar[Implementation]
    """What makes the data, `MODULE:NAME` or the function itself: (settings, data directory or None, `task` or `source`)
    → a `Corpus` of texts, which the model's words or tokenizer encode, whole `Data`, or
    `Unmade` ones. Raises `DataError`"""
    inputs: ClassVar[Inputs] = "text"
    """What an example is: a text, an array of numbers, or a picture"""
    class_count: ClassVar[int | None] = None
    """Classes, where they are known without the data [count]"""

    name: str
    metric: str | None = None
    """The metric that decides: tickets, roll-backs, objectives, early ends of cycles; None = the first of the task's
    kind. A training stops early by validation loss, whatever it is (`training.patience`)"""

    @property
    def targets(self) -> Targets:
        """What a model is to say of an example."""
        return "classes"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All that a split is measured by, the deciding one first."""
        metrics = measured(self.targets, self.inputs, self.class_count)
        return tuple(sorted(metrics, key=lambda metric: metric.name != (self.metric or metrics[0].name)))

    @model_validator(mode="after")
    def _metric_is_measured(self) -> Self:
        names = [metric.name for metric in measured(self.targets, self.inputs, self.class_count)]
        if self.metric is not None and self.metric not in names:
            raise ValueError(
                f"`metric` must be one of {', '.join(names)}, but got {self.metric!r}.{nearest(self.metric, METRICS)}"
            )
        return self

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        return super().meaning() | {"metric": self.metrics[0].name}


class Generated(TaskSettings):
    """What built-in data have in common: generated, seeded, offline."""

    train: int = Field(default=2000, ge=20)
    """Examples in the train split [count]"""
    validation: int = Field(default=500, ge=20)
    """Examples in the validation split [count]"""
    test: int = Field(default=1000, ge=20)
    """Examples in the test split [count]"""
    data_seed: int = Field(default=0, ge=0)
    """Seed of the generator; the cycle's own seed does not touch the data"""


class Public(TaskSettings):
    """What public data sets have in common: where they are."""

    folders: ClassVar[tuple[str, ...]]
    """Folders of a data directory that may hold it; the first that is there does"""
    tests_on: ClassVar[str] = "test"
    """The official split that tests; another one where the hub keeps the labels of `test` to itself"""

    dataset: str
    """Where the hub keeps it; not used with a data directory"""
    revision: str
    """Commit of that data set"""


def check_cut(validation_share: float, test_share: float) -> None:
    """Raise ValueError unless what validates and tests leaves a train split."""
    if validation_share + test_share >= 1:
        raise ValueError(f"`validation_share + test_share < 1` must hold, but got ({validation_share=}, {test_share=})")


def _text_and_label(columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if columns is not None and (len(columns) < 2 or len(set(columns)) < len(columns) or "" in columns):
        raise ValueError(
            "`columns` must name one or more columns of text and then the label's, all different, like "
            f"[review,stars], but got {list(columns)}"
        )
    return columns


Columns = Annotated[tuple[str, ...] | None, AfterValidator(_text_and_label)]
