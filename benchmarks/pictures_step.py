"""An epoch of pictures against a plain torchvision DataLoader loop, as ratios in one run.

    LT_RAY_DATA=DIR python benchmarks/pictures_step.py

- *plain*: `torch.utils.data.DataLoader` over a map-style data set, one picture after the other through torchvision's
  transforms: of CIFAR-10 as `torchvision.datasets.CIFAR10` keeps it, decoded in memory; of Imagenette the JPEG bytes,
  decoded each time.
- *lt_ray*: the task's own batches.

Both load in the process that trains, one thread, the same batch size, the same network (ResNet-20), the same
optimizer. Batches alternate; seconds are those of the processor, which a busy machine
does not change. `loading` is the batches alone, `training` the batches and the steps. Needs torchvision, and the data
sets `cifar10` and `imagenette` in the folder that `LT_RAY_DATA` names.
"""

from __future__ import annotations

import dataclasses
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pyarrow import parquet
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lt_ray.cycle.models import CifarResNet
from lt_ray.cycle.pictures import FilePictures
from lt_ray.cycle.tasks import Cifar10, Images
from lt_ray.models.model import model_of
from lt_ray.tasks import registry
from lt_ray.tasks.images_data import ImageData, View
from lt_ray.training.randomness import generators

STEPS = {"loading": 30, "training": 6}
"""Batches of each that are timed [count]"""
Pair = tuple[Tensor, Tensor]


class Plain(Dataset[tuple[Tensor, int]]):
    """Pictures, one at a time.

    - `pictures`: arrays (S, S, 3), or encoded bytes
    """

    def __init__(self, pictures: list[Any], labels: list[int], transform: Callable[[Image.Image], Tensor]) -> None:
        self.pictures, self.labels, self.transform = pictures, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """Return a picture, float32 (3, S, S), and its class."""
        kept = self.pictures[place]
        picture = Image.open(io.BytesIO(kept)).convert("RGB") if isinstance(kept, bytes) else Image.fromarray(kept)
        return self.transform(picture), self.labels[place]


def plain(view: View, path: Path, size: int) -> Iterator[Pair]:
    """Yield batches for ever, as torchvision's own examples load them."""
    from torchvision import transforms

    table = parquet.read_table(path).to_pydict()
    pictures = table["image"]
    if view.crop == "padded":
        pictures = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in pictures]
        cropped = transforms.RandomCrop(view.size, padding=view.padding)
    else:
        cropped = transforms.RandomResizedCrop(view.size)
    last = [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(view.mean, view.deviation)]
    data = Plain(pictures, table["label"], transforms.Compose([cropped, *last]))
    loader = DataLoader(data, batch_size=size, shuffle=True, num_workers=0)
    while True:
        yield from loader


def ours(data: ImageData, size: int) -> Iterator[Pair]:
    """Yield the task's batches for ever."""
    epoch = 0
    while True:
        order = np.random.default_rng(epoch).permutation(data.examples("train"))
        for batch in data.epoch(order, size, epoch=epoch):
            yield batch.inputs, batch.targets
        epoch += 1


def stepper(depth: int, width: int, data: ImageData) -> Callable[[Pair], object]:
    """Return a training step of a network."""
    model = model_of(CifarResNet(depth=depth, width=width), data.facts)
    module = model.live(model.initial(generators(0, "init")), model.blocks, torch.device("cpu"))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)

    def step(batch: Pair) -> object:
        optimizer.zero_grad()
        loss: Tensor = F.cross_entropy(module(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    module.train()
    assert isinstance(module, nn.Module)
    return step


def seconds(feeds: dict[str, Iterator[Pair]], step: Callable[[Pair], object], steps: int) -> dict[str, float]:
    """Return the processor's seconds a batch of each feed, batches alternating."""
    for feed in feeds.values():
        step(next(feed))
    spent = dict.fromkeys(feeds, 0.0)
    for _ in range(steps):
        for name, feed in feeds.items():
            started = time.process_time()
            step(next(feed))
            spent[name] += time.process_time() - started
    return {name: total / steps for name, total in spent.items()}


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    root = Path(os.environ["LT_RAY_DATA"])
    cases: list[tuple[str, FilePictures, int, int, str]] = [
        ("CIFAR-10, ResNet-20", Cifar10(), 128, 16, "1.3"),
        ("Imagenette at 96 pixels, ResNet-20", Images(size=96), 32, 16, "1.0"),
    ]
    table = Table(title="Pictures a second, lt_ray / plain torchvision DataLoader; > 1 is faster")
    for column in ("", "loading", "training", "goal", "share of loading in training"):
        table.add_column(column, justify="right" if column else "left")
    for name, task, size, width, goal in cases:
        folder = root / ("cifar10" if isinstance(task, Cifar10) else "imagenette")
        data, _ = registry.load(task, 1, folder)
        assert isinstance(data, ImageData)
        data = dataclasses.replace(data, workers=0)
        feeds = {"plain": plain(data.view, folder / "train.parquet", size), "lt_ray": ours(data, size)}
        loading = seconds(feeds, lambda batch: batch, STEPS["loading"])
        training = seconds(feeds, stepper(20, width, data), STEPS["training"])
        ratios = [f"{spent['plain'] / spent['lt_ray']:.2f}" for spent in (loading, training)]
        table.add_row(name, *ratios, goal, f"{loading['lt_ray'] / training['lt_ray']:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
