"""The built-in pictures: a bright or dark shape somewhere on noise, in a colour that says nothing.

Since a shape is as often bright as dark and stands anywhere, no weighted sum of pixels tells the four apart; edges do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lt_ray.cycle.pictures import ToyImages
from lt_ray.tasks.corpus import permutation, uniforms
from lt_ray.tasks.images_data import ImageData, View
from lt_ray.tasks.images_decode import Pixels
from lt_ray.tasks.task import SPLITS

CLASSES = ("bar", "cross", "pole", "square")
SIDE = 7
"""Side of a shape [pixels]"""
NOISE = 60
"""Width of the noise around medium grey, in values of 0 to 255 [count]"""
CONTRAST = (50, 100)
"""Least and most difference of a shape's channel from medium grey [count]"""


def data(task: ToyImages, data_dir: Path | None = None, group: str = "task") -> ImageData:
    """Return the pictures of `task.data_seed`: four balanced classes."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for split, n in zip(SPLITS, (task.train, task.validation, task.test), strict=True):
        targets = permutation(task.data_seed, f"toy pictures' {split} classes", n) % len(CLASSES)
        arrays |= {f"{split}.targets": targets, f"{split}.pixels": _drawn(task, split, targets)}
    seen = arrays["train.pixels"] / 255
    mean, deviation = seen.mean(axis=(0, 2, 3)), seen.std(axis=(0, 2, 3))
    view = View(
        task.size, task.crop, task.padding, 1.0, task.flip, 1.0, tuple(mean.tolist()), tuple(deviation.tolist())
    )
    return ImageData(arrays, CLASSES, view)


def _drawn(task: ToyImages, split: str, targets: npt.NDArray[np.int64]) -> Pixels:
    n, size = len(targets), task.size
    noise = uniforms(task.data_seed, f"toy pictures' {split} noise", (n, 3, size, size))
    numbers = uniforms(task.data_seed, f"toy pictures' {split} shapes", (n, 6))
    values = 128 + NOISE * (noise - 0.5)
    low, high = CONTRAST
    for picture, label, (top, left, sign, *colour) in zip(values, targets, numbers, strict=True):
        y, x = int(top * (size - SIDE + 1)), int(left * (size - SIDE + 1))
        contrast = (1 if sign < 0.5 else -1) * (low + (high - low) * np.array(colour))
        picture[:, y : y + SIDE, x : x + SIDE] += contrast[:, None, None] * _shape(CLASSES[label])
    return values.clip(0, 255).astype(np.uint8)


def _shape(name: str) -> npt.NDArray[np.float64]:
    """A shape as 1 on 0, (SIDE, SIDE)."""
    shape, middle = np.zeros((SIDE, SIDE)), SIDE // 2
    if name in ("bar", "cross"):
        shape[middle] = 1
    if name in ("pole", "cross"):
        shape[:, middle] = 1
    if name == "square":
        shape[[0, -1]] = shape[:, [0, -1]] = 1
    return shape
