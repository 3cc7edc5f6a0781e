"""A cycle's fields by dotted keys: which there are, how they are set, and what is said of a broken rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lt_ray.cycle.kinds import Kinds
from lt_ray.cycle.models import MODELS
from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.tasks import TASKS
from lt_ray.cycle.training import Training
from lt_ray.errors import CycleError, nearest

MOST_ROUNDS = 1000
"""Most prunings of one cycle; a thousand of 1 % leave 0.004 % [count]"""
_CYCLE_FIELDS = ("seed", "tickets", "ticket_every")
"""Fields of the cycle itself"""


def keys() -> tuple[str, ...]:
    """Return every dotted key that `Cycle.with_settings` understands, whatever the task."""
    dotted = [f"{group}.{name}" for group, kind in _groups() for name in kind.model_fields if name != "method"]
    return tuple(dict.fromkeys([*_CYCLE_FIELDS, "rounds", "schedule", *dotted]))


def field_of(key: str) -> FieldInfo | None:
    """Return the field that a dotted key sets, of the first task, model or pruning that has it, or None."""
    group, _, name = key.partition(".")
    return next(
        (kind.model_fields[name] for part, kind in _groups() if part == group and name in kind.model_fields), None
    )


def _groups() -> list[tuple[str, type[BaseModel]]]:
    """The part of a dotted key before the dot, and each group of fields that it may name."""
    return [
        *(("task", task) for task in TASKS.values()),
        *(("source", task) for task in TASKS.values()),
        *(("model", model) for model in MODELS.values()),
        ("training", Training),
        *PRUNINGS.items(),
    ]


def explain(error: ValidationError, tree: Any = None) -> Iterable[str]:
    """Yield one line for each rule that a pydantic validation found broken: the key, the rule, the value.

    - `tree`: what was validated, where it is a cycle
    """
    for item in error.errors():
        loc = item["loc"]
        if len(loc) > 1 and loc[0] == "schedule" and isinstance(pruning := tree["schedule"][loc[1]], dict):
            method = pruning.get("method")
            loc = (method if method in list(PRUNINGS) else "method", *loc[2:])
        where = ".".join(str(part) for part in loc if not isinstance(part, int))
        if item["type"] == "extra_forbidden":
            yield f"`{where}` is not a field of a cycle.{nearest(where, keys())}"
        elif item["type"] == "missing":
            yield f"`{where}` is missing one of its values."
        elif item["type"] == "value_error":
            message = item["msg"].removeprefix("Value error, ")
            yield f"{where}: {message}." if where else f"{message}."
        else:
            rule = item["msg"].removeprefix("Input should be ").partition(", got ")[0]
            yield f"`{where}` must be {rule}, but got {_short(item['input'])}."


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _precedence(key: str) -> tuple[int, str]:
    """Names first (they bring their own defaults), then the schedule and its length, then fields."""
    return ({"task.name": 0, "source.name": 0, "model.name": 0, "schedule": 1, "rounds": 2}.get(key, 3), key)


def _set(tree: dict[str, Any], key: str, value: object) -> None:
    if key not in keys():
        raise CycleError(f"`{key}` is not a field of a cycle.{nearest(key, keys())}")
    group, _, name = key.partition(".")
    if key in _CYCLE_FIELDS:
        tree[key] = value
    elif key == "schedule":
        tree["schedule"] = _scheduled(tree["schedule"], value)
    elif key == "rounds":
        tree["schedule"] = _resized(tree["schedule"], value)
    elif group in PRUNINGS:
        steps = [step for step in tree["schedule"] if step["method"] == group]
        for step in steps:
            step[name] = value
    elif group == "training":
        tree[group][name] = value
    else:
        tree[group] = _with_field(tree[group], group, name, value)


def _with_field(tree: dict[str, Any] | None, group: str, name: str, value: object) -> dict[str, Any]:
    """A task or model with one field changed; another name makes another one, with its own defaults."""
    known: Kinds[Any] = MODELS if group == "model" else TASKS
    if name == "name":
        if not isinstance(value, str) or value not in known:
            raise CycleError(
                f"`{group}.name` must be one of {', '.join(known)}, but got {value!r}.{nearest(str(value), known)}"
            )
        return tree if tree is not None and tree["name"] == value else {"name": value}
    if tree is None:
        raise CycleError(f"`{group}.{name}` has no meaning without a source task: give `source.name`, too")
    fields = known[tree["name"]].model_fields
    if name not in fields:
        near = nearest(f"{group}.{name}", [f"{group}.{field}" for field in fields])
        raise CycleError(f"`{group}.{name}` is not a field of {known.what} {tree['name']}.{near}")
    return tree | {name: value}


def _scheduled(schedule: list[Any], methods: object) -> list[Any]:
    """The prunings named, each as the next one of its method that the schedule has, or the last, or by default."""
    names: list[str] = []
    for word in str(methods).split():
        match = re.fullmatch(r"([a-z_]+)(?:\*(\d{1,4}))?", word)
        name = match[1] if match else word
        if not match or name not in PRUNINGS:
            raise CycleError(
                f"`schedule` must be methods in order, of {', '.join(PRUNINGS)}, such as `similarity*2 wanda`, but got "
                f"{_short(methods)}.{nearest(name, PRUNINGS)}"
            )
        names += [name] * int(match[2] or 1)
        if len(names) > MOST_ROUNDS:
            raise CycleError(f"`schedule` must have at most {MOST_ROUNDS} prunings, but got {_short(methods)}.")
    steps = []
    for place, name in enumerate(names):
        known = [step for step in schedule if step["method"] == name] or [{"method": name}]
        steps.append(dict(known[min(names[:place].count(name), len(known) - 1)]))
    return steps


def _resized(schedule: list[Any], rounds: object) -> list[Any]:
    if not re.fullmatch(r"\d{1,4}", str(rounds)) or int(str(rounds)) > MOST_ROUNDS:
        raise CycleError(f"`rounds` must be a whole number from 0 to {MOST_ROUNDS}, but got {_short(rounds)}.")
    last = schedule[-1] if schedule else {"method": "magnitude"}
    return [dict(schedule[i] if i < len(schedule) else last) for i in range(int(str(rounds)))]


def edit(tree: dict[str, Any], settings: Mapping[str, object]) -> None:
    """Change fields of a cycle, given as a tree of plain values, in place; see `Cycle.with_settings`."""
    for key, value in sorted(settings.items(), key=lambda item: _precedence(item[0])):
        _set(tree, key, value)
