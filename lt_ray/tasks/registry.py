"""From a cycle's task to encoded data, encoded once."""

from __future__ import annotations

import logging
from pathlib import Path

from lt_ray.cycle import Folder, Imdb, Task, Toy, digest
from lt_ray.errors import DamagedError, DataError
from lt_ray.tasks import files, imdb, text, toy
from lt_ray.tasks.corpus import Corpus
from lt_ray.tasks.text import TextData

log = logging.getLogger("lt_ray")


def load(
    task: Task, vocabulary: int, data_dir: Path | None = None, cache: Path | None = None
) -> tuple[TextData, Path | None]:
    """Return the task's encoded data, and the directory it can be loaded from; None without a cache.

    - `vocabulary`: most frequent train words that are kept [count].
    - `data_dir`: where the user's files are; None = where the task has them from by itself.
    - `cache`: encoded data is kept there, under the digest of the texts and of how they are encoded. Workers
      `text.load` the returned directory and so share one copy.

    Raises `DataError` where the texts cannot be had or used.
    """
    texts = corpus(task, data_dir)
    max_tokens = None if isinstance(task, Toy) else task.max_tokens
    if cache is None:
        return text.encode(texts, vocabulary, max_tokens), None
    key = digest(
        {
            "task": task.model_dump(mode="json"),
            "corpus": texts.digest,
            "vocabulary": vocabulary,
            "encoding": text.ENCODING,
        }
    )
    directory = cache / key[:16]
    if directory.exists():
        try:
            return text.load(directory), directory
        except DamagedError as error:
            log.warning("%s It is encoded again.", error)
    text.save(text.encode(texts, vocabulary, max_tokens), directory)
    return text.load(directory), directory


def corpus(task: Task, data_dir: Path | None = None) -> Corpus:
    """Return the task's texts, before encoding; raises `DataError` where they cannot be had or used."""
    match task:
        case Toy():
            return toy.corpus(task)
        case Imdb():
            return imdb.corpus(task, data_dir)
        case Folder():
            if data_dir is None:
                raise DataError(
                    "task `folder` must have a data directory, but got none; name the folder of your train file "
                    "with --data-dir DIR, or use --toy."
                )
            return files.corpus(task, data_dir)
