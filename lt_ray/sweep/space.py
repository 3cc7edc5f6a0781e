"""The search space: dotted cycle field → distribution, read from YAML.

    training.lr:            {log_uniform: [0.0003, 0.003]}
    model.dropout:          {uniform: [0.3, 0.6]}
    training.batch_size:    {choice: [32, 64]}
    training.epochs:        {integer: [4, 10]}
    magnitude.restart:      {grid: [rewind, random]}
    magnitude.rewind_epoch: {grid: [0, 1, last], when: {magnitude.restart: rewind}}
    magnitude.scope:        global

`grid` lists are crossed; the others are drawn, `samples` times, and every draw meets every grid point, so that arms
are compared at equal settings. A bare value is fixed. A key with `when` exists only where the fields it names have one
of the values it names. Integer ranges include both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field

from lt_ray.cycle import plain_yaml
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.editing import keys
from lt_ray.cycle.settings import Scalar, Settings
from lt_ray.errors import CycleError, SpaceError, nearest
from lt_ray.training.randomness import derive

Kind = Literal["grid", "choice", "integer", "log_integer", "uniform", "log_uniform"]
_KINDS: tuple[Kind, ...] = get_args(Kind)
_COUNTABLE = 10_000


class Distribution(Settings):
    """What one field may become."""

    kind: Kind
    values: tuple[Any, ...]
    """The values of a `grid` or `choice`; (low, high) of the others"""
    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Other keys and the values they must have; else the field stays as the cycle has it"""

    @property
    def is_list(self) -> bool:
        """Whether its values are listed one by one."""
        return self.kind in ("grid", "choice")

    @property
    def is_integer(self) -> bool:
        """Whether it is a range of whole numbers."""
        return self.kind in ("integer", "log_integer")

    @property
    def is_log(self) -> bool:
        """Whether it is a range of which equal ratios are equally likely."""
        return self.kind.startswith("log_")

    def draw(self, share: float) -> Scalar:
        """Return the value at a share of the distribution, [0, 1)."""
        if self.is_list:
            chosen: Scalar = self.values[int(share * len(self.values))]
            return chosen
        low, high = self.values
        end = high + 1 if self.is_integer else high
        if self.is_log:
            value = math.exp(math.log(low) + share * (math.log(end) - math.log(low)))
        else:
            value = low + share * (end - low)
        return min(int(value), int(high)) if self.is_integer else float(value)

    def levels(self) -> tuple[Any, ...] | None:
        """Return all values there are; None where they cannot be counted, or hardly."""
        if self.is_list:
            return self.values
        if self.is_integer and self.values[1] - self.values[0] < _COUNTABLE:
            return tuple(range(self.values[0], self.values[1] + 1))
        return None

    def active(self, values: Mapping[str, object]) -> bool:
        """Return whether the field is searched where other keys have these values."""
        return all(key in values and _among(values[key], wanted) for key, wanted in self.when.items())


class Space(Settings):
    """A set of distributions over cycle fields, each after those that its `when` names."""

    distributions: dict[str, Distribution] = Field(default_factory=dict)

    def without(self, fixed: Collection[str]) -> Space:
        """Return the space without the keys that were fixed by hand."""
        return Space(distributions={k: d for k, d in self.distributions.items() if k not in fixed})

    def resolved(self, cycle: Cycle) -> Space:
        """Return the space with every `when` on a field that is not searched decided by the cycle's value."""
        flat = cycle.flat()
        kept: dict[str, Distribution] = {}
        for key, distribution in self.distributions.items():
            searched = {k: v for k, v in distribution.when.items() if k in self.distributions}
            if all(_among(flat.get(k), v) for k, v in distribution.when.items() if k not in searched) and (
                set(searched) <= set(kept)
            ):
                kept[key] = distribution.model_copy(update={"when": searched})
        return Space(distributions=kept)

    def expand(self, values: Callable[[str, Distribution], Iterable[Any]]) -> Iterator[dict[str, Any]]:
        """Yield every point: each key that is active crossed with all that came before it.

        - `values`: key, distribution → the values to cross
        """

        def crossed(
            points: Iterable[dict[str, Any]], name: str, distribution: Distribution
        ) -> Iterator[dict[str, Any]]:
            for point in points:
                if distribution.active(point):
                    yield from ({**point, name: value} for value in values(name, distribution))
                else:
                    yield point

        points: Iterator[dict[str, Any]] = iter([{}])
        for name, distribution in self.distributions.items():
            points = crossed(points, name, distribution)
        return points

    def points(self, samples: int, seed: int) -> Iterator[dict[str, Scalar]]:
        """Yield the points of a random search in order: for each sample, every grid point.

        A drawn value depends on (seed, sample, key) alone, so more samples leave the first ones as they were.
        """
        drawn = [key for key, d in self.distributions.items() if d.kind != "grid"]
        for sample in range(samples if drawn else 1):
            yield from self.expand(
                lambda key, d, sample=sample: (  # type: ignore[misc]
                    d.values if d.kind == "grid" else [d.draw(derive(seed, "sample", sample, key) / 2**63)]
                )
            )

    def grid(self) -> Iterator[dict[str, Scalar]]:
        """Yield every point there is; raises `SpaceError` where a range has no countable values."""
        for key, distribution in self.distributions.items():
            if distribution.levels() is None:
                raise SpaceError(
                    f"`--search grid` needs countable values, but `{key}` is {distribution.kind} "
                    f"{list(distribution.values)}: say `{{grid: […]}}`, or `--search random`"
                )
        yield from self.expand(lambda key, d: d.levels() or ())


