"""What arms and cycles are called, wherever they are named: by their searched settings, in as few letters as tell them
apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.editing import field_of
from lt_ray.cycle.settings import Called, Scalar

TASK_KEY = "task.name"
"""Among the settings of a cycle that finds tickets on another task: an arm of its own"""
_MOST_LEVELS = 8
"""A drawn setting with more values than this makes no arms"""


def arm_keys(space: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the settings that make the arms of a sweep, those that a reader compares.

    - `space`: the search space's keys → `{kind: …, values: …}`

    They are the ones crossed as a grid; without any, choices among few. Numbers that are drawn are averaged over: with
    a grid, every draw meets every grid point.
    """
    grid = [key for key, distribution in space.items() if distribution["kind"] == "grid"]
    few = [key for key, d in space.items() if d["kind"] == "choice" and len(d["values"]) <= _MOST_LEVELS]
    return tuple(grid or few)


def arm_name(settings: Mapping[str, Scalar], keys: Collection[str] | None = None) -> str:
    """Return what an arm, or a point of a search, is called: `rewind@0`, `freeze t=0.98`, `imdb rewind@0` where it
    finds tickets for others; empty where nothing is compared.

    - `settings`: searched field → value
    - `keys`: the settings that make the arms (`arm_keys`); None = all
    """
    return cycle_name(_arm(settings, keys))


def arm_names(settings: Iterable[Mapping[str, Scalar]], keys: Collection[str] | None = None) -> list[str]:
    """Return what the arms of several cycles are called, one name an arm: two that `arm_name` calls alike, since it
    shows three digits of a number, are told apart by what differs, in full: `lr=0.00123 (training.lr=0.001234)`."""
    arms = [_arm(each, keys) for each in settings]
    alike: dict[str, list[Mapping[str, Scalar]]] = {}
    for arm in arms:
        alike.setdefault(cycle_name(arm), []).append(arm)
    names = []
    for arm in arms:
        name = cycle_name(arm)
        differ = [key for key in arm if any(other.get(key) != arm[key] for other in alike[name])]
        names.append(f"{name} ({', '.join(f'{key}={arm[key]}' for key in differ)})" if differ else name)
    return names


def _arm(settings: Mapping[str, Scalar], keys: Collection[str] | None) -> Mapping[str, Scalar]:
    """The settings that make a cycle's arm, the task of one that finds tickets for others first."""
    known = set(settings if keys is None else {*keys, TASK_KEY, *always_said(settings)})
    return {key: settings[key] for key in sorted(settings, key=lambda key: key != TASK_KEY) if key in known}


def is_number(key: str, value: Scalar) -> bool:
    """Return whether a setting stands in a name as a number: no flag, and no epoch, which is a word (`rewind@0`)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not key.endswith(".rewind_epoch")


def always_said(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return those settings that a name says even where they are not searched (`Called.always`)."""
    return {key: value for key, value in settings.items() if value is not None and _called(key).always == value}


def cycle_name(settings: Mapping[str, Scalar], seed: int | None = None) -> str:
    """Return what a cycle is called: its arm's words, the seed, then numbers: `rewind@0 s1 lr=0.0012`.

    A narrow column shows the beginning.
    """
    first: list[str] = []
    words: list[str] = []
    numbers: list[str] = []
    idle: list[str] = []
    for key, value in settings.items():
        group, _, name = key.rpartition(".")
        called, restarts = _called(key), f"{group}.restart" in settings
        if value is None or (restarts and name in ("masks", "rewind_epoch")):  # `_restart` says them
            continue
        if name == "rewind_epoch":
            first.append(f"rewind@{value}")
        elif name == "restart":
            words.append(_restart(settings, group))
        elif value in called.idle:
            idle.append(called.idle[value])
        else:
            said = _said(key, value, called)
            (numbers if "=" in said else words).append(said)
    if "random pruning" in words:  # no ticket is anybody's own then
        words = [word for word in words if word != "own tickets"]
    words = [word for word in (*first, *words) if word]
    if not words and not numbers:
        words = idle
    return " ".join([*words, *([] if seed is None else [f"s{seed}"]), *numbers])


def _called(key: str) -> Called:
    field = Cycle.model_fields.get(key) or field_of(key)
    return next((item for item in field.metadata if isinstance(item, Called)), Called()) if field else Called()


def _said(key: str, value: Scalar, called: Called) -> str:
    """What one setting adds to a name; a number's has an equals sign."""
    name = key.rpartition(".")[2]
    short = f"{value:.{called.digits}g}" if isinstance(value, float) else str(value)
    if value in called.words:
        return called.words[value]
    if called.text:
        return called.text.format(key=key, value=short)
    if key == "schedule":  # `similarity*2 wanda` → `2×similarity + wanda`
        steps = [re.sub(r"^(.+)\*(\d+)$", r"\2×\1", step) for step in short.split()]
        return " + ".join(steps) or "no pruning"
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return short if isinstance(value, str) else f"{name}={short}"


def _restart(settings: Mapping[str, Scalar], group: str) -> str:
    """`rewind@1`; `random reinit@1` for its control, new weights under the same masks; `random own masks` for a network
    that prunes itself after each re-initialisation.

    - `group`: the pruning's method, before the dot of its fields
    """
    restart, epoch = settings[f"{group}.restart"], settings.get(f"{group}.rewind_epoch")
    at = "" if epoch is None else f"@{epoch}"
    if restart != "random":
        return f"rewind{at}" if restart == "rewind" else str(restart)
    if settings.get(f"{group}.masks") == "own":
        return "random own masks"
    return f"random{at}" if settings.get(f"{group}.random_pruning") else f"random reinit{at}"
