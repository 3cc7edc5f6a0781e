"""What MLflow is told of a cycle, from its sweep's directory."""

from pathlib import Path

import pytest

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.space import Distribution, Space
from lt_ray.sweep.sweep import Sweep
from lt_ray.tracking.names import ARM_TAG
from lt_ray.tracking.records import Record

CYCLE = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    schedule=(Magnitude(),),
)


@pytest.mark.parametrize(
    ("rates", "arms"),
    [
        ((0.001, 0.002), ["final lr=0.001", "final lr=0.002", "rewind@0 lr=0.001", "rewind@0 lr=0.002"]),
        (
            (0.00123, 0.001234),
            [
                "final lr=0.00123 (training.lr=0.00123)",
                "final lr=0.00123 (training.lr=0.001234)",
                "rewind@0 lr=0.00123 (training.lr=0.00123)",
                "rewind@0 lr=0.00123 (training.lr=0.001234)",
            ],
        ),
    ],
)
def test_an_arm_has_a_tag_of_its_own(rates, arms, tmp_path: Path):
    """Arms whose names would be alike to three digits are told apart in full, and only those."""
    space = Space(
        distributions={
            "magnitude.restart": Distribution(kind="grid", values=("rewind", "final")),
            "magnitude.rewind_epoch": Distribution(kind="grid", values=(0,), when={"magnitude.restart": ("rewind",)}),
            "training.lr": Distribution(kind="grid", values=rates),
        }
    )
    sweep = Sweep(name="alike", cycle=CYCLE, space=space, seeds=2)
    plan = Planner(sweep, Grounds(Facts(rows=100), "data")).plan()
    directory = SweepDirectory(tmp_path / "alike")
    directory.define(plan, sweep.definition("data"))
    record = Record(directory)
    opened = [record.opened(planned, 0.0) for planned in plan.cycles]
    assert sorted({event.tags[ARM_TAG] for event in opened}) == arms
