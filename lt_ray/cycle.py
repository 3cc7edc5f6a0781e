"""The cycle: one frozen description of everything that changes a number."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from lt_ray.errors import CycleError, nearest
from lt_ray.fields import (
    FINE_TUNING,
    MODELS,
    PRUNINGS,
    RECURRENT,
    TASKS,
    TOY_ENCODER,
    AgNews,
    Cnn,
    Emotion,
    Encoder,
    Folder,
    Imdb,
    Lstm,
    Magnitude,
    Model,
    Pruning,
    PublicTexts,
    Recurrent,
    Rnn,
    Scalar,
    Settings,
    Similarity,
    Task,
    Toy,
    Training,
    Wanda,
    YahooAnswers,
    YelpFull,
    YelpPolarity,
)

__all__ = [
    "FINE_TUNING",
    "MASKS_KEY",
    "MODELS",
    "MOST_ROUNDS",
    "PRUNINGS",
    "RECURRENT",
    "SCHEMA",
    "TASKS",
    "TOY_ENCODER",
    "AgNews",
    "Cnn",
    "Cycle",
    "Emotion",
    "Encoder",
    "Folder",
    "Imdb",
    "Lstm",
    "Magnitude",
    "Model",
    "Pruning",
    "PublicTexts",
    "Recurrent",
    "Rnn",
    "Scalar",
    "Settings",
    "Similarity",
    "Task",
    "Toy",
    "Training",
    "Wanda",
    "YahooAnswers",
    "YelpFull",
    "YelpPolarity",
    "canonical",
    "digest",
    "explain",
    "folded",
    "keys",
    "parse",
]

SCHEMA = 4
"""Raised when the meaning of a field changes; part of every identity."""
MASKS_KEY = "magnitude.masks"
"""Tells a control from the logs' procedure, so it is told of every cycle whose masks are its own"""

MOST_ROUNDS = 1000
"""Most prunings of one cycle; a thousand of 1 % leave 0.004 % [count]"""


