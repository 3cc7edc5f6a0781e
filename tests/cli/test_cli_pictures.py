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
def cifar(monkeypatch) -> Script:
    """What sweeps/cifar_lt.py says."""
    said = {}
    monkeypatch.setattr(command, "main", lambda **given: said.update(given))
    monkeypatch.setattr(sys, "argv", ["sweeps/cifar_lt.py"])
    runpy.run_path(str(ROOT / "sweeps" / "cifar_lt.py"), run_name="__main__")
    return Script(said["name"], said["cycle"], said["space"], samples=1, seeds=1, tolerance=0.005)


def test_the_sweep_rewinds_to_four_epochs_and_has_a_control(cifar):
    """ResNet-20 by OpenLTH's settings, one cycle an arm; a rewound ticket goes on from its epoch."""
    sweep = sweep_of(cifar, Options(seeds=1, tolerance=0.005))
    arms = [(p.get("magnitude.restart"), p.get("magnitude.rewind_epoch")) for p in sweep.first_points()]
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
    assert len([cycle for point in sweep.first_points() for cycle in sweep.cycles(point)]) == 5


def test_words_and_pictures_are_not_mixed(cifar):
    """A model of words on pictures is refused, and so is a task of texts for a model of pictures."""
    for more in ({"model": "cnn"}, {"task": "imdb"}):
        with pytest.raises(CycleError, match="takes"):
            sweep_of(cifar, Options(seeds=1, tolerance=0.005, **more))
