"""The cycle: one frozen description of everything that changes a number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from lt_ray.cycle.editing import edit, explain
from lt_ray.cycle.identity import SCHEMA, digest
from lt_ray.cycle.metrics import Metric
from lt_ray.cycle.models import MODELS, Cnn, ModelSettings
from lt_ray.cycle.prunings import PRUNINGS, PruningSettings, Restarting
from lt_ray.cycle.settings import Called, Meant, Scalar, Settings
from lt_ray.cycle.tasks import TASKS, TaskSettings, Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import CycleError


class Cycle(Settings):
    """A prune-retrain cycle: round 0 trains dense, then one round for each pruning of the schedule.

    It holds every number that changes a result and nothing else: no path, no GPU, no word of Ray or MLflow.
    """

    task: Annotated[SerializeAsAny[TaskSettings], BeforeValidator(TASKS.parse)] = Toy()
    source: Annotated[SerializeAsAny[TaskSettings] | None, BeforeValidator(TASKS.parse)] = None
    """Another task, whose train words make the vocabulary; None = the task's own"""
    tickets: Annotated[Literal["own", "source"], Called({"own": "own tickets", "source": "transferred"})] = "own"
    """Task on which tickets are found. `source` = round r trains, on `task`, the ticket of round r of the same cycle on
    `source`: a transfer (Morcos et al. 2019, arXiv:1906.02773)"""
    ticket_every: Annotated[int, Meant(lambda cycle: cycle.tickets == "source")] = Field(default=1, ge=1)
    """With `tickets: source`: prunings between the rounds whose tickets are transferred [count]"""
    model: Annotated[SerializeAsAny[ModelSettings], BeforeValidator(MODELS.parse)] = Cnn()
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights, the data order and the dropout"""
    training: Training = Training()
    plugins: Annotated[tuple[str, ...], Meant(lambda cycle: cycle.plugins, ...)] = ()
    """SHA-256 of the plugins that its kinds may come from (`plugins.run`)"""
    schedule: tuple[Annotated[SerializeAsAny[PruningSettings], BeforeValidator(PRUNINGS.parse)], ...] = ()

    @model_validator(mode="after")
    def _rewinds_into_the_training(self) -> Cycle:
        for pruning in self.schedule:
            if not isinstance(pruning, Restarting) or not pruning.rewinds:
                continue
            epoch, last = pruning.rewind_epoch, self.epochs_of(pruning)
            got = f"(rewind_epoch={epoch}, epochs={self.training.epochs})"
            if isinstance(epoch, int) and epoch > self.training.epochs:
                raise ValueError(
                    f"`{pruning.method}.rewind_epoch <= training.epochs` must hold, but got {got}: "
                    "lower the one or raise the other, or say `last`"
                )
            if pruning.rewind_budget == "resume" and (epoch == "last" or epoch >= last):
                raise ValueError(
                    f"`{pruning.method}.rewind_epoch < training.epochs` must hold with `rewind_budget: resume`, but "
                    f"got {got}: nothing would be retrained; lower it, or say `rewind_budget: full`"
                )
        return self

    @model_validator(mode="after")
    def _model_takes_the_tasks_examples(self) -> Cycle:
        for task in (self.task, *([] if self.source is None else [self.source])):
            if task.inputs != self.model.inputs:
                raise ValueError(
                    f"model {self.model.name} takes {self.model.inputs}, but task {task.name} has {task.inputs}: name "
                    "another model or task"
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
        if self.model.brings_words and self.source is not None:
            raise ValueError(
                "`source` gives a model its words, but an encoder brings its own, and got "
                f"(source={self.source.name}, model={self.model.name}): leave `source` out"
            )
        if self.model.has_blocks:
            return self
        having = ", ".join(name for name, kind in MODELS.items() if kind.has_blocks)
        for pruning in self.schedule:
            if pruning.needs_blocks:
                raise ValueError(
                    f"`{pruning.method}` needs a model with blocks, but model {self.model.name} has none: name one "
                    f"that has them ({having}), or leave it out of the schedule"
                )
        return self

    @model_validator(mode="after")
    def _losses_are_in_the_metrics_unit(self) -> Cycle:
        for pruning in self.schedule:
            if pruning.may_lose is not None:
                self.metric.check_loss(f"{pruning.method}.max_drop", pruning.may_lose)
        return self

    @model_validator(mode="after")
    def _controls_follow_their_ticket(self) -> Cycle:
        controls = [pruning.is_control for pruning in self.schedule]
        if True in controls and not all(controls[controls.index(True) :]):
            method = self.schedule[controls.index(True)].method
            raise ValueError(
                "a control takes the ticket's masks in every round, so nothing else may be pruned after it, but the "
                f"schedule is {folded(self.schedule)}: say `{method}.masks: own`, or end the schedule with {method}"
            )
        counting = next((p.method for p in self.schedule if isinstance(p, Restarting) and p.random_pruning), None)
        if self.tickets == "source" and counting is not None:
            raise ValueError(
                f"`{counting}.random_pruning` takes a ticket's counts and no ticket, so `tickets: source` has nothing "
                "to transfer: say `tickets: own`"
            )
        return self

    @model_validator(mode="after")
    def _one_shot_is_of_one_method(self) -> Cycle:
        at_once = next((pruning.method for pruning in self.schedule if pruning.one_shot), None)
        if at_once is not None and {pruning.method for pruning in self.schedule} != {at_once}:
            raise ValueError(
                f"`{at_once}.strategy: one_shot` prunes the dense weights, so the whole schedule must be {at_once}, "
                f"but it is {folded(self.schedule)}: say `iterative`"
            )
        return self

    @property
    def metric(self) -> Metric:
        """The metric that decides: tickets, roll-backs, objectives, early ends."""
        return self.task.metrics[0]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All that a split is measured by, the deciding one first: whatever other plugins this process has run."""
        return tuple(metric for metric in self.task.metrics if metric.plugin in ("", *self.plugins))

    @property
    def rounds(self) -> int:
        """Number of prunings [count]."""
        return len(self.schedule)

    def epochs_of(self, pruning: PruningSettings | None) -> int:
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
        return self.tickets == "source" or any(pruning.is_control for pruning in self.schedule)

    @property
    def origin(self) -> Cycle:
        """The cycle that finds the tickets that this one takes: on the source task, or the ticket's of a control."""
        changed = {
            "schedule": tuple(pruning.ticket for pruning in self.schedule),
            "tickets": "own",
            "ticket_every": 1,
        }
        if self.tickets == "source":
            assert self.source is not None
            changed |= {"task": self.source, "source": None}
        return self.model_copy(update=changed)

    @property
    def id(self) -> str:
        """The cycle's identity: 12 hexadecimal digits of its digest."""
        return digest({"schema": SCHEMA, "cycle": self.meaning()})[:12]

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        return super().meaning() | {"schedule": [pruning.on(self.model).meaning() for pruning in self.schedule]}

    def with_settings(self, settings: Mapping[str, object]) -> Cycle:
        """Return this cycle with some fields changed.

        - `settings`: dotted key → value. `schedule` names the prunings in order (`similarity*2 wanda`), each as the
          cycle has it already; `rounds` cuts the schedule or repeats its last pruning; `magnitude.FIELD` sets the
          field of every magnitude pruning; `task.name` and `model.name` start that task's or model's defaults.

        Raises `CycleError`, which names the nearest key or states the rule that the value breaks.
        """
        tree = self.model_dump(mode="json")
        edit(tree, settings)
        return parse(tree)

    def flat(self) -> dict[str, Scalar]:
        """Return dotted key → value of every field, None where it has no meaning here.

        The schedule is folded: one value where all its prunings agree, else all of them.
        """
        tree = self.meaning()
        schedule = tree.pop("schedule")
        rows: dict[str, Scalar] = {"seed": tree.pop("seed"), "rounds": len(schedule), "schedule": folded(self.schedule)}
        rows |= {name: tree.pop(name) for name in ("tickets", "ticket_every")}
        if self.plugins:
            rows["plugins"] = _scalar(tree.pop("plugins"))
        for group, fields in tree.items():
            rows |= {f"{group}.{name}": _scalar(value) for name, value in (fields or {}).items()}
        if self.most_epochs != self.training.epochs:
            rows["most_epochs"] = self.most_epochs
        rows |= {f"model.{name}": value for name, value in self.model if name in ("path", "revision")}
        for method in PRUNINGS:
            steps = [step for step in schedule if step["method"] == method]
            for name in steps[0] if steps else ():
                if name != "method":
                    values = [_scalar(step[name]) for step in steps]
                    same = all(value == values[0] for value in values)
                    rows[f"{method}.{name}"] = values[0] if same else " ".join(map(str, values))
        return rows


def folded(schedule: Iterable[PruningSettings]) -> str:
    """Return the methods of a schedule in order, `similarity*2 wanda`: what the key `schedule` takes."""
    runs = [(method, len([*same])) for method, same in itertools.groupby(pruning.method for pruning in schedule)]
    return " ".join(method if many == 1 else f"{method}*{many}" for method, many in runs)


def parse(tree: object) -> Cycle:
    """Return the cycle that a tree of plain values describes; raises `CycleError` with one line for each rule."""
    try:
        return Cycle.model_validate(tree)
    except ValidationError as error:
        raise CycleError("\n".join(dict.fromkeys(explain(error, tree)))) from None


def _scalar(value: object) -> Scalar:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a cycle holds finite numbers only, but got {value}")
    assert value is None or isinstance(value, str | int | float | bool)
    return value
