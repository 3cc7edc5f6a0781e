"""How metrics are computed: counters add up a split batch by batch, and a metric is a function of a counter.

    @measures("macro_f1", Confusion, Hits)
    def macro_f1(counter): ...

A metric that is declared in `cycle/metrics.py` and measured here is recorded for every task of its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.metrics import Metric
from lt_ray.training.measure import chosen

Sums = npt.NDArray[Any]
Function = Callable[[Any], float]


TOLD = 200
"""Classes up to which a round keeps its confusion: of a thousand it would be a million counts [count]"""


class Counter:
    """Adds up what metrics are functions of; the order of batches and their sizes change nothing but rounding.

    - `width`: classes, labels or numbers of an example [count]
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.sums: Tensor | None = None

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch: what a model put out, float (B, …), and what was asked of it, (B, …)."""
        counted = self.count(outputs.detach(), targets)
        self.sums = counted if self.sums is None else self.sums.to(counted.device) + counted

    @property
    def array(self) -> Sums:
        """The sums of all batches."""
        assert self.sums is not None, "nothing was measured"
        array: Sums = self.sums.cpu().numpy()
        return array

    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sums of one batch."""
        raise NotImplementedError


class Confusion(Counter):
    """How often examples of each class (rows) were taken for each class (columns), int64 (C, C)."""

    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the counts of one batch."""
        pairs = targets * self.width + chosen(outputs)
        return torch.bincount(pairs, minlength=self.width**2).view(self.width, self.width)

    def outcomes(self) -> tuple[Sums, Sums, Sums]:
        """Return of each class how often it was right, wrongly there, wrongly missing, int64 (C,) each."""
        right = np.diag(self.array)
        return right, self.array.sum(axis=0) - right, self.array.sum(axis=1) - right


class TopFive(Counter):
    """How many examples had their class among the five highest outputs, and how many there were, int64 (2,)."""

    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the counts of one batch."""
        right = (outputs.topk(5, dim=1).indices == targets[:, None]).any(dim=1).sum()
        return torch.stack([right, torch.full_like(right, len(targets))])


