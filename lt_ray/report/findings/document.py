"""What a report says, before it is written as Markdown, CSV, pictures or a page: plain values, no layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from lt_ray.cycle.metrics import METRICS, Metric
from lt_ray.cycle.results import BlockDecision
from lt_ray.cycle.settings import Scalar

Cell = str | int | float | bool | None
Row = Mapping[str | tuple[str, int], Cell]
"""Name of a column, with its unit where it has one, or (name, decimals that are shown) → cell"""
Cost = Literal["parameters", "latency"]
"""`parameters` = those that no mask prunes [count]; `latency` = of a batch of 32, median [s]"""
_FIRST_METRIC = next(iter(METRICS.values()))


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

    folder: ClassVar = "tables"
    slug: str
    """Its file's name"""
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """What a reader must know to read it right"""
    shaded: int | None = None
    """The first of the columns whose cells are shaded by their share of a row's; None = of none [count]"""
    pictures: tuple[str, ...] = ()
    """Addresses of the rows' pictures, `data:image/…`, which the page alone shows; empty where rows have none"""

    @property
    def table(self) -> ReportTable:
        """Its numbers: itself."""
        return self


def table_of(slug: str, title: str, rows: Iterable[Row], note: str = "", *, always: int | None = None) -> ReportTable:
    """Return a table of the columns that any row has, in the order in which they first come.

    - `always`: columns that are there though no row says anything in them; None = all [count]
    """
    rows = list(rows)
    keys = dict.fromkeys(key for row in rows for key in row)
    kept = [
        key for place, key in enumerate(keys)
        if always is None or place < always or any(row.get(key) is not None for row in rows)
    ]  # fmt: skip
    columns = tuple(Column(key) if isinstance(key, str) else Column(*key) for key in kept)
    return ReportTable(slug, title, columns, tuple(tuple(row.get(key) for key in kept) for row in rows), note)


@dataclass(frozen=True)
class Point:
    """The cycles of one arm after one round, or the dense ones."""

    round: int
    x: float
    """Mean over cycles: the sparsity [0, 1], or what a model costs, in the unit of the picture"""
    mean: float
    """On the test split, mean over seeds, each seed's cycles averaged first"""
    low: float | None
    """Lower end of the 95 % interval of the mean over seeds, not corrected; None for one seed"""
    high: float | None
    n: int
    """Seeds [count]"""
    members: tuple[float, ...] = ()
    """Each cycle on the test split; empty on a front"""
    x_low: float | None = None
    """Lower quartile of a latency, mean over cycles; None where there is none"""
    x_high: float | None = None
    blocks: float | None = None
    """Blocks, mean over cycles; None where they are not told [count]"""
    rejected: bool = False
    """Whether every cycle rejected the round"""
    best: bool = False
    """Whether no other point of a front costs as little and is better, or costs less and is as good"""


@dataclass(frozen=True)
class Line:
    """One arm on the test split."""

    arm: str
    points: tuple[Point, ...]
    """By round; on a front without the dense one"""

    @property
    def cycles(self) -> int:
        """Most cycles, or on a front seeds, of a point [count]."""
        return max((len(point.members) or point.n for point in self.points), default=0)


@dataclass(frozen=True)
class Curves:
    """The test split against sparsity: the arms of one question on one task, in one picture."""

    folder: ClassVar = "curves"
    kind: ClassVar = "curves"
    note: ClassVar = ""
    slug: str
    title: str
    lines: tuple[Line, ...]
    dense: float | None
    """Mean of round 0 on the test split, each distinct dense round once"""
    tolerance: float
    """What a winning ticket may lose"""
    metric: Metric = _FIRST_METRIC
    """What is measured"""

    @property
    def points(self) -> list[Point]:
        """The points of all arms."""
        return [point for line in self.lines for point in line.points]

    @property
    def bound(self) -> float | None:
        """What a winning ticket keeps, where it is as dense as the mean."""
        sign = 1 if self.metric.best == "highest" else -1
        return None if self.dense is None else self.dense - sign * self.tolerance

    @property
    def table(self) -> ReportTable:
        """Its numbers: a row for each arm and round."""
        rows: list[Row] = [
            {"arm": line.arm, "round": p.round, ("sparsity", 3): p.x, ("mean", 4): p.mean, ("95 % low", 4): p.low,
             ("95 % high", 4): p.high, "n": p.n}
            for line in self.lines for p in line.points
        ]  # fmt: skip
        return table_of(self.slug, self.title, rows)


