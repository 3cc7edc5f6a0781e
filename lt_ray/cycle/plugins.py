"""Plugins: a user's own tasks, models, prunings and metrics, from one file, known by its content.

A plugin adds to the registries of this room (`TASKS.add`, `MODELS.add`, `PRUNINGS.add`, `metrics.declare`) when it is
run. It is run once in each process that meets its cycles, from the text that the sweep began with; the digest of that
text is a field of every such cycle, since it changes numbers. What it imports must be installed wherever it runs: a
file beside it would be in no digest, so it is refused.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from lt_ray.cycle.metrics import METRICS
from lt_ray.cycle.models import MODELS
from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.tasks import TASKS
from lt_ray.errors import PluginError

GROUP = "lt_ray.plugins"
"""Entry points of installed packages whose modules are plugins"""
_texts: dict[str, str] = {}
"""Digest → text of the plugins that this process has run"""


def load(path: Path | str) -> str:
    """Run a plugin's file, once in a process, and return the SHA-256 of its content.

    - `path`: the file, or the name by which an installed package has it among the entry points of `GROUP`

    Raises `PluginError`, with the file and the line, where it cannot be read or run, imports a file beside it, or adds
    nothing.
    """
    installed = _installed(str(path))
    path = installed or Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(f"`--plugin {path}` must be a Python file, but it cannot be read ({error}).") from None
    if installed is None:
        _check_alone(path, text)
    return run(text, str(path))


def run(text: str, name: str) -> str:
    """Run a plugin's text, once in a process, and return its SHA-256; see `load`.

    - `name`: what messages call it
    """
    digest = hashlib.sha256(text.encode()).hexdigest()
    if digest in _texts:
        return digest
    module = ModuleType(f"lt_ray_plugin_{digest[:12]}")
    module.__file__ = name
    sys.modules[module.__name__] = module  # where pydantic looks up what annotations mean
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    registries: tuple[dict[str, Any], ...] = TASKS, MODELS, PRUNINGS, METRICS
    before = tuple(dict(kinds) for kinds in registries)
    try:
        exec(compile(text, name, "exec"), module.__dict__)
    except Exception as error:
        for kinds, had in zip(registries, before, strict=True):  # a plugin that fails adds nothing
            kinds.clear()
            kinds.update(had)
        raise PluginError(f"{name}, line {_line(error, name)}: {type(error).__name__}: {error}") from None
    if registries == before:
        raise PluginError(
            f"{name}: a plugin must add a task, a model, a pruning or a metric, but it adds none; say `TASKS.add`, "
            "`MODELS.add`, `PRUNINGS.add` or `declare`."
        )
    for metric in METRICS.keys() - before[-1].keys():
        METRICS[metric] = METRICS[metric].model_copy(update={"plugin": digest})
    _texts[digest] = text
    return digest


def texts(wanted: Collection[str] | None = None) -> dict[str, str]:
    """Return digest → text of the plugins that this process has run, in their order; of those wanted, or of all."""
    return {digest: text for digest, text in _texts.items() if wanted is None or digest in wanted}


def _installed(name: str) -> Path | None:
    """The file of the plugin that an installed package has under this name."""
    for point in importlib.metadata.entry_points(group=GROUP, name=name):
        spec = importlib.util.find_spec(point.module)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin)
    return None


def _check_alone(path: Path, text: str) -> None:
    """Raise `PluginError` where a plugin imports a file that lies beside it, at whatever place of its text."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):  # running it says so
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        else:
            continue
        for name in names:
            if name.startswith(".") or _lies_beside(path.parent.resolve(), name.partition(".")[0]):
                raise PluginError(
                    f"{path}, line {node.lineno}: a plugin must be one file, known by its content, but it imports "
                    f"`{name}`, which lies beside it: write that into the plugin, or install it as a package"
                )


def _lies_beside(folder: Path, name: str) -> bool:
    """Whether a module is a file or a folder here, unless it is known from elsewhere."""
    if name == "lt_ray" or not ((folder / f"{name}.py").exists() or (folder / name).is_dir()):
        return False
    spec = importlib.util.find_spec(name)
    if spec is None:
        return True
    places = [spec.origin] if spec.has_location else [*(spec.submodule_search_locations or ())]
    return any(place is not None and Path(place).resolve().is_relative_to(folder) for place in places)


def _line(error: Exception, name: str) -> int | None:
    """The line of a file at which an error came up, or that it is about."""
    if isinstance(error, SyntaxError) and error.filename == name:
        return error.lineno
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return frames[-1] if frames else None
