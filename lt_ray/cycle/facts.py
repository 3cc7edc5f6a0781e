"""Facts: what a model must know of the data that it learns, before it has seen any."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic.dataclasses import dataclass

from lt_ray.cycle.metrics import Inputs, Targets

UNKNOWN = 0
"""Token of every word outside a vocabulary of train words; row 0 of the embedding"""
PADDING = 1
"""Token that fills a batch up to its longest document, with such a vocabulary; row 1 of the embedding"""


@dataclass(frozen=True)
class Facts:
    """The shape of a task's data.

    - `inputs`: what an example is: `text` = token ids, int64 (T,); `arrays` = numbers, float32 of `shape`;
      `images` = pictures, float32 of `shape`: channels, height, width
    - `targets`: what is asked of it: one of several `classes`, any of several `labels`, or `numbers`
    - `width`: how many classes, labels or numbers [count]
    - `rows`: token ids there are, of text [count]; 0 of others
    - `padding`: the token that fills a batch and stands in no document, of text
    - `shape`: of one example, of arrays and images
    """

    inputs: Inputs = "text"
    targets: Targets = "classes"
    width: int = 2
    rows: int = 0
    padding: int = PADDING
    shape: tuple[int, ...] = ()


class Reads(NamedTuple):
    """What a model asks of texts: whose words they are told in, and how many it can read."""

    words: int | Path = 1
    """Most frequent train words kept [count], or the folder of the tokenizer that makes the tokens"""
    positions: int | None = None
    """Tokens of a document that can be read; None = any number [count]"""
