"""The cycle: one frozen description of everything that changes a number."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from lt_ray.errors import CycleError, nearest

SCHEMA = 2
"""Raised when the meaning of a field changes; part of every identity."""

MOST_ROUNDS = 1000
"""Most prunings of one cycle; a thousand of 1 % leave 0.004 % [count]"""

Share = Annotated[float, Field(ge=0, lt=1)]
Scalar = str | int | float | bool | None


class Settings(BaseModel):
    """A frozen group of fields; unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class Toy(Settings):
    """The built-in corpus: generated, seeded, offline."""

    name: Literal["toy"] = "toy"
    train: int = Field(default=2000, ge=20)
    """Examples in the train split [count]"""
    validation: int = Field(default=500, ge=20)
    """Examples in the validation split [count]"""
    test: int = Field(default=1000, ge=20)
    """Examples in the test split [count]"""
    data_seed: int = Field(default=0, ge=0)
    """Seed of the generator; the cycle's own seed does not touch the data"""


class PublicTexts(Settings):
    """What the public text sets have in common: where they are, and how they are cut.

    The logs' cuts are the defaults: 30 % of what is not test validates, and a pooled cut tests on 20 %.
    """

    dataset: str
    """Where the hub keeps it; not used with a data directory"""
    revision: str
    """Commit of that data set"""
    split: Literal["pooled", "official"] = "official"
    """`pooled` = all official splits together, cut anew; `official` = the official test, and a validation split cut
    from the official train where none is given"""
    sizes: tuple[int, int, int] | None = None
    """Train, validation and test, drawn from all there are; None = all, by shares [count]"""
    validation_share: float = Field(default=0.3, gt=0, lt=1)
    """Share that validates of what is not test, where no sizes are given [0, 1]"""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the pooled texts that tests, where no sizes are given [0, 1]"""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the cut; the cycle's own seed does not touch the data"""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens kept of a document; None = all [count]"""

    @field_validator("sizes")
    @classmethod
    def _sizes_are_positive(cls, sizes: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if sizes is not None and min(sizes) < 1:
            raise ValueError(f"`sizes >= 1` must hold, but got {sizes}")
        return sizes


class Imdb(PublicTexts):
    """IMDb reviews, two classes (Maas et al. 2011, ACL); pooled as the logs do: 28,000/12,000/10,000 of 50,000."""

    name: Literal["imdb"] = "imdb"
    dataset: str = "stanfordnlp/imdb"
    revision: str = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
    split: Literal["pooled", "official"] = "pooled"


class AgNews(PublicTexts):
    """AG's news, four classes (Zhang et al. 2015, NeurIPS); the logs' 84,000/36,000/7,600 of 120,000 + 7,600."""

    name: Literal["ag_news"] = "ag_news"
    dataset: str = "fancyzhx/ag_news"
    revision: str = "eb185aade064a813bc0b7f42de02595523103ca4"


class YelpPolarity(PublicTexts):
    """Yelp reviews, two classes: 1 and 2 stars against 4 and 5 (Zhang et al. 2015, NeurIPS)."""

    name: Literal["yelp_polarity"] = "yelp_polarity"
    dataset: str = "fancyzhx/yelp_polarity"
    revision: str = "bbf1c97a1f0cf005e5aded43839fd814654a1557"


class YelpFull(PublicTexts):
    """Yelp reviews, five classes: the stars (Zhang et al. 2015, NeurIPS)."""

    name: Literal["yelp_full"] = "yelp_full"
    dataset: str = "Yelp/yelp_review_full"
    revision: str = "c1f9ee939b7d05667af864ee1cb066393154bf85"


class Folder(Settings):
    """A user's own files with `text` and `label`."""

    name: Literal["folder"] = "folder"
    validation_share: float = Field(default=0.15, gt=0, lt=1)
    """Share cut for validation where no file is named for it [0, 1]"""
    test_share: float = Field(default=0.15, gt=0, lt=1)
    """Share cut for test where no file is named for it [0, 1]"""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the cut; the cycle's own seed does not touch the data"""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens kept of a document; None = all [count]"""

    @model_validator(mode="after")
    def _shares_leave_a_train_split(self) -> Folder:
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                "`validation_share + test_share < 1` must hold, but got "
                f"(validation_share={self.validation_share}, test_share={self.test_share})"
            )
        return self


Task = Toy | Imdb | AgNews | YelpPolarity | YelpFull | Folder
TASKS: dict[str, type[Task]] = {
    "toy": Toy,
    "imdb": Imdb,
    "ag_news": AgNews,
    "yelp_polarity": YelpPolarity,
    "yelp_full": YelpFull,
    "folder": Folder,
}


