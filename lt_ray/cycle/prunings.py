"""Prunings: what is removed between two rounds, and what the kept weights become."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lt_ray.cycle.kinds import Kinds
from lt_ray.cycle.models import ModelSettings
from lt_ray.cycle.pruning import OF_THE_PRUNING
from lt_ray.cycle.pruning import PruningSettings as PruningSettings
from lt_ray.cycle.settings import Called, Meant, a_share

OWN_MASKS = "random reinit, own masks"
"""The published arm that re-initialises and then prunes what it trained: no control (docs/methods.md §1)"""


class Restarting(PruningSettings):
    """A pruning after which the kept weights may start anew, with its controls (Frankle & Carbin 2019)."""

    parameters: Literal["all", "weights"] = "all"
    """`all` = weights, biases and embeddings; `weights` = those of convolutional, linear and recurrent layers"""
    exclude: Annotated[tuple[str, ...], Called({"": ""}, text="{value} whole")] = ()
    """Parameter names (shell patterns) never pruned"""
    random_pruning: Annotated[bool, Called({True: "random pruning", False: ""})] = False
    """Control: of every tensor as many weights as the ticket of the same round has, at random positions"""
    restart: Literal["rewind", "random", "final"] = "rewind"
    """`rewind` = round 0's weights of `rewind_epoch`, `random` = a new draw of the initialiser, `final` = the weights
    just trained"""
    masks: Annotated[
        Literal["ticket", "own"],
        Called({"ticket": ""}, text="{value} masks", always="own"),
        Meant(lambda pruning: pruning.restart == "random" and not pruning.random_pruning),
    ] = "ticket"
    """Where restart is `random`: `ticket` = round r takes the masks that the rewound cycle has in round r, so that only
    the weights are new (the control of Frankle & Carbin 2019); `own` = each round prunes what it trained after its own
    re-initialisation, as the research logs did, so that from the second round on the masks are other ones, too"""
    rewind_epoch: Annotated[int | Literal["last"], Meant(lambda pruning: pruning.rewinds)] = 0
    """Where restart is `rewind`: epoch of round 0 that is restored, 0 = initialisation; where masks are a rewound
    ticket's: of that ticket [epochs]"""
    rewind_budget: Annotated[Literal["full", "resume"], Meant(lambda pruning: pruning.rewinds)] = "full"
    """Where restart is `rewind`: `full` = all epochs again from epoch 0's data order, `resume` = from `rewind_epoch`
    to the same last epoch"""
    shared_start: Annotated[tuple[str, ...], Meant(lambda pruning: pruning.restart == "random", [])] = ()
    """Where restart is `random`: parameter names (shell patterns) that restart from the seed's initial weights
    nevertheless"""

    @field_validator("rewind_epoch", mode="before")
    @classmethod
    def _rewind_epoch_is_an_epoch(cls, value: object) -> object:
        if value != "last" and not str(value).isdecimal():
            raise ValueError(f"`rewind_epoch` must be 0, 1, … or `last`, but got {value!r}")
        return value if value == "last" else int(str(value))

    @model_validator(mode="after")
    def _random_positions_are_counted_by_a_ticket(self) -> Restarting:
        if self.random_pruning and self.masks == "own":
            raise ValueError(
                f"`{self.method}.random_pruning` takes its counts from the ticket, but got `masks: own`: leave one "
                "of them out"
            )
        return self

    @property
    def is_control(self) -> bool:
        """Whether it takes masks, or their counts, from the ticket of the same round."""
        return self.random_pruning or (self.restart == "random" and self.masks == "ticket")

    @property
    def rewinds(self) -> bool:
        """Whether `rewind_epoch` has a meaning: for its own weights, or for the ticket whose masks it takes."""
        return self.restart == "rewind" or (self.restart == "random" and self.is_control)

    @property
    def ticket(self) -> PruningSettings:
        """The pruning that finds the ticket: this one, or the one that it is the control of."""
        if not self.is_control:
            return self
        restart = "rewind" if self.restart == "random" else self.restart
        return self.model_copy(update={"restart": restart, "random_pruning": False, "shared_start": ()})

    @field_validator("exclude", "shared_start")
    @classmethod
    def _order_of_names_has_no_meaning(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(value)))


