"""Batches that count by something else than their examples, as documents do by their tokens."""

import contextlib
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_ray.cycle.metrics import METRICS
from lt_ray.cycle.training import Training
from lt_ray.pruning.masks import ZeroPruned
from lt_ray.training.batch import Batch
from lt_ray.training.loop import Progress, Recipe, Trainee, train
from lt_ray.training.measure import Measure, measure

CPU = torch.device("cpu")


class OfKept:
    """Squared error, a mean over the examples whose first input is above 0; those alone count."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        kept = batch.inputs[:, 0] > 0
        return F.mse_loss(outputs[kept], batch.targets[kept])

    def weight(self, batch: Batch) -> float:
        return float((batch.inputs[:, 0] > 0).sum())


class Nothing:
    """A meter that measures nothing."""

    def add(self, outputs: Tensor, targets: Tensor) -> None: ...

    def values(self) -> dict[str, float]:
        return {}

    def confusion(self) -> None: ...

    def state(self) -> dict[str, object]:
        return {}

    def load(self, state: object) -> None: ...


def batches(sizes: tuple[int, ...]) -> list[Batch]:
    """Batches of which a third to a half of the examples counts, at least one in each run of four."""
    drawn = torch.Generator().manual_seed(0)
    made = []
    for size in sizes:
        inputs = torch.randn(size, 3, generator=drawn)
        inputs[:, 0] = torch.where(torch.arange(size) % 4 < 1 + (torch.arange(size) // 4) % 2, 1.0, -1.0)
        made.append(Batch(inputs, torch.randn(size, 1, generator=drawn)))
    return made


def whole(many: list[Batch]) -> Batch:
    return Batch(torch.cat([batch.inputs for batch in many]), torch.cat([batch.targets for batch in many]))


@torch.no_grad()
def test_a_split_has_the_weighted_mean_of_its_batches():
    """The loss of a split in batches of any size is that of the split as one batch."""
    model, learnt, many = nn.Linear(3, 1), OfKept(), batches((4, 8, 20))
    measured = measure(model, many, CPU, model, learnt, Nothing())
    together = learnt.loss(model(whole(many).inputs), whole(many))
    assert measured.loss == pytest.approx(float(together), rel=1e-6)
    unweighted = sum(float(learnt.loss(model(batch.inputs), batch)) for batch in many) / len(many)
    assert abs(measured.loss - unweighted) > 1e-4


def trained(accumulation: int) -> tuple[dict[str, Tensor], float]:
    """Weights after an epoch of two steps, and the epoch's mean loss."""
    model, learnt = nn.Linear(3, 1), OfKept()
    with torch.no_grad():
        model.weight.fill_(0.1)
        model.bias.zero_()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainee = Trainee(model, optimizer, Progress(epoch=0), model, dict(model.named_parameters()))
    recipe = Recipe(
        training=Training(accumulation=accumulation), learnt=learnt, meter=Nothing, metric=METRICS["rmse"],
        batches=lambda epoch, step: iter(batches((24, 12))[step:]), validate=partial(Measure, 0.0, {"rmse": 0.0}),
        seed=0, zeros=ZeroPruned({}, {}), device=CPU, autocast=contextlib.nullcontext, lr_at=None,
    )  # fmt: skip
    for _ in train(trainee, recipe, 1):
        pass
    return {name: p.detach().clone() for name, p in model.named_parameters()}, trainee.progress.history[-1].train_loss


@pytest.mark.parametrize("accumulation", [2, 3])
def test_a_step_in_parts_is_the_step_of_the_whole(accumulation):
    """Parts count by their weight, so that they add up to the whole batch's gradient and loss."""
    expected, loss = trained(1)
    found, told = trained(accumulation)
    assert told == pytest.approx(loss, rel=1e-5)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)
