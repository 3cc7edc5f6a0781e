"""What all prunings have in common: their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lt_ray.cycle.models import ModelSettings
from lt_ray.cycle.settings import Called, Settings

OF_THE_PRUNING = Called(text="{key}={value}")
"""Of a field that says little without the pruning it is of"""


class PruningSettings(Settings):
    """What all prunings have in common, and what their settings say besides their fields."""

    implementation: ClassVar[str | Callable[..., Any]]
    """`module:Class` of the `lt_ray.rounds.methods.method.Method` that they describe, or the class"""
    needs_blocks: ClassVar[bool] = False
    """Whether it prunes blocks, or what is within them"""
    removes_blocks: ClassVar[bool] = False
    """Whether it removes whole blocks"""
    key_fields: ClassVar[Mapping[str, str]] = {}
    """The fields that a report's introduction tells → what it calls them"""
    method: str
    epochs: Annotated[int | None, OF_THE_PRUNING] = Field(default=None, ge=0)
    """Epochs of retraining; 0 = measured as pruned, None = `training.epochs` [epochs]"""

    @property
    def label(self) -> str:
        """What sentences and titles call the method."""
        return f"{self.method.replace('_', ' ')} pruning"

    @property
    def applied(self) -> str:
        """What sentences call this pruning, with how much it takes where one number says so: `Wanda at 0.5`."""
        return self.label

    @property
    def published(self) -> str:
        """What published tables call a model that it made (docs/methods.md §1); empty where they have no such model."""
        return ""

    @property
    def is_control(self) -> bool:
        """Whether it takes masks, or their counts, from the ticket of the same round."""
        return False

    @property
    def ticket(self) -> PruningSettings:
        """The pruning that finds the ticket: this one, or the one that it is the control of."""
        return self

    @property
    def one_shot(self) -> bool:
        """Whether each round prunes the dense weights, as much as it and all before it would one after the other."""
        return False

    def at_once(self, before: Sequence[PruningSettings]) -> PruningSettings:
        """Return the pruning that does in one cut what this one and those before it do; where it is `one_shot`."""
        raise NotImplementedError

    @property
    def may_lose(self) -> float | None:
        """How much worse than round 0 its round may be on validation before it is rejected, in the unit of the deciding
        metric; None = any. Its field is called `max_drop`."""
        return None

    @property
    def effect(self) -> str:
        """What it does to a model, in two words."""
        return "?"

    def on(self, model: ModelSettings) -> PruningSettings:
        """Return it without what means nothing for a model."""
        return self