class Cycle(Settings):
    """A prune-retrain cycle: round 0 trains dense, then one round for each pruning of the schedule.

    It holds every number that changes a result and nothing else: no path, no GPU, no word of Ray or MLflow.
    """

    task: Annotated[Task, Field(discriminator="name")] = Toy()
    source: Annotated[Task, Field(discriminator="name")] | None = None
    """Another task, whose train words make the vocabulary; None = the task's own"""
    tickets: Literal["own", "source"] = "own"
    """Task on which tickets are found. `source` = round r trains, on `task`, the ticket of round r of the same cycle on
    `source`: a transfer (Morcos et al. 2019, arXiv:1906.02773)"""
    ticket_every: int = Field(default=1, ge=1)
    """With `tickets: source`: prunings between the rounds whose tickets are transferred [count]"""
    model: Annotated[Model, Field(discriminator="name")] = Cnn()
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights, the data order and the dropout"""
    training: Training = Training()
    schedule: tuple[Annotated[Pruning, Field(discriminator="method")], ...] = ()

    @model_validator(mode="after")
    def _rewinds_into_the_training(self) -> Cycle:
        for pruning in self.schedule:
            if not isinstance(pruning, Magnitude) or not pruning.rewinds:
                continue
            epoch, last = pruning.rewind_epoch, self.epochs_of(pruning)
            got = f"(rewind_epoch={epoch}, epochs={self.training.epochs})"
            if isinstance(epoch, int) and epoch > self.training.epochs:
                raise ValueError(
                    f"`magnitude.rewind_epoch <= training.epochs` must hold, but got {got}: "
                    "lower the one or raise the other, or say `last`"
                )
            if pruning.rewind_budget == "resume" and (epoch == "last" or epoch >= last):
                raise ValueError(
                    f"`magnitude.rewind_epoch < training.epochs` must hold with `rewind_budget: resume`, but got "
                    f"{got}: nothing would be retrained; lower it, or say `rewind_budget: full`"
                )
        return self

    @model_validator(mode="after")
    def _tickets_have_a_source(self) -> Cycle:
        if self.tickets == "source" and self.source is None:
            raise ValueError("`tickets: source` needs a source task, but got none: give `source.name`")
        if self.source == self.task:
            raise ValueError(
                f"`source` must be another task than `task`, but both are {self.task.name} with the same fields: name "
                "another one, or leave `source` out"
            )
        return self

    @model_validator(mode="after")
    def _blocks_are_there(self) -> Cycle:
        if isinstance(self.model, Encoder):
            if self.source is not None:
                raise ValueError(
                    "`source` gives a model its words, but an encoder brings its own, and got "
                    f"(source={self.source.name}, model=encoder): leave `source` out"
                )
            return self
        for pruning in self.schedule:
            if not isinstance(pruning, Magnitude):
                raise ValueError(
                    f"`{pruning.method}` prunes the blocks of an encoder, but model {self.model.name} has none: say "
                    "`--model NAME_OR_PATH` of a Hugging Face classifier, or leave it out of the schedule"
                )
        return self

    @model_validator(mode="after")
    def _controls_follow_their_ticket(self) -> Cycle:
        controls = [isinstance(pruning, Magnitude) and pruning.is_control for pruning in self.schedule]
        if True in controls and not all(controls[controls.index(True) :]):
            raise ValueError(
                "a control takes the ticket's masks in every round, so nothing else may be pruned after it, but the "
                f"schedule is {folded(self.schedule)}: say `magnitude.masks: own`, or end the schedule with magnitude"
            )
        if self.tickets == "source" and any(
            isinstance(pruning, Magnitude) and pruning.random_pruning for pruning in self.schedule
        ):
            raise ValueError(
                "`magnitude.random_pruning` takes a ticket's counts and no ticket, so `tickets: source` has nothing to "
                "transfer: say `tickets: own`"
            )
        return self

    @model_validator(mode="after")
    def _one_shot_is_of_magnitudes(self) -> Cycle:
        methods = {pruning.method for pruning in self.schedule}
        one_shot = any(isinstance(pruning, Magnitude) and pruning.strategy == "one_shot" for pruning in self.schedule)
        if one_shot and methods != {"magnitude"}:
            raise ValueError(
                "`magnitude.strategy: one_shot` prunes the dense weights, so the whole schedule must be magnitude, but "
                f"it is {folded(self.schedule)}: say `iterative`"
            )
        return self

    @property
    def rounds(self) -> int:
        """Number of prunings [count]."""
        return len(self.schedule)

    def epochs_of(self, pruning: Pruning | None) -> int:
        """Return the last epoch of the round that a pruning leads to; None = of round 0 [epochs]."""
        return self.training.epochs if pruning is None or pruning.epochs is None else pruning.epochs

    def epochs_in(self, round: int) -> int:
        """Return the last epoch of a round by its number, 0 = the dense one [epochs]."""
        return self.epochs_of(self.schedule[round - 1] if round else None)

    @property
    def most_epochs(self) -> int:
        """Last epoch of the round with the most [epochs]."""
        return max(self.epochs_of(pruning) for pruning in (None, *self.schedule))

    @property
    def trained_rounds(self) -> tuple[int, ...]:
        """The rounds that the cycle trains on its task: all, or those whose tickets are transferred [count]."""
        every = self.ticket_every if self.tickets == "source" else 1
        return tuple(range(0, self.rounds + 1, every))

    @property
    def takes_tickets(self) -> bool:
        """Whether masks, or their counts, come from another cycle: `origin`."""
        return self.tickets == "source" or any(
            isinstance(pruning, Magnitude) and pruning.is_control for pruning in self.schedule
        )

    @property
    def origin(self) -> Cycle:
        """The cycle that finds the tickets that this one takes: on the source task, or the ticket's of a control."""
        found = {
            "schedule": tuple(p.ticket if isinstance(p, Magnitude) else p for p in self.schedule),
            "tickets": "own",
            "ticket_every": 1,
        }
        if self.tickets == "source":
            assert self.source is not None
            found |= {"task": self.source, "source": None}
        return self.model_copy(update=found)

    @property
    def id(self) -> str:
        """The cycle's identity: 12 hexadecimal digits of its digest."""
        return digest({"schema": SCHEMA, "cycle": self.meaning()})[:12]

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        every = self.ticket_every if self.tickets == "source" else None
        return self.model_dump(mode="json") | {
            "ticket_every": every,
            "model": self.model.meaning(),
            "training": self.training.meaning(),
            "schedule": [pruning.meaning() for pruning in self.schedule],
        }

    def with_settings(self, settings: Mapping[str, object]) -> Cycle:
        """Return this cycle with some fields changed.

        - `settings`: dotted key → value. `schedule` names the prunings in order (`similarity*2 wanda`), each as the
          cycle has it already; `rounds` cuts the schedule or repeats its last pruning; `magnitude.FIELD` sets the
          field of every magnitude pruning; `task.name` and `model.name` start that task's or model's defaults.

        Raises `CycleError`, which names the nearest key or states the rule that the value breaks.
        """
        tree = self.model_dump(mode="json")
        for key, value in sorted(settings.items(), key=lambda item: _precedence(item[0])):
            _set(tree, key, value)
        return parse(tree)

    def flat(self) -> dict[str, Scalar]:
        """Return dotted key → value of every field, None where it has no meaning here.

        The schedule is folded: one value where all its prunings agree, else all of them.
        """
        tree = self.meaning()
        schedule = tree.pop("schedule")
        rows: dict[str, Scalar] = {"seed": tree.pop("seed"), "rounds": len(schedule), "schedule": folded(self.schedule)}
        rows |= {name: tree.pop(name) for name in ("tickets", "ticket_every")}
        for group, fields in tree.items():
            rows |= {f"{group}.{name}": _scalar(value) for name, value in (fields or {}).items()}
        if self.most_epochs != self.training.epochs:
            rows["most_epochs"] = self.most_epochs
        if isinstance(self.model, Encoder):  # no part of the identity, but what one calls it by
            rows |= {"model.path": self.model.path, "model.revision": self.model.revision}
        for method in PRUNINGS:
            steps = [step for step in schedule if step["method"] == method]
            for name in steps[0] if steps else ():
                if name != "method":
                    values = [_scalar(step[name]) for step in steps]
                    same = all(value == values[0] for value in values)
                    rows[f"{method}.{name}"] = values[0] if same else " ".join(map(str, values))
        return rows


