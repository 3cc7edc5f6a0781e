"""Ranking: of the remaining weights, those with the smallest scores go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from torch import Tensor

from lt_ray.cycle.prunings import Ranked
from lt_ray.errors import CycleError, ModelError, nearest
from lt_ray.models.model import Model
from lt_ray.models.survey import Survey
from lt_ray.pruning import magnitude
from lt_ray.rounds.methods.method import Context, Left, Masking
from lt_ray.rounds.start import Start, matches

R = TypeVar("R", bound=Ranked)
_MOST_NAMED = 40
"""Parameters that a message lists [count]"""


class Ranking(Masking[R]):
    """A method that removes the weights with the smallest scores; it defines the score alone."""

    def scores(self, parent: Start, context: Context) -> Mapping[str, Tensor]:
        """Return parameter → scores of its shape; the smallest magnitudes of those under the parent's masks go."""
        raise NotImplementedError

    def touches(self, model: Model[Any]) -> tuple[str, ...]:
        """Return all parameters, or the weights of layers, but those that are excluded."""
        names = model.weight_names if self.settings.parameters == "weights" else tuple(model.sizes)
        return tuple(name for name in names if not matches(name, self.settings.exclude))

    def masks(self, parent: Start, context: Context) -> dict[str, Tensor]:
        """Return the parent's masks without the smallest scores."""
        settings, model = self.settings, context.model
        return magnitude.prune(
            self.scores(parent, context),
            parent.masks,
            settings.fraction,
            scope=settings.scope,
            rounding=settings.rounding,
            names=model.cut(dict.fromkeys(self.touches(model)), parent.blocks),
            fractions=model.cut(self._fractions(model), parent.blocks),
        )

    def check(self, model: Model[Any], surveyed: Callable[[], Survey]) -> None:
        """Raise `CycleError` for a pattern that names no parameter or leaves nothing to prune, and `ModelError` for
        weights in layers of an unknown kind."""
        settings, names = self.settings, list(model.sizes)
        for field, patterns in (("exclude", settings.exclude), ("shared_start", settings.shared_start)):
            for pattern in patterns:
                if not any(matches(name, [pattern]) for name in names):
                    raise CycleError(
                        f"`{settings.method}.{field}` must name parameters of the model, but got {pattern!r}."
                        f"{nearest(pattern, names) or ' There are: ' + ', '.join(names[:_MOST_NAMED]) + '.'}"
                    )
        if not self.touches(model):
            raise CycleError(
                f"`{settings.method}.exclude` must leave something to prune, but got {', '.join(settings.exclude)}"
            )
        for name, kind in model.unknown_maps() if settings.parameters == "weights" else ():
            raise ModelError(
                f"`{settings.method}.parameters: weights` needs weights in layers of a known kind, but the model's "
                f"{name or 'own parameters'} ({kind}) is none: take `all`, or name another model."
            )

    def leaves(self, model: Model[Any], before: Left, counted: Collection[str]) -> Left:
        """Return what it leaves where no two scores are equal: of each tensor, or of all that are ranked together."""
        settings, names = self.settings, self.touches(model)
        if settings.scope == "global" and before.remaining is not None and set(names) == set(counted):
            gone = magnitude.removed_count(before.remaining, settings.fraction, settings.rounding)
            nonzero = None if before.nonzero is None else before.nonzero - gone
            return Left(None, before.remaining - gone, before.parameters, nonzero)
        if settings.scope == "global" or before.counts is None:
            return super().leaves(model, before, counted)
        shares, counts = self._fractions(model), before.counts
        removed = {
            n: magnitude.removed_count(counts[n], shares.get(n, settings.fraction), settings.rounding) for n in names
        }
        return before.without(removed, counted)

    def _fractions(self, model: Model[Any]) -> dict[str, float]:
        """The parameters of which another share than `fraction` is removed, with that share."""
        share = self.settings.output_fraction
        return {} if share is None else dict.fromkeys(model.output_names, share)
