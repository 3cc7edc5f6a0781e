"""What the options of a command line make of a sweep script's cycle."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import ValidationError

from lt_ray.cli.options import ADAPTIVE_SAMPLES, Options, Script
from lt_ray.cycle import plain_yaml
from lt_ray.cycle.cycle import Cycle, folded
from lt_ray.cycle.metrics import Inputs
from lt_ray.cycle.models import MODELS, ModelSettings, Pretrained
from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.settings import Scalar
from lt_ray.cycle.tasks import TASKS
from lt_ray.errors import CycleError, SpaceError, nearest
from lt_ray.models.model import implementation
from lt_ray.models.pretrained import Base
from lt_ray.store.storage import check_name
from lt_ray.sweep import space as spaces
from lt_ray.sweep.space import Space
from lt_ray.sweep.sweep import Sweep

_TOY_ROUNDS = 4
"""Most prunings of a cycle with `--toy` [count]"""


def sweep_of(script: Script, options: Options) -> Sweep:
    """Return the sweep that a script and the options describe together.

    Raises `CycleError`, `SpaceError` or `StorageError`, which name the option, the rule, the value and the way out.
    """
    if options.toy and options.task not in (None, "toy", "toy_images"):
        raise CycleError(f"`--toy` runs the built-in task, but got `--task {options.task}`: leave one of them out")
    _check_effect(options)
    by_hand = _parsed(options.set_ or ())
    given = _given(script.cycle, options) | by_hand
    cycle, space = script.cycle.with_settings(given), Space()
    path = options.space or script.space
    if path is not None:
        space, fixed = spaces.read(path, cycle)
        cycle = cycle.with_settings({key: value for key, value in fixed.items() if key not in given})
        space = space.without(by_hand).resolved(cycle)
    if "schedule" in by_hand:
        space = space.without(_of_other_prunings(space.distributions, cycle))
    idle = _of_other_prunings(by_hand, cycle) if cycle.schedule and "schedule" not in space.distributions else ()
    for key in idle:
        raise CycleError(
            f"`--set {key}` changes nothing, since the schedule has no {key.partition('.')[0]} pruning: it is "
            f"`{folded(cycle.schedule)}`; say `--set schedule=…`, or leave it out"
        )
    name = options.name or script.name + _suffix(options)
    check_name(name)
    samples = ADAPTIVE_SAMPLES if options.search == "optuna" else script.samples
    rungs = _given_ones(reduction=options.asha_reduction, grace=options.asha_grace)
    drop = _given_ones(max_drop=options.max_drop, rounds=options.drop_rounds)
    fields = _given_ones(
        name=name,
        cycle=cycle,
        space=space,
        search=options.search,
        samples=options.samples or samples,
        seeds=options.seeds,
        objectives=tuple(options.objective or ()),
        delay=options.delay,
        asha=rungs if options.scheduler == "asha" else None,
        max_drop=drop or None,
        tolerance=options.tolerance,
    )
    try:
        return Sweep.model_validate(fields)
    except ValidationError as error:
        item = error.errors()[0]
        said = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if not item["loc"]:
            raise CycleError(said) from None
        option = str(item["loc"][0]).replace("_", "-")
        raise CycleError(f"`--{option}` must be {said}, but got {item['input']}") from None


def _given_ones(**values: object) -> dict[str, object]:
    """The values that were given; the others are left to the defaults of what takes them."""
    return {name: value for name, value in values.items() if value is not None}


def _check_effect(options: Options) -> None:
    """Raise `CycleError` for an option that would change nothing beside the others."""
    for name, given, needs, there in (
        ("--delay", options.delay, "--search optuna", options.search == "optuna"),
        ("--asha-reduction", options.asha_reduction, "--scheduler asha", options.scheduler == "asha"),
        ("--asha-grace", options.asha_grace, "--scheduler asha", options.scheduler == "asha"),
        ("--drop-rounds", options.drop_rounds, "--max-drop", options.max_drop is not None),
        ("--samples", options.samples, "--search random or optuna", options.search != "grid"),
    ):
        if given is not None and not there:
            raise CycleError(f"`{name} {given}` changes nothing without `{needs}`: add that, or leave it out")


def _suffix(options: Options) -> str:
    """Another task or model is another sweep, so it gets another name."""
    task = "toy" if options.toy else options.task
    model = None if options.model is None else re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(options.model).name).strip("-.")
    return "".join(f"-{name}" for name in (model, task) if name)


def _of_other_prunings(keys: Iterable[str], cycle: Cycle) -> list[str]:
    """Those keys that are fields of prunings which the schedule does not have."""
    absent = PRUNINGS.keys() - {pruning.method for pruning in cycle.schedule}
    return [key for key in keys if key.partition(".")[0] in absent]


def _given(cycle: Cycle, options: Options) -> dict[str, object]:
    """The fields that options fix, the later ones winning: --toy, --task, --model, --rounds."""
    task = TASKS.get(options.task or "", type(cycle.task))
    model = cycle.model.name if options.model is None else _model_name(options.model, task.inputs)
    is_found = issubclass(MODELS.get(model, ModelSettings), Pretrained)
    named: dict[str, object] = {"task.name": options.task, "rounds": options.rounds}
    if options.model is not None:
        named["model.name"] = model
        if is_found and options.model != model:
            named |= {"model.path": options.model, "model.revision": None}
    if options.from_config:
        if not is_found:
            raise CycleError(f"`--from-config` draws an encoder's weights, but model {model} is none: leave it out")
        named["model.weights"] = "random"
    toy = _toy(cycle, MODELS.get(model, ModelSettings)) if options.toy else {}
    return toy | {key: value for key, value in named.items() if value is not None or key == "model.revision"}


def _model_name(model: str, inputs: Inputs) -> str:
    """A model's name in a cycle: one of ours; for a name of the hub or a folder `encoder`, of pictures `resnet`."""
    if model in MODELS or ("/" not in model and not Path(model).is_dir() and nearest(model, MODELS)):
        return model  # a slip of one of ours is told as such
    return "resnet" if inputs == "images" else "encoder"


