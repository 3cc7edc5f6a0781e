"""Training: how a round learns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lt_ray.cycle.settings import Settings, Share


class Training(Settings):
    """How a round trains."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate; its highest where it changes"""
    lr_schedule: Literal["constant", "linear"] = "constant"
    """After the warm-up: `constant`, or `linear` = down to 0 at the round's last step"""
    warmup: Share = 0.0
    """Share of a round's steps in which the learning rate rises from 0, linearly [0, 1)"""
    weight_decay: float = Field(default=0.0, ge=0)
    decayed: Literal["all", "matrices"] = "all"
    """What weight decay touches: `all` parameters, or `matrices` = no biases and no norms, as is usual for BERT"""
    gradient_norm: float | None = Field(default=None, gt=0)
    """Norm to which a step's gradient is clipped, over all kept weights together: those pruned are not in it; None =
    never"""
    momentum: float = Field(default=0.0, ge=0, lt=1)
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

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        if self.optimizer != "sgd":
            tree |= {"momentum": 0.0}
        if self.weight_decay == 0:
            tree |= {"decayed": "all"}
        return tree


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
