"""Registries: name → class of settings, for tasks, models and prunings. A plugin adds its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pkgutil import resolve_name
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from lt_ray.cycle.settings import Settings

S = TypeVar("S", bound=Settings)


def resolved(implementation: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return what an implementation names: the attribute of `MODULE:NAME`, imported now, or the thing itself."""
    named: Callable[..., Any] = resolve_name(implementation) if isinstance(implementation, str) else implementation
    return named


class Kinds(dict[str, type[S]], Generic[S]):
    """Name → settings class, in the order in which they were added.

    - `what`: what they are kinds of, for messages
    - `tag`: the field that names the kind; each class has its own name as that field's default
    """

    def __init__(self, what: str, tag: str, classes: Iterable[type[S]] = ()) -> None:
        super().__init__()
        self.what, self.tag = what, tag
        for kind in classes:
            self.add(kind)

    def add(self, kind: type[S]) -> type[S]:
        """Add a class, as a decorator may; raises ValueError where another one has its name."""
        name = kind.model_fields[self.tag].default
        if not isinstance(name, str) or self.get(name, kind) is not kind:
            raise ValueError(f"a {self.what} must have a name of its own (`{self.tag}`), but got {name!r}")
        self[name] = kind
        return kind

    def parse(self, value: Any) -> Any:
        """Return the settings that a mapping describes, anything else as it is; raises `ValidationError`."""
        if not isinstance(value, dict):
            return value
        name = value.get(self.tag)
        if not isinstance(name, str) or name not in self:
            kinds = ", ".join(map(repr, self))
            broken = PydanticCustomError("union_tag_invalid", "Input should be one of {kinds}", {"kinds": kinds})
            raise ValidationError.from_exception_data(self.what, [InitErrorDetails(type=broken, input=name)])
        return self[name].model_validate(value)
