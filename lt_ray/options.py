"""What the options of a command line make of a sweep script's cycle."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from lt_ray.cycle import RECURRENT, Cycle, Scalar
from lt_ray.errors import CycleError, SpaceError

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none of it
    from lt_ray.space import Space
    from lt_ray.stopping import Asha, MaxDrop
    from lt_ray.sweep import Sweep

TOY: dict[str, object] = {
    "task.name": "toy",
    "model.vocabulary": 2000,
    "model.embedding": 12,
    "model.filters": 6,
    "training.epochs": 4,
    "training.patience": None,
    "training.lr": 0.005,
    "training.batch_size": 50,
    "magnitude.fraction": 0.4,
}
"""What `--toy` makes of a sweep: the built-in corpus and a small model; `--set` and the options still win."""


_TOY_RECURRENT: dict[str, object] = {"model.hidden": 12, "model.dropout": 0.2, "training.lr": 0.03}
"""The same for a recurrent model, which learns little from the CNN's settings"""
_TOY_ROUNDS = 4
ADAPTIVE_SAMPLES = 30
"""Points of an adaptive search, unless said otherwise [count]"""


class Keep(StrEnum):
    """Which trained weights stay in the store."""

    needed = "needed"
    all = "all"


class Search(StrEnum):
    """How points of the space are chosen."""

    random = "random"
    grid = "grid"
    optuna = "optuna"


class Scheduler(StrEnum):
    """Whether cycles that are worse than others end early."""

    fifo = "fifo"
    asha = "asha"


@dataclass(frozen=True)
class Defaults:
    """What a sweep script says, before the options."""

    name: str
    cycle: Cycle
    space: Path | None
    samples: int
    seeds: int
    tolerance: float


@dataclass(frozen=True)
class Options:
    """The options of a sweep, by the names of the command line."""

    address: str
    local: bool
    task: str | None
    model: str | None
    rounds: int | None
    space: Path | None
    set_: list[str] | None
    search: Search
    samples: int | None
    seeds: int
    objective: list[str] | None
    delay: int | None
    scheduler: Scheduler
    asha_reduction: int | None
    asha_grace: int | None
    max_drop: float | None
    drop_rounds: int | None
    tolerance: float
    data_dir: Path | None
    toy: bool
    gpus_per_trial: float
    cpus_per_trial: float
    max_concurrent: int | None
    storage: Path
    keep: Keep
    partial_every: float
    tracking_uri: str | None
    name: str | None
    fresh: bool
    retry_errored: bool
    plan: bool
    json: bool


def sweep_of(defaults: Defaults, options: Options) -> Sweep:
    """Return the sweep that a script and the options describe together.

    Raises `CycleError` or `SpaceError`, which name the option, the rule, the value and the way out.
    """
    from lt_ray import space as spaces
    from lt_ray.sweep import Sweep

    if options.toy and options.task not in (None, "toy"):
        raise CycleError(f"`--toy` runs the built-in task, but got `--task {options.task}`: leave one of them out")
    _check_effect(options)
    given = _given(defaults.cycle, options)
    cycle = defaults.cycle.with_settings(given)
    path = options.space or defaults.space
    space = spaces.Space()
    if path is not None:
        space, fixed = spaces.read(path, cycle)
        cycle = cycle.with_settings({key: value for key, value in fixed.items() if key not in given})
        space = space.without(_parsed(options.set_)).resolved(cycle)
    adaptive = options.search is Search.optuna
    try:
        return Sweep(
            name=options.name or defaults.name + _suffix(options),
            cycle=cycle,
            space=space,
            search=options.search.value,
            samples=options.samples or (ADAPTIVE_SAMPLES if adaptive else defaults.samples),
            seeds=options.seeds,
            objectives=tuple(options.objective or ("val_accuracy",)),
            delay=options.delay or 8,
            asha=_asha(options, cycle, space),
            max_drop=_max_drop(options),
            tolerance=options.tolerance,
        )
    except ValidationError as error:
        item = error.errors()[0]
        said = item["msg"].removeprefix("Value error, ")
        if not item["loc"]:
            raise CycleError(said) from None
        if item["loc"] == ("name",):
            said = "must begin with a letter or digit and go on with letters, digits, `_`, `.` or `-`"
            raise CycleError(f"`--name` {said}, but got {item['input']!r}") from None
        raise CycleError(f"`--{item['loc'][0]}`: {said}, but got {item['input']!r}") from None


