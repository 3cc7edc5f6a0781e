"""`--toy` and `--task` of a sweep of pictures."""

import runpy
import sys
from pathlib import Path

import pytest

from lt_ray.cli import main as command
from lt_ray.cli.definition import sweep_of
from lt_ray.cli.options import Options, Script
from lt_ray.errors import CycleError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def said(monkeypatch):
    """What a script of sweeps/ says, by its name."""

    def of(name: str) -> Script:
        given = {}
        monkeypatch.setattr(command, "main", lambda **words: given.update(words))
        monkeypatch.setattr(sys, "argv", [f"sweeps/{name}.py"])
        runpy.run_path(str(ROOT / "sweeps" / f"{name}.py"), run_name="__main__")
        return Script(given["name"], given["cycle"], given["space"], samples=1, seeds=1, tolerance=0.005)

    return of


@pytest.fixture
def cifar(said) -> Script:
    """What sweeps/cifar_lt.py says."""
    return said("cifar_lt")


def test_the_logs_cells_of_a_resnet(said):
    """ResNet-152 on ImageNet by the logs' settings, 16 cells; `--toy` asks them of a small one on built-in pictures."""
    script = said("imagenet_deeparc")
    sweep = sweep_of(script, Options(seeds=1, tolerance=0.005))
    assert len(sweep.first_points) == 2 * 2 * 2 * 2
    assert (sweep.cycle.task.name, sweep.cycle.model.path) == ("imagenet", "microsoft/resnet-152")
    assert {(step.features, step.epochs) for step in sweep.cycle.schedule} == {("flattened", 3)}
    toy = sweep_of(script, Options(seeds=1, tolerance=0.005, toy=True))
    assert (toy.cycle.task.name, toy.cycle.model.path) == ("toy_images", "toy")
    other = sweep_of(script, Options(seeds=1, tolerance=0.005, model="microsoft/resnet-50"))
    assert (other.cycle.model.name, other.cycle.model.path) == ("resnet", "microsoft/resnet-50")


def test_the_sweep_rewinds_to_four_epochs_and_has_a_control(cifar):
    """ResNet-20 by OpenLTH's settings, one cycle an arm; a rewound ticket goes on from its epoch."""
    sweep = sweep_of(cifar, Options(seeds=1, tolerance=0.005))
    arms = [(p.get("magnitude.restart"), p.get("magnitude.rewind_epoch")) for p in sweep.first_points]
    assert sorted(map(str, arms)) == sorted(
        map(str, [("random", None), *(("rewind", epoch) for epoch in (0, 1, 5, 10))])
    )
    training = sweep.cycle.training
    assert (training.milestones, training.epochs, training.lr, training.momentum) == ((80, 120), 160, 0.1, 0.9)
    assert {step.rewind_budget for step in sweep.cycle.schedule} == {"resume"}


def test_the_toy_sweep_has_pictures_and_every_arm(cifar):
    """`--toy` takes the built-in pictures and a small network, with the same five arms in fewer epochs and rounds."""
    sweep = sweep_of(cifar, Options(seeds=1, tolerance=0.005, toy=True))
    assert (sweep.cycle.task.name, sweep.cycle.model.depth, sweep.cycle.rounds) == ("toy_images", 8, 4)
    assert max(sweep.cycle.training.milestones) < sweep.cycle.training.epochs <= 12
    assert len([cycle for point in sweep.first_points for cycle in sweep.cycles(point)]) == 5


def test_words_and_pictures_are_not_mixed(cifar):
    """A model of words on pictures is refused, and so is a task of texts for a model of pictures."""
    for more in ({"model": "cnn"}, {"task": "imdb"}):
        with pytest.raises(CycleError, match="takes"):
            sweep_of(cifar, Options(seeds=1, tolerance=0.005, **more))
