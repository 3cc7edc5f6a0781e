"""README's own task, model, criterion and metric: written to files, and run in a test's process for a while."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lt_ray.cycle import plugins
from lt_ray.cycle.metrics import METRICS
from lt_ray.cycle.models import MODELS
from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.tasks import TASKS

REGISTRIES = (TASKS, MODELS, PRUNINGS, METRICS)
_README = (Path(__file__).parents[1] / "README.md").read_text()
SECTION = _README[_README.index("## Your own task, model, criterion and metric") : _README.index("## From Python")]
PLUGINS = dict(
    zip(re.findall(r"\(`(\w+\.py)`\)", SECTION), re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL), strict=True)
)
"""File → its text, as printed"""


@contextmanager
def registries_kept() -> Iterator[None]:
    """What is added to this process within the block, by plugins or by hand, is gone after it."""
    before, texts = [dict(kinds) for kinds in REGISTRIES], plugins.texts()
    try:
        yield
    finally:
        for kinds, had in zip(REGISTRIES, before, strict=True):
            kinds.clear()
            kinds.update(had)
        plugins._texts.clear()
        plugins._texts.update(texts)


@contextmanager
def plugged_in() -> Iterator[tuple[str, ...]]:
    """README's plugins are there within the block; gives their digests."""
    with registries_kept():
        yield tuple(plugins.run(text, name) for name, text in PLUGINS.items())


with plugged_in():
    TASK_NAMES, MODEL_NAMES, PRUNING_NAMES, METRIC_NAMES = map(tuple, REGISTRIES)
"""All names that there are, README's among them"""
