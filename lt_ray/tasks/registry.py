"""From a cycle's task to encoded data, encoded once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lt_ray.cycle import Folder, Task, Toy, digest
from lt_ray.errors import DamagedError, DataError
from lt_ray.tasks import files, public, text, toy
from lt_ray.tasks.corpus import Corpus
from lt_ray.tasks.text import TextData

log = logging.getLogger("lt_ray")


def load(
    task: Task,
    vocabulary: int,
    data_dir: Path | None = None,
    cache: Path | None = None,
    *,
    source: Task | None = None,
) -> tuple[TextData, Path | None]:
    """Return the task's encoded data, and the directory it can be loaded from; None without a cache.

    - `vocabulary`: most frequent train words that are kept [count].
    - `data_dir`: where the user's files are; None = where the task has them from by itself.
    - `cache`: encoded data is kept there, under the digest of the texts and of how they are encoded. Workers
      `text.load` the returned directory and so share one copy.
    - `source`: another task, whose train words are the vocabulary; None = the task's own. It is read from the same
      `data_dir`: each of the two has a folder there, named as the task, and one may have its files there themselves.

    Raises `DataError` where the texts cannot be had or used.
    """
    if source is not None and data_dir is not None:
        _check_apart(task, source, data_dir)
    texts = corpus(task, data_dir)
    words = None if source is None else corpus(source, data_dir, "source")
    max_tokens = None if isinstance(task, Toy) else task.max_tokens

    def encoded() -> TextData:
        return text.encode(texts, vocabulary, max_tokens, words_of=None if words is None else words.train)

    if cache is None:
        return encoded(), None
    key: dict[str, Any] = {
        "task": task.model_dump(mode="json"),
        "corpus": texts.digest,
        "vocabulary": vocabulary,
        "encoding": text.ENCODING,
    }
    if source is not None and words is not None:
        key |= {"source": source.model_dump(mode="json"), "source_corpus": words.digest}
    directory = cache / digest(key)[:16]
    if directory.exists():
        try:
            return text.load(directory), directory
        except DamagedError as error:
            log.warning("%s It is encoded again.", error)
    text.save(encoded(), directory)
    return text.load(directory), directory


def corpus(task: Task, data_dir: Path | None = None, group: str = "task") -> Corpus:
    """Return the task's texts, before encoding; raises `DataError` where they cannot be had or used.

    - `data_dir`: as in `load`.
    - `group`: who asks, `task` or `source`: the key that messages name.
    """
    match task:
        case Toy():
            return toy.corpus(task)
        case Folder():
            if data_dir is None:
                raise DataError(
                    f"{group} `folder` must have a data directory, but got none; name the folder of your train file "
                    "with --data-dir DIR, or use --toy."
                )
            return files.corpus(task, files.place(data_dir), group)
        case _:
            return public.corpus(task, data_dir, group)


def _check_apart(task: Task, source: Task, data_dir: Path) -> None:
    """Raise `DataError` where two tasks would read the same files in `data_dir` itself, and so be one."""
    places = [_place(one, data_dir) for one in (task, source)]
    if task.name != source.name and places == [data_dir, data_dir] and files.holds_data(data_dir):
        raise DataError(
            f"{data_dir}: a task and its source must each have their own files, but `{task.name}` and "
            f"`{source.name}` both have those there; put one's into a folder `{source.name}` or `{task.name}` there."
        )


def _place(task: Task, data_dir: Path) -> Path | None:
    match task:
        case Toy():
            return None
        case Folder():
            return files.place(data_dir)
        case _:
            return public.place(task, data_dir)
