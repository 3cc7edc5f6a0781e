"""How two definitions of a sweep differ, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.identity import canonical
from lt_ray.cycle.models import MODELS
from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.tasks import TASKS
from lt_ray.cycle.training import Training


def difference(before: object, after: object, key: str = "") -> Iterator[str]:
    """Yield one line for each leaf that differs between two definitions of a sweep, by its dotted key.

    A field that only the later one has, since an older lt_ray did not know it, differs where it is not its default.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            if name in before or not _is_default(key, name, after):
                yield from difference(before.get(name), after.get(name), f"{key}.{name}".lstrip("."))
    elif before != after:
        if key == "cycle.schedule" and isinstance(before, list) and isinstance(after, list):
            yield from _schedules(before, after)
        elif key == "data":
            yield "data: other texts, labels, classes or splits here than there"
        else:
            yield f"{key}: {_short(before)} there, {_short(after)} here"


def _is_default(key: str, name: str, fields: dict[str, Any]) -> bool:
    """Whether a field of a cycle has its default.

    - `key`: of the group of fields, a pruning's by its method; `fields`: the group's
    """
    task, model = TASKS.get(str(fields.get("name"))), MODELS.get(str(fields.get("name")))
    kinds: dict[str, type[BaseModel] | None] = {"cycle": Cycle, "cycle.training": Training, **PRUNINGS}
    kind = (kinds | {"cycle.task": task, "cycle.source": task, "cycle.model": model}).get(key)
    field = None if kind is None else kind.model_fields.get(name)
    return field is not None and not field.is_required() and to_jsonable_python(field.default) == fields[name]


def _schedules(before: list[Any], after: list[Any]) -> Iterator[str]:
    """Yield how two schedules differ: in their methods, and where those agree in the fields of each."""
    methods = [[step["method"] for step in schedule] for schedule in (before, after)]
    if set(methods[0]) == set(methods[1]) and len(set(methods[0])) <= 1 and len(before) != len(after):
        yield f"rounds: {len(before)} there, {len(after)} here"
    elif methods[0] != methods[1]:
        there, here = (" ".join(names) or "nothing" for names in methods)
        yield f"schedule: {there} there, {here} here"
        return
    for old, new in dict.fromkeys((canonical(o), canonical(n)) for o, n in zip(before, after, strict=False)):
        yield from difference(json.loads(old), json.loads(new), json.loads(old)["method"])


def _short(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