def read(path: Path, cycle: Cycle) -> tuple[Space, dict[str, Scalar]]:
    """Return the space in a YAML file and the values it fixes, each checked against the cycle's fields.

    Raises `SpaceError` that names the file, the key, the rule and the value.
    """
    distributions: dict[str, Distribution] = {}
    fixed: dict[str, Scalar] = {}
    try:
        for key, value in _tree(path).items():
            _check_key(key)
            if key == "seed":
                raise SpaceError("`seed` is not searched: `--seeds N` repeats every point with paired seeds")
            if isinstance(value, dict):
                distributions[key] = _distribution(key, value)
            elif isinstance(value, list):
                raise SpaceError(f"`{key}` is a bare list: say `{{grid: {value}}}` or `{{choice: {value}}}`")
            else:
                fixed[key] = value
        for key, value in fixed.items():
            cycle.with_settings({key: value})
        for key, distribution in distributions.items():
            # Of a range an inner point, too, which tells an integer field apart.
            for value in (*distribution.values, *(() if distribution.is_list else (distribution.draw(0.37),))):
                cycle.with_settings({key: value})
        return Space(distributions=_ordered(distributions, fixed)), fixed
    except (CycleError, SpaceError) as error:
        raise SpaceError(f"{path}: {error}") from None


def _check_key(key: object, where: str = "") -> None:
    if not isinstance(key, str) or key not in keys():
        raise SpaceError(f"{where}`{key}` is not a field of a cycle.{nearest(str(key), keys())}")


def _tree(path: Path) -> dict[Any, Any]:
    try:
        tree = plain_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpaceError(f"the search space cannot be read ({error.strerror}): give `--space FILE`") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        said = getattr(error, "problem", None) or error
        raise SpaceError(f"not YAML: {where}{_short(said)}") from None
    if not isinstance(tree, dict) or not tree:
        raise SpaceError(
            "a search space maps cycle fields to distributions, such as "
            "`training.lr: {log_uniform: [0.0003, 0.003]}`, but got "
            + ("nothing" if not tree else f"a {type(tree).__name__}")
        )
    return tree


def _distribution(key: str, tree: Mapping[str, Any]) -> Distribution:
    kinds = {name: values for name, values in tree.items() if name != "when"}
    kind, values = next(iter(kinds.items())) if kinds else (None, None)
    if len(kinds) != 1 or kind not in _KINDS:
        raise SpaceError(
            f"`{key}` must be one of {', '.join(_KINDS)}, but got {_short(dict(tree))}.{nearest(str(kind), _KINDS)}"
        )
    if not isinstance(values, list) or not values:
        raise SpaceError(f"`{key}`: `{kind}` needs a list with at least one value, but got {_short(values)}")
    if kind not in ("grid", "choice"):
        values = _bounds(key, kind, values)
    return Distribution(kind=kind, values=tuple(values), when=_conditions(key, tree.get("when")))


def _conditions(key: str, tree: object) -> dict[str, tuple[Any, ...]]:
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not tree:
        raise SpaceError(
            f"`{key}`: `when` maps other keys to the values they must have, such as "
            f"`when: {{magnitude.restart: rewind}}`, but got {_short(tree)}"
        )
    for other in tree:
        _check_key(other, f"`{key}`: `when`: ")
    return {other: tuple(wanted) if isinstance(wanted, list) else (wanted,) for other, wanted in tree.items()}


def _ordered(distributions: Mapping[str, Distribution], fixed: Mapping[str, object]) -> dict[str, Distribution]:
    """The distributions, each after those that its `when` names, else as they came."""
    possible: dict[str, Sequence[Any] | None] = {key: d.levels() for key, d in distributions.items()}
    possible |= {key: [value] for key, value in fixed.items()}
    for key, distribution in distributions.items():
        for other, wanted in distribution.when.items():
            levels = possible.get(other)
            if levels is not None and not any(_among(level, wanted) for level in levels):
                values = _short(" or ".join(map(str, wanted)))
                raise SpaceError(f"`{key}`: `when` must be able to hold, but `{other}` is never {values}")
    ordered: dict[str, Distribution] = {}
    while len(ordered) < len(distributions):
        ready = [
            key
            for key, distribution in distributions.items()
            if key not in ordered and all(other in ordered or other not in distributions for other in distribution.when)
        ]
        if not ready:
            circle = ", ".join(f"`{key}`" for key in distributions if key not in ordered)
            raise SpaceError(f"`when` must not go in a circle, but {circle} wait for each other")
        ordered[ready[0]] = distributions[ready[0]]
    return ordered


def _bounds(key: str, kind: str, values: list[Any]) -> list[float] | list[int]:
    try:
        if any(isinstance(value, bool) for value in values):
            raise TypeError
        low, high = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise SpaceError(f"`{key}`: `{kind}` needs two numbers [low, high], but got {_short(values)}") from None
    if not low < high or not math.isfinite(high - low):
        raise SpaceError(f"`{key}`: `low < high` must hold, but got ({low=:g}, {high=:g})")
    if kind.startswith("log_") and low <= 0:
        raise SpaceError(f"`{key}`: `low > 0` must hold for {kind}, but got ({low=:g})")
    if kind.endswith("integer"):
        if not (low.is_integer() and high.is_integer()):
            raise SpaceError(f"`{key}`: `{kind}` needs two whole numbers, but got {_short(values)}")
        return [int(low), int(high)]
    return [low, high]


def _among(value: object, wanted: Iterable[object]) -> bool:
    """Whether a value is one of those named; 1 is not True."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in wanted)


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else text[:119] + "…"
