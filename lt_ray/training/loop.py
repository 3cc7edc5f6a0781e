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

from lt_ray.cycle.metrics import Metric
from lt_ray.cycle.results import Epoch
from lt_ray.errors import DivergedError
from lt_ray.training.batch import Batch
from lt_ray.training.measure import Learnt, Measure, Meter

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
    meter: Meter | None = None
    """What adds up the metrics of those batches"""
    sums: dict[str, Any] | None = None
    """What the meter of an interrupted epoch had added up (`Meter.state`)"""
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
    best_weights: dict[str, Tensor] | None = None
    forward: Callable[[Tensor], Tensor] | None = None
    """Inputs → outputs; None = the model itself"""

    @property
    def outputs(self) -> Callable[[Tensor], Tensor]:
        """Inputs → outputs."""
        return self.model if self.forward is None else self.forward

    def state(self) -> dict[str, Tensor]:
        """Return every tensor of the running training, on the CPU, under names that `restore` understands."""
        tensors: dict[str, Tensor] = {f"model/{name}": p for name, p in self.model.named_parameters()}
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
        for name, parameter in self.model.named_parameters():
            parameter.copy_(tensors[f"model/{name}"])
            prefix = f"optimizer/{name}/"
            slots = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
            if slots:
                # Fused optimizers keep every slot, their step counter too, beside the parameter.
                self.optimizer.state[parameter] = {
                    slot: tensor.to(parameter.device, copy=True) for slot, tensor in slots.items()
                }


def train(
    trainee: Trainee,
    *,
    learnt: Learnt,
    meter: Callable[[], Meter],
    metric: Metric,
    last_epoch: int,
    batches: Callable[[int, int], Iterable[Batch]],
    validate: Callable[[nn.Module], Measure],
    seed_step: Callable[[int, int], None],
    after_step: Callable[[], None],
    patience: int | None,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
    lr_at: Callable[[int, int], float] | None = None,
    gradient_norm: float | None = None,
    before_clipping: Callable[[], None] | None = None,
    accumulation: int = 1,
) -> Iterator[Progress]:
    """Train up to `last_epoch`, yielding the progress after every step and after every finished epoch.

    - `learnt`: the task's loss
    - `meter`: gives one for each epoch; `metric`: the one that decides
    - `batches`: (epoch, first step) → the epoch's batches from that step on
    - `validate`: model → its measure on the validation split
    - `seed_step`: called before each step with (epoch, step); the only source of the step's random draws
    - `after_step`: called after each optimizer step
    - `patience`: stop after so many epochs in a row without a lower validation loss, keeping the weights of the
      lowest; None = never, and no weights are kept aside [epochs]
    - `lr_at`: (epoch, step) → the step's learning rate; None = the optimizer's own
    - `gradient_norm`: norm to which the gradient of all parameters together is clipped; None = never
    - `before_clipping`: called when a step's gradient is whole; what it makes 0 there is not in the norm
    - `accumulation`: parts in which a batch goes through the model one after the other [count]

    After a yield with `step == 0` an epoch has just finished and been validated. Raises `DivergedError` when a loss
    leaves the finite numbers.
    """
    model, optimizer = trainee.model, trainee.optimizer
    model.train()
    while trainee.progress.epoch < last_epoch and not trainee.progress.stopped:
        progress = trainee.progress
        progress.meter = running = meter()
        if progress.sums is not None:
            running.load(progress.sums)
        for batch in batches(progress.epoch, progress.step):
            started = time.perf_counter()
            seed_step(progress.epoch, progress.step)
            if lr_at is not None:
                for group in optimizer.param_groups:
                    group["lr"] = lr_at(progress.epoch, progress.step)
            optimizer.zero_grad(set_to_none=True)
            loss = _backward(trainee, learnt, running, batch, accumulation, device, autocast)
            if gradient_norm is not None:
                if before_clipping is not None:
                    before_clipping()
                nn.utils.clip_grad_norm_(model.parameters(), gradient_norm)
            optimizer.step()
            after_step()
            value = float(loss)
            if not math.isfinite(value):
                raise DivergedError(
                    f"the training loss became {value} in epoch {progress.epoch + 1}, step {progress.step + 1}: "
                    "lower `training.lr`"
                )
            weight = learnt.weight(batch)
            progress.loss += value * weight
            progress.seen += weight
            progress.step += 1
            progress.train_s += time.perf_counter() - started
            yield progress
        _finish_epoch(trainee, running, metric, validate, patience)
        yield trainee.progress


def _backward(
    trainee: Trainee,
    learnt: Learnt,
    meter: Meter,
    batch: Batch,
    parts: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> Tensor:
    """Add a batch's gradient to the parameters', part by part; return its mean loss."""
    whole = learnt.weight(batch)
    losses = []
    for part in batch.parts(parts):
        part = part.to(device)
        with autocast():
            outputs = trainee.outputs(part.inputs)
        loss, weight = learnt.loss(outputs, part), learnt.weight(part)
        if weight < whole:
            loss = loss * (weight / whole)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        losses.append(loss.detach())
        meter.add(outputs, part.targets)
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _finish_epoch(
    trainee: Trainee, meter: Meter, metric: Metric, validate: Callable[[nn.Module], Measure], patience: int | None
) -> None:
    progress = trainee.progress
    started = time.perf_counter()
    validation = validate(trainee.model)
    record = Epoch(
        metric=metric.name,
        best=metric.best,
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
            trainee.best_weights = {n: p.detach().clone() for n, p in trainee.model.named_parameters()}
        trainee.progress.stopped = record.epoch - best.epoch >= patience
