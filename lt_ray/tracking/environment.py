"""What a sweep runs on and with: versions, commits and hardware, without a name of a user or a machine."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("lt_ray", "torch", "ray", "mlflow")
_PATIENCE_S = 10.0


def environment(project: Path) -> dict[str, str]:
    """Return name → value of what could explain another result; a name without a value is left out.

    - `project`: a path in the user's repository
    """
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    found |= {"commit": _commit(project), "lt_ray_commit": _commit(Path(__file__).parents[1], holding=Path(__file__))}
    names = _gpus() if torch.cuda.is_available() else []  # no CUDA context is made to find out
    found |= {"cpus": str(os.cpu_count() or 1), "cpu": _cpu(), "ram_gib": _ram_gib(), "gpus": str(len(names))}
    found["gpu"] = ", ".join(f"{count} × {name}" for name, count in Counter(names).items())
    return {name: value for name, value in found.items() if value}


def _commit(folder: Path, holding: Path | None = None) -> str:
    """The commit that a folder's repository stands at, with `+` where a tracked file was changed.

    - `holding`: a file that the repository must track, or it is another project's
    """
    if holding is not None and not _said("git", "-C", str(folder), "ls-files", str(holding)):
        return ""
    commit = _said("git", "-C", str(folder), "rev-parse", "HEAD")
    changed = commit and _said("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if changed else commit


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _ram_gib() -> str:
    try:
        return str(round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30))
    except (AttributeError, OSError, ValueError):
        return ""


def _gpus() -> list[str]:
    names = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    return names or ["GPU"] * torch.cuda.device_count()


def _said(*command: str) -> str:
    """What a command prints; nothing where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
