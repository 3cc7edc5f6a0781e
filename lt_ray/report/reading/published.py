"""Results that others published, as printed: what ours are set beside."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lt_ray.cycle import plain_yaml
from lt_ray.cycle.editing import explain
from lt_ray.cycle.settings import Scalar
from lt_ray.errors import DataError


class Published(BaseModel):
    """One published number and where it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str = Field(min_length=1)
    """Title of its table, or the words before its list"""
    task: str = Field(min_length=1)
    """Name of the task, as a cycle says it"""
    model: str
    """Name of the model, as a cycle says it; empty where the number is of no one model"""
    arm: str
    """As docs/methods.md §1 calls it: `dense`, `rewind@0`, `similarity@0.98 wanda@0.1`, …; empty where the number
    is of no one arm"""
    round: int | None = Field(ge=0)
    """Prunings before it; None where not told [count]"""
    sparsity: float | None = Field(ge=0, le=1)
    """Share pruned, as printed or as the printed density says; None where not told [0, 1]"""
    metric: str = Field(min_length=1)
    """What was measured: `test_accuracy`, `train_loss`, `before_test_loss` = after pruning, before retraining, `test_s`
    and `train_s` = the time it took, `blocks`, `frozen_blocks`, `parameters`, …"""
    value: Decimal = Field(allow_inf_nan=False)
    """The number with the digits that were printed, in `unit`; a count that was printed in millions, as the count"""
    unit: Literal["%", "nats", "s", ""]
    """`%` = percent, `nats` = of a loss, `s` = seconds; empty = a share [0, 1] or a count"""
    file: str = Field(min_length=1)
    """The file it was printed in"""
    line: int = Field(ge=1)
    """Its line there, counted from 1"""
    error: str
    """What is known to be wrong with it, in one sentence; empty where nothing is"""
    conditions: Mapping[str, Scalar] | None = None
    """What its run was: field of a cycle (`Cycle.flat`) or split → its value; None where nobody says"""


COLUMNS = tuple(name for name in Published.model_fields if name != "conditions")
"""The header of every table, in this order"""
CONDITIONS = "conditions.yaml"
"""The file beside the tables that says what the published runs were: file → task → conditions"""


def load(folder: Path) -> tuple[Published, ...]:
    """Return the rows of every CSV file in `folder`, by the files' names, each in its order.

    - `folder`: holds `*.csv` with the header `COLUMNS`; an empty `round` or `sparsity` is None. Other files are left
      alone.

    What their runs were is read from `CONDITIONS` in the same folder, where there is one.

    Raises `DataError`, which names the file, the line, the rule and the value.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: published results must be a folder of CSV files, but there is none; name another.")
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise DataError(f"{folder}: published results must hold a CSV file, but there is none; name another folder.")
    conditions = _conditions(folder / CONDITIONS)
    return tuple(
        row.model_copy(update={"conditions": conditions.get(row.file, {}).get(row.task)})
        for path in paths
        for row in _rows(path)
    )


def matching(rows: Iterable[Published], task: str, model: str) -> tuple[Published, ...]:
    """Return the rows on this task and this model, by their names in a cycle, in the order given."""
    return tuple(row for row in rows if (row.task, row.model) == (task, model))


def _conditions(path: Path) -> dict[str, dict[str, dict[str, Scalar]]]:
    if not path.is_file():
        return {}
    rule = f"{path}: conditions must be `file: {{task: {{field: value}}}}`"
    try:
        return _CONDITIONS.validate_python(plain_yaml.load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        raise DataError(f"{rule}, but {' '.join(explain(error))}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{rule}, but it cannot be read ({' '.join(str(error).split())}).") from None


_CONDITIONS = TypeAdapter(dict[str, dict[str, dict[str, Scalar]]])


def _rows(path: Path) -> Iterable[Published]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            numbered = [(reader.line_num, cells) for cells in reader if cells]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: the file must be readable as CSV in UTF-8, but it is not ({error}).") from None
    header = tuple(numbered[0][1]) if numbered else ()
    if header != COLUMNS:
        raise DataError(f"{path}: the header must be `{','.join(COLUMNS)}`, but it is `{','.join(header)}`.")
    return [_row(f"{path}, line {line}", cells) for line, cells in numbered[1:]]


def _row(where: str, cells: list[str]) -> Published:
    if len(cells) != len(COLUMNS):
        raise DataError(f"{where}: a row must have {len(COLUMNS)} cells, but it has {len(cells)}; quote commas.")
    fields: dict[str, str | None] = dict(zip(COLUMNS, cells, strict=True))
    for name in ("round", "sparsity"):
        fields[name] = fields[name] or None
    try:
        return Published.model_validate(fields)
    except ValidationError as error:
        raise DataError(f"{where}: {' '.join(explain(error))}") from None
