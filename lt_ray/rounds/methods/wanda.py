"""Wanda: in each row of the blocks' linear maps, the lowest |weight| · norm of its input go (Sun et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from torch import Tensor

from lt_ray.cycle.identity import digest
from lt_ray.cycle.prunings import Wanda
from lt_ray.errors import CycleError, ModelError
from lt_ray.models import maps
from lt_ray.models.model import Model
from lt_ray.models.survey import WAY_OUT, Survey
from lt_ray.pruning import wanda
from lt_ray.rounds import calibration
from lt_ray.rounds.methods.method import Context, Left, Masking
from lt_ray.rounds.start import Start


class WandaMethod(Masking[Wanda]):
    """Prunes weights of the blocks by |weight| · norm of the input, measured on calibration examples."""

    def touches(self, model: Model[Any]) -> tuple[str, ...]:
        """Return the weights of the blocks' linear maps."""
        return model.linear_names

    def masks(self, parent: Start, context: Context) -> dict[str, Tensor]:
        """Return the parent's masks without the lowest scores of each row."""
        settings, model = self.settings, context.model
        module = model.live(parent.weights, parent.blocks, context.device).eval()
        blocks, forward = model.blocks_of(module), partial(model.forward, module)
        batches = (batch.inputs for batch in context.batches(context.examples(settings.calibration)))
        sparsity = settings.kept_of or settings.sparsity
        if settings.mode == "sequential":
            return calibration.sequential_masks(module, blocks, forward, batches, model.kept, parent.masks, sparsity)
        key = digest({"round": context.parent, "wanda": settings.calibration, "seed": context.seed})[:24]
        norms = context.store.statistics(key)
        if norms is None:
            norms = calibration.input_norms(module, blocks, forward, batches, model.kept)
            context.store.put_statistics(key, norms)
        return calibration.one_pass_masks(module, norms, parent.masks, sparsity)

    def check(self, model: Model[Any], surveyed: Callable[[], Survey]) -> None:
        """Raise `CycleError` where a row has no groups of the pattern's size, and `ModelError` where the blocks or
        their maps are not what it supposes."""
        settings = self.settings
        for name in self.touches(model):
            _, inputs = maps.shape(model.dense, name)
            if settings.kept_of is not None and inputs % settings.kept_of[1]:
                raise CycleError(
                    "`wanda.pattern` N:M needs rows of a multiple of M inputs, but got "
                    f"{settings.pattern} and {inputs} inputs in {name}: take another pattern, or `row`"
                )
        for name, kind in model.unknown_maps(in_blocks=True):
            raise ModelError(
                "`wanda` needs blocks whose weights are linear maps of a known kind, but the model's "
                f"{name} ({kind}) is none: {WAY_OUT}"
            )
        survey = surveyed()
        survey.check_blocks()
        survey.check_maps()
        if settings.mode == "sequential":
            survey.check_chain()

    def leaves(self, model: Model[Any], before: Left, counted: Collection[str]) -> Left:
        """Return what it leaves of rows that nothing pruned before; of others each row has its own number."""
        names, counts = self.touches(model), before.counts
        if counts is None or any(counts[name] < model.sizes[name] for name in names):
            return super().leaves(model, before, counted)
        return before.without({name: self._gone(*maps.shape(model.dense, name)) for name in names}, counted)

    def _gone(self, rows: int, inputs: int) -> int:
        if self.settings.kept_of is not None:
            n, m = self.settings.kept_of
            return rows * inputs // m * (m - n)
        return rows * wanda.removed_count(inputs, self.settings.sparsity)
