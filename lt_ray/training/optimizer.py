"""Optimizers and their learning rate, which is a function of the step: nothing of a schedule is carried along."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping

import torch
from torch import nn

from lt_ray.cycle.training import Training


def optimizer(
    training: Training, parameters: Mapping[str, nn.Parameter], undecayed: Collection[str]
) -> torch.optim.Optimizer:
    """Return a fresh fused optimizer of the parameters that take a gradient.

    - `undecayed`: names that decay of `matrices` leaves out
    """
    lr, decay = training.lr, training.weight_decay
    trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    spared = undecayed if training.decayed == "matrices" else ()
    groups: list[dict[str, object]] = [{"params": [p for name, p in trained.items() if name not in spared]}]
    if any(name in spared for name in trained):
        groups.append({"params": [p for name, p in trained.items() if name in spared], "weight_decay": 0.0})
    if training.optimizer == "sgd":
        return _eager(torch.optim.SGD)(groups, lr=lr, momentum=training.momentum, weight_decay=decay, fused=True)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return _eager(kind)(groups, lr=lr, weight_decay=decay, fused=True)


def _eager(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """The class without its guards against torch.compile: the first call of one loads torch._dynamo, 4 s of a core."""
    unguarded = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad", "step")}
    return type(kind.__name__, (kind,), unguarded | {"step": torch.no_grad()(unguarded["step"])})


def rate(training: Training, steps: int, last_epoch: int) -> Callable[[int, int], float] | None:
    """Return (epoch, step) → learning rate of a round whose last epoch is known; None where it stays as it is.

    - `steps`: of an epoch [count]; `last_epoch`: of the round, on round 0's scale [epochs]

    It rises in `warmup` of all steps, each at its end, then stays, falls on a line that reaches 0 after the last, or
    steps down after each milestone.
    """
    if training.lr_schedule == "constant" and training.warmup == 0 and not training.milestones:
        return None
    total = max(1, steps * last_epoch)
    warm = math.ceil(training.warmup * total)

    def lr(epoch: int, step: int) -> float:
        done = epoch * steps + step
        if done < warm:
            return training.lr * (done + 1) / warm
        if training.lr_schedule == "linear":
            return training.lr * (total - done) / (total - warm)
        return training.lr * training.gamma ** sum(epoch >= milestone for milestone in training.milestones)

    return lr