@dataclass(frozen=True)
class Front:
    """The test split against one cost, and the points that no other one beats."""

    folder: ClassVar = "fronts"
    kind: ClassVar = "front"
    slug: str
    title: str
    cost: Cost
    lines: tuple[Line, ...]
    dense: tuple[Line, ...]
    """The dense models, each once"""
    note: str = ""
    metric: Metric = _FIRST_METRIC
    """What is measured"""

    @property
    def points(self) -> list[Point]:
        """The points of all arms, the dense ones first."""
        return [point for line in (*self.dense, *self.lines) for point in line.points]

    @property
    def table(self) -> ReportTable:
        """Its numbers: a row for each point, the dense ones first."""
        rows: list[Row] = []
        for arm, p in ((line.arm, point) for line in (*self.dense, *self.lines) for point in line.points):
            costs: Row = {("nonzero parameters", 0): p.x}
            if self.cost == "latency":
                low, high = ("lower quartile [s]", 5), ("upper quartile [s]", 5)
                costs = {("latency [s]", 5): p.x, low: p.x_low, high: p.x_high}
            rows.append({
                "arm": arm, "round": p.round, "n": p.n, "blocks": p.blocks, **costs,
                (f"test {self.metric.label}", 4): p.mean, ("95 % low", 4): p.low, ("95 % high", 4): p.high,
                "on the front": p.best, "rejected": p.rejected,
            })  # fmt: skip
        return table_of(self.slug, self.title, rows)


@dataclass(frozen=True)
class Searched:
    """Searched fields of cycles and their results: for parallel coordinates and for one picture a field."""

    folder: ClassVar = "settings"
    kind: ClassVar = "settings"
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

    @property
    def table(self) -> ReportTable:
        """Its numbers: a row for each cycle."""
        names = ("cycle", "arm", "seed", *self.keys, *self.objectives)
        columns = tuple(Column(name, 4 if name in self.objectives else None) for name in names)
        return ReportTable(self.slug, self.title, columns, tuple(tuple(map(row.get, names)) for row in self.rows))


@dataclass(frozen=True)
class Reading:
    """What one threshold and stride made of a heat map's similarities; positions are those of the matrix."""

    decision: BlockDecision
    who: str
    """Arms and rounds that came to it"""

    @property
    def label(self) -> str:
        """Its settings in a few words."""
        frozen = ", others frozen" if self.decision.frozen else ""
        return f"threshold {self.decision.threshold:g}, stride {self.decision.stride}{frozen}"

    def fate(self, position: int) -> str:
        """Return what became of a block: `removed`, `not trained` or `kept`."""
        if position in self.decision.removed:
            return "removed"
        return "not trained" if position in self.decision.frozen else "kept"

    def cluster(self, position: int) -> int | None:
        """Return the place of a block's cluster among the clusters; None where it has none."""
        return next((place for place, members in enumerate(self.decision.clusters) if position in members), None)


@dataclass(frozen=True)
class HeatMap:
    """Linear CKA of every two blocks of one model, and what was made of it."""

    folder: ClassVar = "cka"
    slug: str
    title: str
    cka: tuple[tuple[float, ...], ...]
    """Of every two blocks [0, 1]"""
    origins: tuple[int, ...]
    """The blocks' positions in the dense model"""
    readings: tuple[Reading, ...]
    note: str = ""
    who: str = ""
    """Whose model it is"""
    n: int = 1
    """Cycles that compared it [count]"""

    @property
    def table(self) -> ReportTable:
        """Its numbers: a row for each block, by its position in the dense model; after the similarities come, for each
        reading, the block's cluster and what became of it."""
        rows = []
        for position, origin in enumerate(self.origins):
            row: dict[str | tuple[str, int], Cell] = {"block": origin}
            row |= {(f"CKA with {other}", 4): cka for other, cka in zip(self.origins, self.cka[position], strict=True)}
            for reading in self.readings:
                said = f"{reading.label} ({reading.who})"
                row |= {f"cluster: {said}": reading.cluster(position), f"fate: {said}": reading.fate(position)}
            rows.append(row)
        return table_of(self.slug, self.title, rows)


Chart = Curves | Front | Searched
Part = ReportTable | Chart | HeatMap


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
    charts: tuple[Chart, ...]
    """What is drawn of arms and settings; it opens with the first"""
    tables: tuple[ReportTable, ...]
    maps: tuple[HeatMap, ...] = ()
    headline: str = ""
    """What came out, in one sentence"""
    summary: tuple[ReportTable, ...] = ()
    """What came out, in a row for each arm"""


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]