class Cnn(Settings):
    """The logs' CNN: embedding, convolutions of several widths, max over time, dropout, linear (Kim 2014)."""

    name: Literal["cnn"] = "cnn"
    vocabulary: int = Field(default=25_000, ge=1)
    """Most frequent train words kept, besides the unknown word and the padding [count]"""
    embedding: int = Field(default=100, ge=1)
    """Features of a word [count]"""
    filters: int = Field(default=100, ge=1)
    """Filters of each width [count]"""
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(3, 4, 5), min_length=1)
    """Words a filter sees [count]"""
    dropout: Share = 0.5
    """Share of features dropped before the last layer [0, 1)"""


class Recurrent(Settings):
    """What the logs' recurrent models have in common: embedding, dropout, recurrent layers, their last states,
    dropout, linear."""

    vocabulary: int = Field(default=25_000, ge=1)
    """Most frequent train words kept, besides the unknown word and the padding [count]"""
    embedding: int = Field(default=100, ge=1)
    """Features of a word [count]"""
    hidden: int = Field(default=256, ge=1)
    """Features of a state, in each direction [count]"""
    layers: int = Field(default=1, ge=1)
    """Recurrent layers [count]"""
    bidirectional: bool = False
    """Read from both ends"""
    recurrent_init: Literal["orthogonal", "xavier"] = "orthogonal"
    """How weights from state to state are drawn; the others are Xavier normal, biases 0"""
    dropout: Share = 0.5
    """Share of features dropped after the embedding, between layers and before the last layer [0, 1)"""


class Lstm(Recurrent):
    """The logs' LSTM: two layers, both directions (Hochreiter & Schmidhuber 1997)."""

    name: Literal["lstm"] = "lstm"
    layers: int = Field(default=2, ge=1)
    bidirectional: bool = True


class Rnn(Recurrent):
    """The logs' plain RNN, with tanh: one layer, one direction (Elman 1990)."""

    name: Literal["rnn"] = "rnn"


Model = Cnn | Lstm | Rnn
RECURRENT = ("lstm", "rnn")
"""Names of the recurrent ones"""
MODELS: dict[str, type[Model]] = {"cnn": Cnn, "lstm": Lstm, "rnn": Rnn}


class Training(Settings):
    """How a round trains."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate, constant"""
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Of sgd; the others have none"""
    batch_size: int = Field(default=64, ge=1)
    """Documents of one optimizer step [count]"""
    epochs: int = Field(default=10, ge=1)
    """Last epoch of the dense training [epochs]"""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many epochs in a row without a lower validation loss, and end with the weights of the lowest;
    None = train all epochs and end with the last weights [epochs]"""
    length_batches: bool = False
    """Batch documents of like length together"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 = autocast of the forward pass"""

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        return tree if self.optimizer == "sgd" else tree | {"momentum": 0.0}


class Magnitude(Settings):
    """One pruning of the smallest remaining magnitudes, and what the kept weights become (Frankle & Carbin 2019)."""

    method: Literal["magnitude"] = "magnitude"
    fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the remaining prunable weights that is removed (0, 1)"""
    output_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Share removed of the output layer's instead, with local scope; Frankle & Carbin's LeNet takes half of `fraction`;
    None = `fraction` (0, 1)"""
    strategy: Literal["iterative", "one_shot"] = "iterative"
    """`iterative` = round r prunes what round r − 1 trained; `one_shot` = round r prunes the dense weights, at once as
    many as r iterative prunings would"""
    scope: Literal["local", "global"] = "local"
    """`local` = each tensor alone, `global` = all tensors ranked together"""
    rounding: Literal["percentile", "nearest", "ceil"] = "percentile"
    """How many of n weights `fraction` removes: METHODS §2"""
    parameters: Literal["all", "weights"] = "all"
    """`all` = weights, biases and embeddings; `weights` = those of convolutional, linear and recurrent layers"""
    exclude: tuple[str, ...] = ()
    """Parameter names (shell patterns) never pruned"""
    random_pruning: bool = False
    """Control: as many per tensor as the magnitudes say, at random positions"""
    restart: Literal["rewind", "random", "final"] = "rewind"
    """`rewind` = round 0's weights of `rewind_epoch`, `random` = a new draw of the initialiser, `final` = the weights
    just trained"""
    rewind_epoch: int | Literal["last"] = 0
    """Where restart is `rewind`: epoch of round 0 that is restored, 0 = initialisation [epochs]"""
    rewind_budget: Literal["full", "resume"] = "full"
    """Where restart is `rewind`: `full` = all epochs again from epoch 0's data order, `resume` = from `rewind_epoch`
    to the same last epoch"""
    shared_start: tuple[str, ...] = ()
    """Where restart is `random`: parameter names (shell patterns) that restart from the seed's initial weights
    nevertheless"""

    @field_validator("rewind_epoch", mode="before")
    @classmethod
    def _rewind_epoch_is_an_epoch(cls, value: object) -> object:
        try:
            epoch = -1 if isinstance(value, bool) else int(str(value))
        except ValueError:
            epoch = -1
        if epoch < 0 and value != "last":
            raise ValueError(f"`rewind_epoch` must be 0, 1, … or `last`, but got {value!r}")
        return value if value == "last" else epoch

    @model_validator(mode="after")
    def _output_fraction_is_of_one_tensor(self) -> Magnitude:
        if self.output_fraction is not None and self.scope == "global":
            raise ValueError(
                "`magnitude.output_fraction` needs `scope: local`, but got global, which ranks all tensors together: "
                "leave one of them out"
            )
        return self

    @field_validator("exclude", "shared_start")
    @classmethod
    def _order_of_names_has_no_meaning(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(value)))

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        if self.restart != "rewind":
            tree |= {"rewind_epoch": None, "rewind_budget": None}
        if self.restart != "random":
            tree |= {"shared_start": []}
        return tree