def _toy(cycle: Cycle, model: type[ModelSettings]) -> dict[str, object]:
    """What `--toy` makes of a sweep: a built-in task, and few rounds of a small model."""
    toy: dict[str, object] = {**model.toy}
    if cycle.training.lr_schedule != "constant":
        toy["training.milestones"] = []
    if cycle.rounds > _TOY_ROUNDS:
        toy["rounds"] = _TOY_ROUNDS
    if cycle.source is not None:
        toy |= {"source.name": "toy", "source.data_seed": 1, "ticket_every": min(cycle.ticket_every, 2)}
    return toy


def _parsed(settings: Iterable[str]) -> dict[str, Scalar]:
    parsed = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise CycleError(f"`--set` needs KEY=VALUE, but got {setting!r}")
        if key.strip() in parsed:
            raise CycleError(f"`--set {key.strip()}=…` may be given once, but is there twice: leave one of them out")
        try:
            parsed[key.strip()] = plain_yaml.load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise CycleError(f"`--set {key}`: the value {value!r} cannot be read") from None
    return parsed


def words_of(sweep: Sweep, base: Base | None) -> int | Path:
    """Return the words that all cycles share, since the data is cut and tokenised once: how many, or where their
    tokenizer is.

    - `base`: what an encoder is made of

    Raises `SpaceError` where the space searches what the data is made by.
    """
    model, names = sweep.cycle.model, sweep.space.distributions.get("model.name")
    reads = implementation(model).reads(model, base)
    shared: tuple[str, ...] = ("model.vocabulary", "model.path", "model.revision", "model.weights", "model.digest")
    if reads.positions is not None:
        shared += ("model.positions",)
    others = [MODELS.parse({"name": name}) for name in (() if names is None else names.values) if name in MODELS]
    if model.brings_words or any(implementation(o).reads(o, None).positions != reads.positions for o in others):
        shared += ("model.name",)
    for key in sweep.space.distributions:
        if key in shared or key.startswith(("task.", "source.")):
            raise SpaceError(
                f"`{key}` cannot be searched within one sweep, whose data is tokenised once: "
                f"run a sweep for each value, with `--set {key}=…` and a `--name`"
            )
    return reads.words
