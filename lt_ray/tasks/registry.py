"""From a cycle's task to encoded data, encoded once."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.identity import digest
from lt_ray.cycle.kinds import resolved
from lt_ray.cycle.pictures import Pictures
from lt_ray.cycle.tasks import FileTexts, PublicTexts, Task
from lt_ray.errors import DamagedError, DataError
from lt_ray.tasks import arrays as arrays  # their data can be loaded then
from lt_ray.tasks import files, literal, notes, splits, text
from lt_ray.tasks import images_data as images_data
from lt_ray.tasks.corpus import Corpus
from lt_ray.tasks.task import Data, Unmade

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger("lt_ray")


def load(
    task: Task,
    words: int | Path,
    data_dir: Path | None = None,
    cache: Path | None = None,
    *,
    source: Task | None = None,
    group: str = "task",
    positions: int | None = None,
) -> tuple[Data, Path | None]:
    """Return the task's data, and the directory they can be loaded from (`Data.load`); None without a cache.

    - `words`: of texts, the most frequent train words that are kept [count]; or a folder with a Hugging Face
      tokenizer, whose tokens are kept instead.
    - `data_dir`: where the user's files are; None = where the task has them from by itself.
    - `cache`: data are kept there, encoded once, under the digest of what they are made of and of how they are encoded.
      Workers load the returned directory and so share one copy.
    - `source`: another task, whose train words are the vocabulary; None = the task's own. It is read from the same
      `data_dir`: each of the two has a folder there, named as the task, and one may have its files there themselves.
      A tokenizer has its own words, and makes the same of a task whatever its source.
    - `positions`: tokens that the model can read of a document; None = any number [count].
    - `group`: who asks, `task` or `source`: the key that messages name.

    Their `notes` say what has to be told before anything is trained on them, from the cache as the first time.

    Raises `DataError` where the data or the tokenizer cannot be had or used.
    """
    if task.inputs != "text":
        made: Data | Unmade = resolved(type(task).implementation)(task, data_dir, group)
        if isinstance(made, Data):
            return _through(cache, made.digest[:16], lambda: made)
        return _through(cache, made.key[:16], lambda: made.make(cache))
    if source is not None and data_dir is not None:
        _check_apart(task, source, data_dir)
    max_tokens = task.max_tokens if isinstance(task, FileTexts) else None
    key: dict[str, Any] = {"task": task.meaning() | {"metric": None}, "encoding": text.ENCODING}
    if isinstance(words, Path):
        # Before the texts: to read it takes a moment, to read them may take minutes.
        tokens = tokenizer(words)
        text.longest_document(tokens, max_tokens, positions)
        texts, _ = _corpora(task, source, data_dir, group)
        key |= {"tokenizer": _identity(tokens), "max_tokens": max_tokens, "positions": positions}
        encoded: Callable[[], Data] = partial(text.encode_with, texts, tokens, max_tokens, positions)
    else:
        text.check_length(max_tokens, positions)
        texts, theirs = _corpora(task, source, data_dir, group)
        key |= {"vocabulary": words} | ({} if positions is None else {"positions": positions})
        if source is not None and theirs is not None:
            key |= {"source": source.meaning() | {"metric": None}, "source_corpus": theirs.digest}
        words_of = None if theirs is None else theirs.train
        encoded = partial(text.encode, texts, words, max_tokens or positions, words_of=words_of)
    return _through(cache, digest(key | {"corpus": texts.digest, "notes": texts.notes})[:16], encoded)


def _through(cache: Path | None, name: str, made: Callable[[], Data]) -> tuple[Data, Path | None]:
    """The data of a cache's directory, made and kept there where it has none that is whole."""
    if cache is None:
        return made(), None
    directory = cache / name
    if directory.exists():
        try:
            return Data.load(directory), directory
        except DamagedError as error:
            log.warning("%s It is made again.", error)
    made().save(directory)
    return Data.load(directory), directory


def _corpora(task: Task, source: Task | None, data_dir: Path | None, group: str) -> tuple[Corpus, Corpus | None]:
    """A task's texts and its source's; a note of the first says how many of its test the second train on."""
    texts = corpus(task, data_dir, group)
    if source is None:
        return texts, None
    theirs = corpus(source, data_dir, "source")
    sentence = f"{{}} of {{}} test texts of {texts.name} are among those that {theirs.name} trains on"
    common = notes.in_common(sentence, texts.test.texts, theirs.train.texts)
    return replace(texts, notes=(*texts.notes, *common)), theirs


