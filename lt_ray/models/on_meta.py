"""Modules of shapes alone, on torch's meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset({"normal_", "uniform_"})


class _Undrawn(TorchFunctionMode):
    """Leaves draws into tensors without values out: torch's way of doing nothing there loads torch._dynamo, 4 s of a
    core in each process."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        drawn = args[0] if args else kwargs.get("tensor")
        if getattr(func, "__name__", None) in _DRAWS and isinstance(drawn, Tensor) and drawn.is_meta:
            return drawn
        return func(*args, **kwargs)


@contextmanager
def on_meta() -> Iterator[None]:
    """Make modules on the meta device, their initial weights undrawn."""
    with torch.device("meta"), _Undrawn():
        yield
