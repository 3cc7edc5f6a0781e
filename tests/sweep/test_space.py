"""The search space: every broken rule is one line that names file, key, rule and value."""

from pathlib import Path

import pytest

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.prunings import Magnitude, Similarity, Wanda
from lt_ray.cycle.tasks import Toy
from lt_ray.errors import SpaceError
from lt_ray.sweep.space import Space, read

ROOT = Path(__file__).parents[2]
CYCLE = Cycle(schedule=(Magnitude(),) * 2)
ENCODER = Cycle(model=Encoder(), schedule=(Similarity(), Wanda()))


def space_of(tmp_path: Path, text: str) -> tuple[Space, dict]:
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return read(path, CYCLE)


def test_every_shipped_space_can_be_read():
    """The files in search_spaces/ hold fields of a cycle only."""
    paths = sorted((ROOT / "search_spaces").glob("*.yaml"))
    assert len(paths) >= 1
    for path in paths:
        of_blocks = "similarity." in path.read_text() or "wanda." in path.read_text()
        cycle = ENCODER if of_blocks else CYCLE.model_copy(update={"source": Toy(data_seed=1)})
        space, fixed = read(path, cycle)
        assert list(space.points(2, 0))
        assert len(space.distributions) + len(fixed) >= 2


def test_a_pattern_is_no_number_of_seconds(tmp_path):
    """`2:4` is text, as written, in a space; numbers stay numbers."""
    path = tmp_path / "space.yaml"
    path.write_text("wanda.pattern: {grid: [row, 2:4]}\nwanda.sparsity: {grid: [0.5, 1e-1, .25]}\nwanda.epochs: 10\n")
    space, fixed = read(path, ENCODER)
    assert space.distributions["wanda.pattern"].values == ("row", "2:4")
    assert [float(value) for value in space.distributions["wanda.sparsity"].values] == [0.5, 0.1, 0.25]
    assert fixed == {"wanda.epochs": 10}


def test_grids_are_crossed_and_draws_meet_every_grid_point(tmp_path):
    """Two samples of two grids of two and three make 12 points, each sample's draw at all six combinations."""
    text = "training.lr: {log_uniform: [1e-4, 1e-2]}\nmagnitude.restart: {grid: [rewind, random]}\n"
    space, fixed = space_of(tmp_path, text + "magnitude.fraction: {grid: [0.1, 0.2, 0.3]}\ntraining.epochs: 7\n")
    points = list(space.points(samples=2, seed=0))
    assert fixed == {"training.epochs": 7}
    assert len(points) == 12
    assert len({point["training.lr"] for point in points}) == 2
    assert all(1e-4 <= point["training.lr"] < 1e-2 for point in points)
    assert len({tuple(point.values()) for point in points}) == 12


def test_more_samples_leave_the_first_ones_as_they_were(tmp_path):
    """A draw depends on seed, sample and key alone, so neither more samples nor another key changes it."""
    space, _ = space_of(tmp_path, "training.lr: {log_uniform: [1e-4, 1e-2]}")
    wider, _ = space_of(tmp_path, "model.dropout: {uniform: [0.1, 0.9]}\ntraining.lr: {log_uniform: [1e-4, 1e-2]}")
    few, many = list(space.points(3, 0)), list(space.points(9, 0))
    assert many[:3] == few
    assert [point["training.lr"] for point in wider.points(3, 0)] == [point["training.lr"] for point in few]
    assert list(space.points(3, 1)) != few