def folded(schedule: Iterable[Pruning]) -> str:
    """Return the methods of a schedule in order, `similarity*2 wanda`: what the key `schedule` takes."""
    runs: list[list[Any]] = []
    for pruning in schedule:
        if runs and runs[-1][0] == pruning.method:
            runs[-1][1] += 1
        else:
            runs.append([pruning.method, 1])
    return " ".join(method if many == 1 else f"{method}*{many}" for method, many in runs)


def parse(tree: object) -> Cycle:
    """Return the cycle that a tree of plain values describes; raises `CycleError` with one line for each rule."""
    try:
        return Cycle.model_validate(tree)
    except ValidationError as error:
        raise CycleError("\n".join(dict.fromkeys(explain(error)))) from None


_OWN = ("seed", "tickets", "ticket_every")
"""Fields of the cycle itself"""


def keys() -> tuple[str, ...]:
    """Return every dotted key that `Cycle.with_settings` understands, whatever the task."""
    groups: list[tuple[str, type[BaseModel]]] = [
        *(("task", task) for task in TASKS.values()),
        *(("source", task) for task in TASKS.values()),
        *(("model", model) for model in MODELS.values()),
        ("training", Training),
        *PRUNINGS.items(),
    ]
    dotted = [f"{group}.{name}" for group, fields in groups for name in fields.model_fields if name != "method"]
    return tuple(dict.fromkeys([*_OWN, "rounds", "schedule", *dotted]))