Pruning = Magnitude
PRUNINGS: dict[str, type[Magnitude]] = {"magnitude": Magnitude}


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
    schedule: tuple[Pruning, ...] = ()

    @model_validator(mode="after")
    def _rewinds_into_the_training(self) -> Cycle:
        for pruning in self.schedule:
            if pruning.restart != "rewind":
                continue
            epoch = pruning.rewind_epoch
            got = f"(rewind_epoch={epoch}, epochs={self.training.epochs})"
            if isinstance(epoch, int) and epoch > self.training.epochs:
                raise ValueError(
                    f"`magnitude.rewind_epoch <= training.epochs` must hold, but got {got}: "
                    "lower the one or raise the other, or say `last`"
                )
            if pruning.rewind_budget == "resume" and epoch in ("last", self.training.epochs):
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

    @property
    def rounds(self) -> int:
        """Number of prunings [count]."""
        return len(self.schedule)

    @property
    def trained_rounds(self) -> tuple[int, ...]:
        """The rounds that the cycle trains on its task: all, or those whose tickets are transferred [count]."""
        every = self.ticket_every if self.tickets == "source" else 1
        return tuple(range(0, self.rounds + 1, every))

    @property
    def origin(self) -> Cycle:
        """The cycle on the source task that finds the tickets transferred by this one."""
        assert self.source is not None
        return self.model_copy(update={"task": self.source, "source": None, "tickets": "own", "ticket_every": 1})

    @property
    def id(self) -> str:
        """The cycle's identity: 12 hexadecimal digits of its digest."""
        return digest({"schema": SCHEMA, "cycle": self.meaning()})[:12]

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        every = self.ticket_every if self.tickets == "source" else None
        return self.model_dump(mode="json") | {
            "ticket_every": every,
            "training": self.training.meaning(),
            "schedule": [pruning.meaning() for pruning in self.schedule],
        }

    def with_settings(self, settings: Mapping[str, object]) -> Cycle:
        """Return this cycle with some fields changed.

        - `settings`: dotted key → value. `rounds` cuts the schedule or repeats its last pruning; `magnitude.FIELD`
          sets the field of every magnitude pruning; `task.name` and `model.name` start that task's or model's
          defaults.

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
        rows: dict[str, Scalar] = {"seed": tree.pop("seed"), "rounds": len(schedule)}
        rows |= {name: tree.pop(name) for name in ("tickets", "ticket_every")}
        for group, fields in tree.items():
            rows |= {f"{group}.{name}": _scalar(value) for name, value in (fields or {}).items()}
        for method in PRUNINGS:
            steps = [step for step in schedule if step["method"] == method]
            for name in steps[0] if steps else ():
                if name != "method":
                    values = [_scalar(step[name]) for step in steps]
                    same = all(value == values[0] for value in values)
                    rows[f"{method}.{name}"] = values[0] if same else " ".join(map(str, values))
        return rows


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
    return tuple(dict.fromkeys([*_OWN, "rounds", *dotted]))


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
        where = where.replace("schedule", "magnitude")
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
    """Names first (they bring their own defaults), then the schedule's length, then fields."""
    return ({"task.name": 0, "source.name": 0, "model.name": 0, "rounds": 1}.get(key, 2), key)


def _set(tree: dict[str, Any], key: str, value: object) -> None:
    if key not in keys():
        raise CycleError(f"`{key}` is not a field of a cycle.{nearest(key, keys())}")
    group, _, name = key.partition(".")
    if key in _OWN:
        tree[key] = value
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
