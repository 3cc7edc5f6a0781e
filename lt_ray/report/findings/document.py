"""What a report says, before it is written as Markdown, CSV, pictures or a page: plain values, no layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lt_ray.cycle.metrics import METRICS, Metric
from lt_ray.cycle.settings import Scalar

Cell = str | int | float | bool | None
ACCURACY = METRICS["accuracy"]
Opening = Literal["curves", "fronts", "settings"]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    """Field, with its unit where it has one"""
    digits: int | None = None
    """Decimals that are shown of numbers; None = as they are"""


@dataclass(frozen=True)
class ReportTable:
    """A table that can be sorted by any column."""

    slug: str
    """Its file's name"""
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """What a reader must know to read it right"""


@dataclass(frozen=True)
class CurvePoint:
    """The cycles of one arm after one round."""

    round: int
    sparsity: float
    """Mean over cycles [0, 1]"""
    mean: float
    """On the test split, mean over seeds, each seed's cycles averaged first"""
    low: float | None
    """Lower end of the 95 % interval of the mean over seeds, not corrected; None for one seed"""
    high: float | None
    n: int
    """Seeds [count]"""
    members: tuple[float, ...]
    """Each cycle on the test split"""


@dataclass(frozen=True)
class Curve:
    """One arm on the test split, against sparsity."""

    arm: str
    points: tuple[CurvePoint, ...]
    """By round"""


@dataclass(frozen=True)
class Curves:
    """The arms of one question on one task, in one picture."""

    slug: str
    title: str
    curves: tuple[Curve, ...]
    dense: float | None
    """Mean of round 0 on the test split, each distinct dense round once"""
    tolerance: float
    """What a winning ticket may lose"""
    metric: Metric = ACCURACY
    """What is measured"""

    @property
    def bound(self) -> float | None:
        """What a winning ticket keeps, where it is as dense as the mean."""
        sign = 1 if self.metric.best == "highest" else -1
        return None if self.dense is None else self.dense - sign * self.tolerance


@dataclass(frozen=True)
class Searched:
    """Searched fields of cycles and their results: for parallel coordinates and for one picture a field."""

    slug: str
    title: str
    keys: tuple[str, ...]
    """Searched fields; text or numbers"""
    objectives: tuple[str, ...]
    """What cycles came to, such as the last round's value on the validation split"""
    rows: tuple[Mapping[str, Scalar], ...]
    """One a cycle: key → value of the keys and objectives, and `cycle`, `arm`, `seed`; a field that a cycle does not
    have is missing"""
    importance: Mapping[str, float] | None
    """Share of the first objective's variance that each field explains, Optuna's; None where it cannot be told"""
    note: str = ""
    lowest: tuple[str, ...] = ()
    """Objectives of which less is better"""


@dataclass(frozen=True)
class FrontPoint:
    """The cycles of one arm after one round, or the dense ones, by what they cost and what they can."""

    round: int
    cost: float
    """Mean over cycles, in the unit of the picture"""
    cost_low: float | None
    """Lower quartile of a latency, mean over cycles; None where there is none"""
    cost_high: float | None
    value: float
    """On the test split, mean over seeds, each seed's cycles averaged first"""
    low: float | None
    """Lower end of the 95 % interval of the mean over seeds, not corrected; None for one seed"""
    high: float | None
    n: int
    """Seeds [count]"""
    blocks: float | None
    """Blocks, mean over cycles [count]"""
    rejected: bool
    """Whether every cycle rejected the round"""
    best: bool
    """Whether no other point costs as little and is better, or costs less and is as good"""


@dataclass(frozen=True)
class FrontArm:
    """The points of one arm."""

    arm: str
    points: tuple[FrontPoint, ...]
    """By round, the dense one left out"""


@dataclass(frozen=True)
class Front:
    """The test split against one cost, and the points that no other one beats."""

    slug: str
    title: str
    cost: Literal["parameters", "latency"]
    """`parameters` = those that no mask prunes [count]; `latency` = of a batch of 32, median [s]"""
    arms: tuple[FrontArm, ...]
    dense: tuple[FrontArm, ...]
    """The dense models, each once"""
    note: str = ""
    metric: Metric = ACCURACY
    """What is measured"""


@dataclass(frozen=True)
class Reading:
    """What one threshold and stride cluster and remove by similarities; positions are those of the matrix."""

    threshold: float
    """CKA from which blocks are alike (0, 1]"""
    stride: int
    """Of each cluster the positions `1::stride` are removed [count]"""
    clusters: tuple[tuple[int, ...], ...]
    """Blocks that are alike"""
    removed: tuple[int, ...]
    """Blocks that were removed"""
    frozen: tuple[int, ...]
    """Kept blocks that were not trained"""
    who: str
    """Arms and rounds that came to it"""


@dataclass(frozen=True)
class HeatMap:
    """Linear CKA of every two blocks of one model, and what was made of it."""

    slug: str
    title: str
    cka: tuple[tuple[float, ...], ...]
    """Of every two blocks [0, 1]"""
    origins: tuple[int, ...]
    """The blocks' positions in the dense model"""
    readings: tuple[Reading, ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One sweep's part of a report."""

    title: str
    lead: str
    """What was run on what, in a sentence or two"""
    warnings: tuple[str, ...]
    """What a reader must mind: notes on the data, cycles that failed, were stopped or still run"""
    verdicts: tuple[str, ...]
    """One sentence each"""
    curves: tuple[Curves, ...]
    tables: tuple[ReportTable, ...]
    settings: tuple[Searched, ...]
    fronts: tuple[Front, ...] = ()
    maps: tuple[HeatMap, ...] = ()
    headline: str = ""
    """What came out, in one sentence; empty = the first verdict"""
    summary: tuple[ReportTable, ...] = ()
    """What came out, in a row for each arm"""
    opening: Opening = "curves"
    """The kind of chart that it opens with, where it has one"""


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]