def digest(value: object) -> str:
    """Return the SHA-256 of a tree of plain values, written canonically (sorted keys, no spaces, shortest floats).

    Raises ValueError for NaN, infinities and anything JSON does not know.
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: object) -> str:
    """Return the one JSON text of a tree of plain values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def explain(error: ValidationError) -> Iterable[str]:
    """Yield one line for each rule that a pydantic validation found broken: the key, the rule, the value."""
    for item in error.errors():
        where = ".".join(
            str(part) for part in item["loc"] if part not in {*TASKS, *MODELS} and not isinstance(part, int)
        )
        where = where.removeprefix("schedule.")
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
    if key in _OWN:
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
        known = MODELS if group == "model" else TASKS
        if name == "name":
            _name(tree, group, value, known)
        else:
            _check_known(key, tree[group], known)
            tree[group][name] = value


def _name(tree: dict[str, Any], group: str, value: object, known: Mapping[str, type[Settings]]) -> None:
    if not isinstance(value, str) or value not in known:
        raise CycleError(
            f"`{group}.name` must be one of {', '.join(known)}, but got {value!r}.{nearest(str(value), known)}"
        )
    if tree[group] is None or tree[group]["name"] != value:
        tree[group] = {"name": value}


def _check_known(key: str, tree: Mapping[str, Any] | None, known: Mapping[str, type[Settings]]) -> None:
    """Raise `CycleError` for a field that the named task or model does not have."""
    group, _, name = key.partition(".")
    if tree is None:
        raise CycleError(f"`{key}` has no meaning without a source task: give `source.name`, too")
    fields = known[tree["name"]].model_fields
    if name not in fields:
        what = "model" if group == "model" else "task"
        near = nearest(key, [f"{group}.{field}" for field in fields])
        raise CycleError(f"`{key}` is not a field of {what} {tree['name']}.{near}")


def _scheduled(schedule: list[Any], methods: object) -> list[Any]:
    """The prunings named, each as the next one of its method that the schedule has, or the last, or by default."""
    names: list[str] = []
    for word in str(methods).split():
        found = re.fullmatch(r"([a-z_]+)(?:\*(\d{1,4}))?", word)
        name = found[1] if found else word
        if not found or name not in PRUNINGS:
            raise CycleError(
                f"`schedule` must be methods in order, of {', '.join(PRUNINGS)}, such as `similarity*2 wanda`, but got "
                f"{_short(methods)}.{nearest(name, PRUNINGS)}"
            )
        names += [name] * int(found[2] or 1)
        if len(names) > MOST_ROUNDS:
            raise CycleError(f"`schedule` must have at most {MOST_ROUNDS} prunings, but got {_short(methods)}.")
    steps = []
    for place, name in enumerate(names):
        known = [step for step in schedule if step["method"] == name]
        nth = names[:place].count(name)
        steps.append(dict(known[min(nth, len(known) - 1)] if known else PRUNINGS[name]().model_dump(mode="json")))
    return steps


def _resized(schedule: list[Any], rounds: object) -> list[Any]:
    try:
        count = int(str(rounds))
    except ValueError:
        count = -1
    if not 0 <= count <= MOST_ROUNDS:
        raise CycleError(f"`rounds` must be a whole number from 0 to {MOST_ROUNDS}, but got {_short(rounds)}.")
    last = schedule[-1] if schedule else Magnitude().model_dump(mode="json")
    return [dict(schedule[i]) if i < len(schedule) else dict(last) for i in range(count)]


def _scalar(value: object) -> Scalar:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a cycle holds finite numbers only, but got {value}")
    assert value is None or isinstance(value, str | int | float | bool)
    return value
