"""What arms and cycles are called."""

import pytest

from lt_ray.cycle.names import arm_keys, arm_name, cycle_name

FREEZE, THRESHOLD, SPARSITY = "similarity.freeze", "similarity.threshold", "wanda.sparsity"
REINIT = {"magnitude.restart": "random"}
OWN = REINIT | {"magnitude.masks": "own"}
AT_RANDOM = {"magnitude.random_pruning": True}
DRAWN = {"training.lr": 0.00123456, "magnitude.restart": "random", "magnitude.rewind_epoch": None}
OTHERS = {"magnitude.scope": "global", "model.filters": 10, "training.length_batches": False}


@pytest.mark.parametrize(
    ("settings", "seed", "name"),
    [
        ({"magnitude.restart": "rewind", "magnitude.rewind_epoch": "last"}, 1, "rewind@last s1"),
        (DRAWN, 0, "random reinit s0 lr=0.00123"),
        ({"magnitude.rewind_epoch": 2}, None, "rewind@2"),
        (OTHERS, 3, "global no length_batches s3 filters=10"),
        ({}, 0, "s0"),
        ({}, None, ""),
    ],
)
def test_names_begin_with_what_tells_runs_apart(settings, seed, name):
    """A name is the words of the settings, the seed, then the numbers at three digits."""
    assert (arm_name(settings) if seed is None else cycle_name(settings, seed)) == name


def test_arms_are_what_is_crossed_and_draws_are_averaged():
    """Grid keys make the arms; without a grid choices among few do, and numbers that are drawn never."""
    few, many = {"kind": "choice", "values": [1, 2]}, {"kind": "choice", "values": range(50)}
    drawn = {
        "training.lr": {"kind": "uniform", "values": (0, 1)},
        "training.batch_size": {"kind": "integer", "values": (1, 9)},
    }
    crossed = {"magnitude.restart": {"kind": "grid", "values": [1]}}
    assert arm_keys(drawn | crossed | {"model.widths": few}) == ("magnitude.restart",)
    assert arm_keys(drawn | {"model.widths": few, "training.epochs": many}) == ("model.widths",)
    assert arm_keys(drawn) == ()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({FREEZE: True, THRESHOLD: 0.98}, "freeze t=0.98"),
        ({FREEZE: False, THRESHOLD: 0.98}, "t=0.98"),
        ({THRESHOLD: 0.9985, "similarity.stride": 2}, "t=0.9985 stride=2"),
        ({SPARSITY: 0.5, "wanda.pattern": "row"}, "wanda=0.5"),
        ({SPARSITY: None, "wanda.pattern": "2:4"}, "2:4"),
        ({"schedule": "similarity*2 wanda"}, "2×similarity + wanda"),
        ({"schedule": "similarity", THRESHOLD: 1}, "similarity t=1"),
        ({"schedule": ""}, "no pruning"),
        ({"similarity.max_drop": 0.01, "similarity.clusters": "chain"}, "chain max_drop=0.01"),
        ({"wanda.epochs": 0, "training.epochs": 3}, "wanda.epochs=0 epochs=3"),
        ({FREEZE: False}, "no freeze"),
        ({FREEZE: False, "wanda.pattern": "row"}, "no freeze row"),
    ],
)
def test_names_of_encoders_arms_are_short(settings, name):
    """What goes without saying is left out, unless nothing else is said."""
    assert arm_name(settings) == name


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (REINIT, "random reinit"),
        (REINIT | {"magnitude.rewind_epoch": 1}, "random reinit@1"),
        (OWN | {"magnitude.rewind_epoch": None}, "random own masks"),
        ({"magnitude.restart": "rewind", **AT_RANDOM}, "rewind random pruning"),
    ],
)
def test_each_control_has_its_own_name(settings, name):
    """New weights under the ticket's masks, and a network that prunes itself, are two arms by name."""
    assert arm_name(settings) == name


def test_an_arm_whose_masks_are_its_own_says_so():
    """Where only the restart is searched, a network that prunes itself is still no control by name, and a ticket found
    for others bears its task first, in whatever order its settings come."""
    keys = ("magnitude.restart",)
    assert arm_name(OWN | {"training.lr": 0.1}, keys) == "random own masks"
    found = {"magnitude.restart": "rewind", "task.name": "imdb"}
    assert arm_name(found, keys) == arm_name(dict(reversed(found.items())), keys) == "imdb rewind"


@pytest.mark.parametrize("method", ["magnitude", "snip"])
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"restart": "random", "rewind_epoch": 1}, "random reinit@1"),
        ({"rewind_epoch": 1, "restart": "rewind"}, "rewind@1"),
        ({"restart": "random", "masks": "own"}, "random own masks"),
        ({"masks": "own"}, "own masks"),
        ({"exclude": "output.*"}, "output.* whole"),
    ],
)
def test_a_field_says_what_it_is_called_for_every_method_that_has_it(method, fields, name):
    """What magnitude pruning's fields are called, those of another ranking by scores are called, too; masks of a
    network's own are told though nothing searches them."""
    settings = {f"{method}.{field}": value for field, value in fields.items()}
    assert arm_name(settings) == name
    if "masks" in fields:
        assert arm_name(settings, ()) == "own masks"
