"""Data on disk: arrays that workers map from one file, in a directory that appears whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lt_ray.cycle.identity import canonical
from lt_ray.errors import DamagedError
from lt_ray.store.files import sync

TENSORS = "arrays.safetensors"
DESCRIPTION = "data.json"
Arrays = Mapping[str, npt.NDArray[Any]]


def digest(facts: Mapping[str, Any], arrays: Arrays) -> str:
    """Return the SHA-256 of facts, shapes and every value, in the arrays' order."""
    shapes = {name: a.shape[0] if a.ndim == 1 else list(a.shape) for name, a in arrays.items()}
    sha = hashlib.sha256(canonical({**facts, "shapes": shapes}).encode())
    for array in arrays.values():
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def save(
    directory: Path,
    arrays: Arrays,
    description: Mapping[str, Any],
    files: Sequence[Path],
    is_there: Callable[[], bool],
) -> None:
    """Write arrays and facts about them; the directory appears whole or not at all.

    - `description`: plain values, their `digest` among them
    - `files`: what is kept beside them under the same names, linked where the file system can
    - `is_there`: whether the directory, which exists, has the same data; a `DamagedError` says that it has not
    """
    from safetensors.numpy import save_file

    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary / TENSORS)
        (temporary / DESCRIPTION).write_text(canonical(dict(description)))
        for file in files:
            _link(file, temporary / file.name)
        for path in (*temporary.iterdir(), temporary):
            sync(path)
        _put(temporary, directory, is_there)
        sync(directory.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(directory: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return the arrays, mapped from the file, and the facts about them.

    Raises `DamagedError` if a file is missing or cut short; whether the values are those that were saved, the caller
    sees by their digest.
    """
    from safetensors import SafetensorError, safe_open

    try:
        # The torch reader maps the file; the numpy one copies it.
        with safe_open(directory / TENSORS, framework="pt") as file:
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 - not a dict
        description: dict[str, Any] = json.loads((directory / DESCRIPTION).read_bytes())
        description["digest"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{directory}: not a whole encoded data set ({error}).") from error
    return arrays, description


def _put(temporary: Path, directory: Path, is_there: Callable[[], bool]) -> None:
    """Rename `temporary` to `directory`, unless it already holds the same data."""
    while True:
        try:
            temporary.rename(directory)
            return
        except OSError:
            if not directory.exists():
                raise
        with contextlib.suppress(DamagedError):
            if is_there():
                return
        # Aside first: a directory is removed file by file, and nobody may meet it half removed.
        aside = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
        try:
            directory.rename(aside)
        except FileNotFoundError:
            continue  # another writer moved it
        shutil.rmtree(aside, ignore_errors=True)


def _link(file: Path, target: Path) -> None:
    try:
        target.hardlink_to(file)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, target)