class Ranked(Restarting):
    """A pruning of the weights that score lowest."""

    key_fields: ClassVar[Mapping[str, str]] = {"fraction": "fraction"}
    fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the remaining prunable weights that is removed (0, 1)"""
    output_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Share removed of the output layer's instead, with local scope; Frankle & Carbin's LeNet takes half of `fraction`;
    None = `fraction` (0, 1)"""
    strategy: Annotated[Literal["iterative", "one_shot"], Called({"one_shot": "one-shot"})] = "iterative"
    """`iterative` = round r prunes what round r − 1 trained; `one_shot` = round r prunes the dense weights, at once as
    many as r iterative prunings would"""
    scope: Literal["local", "global"] = "local"
    """`local` = each tensor alone, `global` = all tensors ranked together"""
    rounding: Literal["percentile", "nearest", "ceil"] = "percentile"
    """How many of n weights `fraction` removes: docs/methods.md §2"""

    @model_validator(mode="after")
    def _output_fraction_is_of_one_tensor(self) -> Ranked:
        if self.output_fraction is not None and self.scope == "global":
            raise ValueError(
                f"`{self.method}.output_fraction` needs `scope: local`, but got global, which ranks all tensors "
                "together: leave one of them out"
            )
        return self

    @property
    def one_shot(self) -> bool:
        """Whether each round prunes the dense weights."""
        return self.strategy == "one_shot"

    def at_once(self, before: Sequence[PruningSettings]) -> Ranked:
        """Return this pruning, removing in one cut as much as it and those before it do one after the other."""
        prunings = [*(p for p in before if isinstance(p, Ranked)), self]
        outputs = [p.fraction if p.output_fraction is None else p.output_fraction for p in prunings]
        together = {
            "fraction": 1 - math.prod(1 - p.fraction for p in prunings) if len(prunings) > 1 else self.fraction,
            "strategy": "iterative",
        }
        if any(p.output_fraction is not None for p in prunings):
            together["output_fraction"] = 1 - math.prod(1 - share for share in outputs)
        return self.model_copy(update=together)

    @property
    def effect(self) -> str:
        """What it does to a model, in two words."""
        return f"{self.fraction:.0%} fewer"


class Magnitude(Ranked):
    """One pruning of the smallest remaining magnitudes, and what the kept weights become (Frankle & Carbin 2019)."""

    implementation = "lt_ray.rounds.methods.magnitude:MagnitudeMethod"
    method: Literal["magnitude"] = "magnitude"

    @property
    def published(self) -> str:
        """What published tables call its models: they prune iteratively, and their random arm has its own masks."""
        if self.one_shot:
            return ""
        if self.random_pruning:
            return "random pruning"
        if self.restart == "rewind":
            return f"rewind@{self.rewind_epoch}"
        return OWN_MASKS if self.restart == "random" and self.masks == "own" else ""


class Snip(Ranked):
    """One pruning of the weights on which the loss at initialisation depends least: |weight · gradient|, by which all
    are ranked together (Lee et al. 2019, arXiv:1810.02340)."""

    implementation = "lt_ray.rounds.methods.snip:SnipMethod"
    method: Literal["snip"] = "snip"
    fraction: float = Field(default=0.9, gt=0, lt=1)
    scope: Literal["local", "global"] = "global"
    rounding: Literal["percentile", "nearest", "ceil"] = "nearest"
    calibration: Annotated[int, OF_THE_PRUNING] = Field(default=128, ge=1)
    """Examples of train on which gradients are taken; all, where there are fewer [count]"""

    @property
    def label(self) -> str:
        """What sentences and titles call the method."""
        return "SNIP"


