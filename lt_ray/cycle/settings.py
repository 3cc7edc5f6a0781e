"""A frozen group of fields, and the kinds of values that fields have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo

Share = Annotated[float, Field(ge=0, lt=1)]
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Called:
    """What an arm's name says of a field, beside its type in `Annotated`. Without it a word stands for itself, a switch
    for its field (`freeze`, `no freeze`), and a number follows its field's name (`stride=2`)."""

    words: Mapping[Scalar, str] = field(default_factory=dict)
    """Value → what it is better known by; empty = it goes without saying"""
    idle: Mapping[Scalar, str] = field(default_factory=dict)
    """Value → what is said of it where nothing else is said"""
    text: str = ""
    """Of any other value, with `{key}` and `{value}` in it: `t={value}`"""
    digits: int = 3
    """Of numbers in `text` [count]"""
    always: Scalar = None
    """The value that is said of every cycle that has it, also where it is not searched"""


@dataclass(frozen=True)
class Meant:
    """Where a field has a meaning, beside its type in `Annotated`: elsewhere it makes no other cycle."""

    where: Callable[[Any], object]
    """Settings → whether it has a meaning in them"""
    otherwise: object = None
    """What identity has in its stead elsewhere; `...` = nothing, as before there was such a field"""


class Settings(BaseModel):
    """A frozen group of fields; unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        for name, kind in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, Settings):
                tree[name] = value.meaning()
            for meant in kind.metadata:
                if isinstance(meant, Meant) and not meant.where(self):
                    tree[name] = meant.otherwise
        return {name: value for name, value in tree.items() if value is not ...}


def a_share(value: object, info: ValidationInfo) -> object:
    """Refuse percents where a share is meant."""
    try:
        number = float(str(value))
    except ValueError:
        return value
    if 1 < number <= 100:
        raise ValueError(f"`{info.field_name}` must be a share, not percent, but got {value}: say {number / 100:g}")
    return value