def test_log_uniform_draws_are_uniform_in_the_logarithm(tmp_path):
    """Half of many draws lie below the geometric mean of the bounds."""
    space, _ = space_of(tmp_path, "training.lr: {log_uniform: [0.0001, 0.01]}")
    values = [point["training.lr"] for point in space.points(2000, 0)]
    assert 0.46 < sum(value < 0.001 for value in values) / 2000 < 0.54


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "but got nothing"),
        ("- a\n- b", "but got a list"),
        ("a: [1, 2", "not YAML"),
        ("training.learning: {grid: [1]}", "`training.learning` is not a field of a cycle"),
        ("training.l: {grid: [1]}", "Did you mean `training.lr`"),
        ("seed: {grid: [1, 2]}", "`--seeds N`"),
        ("training.lr: [1, 2]", "say `{grid: [1, 2]}`"),
        ("training.lr: {loguniform: [1, 2]}", "Did you mean `log_uniform`"),
        ("training.lr: {grid: []}", "needs a list with at least one value"),
        ("training.lr: {grid: 3}", "needs a list with at least one value"),
        ("training.lr: {}", "must be one of grid, choice, integer, log_integer, uniform, log_uniform"),
        ("training.lr: {grid: [0.1], choice: [0.2]}", "must be one of"),
        ("training.lr: {uniform: [0.1]}", "needs two numbers"),
        ("training.lr: {uniform: [0.1, x]}", "needs two numbers"),
        ("training.lr: {uniform: [0.2, 0.1]}", "`low < high` must hold, but got (low=0.2, high=0.1)"),
        ("training.lr: {log_uniform: [0, 0.1]}", "`low > 0` must hold for log_uniform"),
        ("training.lr: {uniform: [-0.1, 0.1]}", "`training.lr` must be greater than 0, but got -0.1"),
        ("training.epochs: {uniform: [1, 20]}", "`training.epochs` must be a valid integer"),
        ("magnitude.fraction: {choice: [0.2, 1.2]}", "`magnitude.fraction` must be less than 1, but got 1.2"),
        ("magnitude.rewind_epoch: {grid: [0, 12]}", "(rewind_epoch=12, epochs=10)"),
        ("model.dropout: 1.5", "`model.dropout` must be less than 1"),
        ("training.lr: {uniform: [.nan, 1]}", "`low < high` must hold"),
        ("training.lr: {uniform: [true, 2]}", "needs two numbers"),
        ("training.epochs: {integer: [1, 2.5]}", "needs two whole numbers"),
        ("training.epochs: {integer: [5, 5]}", "`low < high` must hold, but got (low=5, high=5)"),
        ("training.epochs: {log_integer: [0, 5]}", "`low > 0` must hold for log_integer"),
        ("training.lr: 0.1\ntraining.lr: 0.2", "line 1, column 1: the key `training.lr` is given twice"),
        ("training.lr: 2001-99-99", "not YAML: month must be in 1..12"),
        ("training.lr: {grid: [1], when: yes}", "`when` maps other keys to the values they must have"),
        ("training.lr: {grid: [1], when: {model.drop: 1}}", "`when`: `model.drop` is not a field of a cycle"),
        ("training.lr: {grid: [0.1], when: {model.dropout: 0.3}}\nmodel.dropout: 0.5", "`model.dropout` is never 0.3"),
        (
            "training.lr: {grid: [0.1], when: {model.dropout: 0.3}}\n"
            "model.dropout: {grid: [0.3], when: {training.lr: 0.1}}",
            "`when` must not go in a circle, but `training.lr`, `model.dropout` wait for each other",
        ),
    ],
)
def test_a_broken_rule_is_one_line_that_names_the_file(text, says, tmp_path):
    """An error starts with the file and states the rule and the value."""
    with pytest.raises(SpaceError) as error:
        space_of(tmp_path, text)
    message = str(error.value)
    assert says in message
    assert message.startswith(str(tmp_path / "space.yaml"))
    assert len(message.splitlines()) == 1


def test_a_conditional_key_exists_only_where_its_condition_holds(tmp_path):
    """Two restarts, one of which has three rewind epochs, are four points, wherever the condition stands."""
    text = "magnitude.rewind_epoch: {grid: [0, 1, last], when: {magnitude.restart: rewind}}\n"
    space, _ = space_of(tmp_path, text + "magnitude.restart: {grid: [random, rewind]}")
    points = list(space.points(samples=1, seed=0))
    assert points == [
        {"magnitude.restart": "random"},
        {"magnitude.restart": "rewind", "magnitude.rewind_epoch": 0},
        {"magnitude.restart": "rewind", "magnitude.rewind_epoch": 1},
        {"magnitude.restart": "rewind", "magnitude.rewind_epoch": "last"},
    ]


@pytest.mark.parametrize(("restart", "points"), [("rewind", 3), ("random", 1)])
def test_a_condition_on_a_fixed_field_is_decided_by_the_cycle(restart, points, tmp_path):
    """With the restart fixed by hand, the rewind epoch is searched where it means something and dropped where not."""
    text = "magnitude.restart: {grid: [random, rewind]}\n"
    space, _ = space_of(
        tmp_path, text + "magnitude.rewind_epoch: {grid: [0, 1, last], when: {magnitude.restart: rewind}}"
    )
    fixed = {"magnitude.restart": restart}
    resolved = space.without(fixed).resolved(CYCLE.with_settings(fixed))
    assert len(list(resolved.points(1, 0))) == points


def test_integers_include_both_ends(tmp_path):
    """Every whole number of an integer range is drawn, and nothing else; a log range likewise."""
    space, _ = space_of(tmp_path, "training.epochs: {integer: [3, 6]}\ntraining.batch_size: {log_integer: [1, 4]}")
    points = list(space.points(500, 0))
    assert {point["training.epochs"] for point in points} == {3, 4, 5, 6}
    assert {point["training.batch_size"] for point in points} == {1, 2, 3, 4}


def test_a_grid_search_crosses_all_that_can_be_counted(tmp_path):
    """Choices, integers and grids are crossed; a continuous range is refused with the way out."""
    space, _ = space_of(tmp_path, "training.epochs: {integer: [3, 4]}\ntraining.batch_size: {choice: [16, 32, 64]}")
    assert len({tuple(point.items()) for point in space.grid()}) == 6
    space, _ = space_of(tmp_path, "training.lr: {uniform: [0.1, 0.2]}")
    with pytest.raises(SpaceError, match=r"`training\.lr` is uniform"):
        list(space.grid())


def test_a_file_that_cannot_be_read(tmp_path):
    """A missing file and one that is not text are said to be so."""
    with pytest.raises(SpaceError, match="cannot be read"):
        read(tmp_path / "none.yaml", CYCLE)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpaceError, match="not YAML"):
        read(tmp_path / "binary.yaml", CYCLE)
