"""The contract of a method: what prunes a model between two rounds.

A method is one class: it says which parameters it may touch, and prunes a parent's model. All else has a default: what
must hold before anything runs, and what it will leave as far as that is known. Its settings name the class
(`PruningSettings.implementation`), and `PRUNINGS` has the settings: nothing else of lt_ray names a method.

Most methods prune weights one by one, so they say which masks stay (`Masking`); many of those rank weights by a score
(`ranking.Ranking`) and say no more than that. What the kept weights become is no part of a method: settings that are
`Restarting` get rewinding, re-initialisation and both controls.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lt_ray.cycle.kinds import resolved
from lt_ray.cycle.prunings import PruningSettings
from lt_ray.cycle.results import Measurement
from lt_ray.models.model import Model
from lt_ray.models.survey import Survey
from lt_ray.pruning import magnitude
from lt_ray.pruning.masks import masked
from lt_ray.rounds.start import Start
from lt_ray.store.store import RoundStore
from lt_ray.tasks.task import Data
from lt_ray.training.batch import Batch
from lt_ray.training.randomness import generator, generators

P = TypeVar("P", bound=PruningSettings)
Integers = npt.NDArray[np.int64]
BATCH = 64
"""Calibration examples at a time where what is measured does not depend on it [count]"""


@dataclass(frozen=True)
class Context:
    """What a method has besides its parent's model.

    - `parent`: key of the finished round whose model is pruned
    - `model`, `data`: of the cycle; calibration examples are of train alone
    - `seed`: of the cycle; `index`: of the round [count]
    - `store`: keeps what was measured of a model (`statistics`), for other prunings of it
    - `initial`: gives the weights that round 0 began with
    - `earlier`: gives what the rounds before measured, the latest first
    - `counts`: of random pruning, tensor → how many weights its ticket keeps [count]
    """

    parent: str
    model: Model[Any]
    data: Data
    seed: int
    index: int
    store: RoundStore
    device: torch.device
    initial: Callable[[], Mapping[str, Tensor]]
    earlier: Callable[[], Sequence[Measurement]]
    counts: Mapping[str, int] | None = None

    def examples(self, count: int) -> Integers:
        """Return calibration examples, at most `count`, drawn of train from the seed."""
        return calibrating(self.data, self.seed, count)

    def batches(self, examples: Integers, size: int = BATCH) -> Iterator[Batch]:
        """Yield examples of train on the device."""
        for batch in self.data.some("train", examples, size):
            yield batch.to(self.device)


@dataclass(frozen=True)
class Left:
    """What is left of a model, as far as it is known before anything is computed; None where it is not [count]."""

    counts: Mapping[str, int] | None
    """Parameter → weights that are not pruned"""
    remaining: int | None
    """Prunable weights that are not pruned, where no two that are ranked are equal"""
    parameters: int | None
    nonzero: int | None
    """Parameters that are not pruned"""

    def without(self, gone: Mapping[str, int], counted: Collection[str]) -> Left:
        """Return what is left once `gone` weights of each parameter are pruned.

        - `counted`: the prunable parameters
        """
        assert self.counts is not None
        counts = {name: count - gone.get(name, 0) for name, count in self.counts.items()}
        return Left(counts, sum(counts[name] for name in counted), self.parameters, sum(counts.values()))


class Method(Generic[P]):
    """One pruning.

    - `settings`: its fields
    """

    def __init__(self, settings: P) -> None:
        self.settings = settings

    def touches(self, model: Model[Any]) -> tuple[str, ...]:
        """Return the parameters of the dense model that it may touch."""
        raise NotImplementedError

    def prune(self, parent: Start, context: Context) -> Start:
        """Return a parent's model with fewer weights or blocks, the kept weights as they were trained.

        - `parent`: where a round starts that goes on with that model as it is
        """
        raise NotImplementedError

    def check(self, model: Model[Any], surveyed: Callable[[], Survey]) -> None:
        """Raise `CycleError` or `ModelError` where a model is not what it supposes.

        - `surveyed`: gives the `survey` of the model's blocks
        """

    def check_data(self, data: Data, seed: int) -> None:
        """Raise `CycleError` where the calibration examples of a cycle are not enough, whatever the model."""

    def leaves(self, model: Model[Any], before: Left, counted: Collection[str]) -> Left:
        """Return what it will leave of a model; unless said otherwise that depends on the weights.

        - `counted`: the prunable parameters of the cycle
        """
        return Left(None, None, None if self.settings.removes_blocks else before.parameters, None)


class Masking(Method[P]):
    """A method that prunes weights one by one."""

    def masks(self, parent: Start, context: Context) -> dict[str, Tensor]:
        """Return masks within the parent's."""
        raise NotImplementedError

    def prune(self, parent: Start, context: Context) -> Start:
        """Return the parent's model under smaller masks: its own, or random ones with a ticket's counts."""
        if context.counts is None:
            masks = self.masks(parent, context)
        else:
            drawn = generators(context.seed, "random pruning", context.index)
            masks = magnitude.at_random(parent.masks, context.counts, drawn)
        return replace(parent, weights=masked(parent.weights, masks), masks=masks)


def method_of(settings: PruningSettings) -> Method[Any]:
    """Return the method that settings describe."""
    method = resolved(settings.implementation)(settings)
    assert isinstance(method, Method)
    return method


def calibrating(data: Data, seed: int, count: int) -> Integers:
    """Return the examples of train on which a cycle calibrates, at most `count`."""
    drawn = torch.randperm(data.examples("train"), generator=generator(seed, "calibration"))
    chosen: Integers = drawn[:count].numpy()
    return chosen
