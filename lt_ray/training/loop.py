"""The training loop: a generator that can be stopped after any step and taken up again, bit for bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lt_ray.cycle.metrics import Metric
from lt_ray.cycle.results import Epoch
from lt_ray.cycle.training import Training
from lt_ray.errors import DivergedError
from lt_ray.pruning.masks import ZeroPruned
from lt_ray.training.batch import Batch
from lt_ray.training.measure import Learnt, Measure, Metering
from lt_ray.training.randomness import seed_step

Optimizer = torch.optim.Optimizer


@dataclass
class Progress:
    """Where a training stands: everything that is not a weight or an optimizer's moment."""

    epoch: int
    """Epochs finished, on round 0's scale [count]"""
    step: int = 0
    """Steps finished of the epoch after that [count]"""
    loss: float = 0.0
    """Weighted sum over the batches of the running epoch [nats]"""
    seen: float = 0.0
    """Weight of those batches"""
    meter: Metering | None = None
    """What adds up the metrics of those batches"""
    sums: dict[str, Any] | None = None
    """What the meter of an interrupted epoch had added up (`Metering.state`)"""
    train_s: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    stopped: bool = False
    """Early stopping has ended the training"""

    @property
    def best(self) -> Epoch | None:
        """The finished epoch with the lowest validation loss; the earlier one of two."""
        return min(self.history, key=lambda epoch: epoch.val_loss, default=None)

    def dumps(self) -> str:
        """Return the progress as JSON; floats keep every bit."""
        sums = self.sums if self.meter is None else self.meter.state()
        tree = {**vars(self), "meter": None, "sums": sums, "history": [epoch.model_dump() for epoch in self.history]}
        return json.dumps(tree)

    @classmethod
    def loads(cls, text: str) -> Progress:
        """Return the progress that `dumps` wrote."""
        tree = json.loads(text)
        return cls(**(tree | {"history": [Epoch(**epoch) for epoch in tree["history"]]}))


@dataclass
class Trainee:
    """What a training changes: the live model, its optimizer, the progress, and the best weights so far."""

    model: nn.Module
    optimizer: Optimizer
    progress: Progress
    forward: Callable[[Tensor], Tensor]
    """Inputs → outputs"""
    live: Mapping[str, Tensor]
    """The tensors of the model's state, which training writes to"""
    best_weights: dict[str, Tensor] | None = None
    """A model's state, as all that is called weights here: its buffers, such as a batch norm's statistics, too"""

    def state(self) -> dict[str, Tensor]:
        """Return every tensor of the running training, on the CPU, under names that `restore` understands."""
        tensors: dict[str, Tensor] = {f"model/{name}": tensor for name, tensor in self.live.items()}
        for name, parameter in self.model.named_parameters():
            for slot, value in self.optimizer.state[parameter].items():
                if value is not None:
                    tensors[f"optimizer/{name}/{slot}"] = value
        tensors |= {f"best/{name}": weight for name, weight in (self.best_weights or {}).items()}
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], progress: Progress) -> None:
        """Take up the training that `state` and `Progress.dumps` describe."""
        self.progress = progress
        self.best_weights = {
            name.removeprefix("best/"): t for name, t in tensors.items() if name.startswith("best/")
        } or None
        for name, tensor in self.live.items():
            tensor.copy_(tensors[f"model/{name}"])
        for name, parameter in self.model.named_parameters():
            prefix = f"optimizer/{name}/"
            slots = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
            if slots:
                # Fused optimizers keep every slot, their step counter too, beside the parameter.
                self.optimizer.state[parameter] = {
                    slot: value.to(parameter.device, copy=True) for slot, value in slots.items()
                }


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that says how one training runs, but for the model."""

    training: Training
    learnt: Learnt
    """The task's loss"""
    meter: Callable[[], Metering]
    """Gives what adds up an epoch"""
    metric: Metric
    """The one that decides"""
    batches: Callable[[int, int], Iterable[Batch]]
    """(epoch, first step) → the epoch's batches from that step on"""
    validate: Callable[[], Measure]
    """Gives the model's measure on the validation split"""
    seed: int
    """Of the cycle: with epoch and step, the only source of a step's random draws"""
    zeros: ZeroPruned
    """Keeps pruned weights at 0 after each step, and out of the norm to which a gradient is clipped"""
    device: torch.device
    autocast: Callable[[], AbstractContextManager[object]]
    """Gives the context of a forward pass"""
    lr_at: Callable[[int, int], float] | None
    """(epoch, step) → the step's learning rate; None = the optimizer's own"""


