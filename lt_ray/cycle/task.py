"""What all tasks have in common: their settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, model_validator

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
        found = measured(self.targets, self.inputs, self.class_count)
        return tuple(sorted(found, key=lambda metric: metric.name != (self.metric or found[0].name)))

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
        return self.model_dump(mode="json") | {"metric": self.metrics[0].name}


def _text_and_label(columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if columns is not None and (len(columns) < 2 or len(set(columns)) < len(columns) or "" in columns):
        raise ValueError(
            "`columns` must name one or more columns of text and then the label's, all different, like "
            f"[review,stars], but got {list(columns)}"
        )
    return columns


Columns = Annotated[tuple[str, ...] | None, AfterValidator(_text_and_label)]
