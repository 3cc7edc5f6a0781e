"""The storage folder: what it holds beside sweeps, and the names that no sweep may have because of that."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Literal

from lt_ray.errors import StorageError

Keep = Literal["needed", "all"]
"""Which trained weights stay: those that something starts from or that win, or all"""
CACHE, REPORT, ARTIFACTS, DATABASE = "cache", "report", "mlartifacts", "mlflow.db"
"""What the storage folder holds beside its sweeps: encoded data and models, the report of several sweeps, MLflow's"""
_RESERVED = frozenset({CACHE, REPORT, ARTIFACTS, DATABASE, f"{DATABASE}-journal", f"{DATABASE}-wal", f"{DATABASE}-shm"})
_NAME_LENGTH = 255
"""Of a file, on any usual file system [bytes]"""


def check_name(name: str) -> None:
    """Raise `StorageError` for a sweep's name that cannot be a folder of the storage, or is what that holds itself."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise StorageError(
            "`--name` must begin with a letter or digit and go on with letters, digits, `_`, `.` or `-`, but got "
            f"{name!r}"
        )
    if name.casefold() in _RESERVED:
        raise StorageError(
            f"`--name` must not be what the storage folder holds itself ({', '.join(sorted(_RESERVED))}), but got "
            f"{name!r}: give another name"
        )
    most = _NAME_LENGTH - len(set_aside_suffix())
    if len(name.encode()) > most:
        raise StorageError(
            f"`--name` must have at most {most} characters, as the name of a folder and of the one that `--fresh` sets "
            f"aside, but {name[:20]}… has {len(name)}: give a shorter one"
        )


def check_folder(option: str, path: Path | None) -> None:
    """Raise `StorageError` for an address where a folder of this machine is needed."""
    address = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", "" if path is None else str(path))
    if address is not None:
        local = f"/{str(path)[address.end() :]}"
        way = f"write {local}" if address[1].lower() == "file" else "mount it, and name the folder where it is mounted"
        raise StorageError(
            f"`{option}` must be a folder that every node sees as one, but got an address, {path}: {way}"
        )


def set_aside_suffix() -> str:
    """What a sweep's name gets when it is set aside."""
    return f".{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
