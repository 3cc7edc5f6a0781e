"""Metrics: what is measured of a model, by name; how each is computed is `tasks/metrics.py`'s."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Best = Literal["highest", "lowest"]
Targets = Literal["classes", "labels", "numbers"]
"""What a model is to say of an example: one of several classes, any of several labels, or numbers"""
Inputs = Literal["text", "arrays", "images"]
"""What an example is: a text, an array of numbers, or a picture"""


class Metric(BaseModel):
    """One number that a split is measured by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """In rows and files, after the split: `test_accuracy`"""
    label: str
    """In sentences and heads of tables"""
    short: str = ""
    """In narrow heads of tables; empty = the label"""
    unit: str = "[0, 1]"
    """Range or unit, as docstrings write it"""
    best: Best = "highest"
    """Which value is better"""
    targets: tuple[Targets, ...]
    """The kinds of tasks that it is measured on"""
    inputs: tuple[Inputs, ...] = ("text", "arrays", "images")
    """The kinds of examples that it is measured on"""
    least_width: int = 1
    """Fewest classes, labels or numbers of which it says anything; it is not measured of fewer [count]"""
    plugin: str = ""
    """SHA-256 of the plugin that declares it, whose cycles alone are measured by it; empty = built in"""

    def check_loss(self, name: str, loss: float) -> None:
        """Raise ValueError for an allowed loss that no value can exceed: 1 or more of a metric in [0, 1].

        - `name`: the field or option that allows it; `loss`: in the unit of the metric
        """
        if self.unit == "[0, 1]" and loss >= 1:
            percent = f": say {loss / 100:g} for {loss:g} %" if 1 < loss < 100 else ""
            raise ValueError(
                f"`{name}` must be less than 1, since {self.label} is in {self.unit}, but got {loss:g}{percent}"
            )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", label="accuracy", short="acc.", targets=("classes",)),
        Metric(name="top5_accuracy", label="top-5 accuracy", targets=("classes",), inputs=("images",), least_width=6),
        Metric(name="balanced_accuracy", label="balanced accuracy", targets=("classes",)),
        Metric(name="micro_f1", label="micro-F1", targets=("labels",)),
        Metric(name="macro_f1", label="macro-F1", targets=("classes", "labels")),
        Metric(name="exact_match", label="exact match", targets=("labels",)),
        Metric(name="mcc", label="Matthews correlation", unit="[−1, 1]", targets=("classes",)),
        Metric(name="rmse", label="RMSE", unit="of the target", best="lowest", targets=("numbers",)),
        Metric(name="r2", label="R²", unit="at most 1", targets=("numbers",)),
    )
}
"""Name → metric. The first one of a task's kind decides unless the task says another; all of its kind are recorded"""


def measured(targets: Targets, inputs: Inputs = "text", width: int | None = None) -> tuple[Metric, ...]:
    """Return the metrics that tasks of a kind are measured by.

    - `width`: classes, labels or numbers, where they are known [count]
    """
    return tuple(
        metric
        for metric in METRICS.values()
        if targets in metric.targets and inputs in metric.inputs and (width is None or width >= metric.least_width)
    )


def declare(metric: Metric) -> Metric:
    """Add a metric of a plugin; raises ValueError where another one has its name."""
    if METRICS.setdefault(metric.name, metric) != metric:
        raise ValueError(f"a metric must have a name of its own, but `{metric.name}` is there: call it otherwise")
    return metric
