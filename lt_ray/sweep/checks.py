"""What is wrong with a sweep's cycles on their models, told before anything runs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.identity import canonical
from lt_ray.models import survey
from lt_ray.models.model import Model, model_of
from lt_ray.models.pretrained import Base
from lt_ray.rounds.methods.method import method_of
from lt_ray.sweep.sweep import Point, Sweep


class Models:
    """The models of a sweep's cycles, each built and surveyed once.

    - `facts`: what the data tell; `base`: what an encoder is made of
    """

    def __init__(self, facts: Facts, base: Base | None) -> None:
        self._facts, self._base = facts, base
        self._models: dict[str, Model[Any]] = {}
        self._survey = functools.cache(survey.survey)

    def of(self, cycle: Cycle) -> Model[Any]:
        """Return a cycle's model; equal ones are one."""
        key = canonical(cycle.model.model_dump(mode="json"))
        if key not in self._models:
            self._models[key] = model_of(cycle.model, self._facts, self._base)
        return self._models[key]

    def check(self, cycle: Cycle) -> None:
        """Raise `CycleError` or `ModelError` where a cycle's prunings do not suit its model."""
        model = self.of(cycle)
        for pruning in cycle.schedule:
            method_of(pruning).check(model, lambda: self._survey(model))


def check(sweep: Sweep, points: Iterable[Point], base: Base | None) -> None:
    """Raise `CycleError` or `ModelError` for what is wrong in these points' cycles, whatever the data are.

    No name of a parameter and no width of a block depends on texts; of other data, the plan itself is what tells.
    """
    if sweep.cycle.model.inputs != "text":
        return
    models = Models(Facts(rows=2), base)  # the unknown word and the padding
    for point in points:
        cycle = sweep.cycles(point)[0]
        models.check(cycle)
        if cycle.takes_tickets:
            models.check(cycle.origin)
