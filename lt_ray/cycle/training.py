"""Training: how a round learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lt_ray.cycle.settings import Meant, Settings, Share


class Training(Settings):
    """How a round trains."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate; its highest where it changes"""
    lr_schedule: Literal["constant", "linear"] = "constant"
    """After the warm-up: `constant`, or `linear` = down to 0 at the round's last step"""
    milestones: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Meant(lambda training: training.milestones, ...)
    ] = ()
    """Epochs after which the learning rate is multiplied by `gamma`, on round 0's scale [epochs]"""
    gamma: Annotated[float, Meant(lambda training: training.milestones, ...)] = Field(default=0.1, gt=0, lt=1)
    """Factor of the learning rate at each milestone (0, 1)"""
    warmup: Share = 0.0
    """Share of a round's steps in which the learning rate rises from 0, linearly [0, 1)"""
    weight_decay: float = Field(default=0.0, ge=0)
    decayed: Annotated[Literal["all", "matrices"], Meant(lambda training: training.weight_decay, "all")] = "all"
    """What weight decay touches: `all` parameters, or `matrices` = no biases and no norms, as is usual for BERT"""
    gradient_norm: float | None = Field(default=None, gt=0)
    """Norm to which a step's gradient is clipped, over all kept weights together: those pruned are not in it; None =
    never"""
    momentum: Annotated[float, Meant(lambda training: training.optimizer == "sgd", 0.0)] = Field(
        default=0.0, ge=0, lt=1
    )
    """Of sgd; the others have none"""
    batch_size: int = Field(default=64, ge=1)
    """Documents of one optimizer step [count]"""
    accumulation: int = Field(default=1, ge=1)
    """Parts in which a batch goes through the model one after the other, gradients added: less memory, the same step
    but for its dropout [count]"""
    epochs: int = Field(default=10, ge=1)
    """Last epoch of the dense training [epochs]"""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many epochs in a row without a lower validation loss, and end with the weights of the lowest;
    None = train all epochs and end with the last weights [epochs]"""
    length_batches: bool = False
    """Batch documents of like length together"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 = autocast of the forward pass"""
    channels_last: Annotated[bool, Meant(lambda training: training.channels_last, ...)] = False
    """Give a model its pictures with their channels innermost in memory: often faster, other rounding"""

    @model_validator(mode="after")
    def _milestones_rise_within_the_epochs(self) -> Training:
        if list(self.milestones) != sorted(set(self.milestones)) or max(self.milestones, default=0) >= self.epochs:
            raise ValueError(
                "`milestones` must rise and be less than `training.epochs`, but got "
                f"(milestones={list(self.milestones)}, epochs={self.epochs}): say --set 'training.milestones=[…]'"
            )
        if self.milestones and self.lr_schedule != "constant":
            raise ValueError(
                f"`milestones` step down from a constant rate, but got (lr_schedule={self.lr_schedule}): leave one out"
            )
        return self


FINE_TUNING = Training(
    optimizer="adamw",
    lr=5e-5,
    lr_schedule="linear",
    warmup=0.06,
    weight_decay=0.01,
    decayed="matrices",
    gradient_norm=1.0,
    batch_size=32,
    epochs=1,
    length_batches=True,
)
"""How the research logs fine-tune BERT (AdamW 5e-5, batch 32, one epoch), the rest as is usual (Devlin et al. 2019)"""