def corpus(task: Task, data_dir: Path | None = None, group: str = "task") -> Corpus:
    """Return the task's texts, before encoding; raises `DataError` where they cannot be had or used.

    - `data_dir`: as in `load`.
    - `group`: who asks, `task` or `source`: the key that messages name.
    """
    name = f"{group} `{task.name}`"
    read: Corpus = resolved(type(task).implementation)(task, data_dir, group)
    texts = replace(read, name=name)
    return replace(texts, notes=(*texts.notes, *notes.of_corpus(name, texts)))


def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the Hugging Face tokenizer in a folder, as its `save_pretrained` writes it; nothing else is looked at.

    A vocabulary without a tokenizer.json is converted by transformers, for a `*.model` file with `sentencepiece`.

    Raises `DataError` where there is none, and for one that is not fast or has no tokens but special ones.
    """
    from transformers import AutoTokenizer

    if not folder.is_dir():
        raise DataError(f"{folder}: a tokenizer must be a folder, but there is none; name the folder of a model.")
    try:
        loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the library raises what its readers raise
        reason = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".: ")
        pieces = sorted(path.name for path in folder.glob("*.model"))
        if pieces and importlib.util.find_spec("sentencepiece") is None:
            raise DataError(
                f"{folder}: {pieces[0]} must be converted to a tokenizer, which needs the package `sentencepiece`, but "
                "it is not installed; `pip install sentencepiece`, or put a tokenizer.json into the folder."
            ) from None
        raise DataError(
            f"{folder}: the folder must hold a tokenizer that can be read, but it does not ({reason}); name the folder "
            "of a model with its tokenizer.json."
        ) from None
    if not loaded.is_fast:
        raise DataError(
            f"{folder}: a tokenizer must be a fast one, with a tokenizer.json, but this is a {type(loaded).__name__}; "
            "name the folder of another model."
        )
    # Without its files, the library makes some tokenizers out of nothing, with a word or two beside the special ones.
    files = [*loaded.vocab_files_names.values(), "tokenizer.json"]
    has_files = any((folder / name).exists() for name in files) or any(folder.glob("*.model"))
    if not has_files or len(loaded) <= len(set(loaded.all_special_ids)):
        raise DataError(
            f"{folder}: a tokenizer must have tokens of text, but this folder has no vocabulary of a "
            f"{type(loaded).__name__}, which so has {len(loaded)} tokens, {len({*loaded.all_special_ids})} special "
            "ones; put its tokenizer.json, or its vocabulary, into the folder."
        )
    return loaded


def _identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of all that makes a tokenizer's tokens, wherever it lies."""
    program = literal.backend_of(tokenizer).to_str()
    return digest([program, tokenizer.special_tokens_map, int(tokenizer.model_max_length)])


def _check_apart(task: Task, source: Task, data_dir: Path) -> None:
    """Raise `DataError` where two tasks would read the same files in `data_dir` itself, and so be one."""
    places = [_place(one, data_dir) for one in (task, source)]
    if task.name != source.name and places == [data_dir, data_dir] and files.holds_data(data_dir):
        raise DataError(
            f"{data_dir}: a task and its source must each have their own files, but `{task.name}` and "
            f"`{source.name}` both have those there; put one's into a folder `{source.name}` or `{task.name}` there."
        )


def _place(task: Task, data_dir: Path) -> Path | None:
    if isinstance(task, PublicTexts):
        return splits.place(data_dir, task.folders)
    return files.place(data_dir) if isinstance(task, FileTexts) else None


def facts_of(task: Task) -> Facts:
    """Return what a model must know of a task's data, without them; raises `DataError` where only they tell."""
    if task.class_count is None:
        raise DataError(
            f"task `{task.name}` tells its classes by its files, which cannot be read without the model: name one "
            "that is within reach."
        )
    shape = (3, task.size, task.size) if isinstance(task, Pictures) else ()
    return Facts(task.inputs, width=task.class_count, rows=0 if shape else 1, shape=shape)
