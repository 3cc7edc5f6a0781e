"""Files of the store: whole or absent, and what their manifest says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from lt_ray.cycle.identity import digest
from lt_ray.errors import DISK_TROUBLE, DamagedError, StorageError

MANIFEST = "manifest.json"


def check_writable(root: Path) -> None:
    """Raise `StorageError` unless a directory can be made and written below `root`; nothing of it stays.

    A full or lost disk is no wrong path: its `OSError` is raised as it is.
    """
    made = next((path for path in [*reversed(root.parents), root] if not path.exists()), None)
    probe = root / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        probe.mkdir(parents=True)
        (probe / "x").write_text("x")
    except OSError as error:
        if error.errno in DISK_TROUBLE:
            raise
        raise StorageError(
            f"`--storage` must be a path that can be written, but got {str(root)!r} ({error.strerror}): "
            "give another one"
        ) from None
    finally:
        shutil.rmtree(made or probe, ignore_errors=True)


def write_directory(final: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> bool:
    """Make a directory appear whole; return False where it was already there."""
    temporary = final.parent / f".tmp-{final.name}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir(parents=True)
    try:
        for name, data in files.items():
            write_file(temporary / name, data)
        listed = {n: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in files.items()}
        body = {**manifest, "files": listed}
        text = json.dumps({**body, "digest": digest(body)}, indent=1)
        write_file(temporary / MANIFEST, text.encode())
        sync(temporary)
        try:
            temporary.rename(final)
        except OSError:
            if not final.exists():
                raise
            return False
        sync(final.parent)
        return True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Make a file appear whole, on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(directory: Path, *, optional: set[str], thorough: bool = False) -> dict[str, Any] | None:
    """Return a directory's manifest after comparing its files with it, or None where there is no directory."""
    if not directory.is_dir():
        return None
    try:
        manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text())
        stated = manifest.pop("digest")
        if digest(manifest) != stated:
            raise DamagedError(f"{directory.name}: the manifest is not what was written")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{directory.name}: the manifest cannot be read ({error})") from None
    for name, file in manifest["files"].items():
        try:
            size = (directory / name).stat().st_size
            data = (directory / name).read_bytes() if thorough else None
        except FileNotFoundError:
            if name in optional:
                continue
            raise DamagedError(f"{directory.name}: {name} is missing") from None
        if size != file["bytes"]:
            raise DamagedError(f"{directory.name}: {name} must have {file['bytes']} bytes, but has {size}")
        if data is not None and hashlib.sha256(data).hexdigest() != file["sha256"]:
            raise DamagedError(f"{directory.name}: the digest of {name} is not the manifest's")
    return manifest


def read_file(directory: Path, name: str) -> bytes:
    """Return a file's bytes after comparing their digest with the manifest's."""
    try:
        expected = json.loads((directory / MANIFEST).read_text())["files"][name]["sha256"]
        data = (directory / name).read_bytes()
    except (OSError, ValueError, KeyError) as error:
        raise DamagedError(f"{directory.name}: {name} cannot be read ({error})") from None
    if hashlib.sha256(data).hexdigest() != expected:
        raise DamagedError(f"{directory.name}: the digest of {name} is not the manifest's")
    return data


def tensors(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file held in memory, by name: the library's own order is a hash table's."""
    loaded: dict[str, Tensor] = safetensors.torch.load(data)
    return dict(sorted(loaded.items()))


def metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file held in memory, whole by its digest."""
    header: dict[str, dict[str, str]] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"]