class Similarity(PruningSettings):
    """One removal of blocks whose outputs are like those of the block before them, by linear CKA; the kept weights go
    on as they are (MPruner; CKA: Kornblith et al. 2019, arXiv:1905.00414)."""

    implementation = "lt_ray.rounds.methods.similarity:SimilarityMethod"
    needs_blocks = True
    removes_blocks = True
    key_fields: ClassVar[Mapping[str, str]] = {"threshold": "threshold", "max_drop": "largest drop"}
    method: Literal["similarity"] = "similarity"
    threshold: Annotated[float, Called(text="t={value}", digits=6)] = Field(default=0.98, gt=0, le=1)
    """Linear CKA from which blocks are alike (0, 1]"""
    stride: int = Field(default=1, ge=1)
    """Of each cluster the positions `1::stride` are removed: 1 = all but the first, 2 = every other one [count]"""
    clusters: Literal["anchor", "chain"] = "anchor"
    """`anchor` = alike to the cluster's first block, `chain` = to the block before"""
    freeze: Annotated[bool, Called(idle={False: "no freeze"})] = False
    """Train only the blocks next to removed ones, and what is no block; frozen blocks stay frozen in later rounds"""
    cka: Literal["minibatch", "tokens"] = "minibatch"
    """`minibatch` = examples are samples, their tokens' mean; unbiased, summed over batches. `tokens` = examples are
    the tokens of one sentence; biased, averaged over sentences"""
    features: Annotated[Literal["pooled", "flattened"], Meant(lambda pruning: pruning.features != "pooled", ...)] = (
        "pooled"
    )
    """Of `minibatch`: an example's features are the mean over its tokens or over the pixels of its maps, or, for
    pictures, all values of its maps"""
    recalibrate: Annotated[bool, Meant(lambda pruning: pruning.recalibrate, ...)] = False
    """Estimate the statistics of batch norms anew after a removal: their mean over the calibration batches, passed once
    through the shorter model; else they are those of the kept blocks"""
    calibration: Annotated[int, OF_THE_PRUNING] = Field(default=2048, ge=4)
    """Examples of train on which blocks are compared; all, where there are fewer [count]"""
    calibration_batch: Annotated[int, Meant(lambda pruning: pruning.cka == "minibatch")] = Field(default=256, ge=4)
    """Examples of one batch of the `minibatch` estimator [count]"""
    max_drop: float | None = Field(default=None, ge=0)
    """What may be lost on validation against round 0, in the unit of the deciding metric: a round that loses more is
    rejected, and the next one starts from the last accepted one with the next stride; None = every round is accepted"""
    max_stride: Annotated[int, Meant(lambda pruning: pruning.max_drop is not None)] = Field(default=3, ge=1)
    """With `max_drop`: stride after which no further removal is tried [count]"""

    _shares = field_validator("threshold", mode="before")(a_share)

    @model_validator(mode="after")
    def _strides_rise(self) -> Similarity:
        if self.max_drop is not None and self.stride > self.max_stride:
            raise ValueError(
                "`similarity.stride <= similarity.max_stride` must hold, but got "
                f"(stride={self.stride}, max_stride={self.max_stride}): lower the one or raise the other"
            )
        return self

    @model_validator(mode="after")
    def _tokens_are_not_flattened(self) -> Similarity:
        if self.cka == "tokens" and self.features == "flattened":
            raise ValueError(
                "`similarity.features: flattened` is of `cka: minibatch`, but got `cka: tokens`, which compares each "
                "token's features: leave one of them out"
            )
        return self

    @property
    def may_lose(self) -> float | None:
        """What it may cost on validation."""
        return self.max_drop

    @property
    def published(self) -> str:
        """What published tables call its models: they cluster by the first block, and name a stride above 1."""
        if self.clusters != "anchor":
            return ""
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        return f"similarity@{self.threshold:g}{stride}{' freeze' if self.freeze else ''}"

    @property
    def effect(self) -> str:
        """What it does to a model, in two words."""
        return "fewer blocks"

    def on(self, model: ModelSettings) -> Similarity:
        """Return it without what means nothing for a model."""
        return self if model.has_statistics else self.model_copy(update={"recalibrate": False})


class Wanda(PruningSettings):
    """One pruning of the blocks' linear maps, convolutions too, by |weight| · norm of its input; the kept weights go on
    as they are (Sun et al. 2023, arXiv:2306.11695)."""

    implementation = "lt_ray.rounds.methods.wanda:WandaMethod"
    needs_blocks = True
    key_fields: ClassVar[Mapping[str, str]] = {"sparsity": "Wanda sparsity"}
    method: Literal["wanda"] = "wanda"
    sparsity: Annotated[
        float, Called(text="wanda={value}", digits=6), Meant(lambda pruning: pruning.pattern == "row")
    ] = Field(default=0.5, gt=0, lt=1)
    """Share of each output row that is pruned afterwards, what was pruned before included (0, 1)"""
    pattern: Annotated[str, Called(idle={"row": "row"})] = "row"
    """`row` = anywhere in the row, `N:M` = N of every M inputs in a row stay, which says the sparsity, too"""
    mode: Literal["sequential", "one_pass"] = "sequential"
    """`sequential` = a block's inputs are measured with the blocks before it pruned, `one_pass` = all unpruned"""
    calibration: Annotated[int, OF_THE_PRUNING] = Field(default=1024, ge=1)
    """Examples of train on which inputs are measured; all, where there are fewer [count]"""

    _shares = field_validator("sparsity", mode="before")(a_share)

    @field_validator("pattern")
    @classmethod
    def _pattern_is_known(cls, value: str) -> str:
        pattern = re.fullmatch(r"(\d+):(\d+)", value)
        if value != "row" and not (pattern and 0 < int(pattern[1]) < int(pattern[2])):
            raise ValueError(f"`pattern` must be `row` or N:M with 0 < N < M, such as 2:4, but got {value!r}")
        return value

    @property
    def kept_of(self) -> tuple[int, int] | None:
        """(N, M) of an N:M pattern; None for rows."""
        if self.pattern == "row":
            return None
        n, m = map(int, self.pattern.split(":"))
        return n, m

    @property
    def label(self) -> str:
        """What sentences and titles call the method."""
        return "Wanda"

    @property
    def applied(self) -> str:
        """The method and the share, or the pattern, of zeros."""
        return f"Wanda at {self.sparsity:g}" if self.pattern == "row" else f"Wanda at {self.pattern}"

    @property
    def published(self) -> str:
        """What published tables call its models: they prune anywhere in a row."""
        return f"wanda@{self.sparsity:g}" if self.pattern == "row" else ""

    @property
    def effect(self) -> str:
        """What it does to a model, in two words."""
        n, m = self.kept_of or (0, 0)
        return f"{1 - n / m if m else self.sparsity:.0%} zeros"


PRUNINGS = Kinds[PruningSettings]("pruning", "method", (Magnitude, Similarity, Wanda, Snip))
