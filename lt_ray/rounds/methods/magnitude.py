"""Magnitude pruning: the smallest weights go (Frankle & Carbin 2019)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lt_ray.cycle.prunings import Magnitude
from lt_ray.rounds.methods.method import Context
from lt_ray.rounds.methods.ranking import Ranking
from lt_ray.rounds.start import Start


class MagnitudeMethod(Ranking[Magnitude]):
    """Scores are the trained weights."""

    def scores(self, parent: Start, context: Context) -> Mapping[str, Tensor]:
        """Return the weights."""
        return parent.weights
