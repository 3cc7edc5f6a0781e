"""The encoded data of a sweep: its task's, and its source task's where it has one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lt_ray.cycle import Cycle
from lt_ray.errors import CycleError
from lt_ray.tasks import registry
from lt_ray.tasks.text import TextData, load


@dataclass(frozen=True, eq=False)
class Datasets:
    """What the cycles of one sweep train on."""

    own: TextData
    source: TextData | None = None

    def of(self, cycle: Cycle) -> TextData:
        """Return what a cycle of the sweep trains on: in a sweep with a source, a cycle without one is on it."""
        return self.own if cycle.source is not None or self.source is None else self.source

    @property
    def source_digest(self) -> str | None:
        """Digest of the source task's data, None without one."""
        return None if self.source is None else self.source.digest


@dataclass(frozen=True)
class Directories:
    """Where workers read a sweep's data; on paths that every node sees."""

    own: Path
    source: Path | None = None

    def load(self) -> Datasets:
        """Return the data, mapped from its files; raises `DamagedError`."""
        return Datasets(load(self.own), None if self.source is None else load(self.source))

    def resolved(self) -> Directories:
        """Return the same directories by their whole paths."""
        return Directories(self.own.resolve(), None if self.source is None else self.source.resolve())


def prepare(cycle: Cycle, vocabulary: int, data_dir: Path | None, cache: Path) -> tuple[Datasets, Directories]:
    """Return the data of a sweep whose cycles share this one's tasks, encoded once, and where it is kept.

    - `vocabulary`: most frequent train words that are kept, of the source task where there is one [count]
    - `data_dir`, `cache`: see `tasks.registry.load`

    Raises `DataError` where the texts cannot be had or used.
    """
    own, directory = registry.load(cycle.task, vocabulary, data_dir, cache, source=cycle.source)
    assert directory is not None  # there is a cache
    if cycle.source is None:
        return Datasets(own), Directories(directory)
    source, source_directory = registry.load(cycle.source, vocabulary, data_dir, cache)
    if source.digest == own.digest:
        raise CycleError(
            f"`source` must be another task than `task`, but both are the same texts ({cycle.task.name}): name another "
            "one, or leave `source` out"
        )
    return Datasets(own, source), Directories(directory, source_directory)
