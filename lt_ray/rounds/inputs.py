"""What the cycles of a sweep train on: its task's encoded data, its source task's, and a pretrained model."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.tasks import FileTexts
from lt_ray.errors import CycleError, DataError
from lt_ray.models.model import implementation, model_of
from lt_ray.models.pretrained import Base
from lt_ray.tasks import registry
from lt_ray.tasks.task import Data
from lt_ray.tasks.text import longest_document

log = logging.getLogger("lt_ray")


@dataclass(frozen=True)
class Directories:
    """Where workers read a sweep's data; on paths that every node sees."""

    task: Path
    source: Path | None = None
    base: Path | None = None

    def load(self) -> Datasets:
        """Return the data, mapped from its files; raises `DamagedError`."""
        return Datasets(
            Data.load(self.task),
            None if self.source is None else Data.load(self.source),
            None if self.base is None else Base(self.base),
            self,
        )


@dataclass(frozen=True, eq=False)
class Datasets:
    """What the cycles of one sweep train on."""

    task: Data
    source: Data | None = None
    """Of the source task, where there is one"""
    base: Base | None = None
    """What an encoder is made of"""
    directories: Directories | None = None
    """Where they were kept, by whole paths; None where they are in memory alone"""

    def of(self, cycle: Cycle) -> Data:
        """Return the data that a cycle trains on: the task's, or the source's where it finds tickets for others."""
        return self.task if cycle.source is not None or self.source is None else self.source

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on the data, to be shown before anything is trained, in sentences."""
        return tuple(dict.fromkeys([*self.task.notes, *(() if self.source is None else self.source.notes)]))

    @property
    def source_digest(self) -> str | None:
        """Digest of the source task's data, None without one."""
        return None if self.source is None else self.source.digest


def inputs(cycle: Cycle, data: Datasets) -> dict[str, Any]:
    """Return what a model of this cycle needs besides its weights, as a tree of plain values."""
    longest, facts, base = data.task.longest, data.task.facts, data.base
    if base is not None and facts.inputs == "text":
        task = cycle.task
        longest = longest_document(
            registry.tokenizer(base.directory),
            task.max_tokens if isinstance(task, FileTexts) else None,
            implementation(cycle.model).reads(cycle.model, base).positions,
        )
    return {
        "classes": list(data.task.classes),
        "facts": asdict(facts),
        "rows": facts.rows,
        "outputs": model_of(cycle.model, facts).outputs,
        "padding": facts.padding,
        "longest": longest,
        "data": None if data.directories is None else str(data.directories.task),
    }


def prepare(cycle: Cycle, words: int | Path, data_dir: Path | None, cache: Path, base: Base | None = None) -> Datasets:
    """Return the data of a sweep whose cycles share this one's tasks, encoded once and kept.

    Each of their `notes` is logged as a warning, whether they come from the cache or not.

    - `words`: most frequent train words that are kept, of the source task where there is one [count]; or a folder with
      a tokenizer
    - `data_dir`, `cache`: see `tasks.registry.load`
    - `base`: what an encoder is made of

    Raises `DataError` where the texts cannot be had or used.
    """
    positions = implementation(cycle.model).reads(cycle.model, base).positions
    task, directory = registry.load(cycle.task, words, data_dir, cache, source=cycle.source, positions=positions)
    if base is not None and 2 * task.facts.rows < int(base.config.get("vocab_size", 0)):
        raise DataError(
            f"a model's tokenizer must be its own, but this one has {task.facts.rows:,} tokens and the model an "
            f"embedding of {base.config['vocab_size']:,} rows; put the model's own vocabulary into its folder, or the "
            "smaller `vocab_size` into its config.json."
        )
    source = source_directory = None
    if cycle.source is not None:
        source, source_directory = registry.load(
            cycle.source, words, data_dir, cache, group="source", positions=positions
        )
        if source.digest == task.digest:
            raise CycleError(
                f"`source` must be another task than `task`, but both are the same texts ({cycle.task.name}): name "
                "another one, or leave `source` out"
            )
    places = (directory, source_directory, None if base is None else base.directory)
    whole = [None if place is None else place.resolve() for place in places]
    assert whole[0] is not None  # there is a cache
    data = Datasets(task, source, base, Directories(whole[0], *whole[1:]))
    for note in data.notes:
        log.warning("%s", note)
    return data
