"""Plugins: run by content, whole or not at all, and told of by file and line."""

import pytest
from readme import registries_kept

from lt_ray.cycle import plugins
from lt_ray.cycle.cycle import Cycle, parse
from lt_ray.cycle.metrics import METRICS
from lt_ray.cycle.tasks import TASKS
from lt_ray.errors import CycleError, PluginError

METRIC = """
from lt_ray.cycle.metrics import Metric, declare
from lt_ray.tasks.metrics import Confusion, measures

declare(Metric(name="{name}", label="errors", best="lowest", targets=("classes",)))

@measures("{name}", Confusion)
def errors(counter):
    return 1 - counter.array.trace() / counter.array.sum()
"""
TASK = """
from typing import ClassVar, Literal
from lt_ray.cycle.tasks import TASKS, TaskSettings

@TASKS.add
class Points(TaskSettings):
    implementation: ClassVar = lambda task, data_dir, group: None
    inputs: ClassVar = "arrays"
    name: Literal["points"] = "points"
    points: int = 7
"""


@pytest.fixture(autouse=True)
def _registries_as_they_were():
    with registries_kept():
        yield


def test_a_plugin_is_known_by_its_content(tmp_path):
    """The same text under two names is one plugin, run once; another text is another one."""
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(METRIC.format(name="errors"))
    (tmp_path / "c.py").write_text(METRIC.format(name="mistakes"))
    first, second, third = (plugins.load(tmp_path / name) for name in ("a.py", "b.py", "c.py"))
    assert first == second != third
    assert {"errors", "mistakes"} <= {metric.name for metric in Cycle().task.metrics}
    names = [{metric.name for metric in cycle.metrics} for cycle in (Cycle(), Cycle(plugins=(first,)))]
    assert names[1] - names[0] == {"errors"}, "a cycle is measured by its own plugins' metrics alone"
    assert list(plugins.texts()) == [first, third]


def test_its_settings_are_a_cycles_like_any(tmp_path):
    """A task of a plugin is parsed, dumped, changed by dotted keys and refused as the built-in ones are."""
    (tmp_path / "p.py").write_text(TASK)
    digest = plugins.load(tmp_path / "p.py")
    tree = Cycle().model_dump(mode="json")
    with pytest.raises(CycleError, match="model cnn takes text, but task points has arrays"):
        parse(tree | {"task": {"name": "points"}})
    with pytest.raises(CycleError, match=r"`task\.points` must be a valid integer, unable to parse"):
        parse(tree | {"task": {"name": "points", "points": "many"}})
    assert Cycle(plugins=(digest,)).id != Cycle().id


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\nif x:\n", "p.py, line 2: "),
        ("x = 1\n\ny = x / 0\n", "p.py, line 3: ZeroDivisionError: division by zero"),
        ("import no_such_package\n", "p.py, line 1: ModuleNotFoundError"),
        ("x = 1\n", "p.py: a plugin must add a task, a model, a pruning or a metric"),
        (METRIC.format(name="accuracy"), "p.py, line 5: ValueError: a metric must have a name of its own"),
        (TASK + "1 / 0\n", "line 11: ZeroDivisionError"),
    ],
)
def test_a_bad_plugin_is_one_clear_error(tmp_path, text, says):
    """The message names the file and the line, and nothing that the plugin added stays."""
    (tmp_path / "p.py").write_text(text)
    had = set(TASKS), dict(METRICS)
    with pytest.raises(PluginError) as error:
        plugins.load(tmp_path / "p.py")
    assert says in str(error.value)
    assert (set(TASKS), dict(METRICS)) == had
    with pytest.raises(PluginError, match="cannot be read"):
        plugins.load(tmp_path / "none.py")


@pytest.mark.parametrize(
    "line",
    ["import helper", "from helper import x", "import helper.deep as deep", "from . import helper", "import parts"],
)
@pytest.mark.parametrize("on_the_path", [False, True])
@pytest.mark.parametrize("indent", ["", "def later():\n    "])
def test_a_plugin_that_imports_a_file_beside_it_is_refused(line, on_the_path, indent, tmp_path, monkeypatch):
    """The file's content would be in no digest, so two sweeps with unlike ones would share their rounds: the plugin is
    refused with the line, whether Python finds the file or not, and also where the import comes to pass later."""
    (tmp_path / "helper.py").write_text("x = 1")
    (tmp_path / "parts").mkdir()
    if on_the_path:
        monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "p.py").write_text(f"{METRIC.format(name='errors')}\n{indent}{line}\n")
    had = dict(METRICS)
    with pytest.raises(PluginError, match=r"p\.py, line 1\d: a plugin must be one file.* lies beside it: write that"):
        plugins.load(tmp_path / "p.py")
    assert had == METRICS


def test_a_plugin_may_import_what_is_installed(tmp_path):
    """A file or folder beside it that only bears the name of an installed module is not what the plugin imports."""
    (tmp_path / "random.py").write_text("1 / 0")
    (tmp_path / "numpy").mkdir()
    (tmp_path / "p.py").write_text(f"import random\nimport numpy.linalg\n{METRIC.format(name='errors')}")
    assert plugins.load(tmp_path / "p.py") in plugins.texts()
