"""What the options of a command line make of a sweep script's cycle."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import ValidationError

from lt_ray.cli.options import ADAPTIVE_SAMPLES, Options, Script
from lt_ray.cycle import plain_yaml
from lt_ray.cycle.cycle import Cycle, folded
from lt_ray.cycle.models import MODELS, TOY_ENCODER
from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.settings import Scalar
from lt_ray.errors import CycleError, SpaceError, nearest
from lt_ray.models.pretrained import Base
from lt_ray.sweep import space as spaces
from lt_ray.sweep.space import Space
from lt_ray.sweep.stopping import Asha
from lt_ray.sweep.sweep import Sweep

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
"""What `--toy` makes of a sweep: the built-in corpus and a small model; fields that the model lacks are left out, its
own `toy` is added, and `--set` and the options still win."""
_TOY_ENCODER: dict[str, object] = {
    "task.name": "toy",
    "model.name": "encoder",
    "model.path": TOY_ENCODER,
    "model.revision": None,
    "training.epochs": 6,
    "training.lr": 0.001,
    "training.batch_size": 20,
    "training.warmup": 0.2,
    "similarity.epochs": 2,
    "similarity.calibration": 512,
    "similarity.calibration_batch": 128,
    "wanda.calibration": 256,
}
"""The same for an encoder; what its schedule does not have is left out"""
_TOY_IMAGES: dict[str, object] = {
    "task.name": "toy_images",
    "task.train": 800,
    "task.validation": 300,
    "task.test": 400,
    "training.epochs": 12,
    "training.milestones": [8, 10],
    "training.batch_size": 50,
}
"""The same for a model of pictures; its own `toy` is added"""
_TOY_ROUNDS = 4


def sweep_of(script: Script, options: Options) -> Sweep:
    """Return the sweep that a script and the options describe together.

    Raises `CycleError` or `SpaceError`, which name the option, the rule, the value and the way out.
    """
    if options.toy and options.task not in (None, "toy", "toy_images"):
        raise CycleError(f"`--toy` runs the built-in task, but got `--task {options.task}`: leave one of them out")
    _check_effect(options)
    given = _given(script.cycle, options)
    cycle = script.cycle.with_settings(given)
    _check_methods(cycle, options, options.space or script.space)
    path = options.space or script.space
    space = Space()
    if path is not None:
        space, fixed = spaces.read(path, cycle)
        cycle = cycle.with_settings({key: value for key, value in fixed.items() if key not in given})
        by_hand = _parsed(options.set_)
        space = space.without(by_hand).resolved(cycle)
        if "schedule" in by_hand:
            space = space.without(_of_others(space, cycle))
    adaptive = options.search == "optuna"
    drop = None if options.max_drop is None else {"max_drop": options.max_drop, "rounds": options.drop_rounds or 2}
    try:
        return Sweep.model_validate(
            {
                "name": options.name or script.name + _suffix(options),
                "cycle": cycle,
                "space": space,
                "search": options.search,
                "samples": options.samples or (ADAPTIVE_SAMPLES if adaptive else script.samples),
                "seeds": options.seeds,
                "objectives": tuple(options.objective or ()),
                "delay": options.delay or 8,
                "asha": _asha(options, cycle, space),
                "max_drop": drop,
                "tolerance": options.tolerance,
            }
        )
    except ValidationError as error:
        item = error.errors()[0]
        said = item["msg"].removeprefix("Value error, ")
        if not item["loc"]:
            raise CycleError(said) from None
        if item["loc"] == ("name",):
            said = "must begin with a letter or digit and go on with letters, digits, `_`, `.` or `-`"
            raise CycleError(f"`--name` {said}, but got {item['input']!r}") from None
        said, option = said.removeprefix("Input should be "), str(item["loc"][0]).replace("_", "-")
        raise CycleError(f"`--{option}` must be {said}, but got {item['input']}") from None


def _asha(options: Options, cycle: Cycle, space: Space) -> Asha | None:
    if options.scheduler == "fifo":
        return None
    asha = Asha(reduction=options.asha_reduction or 3, grace=options.asha_grace or 1)
    if not asha.rungs(cycle.rounds) and "rounds" not in space.distributions:
        raise CycleError(
            f"`--asha-grace < rounds` must hold, but got (grace={asha.grace}, rounds={cycle.rounds}): no cycle would "
            "ever end early; lower the one, or raise `--rounds`"
        )
    return asha


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


def _of_others(space: Space, cycle: Cycle) -> dict[str, object]:
    """The searched fields of prunings that a schedule given by hand does not have."""
    methods = {pruning.method for pruning in cycle.schedule}
    groups = {key: key.partition(".")[0] for key in space.distributions}
    return {key: None for key, group in groups.items() if group in PRUNINGS and group not in methods}


def _check_methods(cycle: Cycle, options: Options, space: Path | None) -> None:
    """Raise `CycleError` for a `--set` of a pruning that the schedule does not have, and no space brings in."""
    methods = {pruning.method for pruning in cycle.schedule}
    text = space.read_text(encoding="utf-8", errors="replace") if space is not None and space.is_file() else ""
    by_hand = _parsed(options.set_)
    searched = "schedule" in text and "schedule" not in by_hand
    for key in by_hand:
        group = key.partition(".")[0]
        if group in PRUNINGS and methods and group not in methods and not searched:
            raise CycleError(
                f"`--set {key}` changes nothing, since the schedule has no {group} pruning: it is "
                f"`{folded(cycle.schedule)}`; say `--set schedule=…`, or leave it out"
            )


def _given(cycle: Cycle, options: Options) -> dict[str, object]:
    """The fields that options fix, the later ones winning: --toy, --task, --model, --rounds, --set."""
    name = cycle.model.name if options.model is None else _model_name(options.model)
    given: dict[str, object] = {**_toy(name, cycle)} if options.toy else {}
    if options.toy and cycle.rounds > _TOY_ROUNDS:
        given["rounds"] = _TOY_ROUNDS
    if options.toy and cycle.source is not None:
        given |= {"source.name": "toy", "source.data_seed": 1, "ticket_every": min(cycle.ticket_every, 2)}
    named: dict[str, object] = {"task.name": options.task, "rounds": options.rounds}
    if options.model is not None:
        named["model.name"] = name
        if name == "encoder" and options.model != name:
            named |= {"model.path": options.model, "model.revision": None}
    if options.from_config:
        if name != "encoder":
            raise CycleError(f"`--from-config` draws an encoder's weights, but model {name} is none: leave it out")
        named["model.weights"] = "random"
    return given | {key: value for key, value in named.items() if value is not None} | _parsed(options.set_)


def _model_name(model: str) -> str:
    """A model's name in a cycle: one of ours, or `encoder` for a name of the hub or a folder."""
    if model in MODELS or ("/" not in model and not Path(model).is_dir() and nearest(model, MODELS)):
        return model  # a slip of one of ours is told as such
    return "encoder"


def _toy(model: str, cycle: Cycle) -> dict[str, object]:
    """What `--toy` makes of a sweep with this model."""
    if model == "encoder":
        methods = {pruning.method for pruning in cycle.schedule}
        return {
            key: value
            for key, value in _TOY_ENCODER.items()
            if key.partition(".")[0] not in PRUNINGS or key.partition(".")[0] in methods
        }
    if model not in MODELS:
        return TOY
    kind = MODELS[model]
    if kind.inputs == "images":
        stepping = cycle.training.lr_schedule == "constant"
        return _TOY_IMAGES | ({} if stepping else {"training.milestones": []}) | dict(kind.toy)
    lacking = {key for key in TOY if key.startswith("model.") and key.removeprefix("model.") not in kind.model_fields}
    return {key: value for key, value in TOY.items() if key not in lacking} | dict(kind.toy)


def _parsed(settings: list[str] | None) -> dict[str, Scalar]:
    parsed = {}
    for setting in settings or ():
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
    from lt_ray.models.model import implementation

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
