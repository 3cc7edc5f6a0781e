"""SNIP: what the loss of the untrained network hardly depends on goes (Lee et al. 2019, arXiv:1810.02340)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from lt_ray.cycle.prunings import Snip
from lt_ray.pruning.masks import masked
from lt_ray.rounds.methods.method import Context
from lt_ray.rounds.methods.ranking import Ranking
from lt_ray.rounds.start import Start


class SnipMethod(Ranking[Snip]):
    """Scores are |weight · gradient| of the loss at the initial weights, on calibration examples of train.

    Source: Lee et al. 2019, eq. 4 and 5, whose common factor ranks nothing. Differs: weights that earlier prunings
    took are 0 when the gradient is taken, dropout is off, and the examples are drawn once a seed. Batch norms normalise
    by the batch, as in training: an untrained network has no statistics.
    """

    def scores(self, parent: Start, context: Context) -> Mapping[str, Tensor]:
        """Return the scores, float32 on the CPU."""
        model, data = context.model, context.data
        initial = masked(model.cut(context.initial(), parent.blocks), parent.masks)
        module = model.live(initial, parent.blocks, context.device).eval()
        for norm in (child for child in module.modules() if isinstance(child, _BatchNorm)):
            norm.train()
        with torch.backends.cudnn.flags(enabled=False):  # whose recurrent layers have gradients in training alone
            for batch in context.batches(context.examples(self.settings.calibration)):
                loss = data.loss(model.forward(module, batch.inputs), batch) * data.weight(batch)
                loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        return {
            name: torch.zeros(p.shape) if p.grad is None else (p.detach() * p.grad).cpu()
            for name, p in module.named_parameters()
        }
