"""How two definitions of a sweep differ: what makes a used name another sweep's."""

import json

import pytest

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.identity import canonical
from lt_ray.cycle.prunings import Magnitude
from lt_ray.sweep.difference import difference
from lt_ray.sweep.sweep import Sweep


def definition(**settings) -> dict:
    cycle = Cycle(schedule=(Magnitude(),) * 2).with_settings(settings)
    return json.loads(canonical(Sweep(name="s", cycle=cycle).definition("0" * 64)))


def without(tree: dict, *path) -> dict:
    """The definition as an older lt_ray wrote it, which did not know one field."""
    *groups, name = path
    tree = json.loads(json.dumps(tree))
    groups = [tree["cycle"][groups[0]]] if groups != ["schedule"] else tree["cycle"]["schedule"]
    for group in groups:
        del group[name]
    return tree


@pytest.mark.parametrize(
    ("path", "setting", "says"),
    [
        (("training", "precision"), {"training.precision": "bfloat16"}, 'cycle.training.precision: nothing there, "bf'),
        (("model", "dropout"), {"model.dropout": 0.1}, "cycle.model.dropout: nothing there, 0.1 here"),
        (("task", "data_seed"), {"task.data_seed": 1}, "cycle.task.data_seed: nothing there, 1 here"),
        (("schedule", "exclude"), {"magnitude.exclude": ["*.bias"]}, 'magnitude.exclude: nothing there, ["*.bias"] he'),
        (("schedule", "scope"), {"magnitude.scope": "global"}, 'magnitude.scope: nothing there, "global" here'),
    ],
)
def test_a_field_that_came_later_makes_no_other_sweep_by_its_default(path, setting, says):
    """A sweep that an older lt_ray began goes on: what that one did is what a new field's default does; another value
    of it is another sweep."""
    assert list(difference(without(definition(), *path), definition())) == []
    (line,) = difference(without(definition(), *path), definition(**setting))
    assert line.startswith(says)


def test_a_field_that_both_have_differs_also_where_one_is_the_default():
    """The default of one definition against another value of the other is a difference, whichever is the older one."""
    changed = definition(**{"training.lr": 0.5, "magnitude.scope": "global"})
    for before, after in ((definition(), changed), (changed, definition())):
        assert len(list(difference(before, after))) == 2