def train(trainee: Trainee, recipe: Recipe, last_epoch: int) -> Iterator[Progress]:
    """Train up to `last_epoch`, yielding the progress after every step and after every finished epoch.

    After a yield with `step == 0` an epoch has just finished and been validated. Raises `DivergedError` when a loss
    leaves the finite numbers.
    """
    _train_mode(trainee.model)
    while trainee.progress.epoch < last_epoch and not trainee.progress.stopped:
        progress = trainee.progress
        progress.meter = meter = recipe.meter()
        if progress.sums is not None:
            meter.load(progress.sums)
        for batch in recipe.batches(progress.epoch, progress.step):
            started = time.perf_counter()
            loss, weight = float(_step(trainee, recipe, meter, batch)), recipe.learnt.weight(batch)
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the training loss became {loss} in epoch {progress.epoch + 1}, step {progress.step + 1}: "
                    "lower `training.lr`"
                )
            progress.loss += loss * weight
            progress.seen += weight
            progress.step += 1
            progress.train_s += time.perf_counter() - started
            yield progress
        _finish_epoch(trainee, recipe, meter)
        yield trainee.progress


def _train_mode(model: nn.Module) -> None:
    """Put a model into training mode, but for the batch norms of frozen blocks, whose statistics stay as they are."""
    model.train()
    for block in model.modules():
        parameters = list(block.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            for child in block.modules():
                if isinstance(child, _BatchNorm):
                    child.eval()


def _step(trainee: Trainee, recipe: Recipe, meter: Metering, batch: Batch) -> Tensor:
    """Take one optimizer step; return the batch's mean loss."""
    progress, optimizer = trainee.progress, trainee.optimizer
    seed_step(recipe.seed, progress.epoch, progress.step)
    if recipe.lr_at is not None:
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_at(progress.epoch, progress.step)
    optimizer.zero_grad(set_to_none=True)
    loss = _backward(trainee, recipe, meter, batch)
    if recipe.training.gradient_norm is not None:
        recipe.zeros.gradients()
        nn.utils.clip_grad_norm_(trainee.model.parameters(), recipe.training.gradient_norm)
    optimizer.step()
    recipe.zeros()
    return loss


def _backward(trainee: Trainee, recipe: Recipe, meter: Metering, batch: Batch) -> Tensor:
    """Add a batch's gradient to the parameters', part by part; return its mean loss."""
    learnt, whole = recipe.learnt, recipe.learnt.weight(batch)
    losses = []
    for part in batch.parts(recipe.training.accumulation):
        part = part.to(recipe.device)
        with recipe.autocast():
            outputs = trainee.forward(part.inputs)
        loss, weight = learnt.loss(outputs, part), learnt.weight(part)
        if weight < whole:
            loss = loss * (weight / whole)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        losses.append(loss.detach())
        meter.add(outputs, part.targets)
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _finish_epoch(trainee: Trainee, recipe: Recipe, meter: Metering) -> None:
    progress, patience = trainee.progress, recipe.training.patience
    started = time.perf_counter()
    validation = recipe.validate()
    record = Epoch(
        metric=recipe.metric.name,
        best=recipe.metric.best,
        epoch=progress.epoch + 1,
        train_loss=progress.loss / progress.seen,
        val_loss=validation.loss,
        train_s=progress.train_s,
        eval_s=time.perf_counter() - started,
        finished_at=time.time(),
        **{f"train_{name}": value for name, value in meter.values().items()},
        **{f"val_{name}": value for name, value in validation.values.items()},
    )
    history = [*progress.history, record]
    trainee.progress = Progress(epoch=record.epoch, history=history)
    if patience is not None:
        best = trainee.progress.best
        assert best is not None
        if best is record:
            trainee.best_weights = {n: tensor.detach().clone() for n, tensor in trainee.live.items()}
        trainee.progress.stopped = record.epoch - best.epoch >= patience