class Hits(Counter):
    """Of each label how often it was right, wrongly there, wrongly missing; then how many examples had all of theirs
    right, and how many there were: int64 (3 L + 2,)."""

    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the counts of one batch; a label is chosen from 0 up."""
        chosen, wanted = outputs >= 0, targets.bool()
        rows = [(chosen & wanted).sum(0), (chosen & ~wanted).sum(0), (~chosen & wanted).sum(0)]
        right = (chosen == wanted).all(dim=1).sum()
        return torch.cat([*rows, torch.stack([right, torch.full_like(right, len(targets))])])

    def outcomes(self) -> tuple[Sums, Sums, Sums]:
        """Return of each label how often it was right, wrongly there, wrongly missing, int64 (L,) each."""
        right, there, missing = self.array[:-2].reshape(3, -1)
        return right, there, missing


class Moments(Counter):
    """Of numbers: how many, their sum, their squares' sum, and that of the squared errors, float64 (4,)."""

    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sums of one batch."""
        wanted, error = targets.double(), outputs.double() - targets.double()
        many = torch.tensor(float(wanted.numel()), dtype=torch.float64, device=wanted.device)
        return torch.stack([many, wanted.sum(), (wanted**2).sum(), (error**2).sum()])


_MEASURED: dict[str, tuple[tuple[type[Counter], ...], Function]] = {}


def measures(metric: str, *counters: type[Counter]) -> Callable[[Function], Function]:
    """Say, as a decorator, that a function of a counter is a metric's value.

    - `counters`: of the kinds that the function understands; a task takes the first that counts its kind of targets
    """

    def add(function: Function) -> Function:
        _MEASURED[metric] = (counters, function)
        return function

    return add


@measures("accuracy", Confusion)
def accuracy(counter: Confusion) -> float:
    """Return the share of examples taken for their class."""
    return int(np.trace(counter.array)) / int(counter.array.sum())


@measures("top5_accuracy", TopFive)
def top5_accuracy(counter: TopFive) -> float:
    """Return the share of examples whose class is among the five that a model puts first."""
    right, many = map(int, counter.array)
    return right / many


@measures("balanced_accuracy", Confusion)
def balanced_accuracy(counter: Confusion) -> float:
    """Return the mean over classes of the share of their examples that were taken for them."""
    many = counter.array.sum(axis=1)
    return float(np.mean(np.diag(counter.array)[many > 0] / many[many > 0]))


@measures("macro_f1", Confusion, Hits)
def macro_f1(counter: Confusion | Hits) -> float:
    """Return the mean over classes, or labels, of 2 · right / (2 · right + wrongly there + wrongly missing).

    One that is neither there nor chosen anywhere is left out, as scikit-learn does for classes.
    """
    right, there, missing = counter.outcomes()
    known = right + there + missing > 0
    return float(np.mean(2 * right[known] / (2 * right + there + missing)[known])) if known.any() else 0.0


@measures("mcc", Confusion)
def mcc(counter: Confusion) -> float:
    """Return the correlation of classes and choices (Gorodkin 2004); 0 where one of them is constant."""
    counts = counter.array.astype(np.float64)
    there, chosen, many = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    spread = (many**2 - (there**2).sum()) * (many**2 - (chosen**2).sum())
    return float((np.trace(counts) * many - there @ chosen) / np.sqrt(spread)) if spread > 0 else 0.0


@measures("micro_f1", Hits)
def micro_f1(counter: Hits) -> float:
    """Return 2 · right / (2 · right + wrongly there + wrongly missing), of all labels together."""
    right, there, missing = (int(outcome.sum()) for outcome in counter.outcomes())
    return 2 * right / max(2 * right + there + missing, 1)


@measures("exact_match", Hits)
def exact_match(counter: Hits) -> float:
    """Return the share of examples all of whose labels are right."""
    return int(counter.array[-2]) / int(counter.array[-1])


@measures("rmse", Moments)
def rmse(counter: Moments) -> float:
    """Return the root of the mean squared error."""
    return math.sqrt(float(counter.array[3]) / float(counter.array[0]))


@measures("r2", Moments)
def r2(counter: Moments) -> float:
    """Return 1 − squared errors / squared deviations from the mean; 0 where the numbers are all the same."""
    many, total, squares, errors = map(float, counter.array)
    spread = squares - total**2 / many
    return 1 - errors / spread if spread > 0 else 0.0


_USUAL: Mapping[str, type[Counter]] = {"classes": Confusion, "labels": Hits, "numbers": Moments}


class Meter:
    """Adds up one split for all metrics of a task.

    - `metrics`: those that are measured, where the data are wide enough for them; `facts`: of the data
    """

    def __init__(self, metrics: Sequence[Metric], facts: Facts) -> None:
        usual = _USUAL[facts.targets]
        known = {metric.name: _MEASURED[metric.name] for metric in metrics if facts.width >= metric.least_width}
        self._of = {name: usual if usual in kinds else kinds[0] for name, (kinds, _) in known.items()}
        self._counters = {kind: kind(facts.width) for kind in self._of.values()}

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch."""
        for counter in self._counters.values():
            counter.add(outputs, targets)

    def values(self) -> dict[str, float]:
        """Return metric → value of all that was taken in."""
        return {name: _MEASURED[name][1](self._counters[kind]) for name, kind in self._of.items()}

    def confusion(self) -> tuple[tuple[int, ...], ...] | None:
        """Return how often each class (rows) was taken for each (columns); None where there are no classes, or more
        than `TOLD`."""
        counter = self._counters.get(Confusion)
        return None if counter is None or counter.width > TOLD else tuple(map(tuple, counter.array.tolist()))

    def state(self) -> dict[str, Any]:
        """Return the sums as plain values, which `load` takes up."""
        return {kind.__name__: None if c.sums is None else c.sums.tolist() for kind, c in self._counters.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the sums that `state` told of."""
        for kind, counter in self._counters.items():
            sums = state[kind.__name__]
            if sums is not None:
                array = np.array(sums)  # whole numbers become int64, others float64
                counter.sums = torch.from_numpy(array)
