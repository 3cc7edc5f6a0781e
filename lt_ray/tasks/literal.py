"""A tokenizer's program that takes texts literally: a special token that is written out is text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase


def backend_of(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Return a copy of a fast tokenizer's own program that neither truncates nor pads, and takes texts literally.

    In the copy, special tokens have names that no text can spell, whatever kind of vocabulary it is; their ids
    are the same.
    """
    from tokenizers import Tokenizer

    program = json.loads(tokenizer.backend_tokenizer.to_str())
    unknown = tokenizer.unk_token
    special = {token["content"] for token in program["added_tokens"] if token["special"]} - {unknown}
    vocabulary = program["model"].get("vocab", {})
    used = {part for merge in program["model"].get("merges", ()) for part in _parts(merge)}
    if isinstance(vocabulary, dict):
        names = {name: _unspeakable(name) if name in special - used else name for name in vocabulary}
        program["model"]["vocab"] = {names[name]: token for name, token in vocabulary.items()}
    else:
        special = {token["content"] for token in program["added_tokens"] if token["special"]}
        names = {name: _unspeakable(name) if name in special else name for name, _ in vocabulary}
        program["model"]["vocab"] = [[names[name], score] for name, score in vocabulary]
    # Left in, they would be looked up by their names; those around a document are known by their ids.
    program["added_tokens"] = [
        t for t in program["added_tokens"] if names.get(t["content"], t["content"]) == t["content"]
    ]
    backend = Tokenizer.from_str(json.dumps(program))
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend


def _parts(merge: str | list[str]) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else merge


def _unspeakable(name: str) -> str:
    """A name with code points that Unicode keeps free of any character."""
    return f"\ufdd0{name}\ufdd1"
