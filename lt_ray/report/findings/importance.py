"""How the results of cycles depend on each searched field, and how much of their spread it explains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lt_ray.cycle.settings import Scalar
from lt_ray.report.findings.compare import Group
from lt_ray.report.findings.document import Searched
from lt_ray.report.reading.rows import tested
from lt_ray.sweep.objective import WINNING, value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_FEWEST_POINTS = 4
_MOST_CYCLES = 200
"""Cycles that the forest learns from, spread evenly; it takes 4 s of so many, and minutes of ten times as many"""
_NUMBERS = ("integer", "log_integer", "uniform", "log_uniform")


def settings(group: Group) -> Searched | None:
    """Return the searched fields of the finished cycles with their results; None where there are none."""
    keys = tuple(group.sweep.space)
    if not keys or not group.cycles:
        return None
    words = group.words
    objective, tested_on = f"val_{words.metric.name}", f"test_{words.metric.name}"
    rows: list[Mapping[str, Scalar]] = []
    for arm, cycles in group.arms.items():
        for cycle in cycles:
            if cycle.state != "finished" or not cycle.results:
                continue
            row: dict[str, Scalar] = {"cycle": cycle.id, "arm": arm, "seed": cycle.seed}
            row |= {key: cycle.settings[key] for key in keys if cycle.settings.get(key) is not None}
            row |= {name: value(name, cycle.results, group.sweep.tolerance) for name in (objective, WINNING)}
            rows.append(row | {tested_on: tested(cycle.accepted_rounds[-1])})
    if not rows:
        return None
    shares, note = importance(rows, group.sweep.space, objective)
    return Searched(
        slug=f"{group.slug}settings",
        title=f"Settings and what they came to{group.where}",
        keys=keys,
        objectives=(objective, WINNING, tested_on),
        rows=tuple(rows),
        importance=shares,
        note=f"{len(rows)} of {len(group.cycles)} cycles: those that finished all rounds. "
        f"{words.plural.capitalize()} are the last round's; winning sparsity is judged on validation, 0 where no "
        f"ticket wins. {note}",
        lowest=(objective, tested_on) if words.sign < 0 else (),
    )


def importance(
    rows: Sequence[Mapping[str, Scalar]], space: Mapping[str, Mapping[str, Any]], objective: str
) -> tuple[dict[str, float] | None, str]:
    """Return field → share of the objective's variance that it explains alone, highest first; and what to know of it.

    Functional ANOVA on a random forest (Hutter et al. 2014, ICML), Optuna's, always with the same seed. Numbers drawn
    on a log scale are looked at on it. None where it cannot be told.

    - `rows`: a cycle's fields and objectives; `space`: searched field → {kind, values}
    """
    keys = [key for key in space if all(key in row for row in rows)]
    keys = [key for key in keys if len({repr(row[key]) for row in rows}) > 1]
    points = {tuple(repr(row[key]) for key in keys) for row in rows}
    if len(keys) < 2:
        return None, "No importance: fewer than two fields vary over all cycles."
    if len(points) < _FEWEST_POINTS:
        return None, f"No importance: {len(points)} differing points are fewer than {_FEWEST_POINTS}."
    if len({row[objective] for row in rows}) == 1:
        return None, f"No importance: all cycles came to the same {objective}."
    many = min(len(rows), _MOST_CYCLES)
    places = [place * len(rows) // many for place in range(many)]
    columns = {key: _column([row[key] for row in rows], space[key]) for key in keys}
    shares = _fanova(columns, {place: float(rows[place][objective] or 0.0) for place in places})
    if shares is None:
        return None, f"No importance: the {len(rows)} cycles tell the fields' shares not apart."
    left_out = [key for key in space if key not in keys]
    note = f"Importance: share of {objective}'s variance that a field explains alone, by fANOVA of {many} cycles"
    note += f" at {len(points)} points; what fields do together and what seeds do is not in it."
    if left_out:
        note += f" Without {', '.join(left_out)}: not every cycle has them, or they never vary."
    return shares, note


def _column(values: Sequence[Any], drawn: Mapping[str, Any]) -> tuple[BaseDistribution, list[float]]:
    """A field as Optuna sees it: places in a list, or numbers; on a log scale where they were drawn on one."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if drawn.get("kind") not in _NUMBERS or not numbers:
        levels = list(dict.fromkeys(map(repr, values)))
        return CategoricalDistribution(range(len(levels))), [levels.index(repr(value)) for value in values]
    bounds = [*drawn["values"], *values]
    log = str(drawn["kind"]).startswith("log_") and min(bounds) > 0
    scale = math.log if log else float
    return FloatDistribution(scale(min(bounds)), scale(max(bounds))), list(map(scale, values))


def _fanova(
    columns: Mapping[str, tuple[BaseDistribution, Sequence[float]]], results: Mapping[int, float]
) -> dict[str, float] | None:
    """Field → share, of the cycles at some places; None where there is no variance to share out."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {key: distribution for key, (distribution, _) in columns.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="maximize")
            for place, result in results.items():
                params = {key: values[place] for key, (_, values) in columns.items()}
                study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=result))
            found = optuna.importance.FanovaImportanceEvaluator(seed=0).evaluate(study)
    except (ValueError, RuntimeError, ZeroDivisionError):  # a forest of constant trees
        return None
    finally:
        optuna.logging.set_verbosity(verbosity)
    shares = {key: float(found[key]) for key in sorted(found, key=lambda key: (-found[key], key))}
    return shares if all(math.isfinite(share) for share in shares.values()) else None
