"""What arms and cycles are called, wherever they are named: by their searched settings, in as few letters as tell them
apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lt_ray.cycle.cycle import MASKS_KEY
from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.settings import Scalar

TASK_KEY = "task.name"
"""Among the settings of a cycle that finds tickets on another task: an arm of its own"""
_MOST_LEVELS = 8
"""A drawn setting with more values than this makes no arms"""
_WORDS = {
    ("random_pruning", True): "random pruning",
    ("random_pruning", False): "",
    ("tickets", "own"): "own tickets",
    ("tickets", "source"): "transferred",
    ("exclude", ""): "",
    ("strategy", "one_shot"): "one-shot",
    ("schedule", ""): "no pruning",
}
"""Settings that are better known by other words, or that go without saying"""
_UNSAID = {("similarity.freeze", False): "no freeze", ("wanda.pattern", "row"): "row"}
"""Settings that go without saying, unless nothing else is said"""
_LETTERS = {"similarity.threshold": "t", "wanda.sparsity": "wanda"}
"""Numbers of these settings have all their digits: 0.9985 is another threshold than 0.9988"""
_OF_A_PRUNING = ("epochs", "calibration")
"""Fields that say little without the pruning they are of"""


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
    return _named(_arm(settings, keys))


def arm_names(settings: Iterable[Mapping[str, Scalar]], keys: Collection[str] | None = None) -> list[str]:
    """Return what the arms of several cycles are called, one name an arm: two that `arm_name` calls alike, since it
    shows three digits of a number, are told apart by what differs, in full: `lr=0.00123 (training.lr=0.001234)`."""
    arms = [_arm(each, keys) for each in settings]
    alike: dict[str, list[Mapping[str, Scalar]]] = {}
    for arm in arms:
        alike.setdefault(_named(arm), []).append(arm)
    names = []
    for arm in arms:
        name = _named(arm)
        differ = [key for key in arm if any(other.get(key) != arm[key] for other in alike[name])]
        names.append(f"{name} ({', '.join(f'{key}={arm[key]}' for key in differ)})" if differ else name)
    return names


def _arm(settings: Mapping[str, Scalar], keys: Collection[str] | None) -> Mapping[str, Scalar]:
    """The settings that make a cycle's arm, the task of one that finds tickets for others first."""
    known = settings if keys is None else [key for key in settings if key in keys or key in (TASK_KEY, MASKS_KEY)]
    return {key: settings[key] for key in sorted(known, key=lambda key: key != TASK_KEY)}


def is_number(key: str, value: Scalar) -> bool:
    """Return whether a setting stands in a name as a number: no flag, and no epoch, which is a word (`rewind@0`)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not key.endswith(".rewind_epoch")


def cycle_name(settings: Mapping[str, Scalar], seed: int) -> str:
    """Return what a cycle is called: its arm's words, the seed, then numbers: `rewind@0 s1 lr=0.0012`.

    A narrow column shows the beginning.
    """
    return _named(settings, seed)


def _named(settings: Mapping[str, Scalar], seed: int | None = None) -> str:
    words, numbers, unsaid = [], [], []
    for key, value in settings.items():
        name = key.rpartition(".")[2]
        if value is None or name == "rewind_epoch":
            continue
        if key == "magnitude.exclude" and value:
            words.append(f"{value} whole")
        elif (key, value) in _UNSAID:
            unsaid.append(_UNSAID[key, value])
        elif key in _LETTERS:
            numbers.append(f"{_LETTERS[key]}={value:.6g}" if isinstance(value, float) else f"{_LETTERS[key]}={value}")
        elif name == "restart":
            words.append(_restart(settings, str(value)))
        elif key == MASKS_KEY:
            words += [] if value == "ticket" or "magnitude.restart" in settings else [f"{value} masks"]
        elif (name, value) in _WORDS:
            words.append(_WORDS[name, value])
        elif key == "schedule":
            words.append(_in_order(str(value)))
        elif isinstance(value, str) and not _is_of_a_pruning(key):
            words.append(value)
        elif isinstance(value, bool):
            words.append(name if value else f"no {name}")
        else:
            own = key if _is_of_a_pruning(key) else name
            numbers.append(f"{own}={value:.3g}" if isinstance(value, float) else f"{own}={value}")
    if not any(key.endswith(".restart") for key in settings):
        epochs = [value for key, value in settings.items() if key.endswith(".rewind_epoch") and value is not None]
        words[:0] = [f"rewind@{epoch}" for epoch in epochs]
    if "random pruning" in words:  # no ticket is anybody's own then
        words = [word for word in words if word != "own tickets"]
    if not any(words) and not numbers:
        words = unsaid
    return " ".join([*filter(None, words), *([] if seed is None else [f"s{seed}"]), *numbers])


def _restart(settings: Mapping[str, Scalar], restart: str) -> str:
    """`rewind@1`; `random reinit@1` for its control, new weights under the same masks; `random own masks` for a network
    that prunes itself after each re-initialisation."""
    epoch = settings.get("magnitude.rewind_epoch")
    at = "" if epoch is None else f"@{epoch}"
    if restart != "random":
        return f"{restart}{at}" if restart == "rewind" else restart
    if settings.get(MASKS_KEY) == "own":
        return "random own masks"
    return f"random{at}" if settings.get("magnitude.random_pruning") else f"random reinit{at}"


def _in_order(schedule: str) -> str:
    """`similarity*2 wanda` → `2×similarity + wanda`."""
    return " + ".join(re.sub(r"^(.+)\*(\d+)$", r"\2×\1", step) for step in schedule.split())


def _is_of_a_pruning(key: str) -> bool:
    group, _, name = key.partition(".")
    return group in PRUNINGS and name in _OF_A_PRUNING
