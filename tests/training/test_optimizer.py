"""The learning rate is a function of the step, and decay spares what it is told to."""

import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

from lt_ray.cycle.training import Training
from lt_ray.training.optimizer import optimizer, rate


def rates(training: Training, steps: int, epochs: int) -> list[float]:
    lr = rate(training, steps, epochs)
    assert lr is not None
    return [lr(epoch, step) for epoch in range(epochs) for step in range(steps)]


def test_the_rate_rises_then_falls_on_a_line():
    """Of 10 steps 2 warm up to the highest; the other 8 fall from it by eighths, and the one after the last has 0."""
    training = Training(lr=8.0, lr_schedule="linear", warmup=0.2)
    assert rates(training, 5, 2) == pytest.approx([4, 8, 8, 7, 6, 5, 4, 3, 2, 1])


def test_the_rate_may_stay():
    """A warm-up alone leads to the constant rate, and without one the optimizer's own is left alone."""
    assert rates(Training(lr=8.0, warmup=0.5), 2, 2) == pytest.approx([4, 8, 8, 8])
    assert rate(Training(lr=8.0), 2, 2) is None


def test_the_rate_steps_down_after_each_milestone():
    """He et al.'s schedule: a tenth after the second epoch, a hundredth after the third, warm-up or not."""
    training = Training(lr=100.0, milestones=(2, 3), epochs=4)
    assert rates(training, 2, 4) == pytest.approx([100, 100, 100, 100, 10, 10, 1, 1])
    assert rates(training.model_copy(update={"warmup": 0.25, "gamma": 0.5}), 2, 4)[:5] == pytest.approx(
        [50, 100, 100, 100, 50]
    )


def test_milestones_lie_within_the_epochs():
    """Milestones that no epoch reaches, or that fall, would say a schedule that is not the one that runs."""
    for milestones in ((4,), (3, 2), (2, 2)):
        with pytest.raises(ValueError, match="milestones"):
            Training(epochs=4, milestones=milestones)
    with pytest.raises(ValueError, match="constant"):
        Training(epochs=4, milestones=(2,), lr_schedule="linear")


def test_a_round_of_other_epochs_has_another_line():
    """The line ends at the round's own last epoch, however far the training is run."""
    lr = rate(Training(lr=1.0, lr_schedule="linear"), 10, 3)
    assert lr is not None
    assert lr(0, 0) == 1.0
    assert lr(2, 9) == pytest.approx(1 / 30)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_decay_of_matrices_spares_what_is_named_and_frozen_parameters_are_not_there(name):
    """With no gradient, decay alone moves a matrix, and neither a spared vector nor a frozen matrix."""
    parameters = {part: nn.Parameter(torch.ones(2, 2)) for part in ("matrix", "vector", "frozen")}
    parameters["frozen"].requires_grad_(False)
    training = Training(optimizer=name, lr=0.1, weight_decay=0.5, decayed="matrices")
    made = optimizer(training, parameters, {"vector"})
    for part in ("matrix", "vector"):
        parameters[part].grad = torch.zeros(2, 2)
    made.step()
    moved = {part: not torch.equal(parameter, torch.ones(2, 2)) for part, parameter in parameters.items()}
    assert moved == {"matrix": True, "vector": False, "frozen": False}
    everything = optimizer(training.model_copy(update={"decayed": "all"}), parameters, {"vector"})
    assert len(everything.param_groups) == 1


_STEP = """
import sys
import torch
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import Cnn, Lstm
from lt_ray.cycle.training import Training
from lt_ray.models.model import model_of
from lt_ray.training.optimizer import optimizer
from lt_ray.training.randomness import generators

for settings in (Cnn(embedding=4, filters=2), Lstm(embedding=4, hidden=3)):
    model = model_of(settings, Facts(rows=9))
    module = model.live(model.initial(generators(0, "init")), None, torch.device("cpu"))
    made = optimizer(Training(), dict(module.named_parameters()), frozenset())
    module(torch.tensor([[2, 3, 4]])).sum().backward()
    made.step()
    made.zero_grad()
print("torch._dynamo" in sys.modules)
"""


def test_a_step_loads_no_compiler():
    """Neither making a model nor training it loads torch._dynamo, which costs each process seconds."""
    done = subprocess.run([sys.executable, "-c", _STEP], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_optimizer_steps_as_torchs_own(name):
    """Without its guards an optimizer takes torch's steps, bit for bit, and leaves no gradient."""
    training = Training(optimizer=name, lr=0.1, weight_decay=0.01, momentum=0.9 if name == "sgd" else 0.0)
    theirs_of = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": partial(torch.optim.SGD, momentum=0.9)}
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    pairs = (
        (ours, optimizer(training, {"w": ours}, ())),
        (theirs, theirs_of[name]([theirs], lr=0.1, weight_decay=0.01, fused=True)),
    )
    for weight, made in pairs:
        for _ in range(3):
            made.zero_grad()
            (weight**3).sum().backward()
            made.step()
        made.zero_grad()
        assert weight.grad is None
    assert torch.equal(ours, theirs)