def _asha(options: Options, cycle: Cycle, space: Space) -> Asha | None:
    from lt_ray.stopping import Asha

    if options.scheduler is Scheduler.fifo:
        return None
    asha = Asha(reduction=options.asha_reduction or 3, grace=options.asha_grace or 1)
    if not asha.rungs(cycle.rounds) and "rounds" not in space.distributions:
        raise CycleError(
            f"`--asha-grace < rounds` must hold, but got (grace={asha.grace}, rounds={cycle.rounds}): no cycle would "
            "ever end early; lower the one, or raise `--rounds`"
        )
    return asha


def _max_drop(options: Options) -> MaxDrop | None:
    from lt_ray.stopping import MaxDrop

    if options.max_drop is None:
        return None
    if not 0 < options.max_drop < 1:
        raise CycleError(f"`--max-drop` must be more than 0 and less than 1, but got {options.max_drop:g}")
    return MaxDrop(max_drop=options.max_drop, rounds=options.drop_rounds or 2)


def _check_effect(options: Options) -> None:
    """Raise `CycleError` for an option that would change nothing beside the others."""
    for name, given, needs, there in (
        ("--delay", options.delay, "--search optuna", options.search is Search.optuna),
        ("--asha-reduction", options.asha_reduction, "--scheduler asha", options.scheduler is Scheduler.asha),
        ("--asha-grace", options.asha_grace, "--scheduler asha", options.scheduler is Scheduler.asha),
        ("--drop-rounds", options.drop_rounds, "--max-drop", options.max_drop is not None),
        ("--samples", options.samples, "--search random or optuna", options.search is not Search.grid),
    ):
        if given is not None and not there:
            raise CycleError(f"`{name} {given}` changes nothing without `{needs}`: add that, or leave it out")


def _suffix(options: Options) -> str:
    """Another task or model is another sweep, so it gets another name."""
    task = "toy" if options.toy else options.task
    return "".join(f"-{name}" for name in (options.model, task) if name)


def _given(cycle: Cycle, options: Options) -> dict[str, object]:
    """The fields that options fix, the later ones winning: --toy, --task, --model, --rounds, --set."""
    given: dict[str, object] = {**_toy(options.model or cycle.model.name)} if options.toy else {}
    if options.toy:
        given["rounds"] = min(cycle.rounds, _TOY_ROUNDS)
    if options.toy and cycle.source is not None:
        given |= {"source.name": "toy", "source.data_seed": 1, "ticket_every": min(cycle.ticket_every, 2)}
    named = {"task.name": options.task, "model.name": options.model, "rounds": options.rounds}
    return given | {key: value for key, value in named.items() if value is not None} | _parsed(options.set_)


def _toy(model: str) -> dict[str, object]:
    """What `--toy` makes of a sweep with this model."""
    return TOY if model not in RECURRENT else {k: v for k, v in TOY.items() if k != "model.filters"} | _TOY_RECURRENT


def _parsed(settings: list[str] | None) -> dict[str, Scalar]:
    parsed = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals:
            raise CycleError(f"`--set` needs KEY=VALUE, but got {setting!r}")
        if key.strip() in parsed:
            raise CycleError(f"`--set {key.strip()}=…` may be given once, but is there twice: leave one of them out")
        try:
            parsed[key.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise CycleError(f"`--set {key}`: the value {value!r} cannot be read") from None
    return parsed


def vocabulary_of(sweep: Sweep) -> int:
    """Return the vocabulary that all cycles share, since the data is tokenised once [count].

    Raises `SpaceError` where the space searches what the data is made by.
    """
    for key in sweep.space.distributions:
        if key == "model.vocabulary" or key.startswith(("task.", "source.")):
            raise SpaceError(
                f"`{key}` cannot be searched within one sweep, whose data is tokenised once: "
                f"run a sweep for each value, with `--set {key}=…` and a `--name`"
            )
    return sweep.cycle.model.vocabulary
