"""Facts: what a model must know of the data that it learns, before it has seen any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lt_ray.cycle.metrics import Targets


@dataclass(frozen=True)
class Facts:
    """The shape of a task's data.

    - `inputs`: what an example is: `text` = token ids, int64 (T,); `arrays` = numbers, float32 of `shape`
    - `targets`: what is asked of it: one of several `classes`, any of several `labels`, or `numbers`
    - `width`: how many classes, labels or numbers [count]
    - `rows`: token ids there are, of text [count]; 0 of others
    - `padding`: the token that fills a batch and stands in no document, of text
    - `shape`: of one example, of arrays
    """

    inputs: Literal["text", "arrays"] = "text"
    targets: Targets = "classes"
    width: int = 2
    rows: int = 0
    padding: int = 1
    shape: tuple[int, ...] = ()
