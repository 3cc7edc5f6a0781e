"""A training step of pictures against a plain torchvision DataLoader loop, as ratios in one run.

    LT_RAY_DATA=DIR python benchmarks/pictures_step.py

- *plain*: `torch.utils.data.DataLoader` over a map-style data set, one picture after the other through torchvision's
  transforms: of CIFAR-10 as `torchvision.datasets.CIFAR10` keeps it, decoded in memory; of Imagenette the JPEG bytes,
  decoded each time. The network as it is usually written: ResNet-20 in OpenLTH's manner (`references/resnet.py`), and
  transformers' class with bottleneck blocks.
- *lt_ray*: the task's own batches and the model's own module, with `training.channels_last`.

Both load in the process that trains, one thread, the same batch size, the same weights, the same optimizer; that both
make the same loss and the same first step of a batch, but for rounding, is asserted first. Batches alternate; seconds
are those of the processor. `loading` is the batches alone, `training` the batches and the steps. Needs torchvision, and
the data sets `cifar10` and `imagenette` in the folder that `LT_RAY_DATA` names.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pyarrow import parquet
from references.resnet import OpenLthResNet
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import CifarResNet, ModelSettings, ResNet
from lt_ray.cycle.pictures import FilePictures
from lt_ray.cycle.tasks import Cifar10, Images
from lt_ray.models.model import Model, model_of
from lt_ray.models.pretrained import Base
from lt_ray.models.resnet import ResNetModel
from lt_ray.rounds.run import channels_last
from lt_ray.tasks import registry
from lt_ray.tasks.images_data import ImageData, View
from lt_ray.training.randomness import generators

STEPS = {"loading": 30, "training": 12}
"""Batches of each that are timed [count]"""
BOTTLENECK = {
    "embedding_size": 16,
    "hidden_sizes": [64, 128, 256],
    "depths": [2, 4, 2],
    "layer_type": "bottleneck",
}
"""A ResNet of three stages, small enough for a CPU"""
Pair = tuple[Tensor, Tensor]
Spent = dict[str, list[float]]


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


Step = Callable[[Pair], Tensor]


def step_of(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Step:
    """Return a training step of a network."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)

    def step(batch: Pair) -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = F.cross_entropy(forward(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    module.train()
    return step


def networks(settings: ModelSettings, base: Base | None, facts: Facts) -> tuple[nn.Module, Model]:
    """Return a network as it is usually written, and lt_ray's model of it."""
    if isinstance(settings, CifarResNet):
        return OpenLthResNet(20, 10), model_of(settings, facts)
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(**BOTTLENECK, num_labels=10)), model_of(settings, facts, base)


def steps_of(settings: ModelSettings, base: Base | None, facts: Facts, batch: Pair) -> dict[str, Step]:
    """Return the plain step and ours, which begin with the same weights.

    Raises `AssertionError` where a step of a batch gives another loss, before or after it.
    """
    usual, model = networks(settings, base, facts)
    state = model.initial(generators(0, "init"))
    steps = {}
    for name in ("plain", "lt_ray"):
        module = model.live(state, model.blocks, torch.device("cpu"))
        if name == "plain":
            assert [t.shape for t in usual.state_dict().values()] == [t.shape for t in module.state_dict().values()]
            values = zip(usual.state_dict(), module.state_dict().values(), strict=True)
            usual.load_state_dict(dict(values))
            module = usual
        forward = partial(model.forward, module)
        steps[name] = step_of(module, channels_last(module, forward) if name == "lt_ray" else forward)
    losses = {name: [float(step(batch)) for _ in range(2)] for name, step in steps.items()}
    np.testing.assert_allclose(losses["lt_ray"], losses["plain"], rtol=1e-3)
    np.testing.assert_allclose(losses["lt_ray"][0], losses["plain"][0], rtol=1e-5)
    return steps


def seconds(feeds: dict[str, Iterator[Pair]], steps: Mapping[str, Callable[[Pair], object]], count: int) -> Spent:
    """Return the processor's seconds of each batch of each feed, batches alternating."""
    spent: Spent = {name: [] for name in feeds}
    for turn in range(count + 1):
        for name, feed in feeds.items():
            started = time.process_time()
            steps[name](next(feed))
            if turn:
                spent[name].append(time.process_time() - started)
    return spent


def ratio(spent: Spent) -> str:
    """How many times faster ours is by medians, and the quarters of its batches' own ratios."""
    pairs = np.array(spent["plain"]) / np.array(spent["lt_ray"])
    low, high = np.quantile(pairs, [0.25, 0.75])
    return f"{np.median(spent['plain']) / np.median(spent['lt_ray']):.2f} ({low:.2f}–{high:.2f})"


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    root = Path(os.environ["LT_RAY_DATA"])
    table = Table(title="Pictures a second, lt_ray / plain torchvision DataLoader; > 1 is faster (middle half)")
    for column in ("", "loading", "training", "goal", "share of loading in training"):
        table.add_column(column, justify="right" if column else "left")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps({"model_type": "resnet", **BOTTLENECK}))
        bottleneck, base = ResNetModel.found(
            ResNet(path=folder, weights="random"), Path(folder) / "kept", lambda _: None
        )
        cases: list[tuple[str, FilePictures, int, ModelSettings, Base | None, str]] = [
            ("CIFAR-10, ResNet-20", Cifar10(), 128, CifarResNet(depth=20), None, "1.3"),
            ("Imagenette at 96 pixels, bottleneck ResNet", Images(size=96), 32, bottleneck, base, "1.0"),
        ]
        for name, task, size, settings, base, goal in cases:
            source = root / ("cifar10" if isinstance(task, Cifar10) else "imagenette")
            data, _ = registry.load(task, 1, source)
            assert isinstance(data, ImageData)
            data = dataclasses.replace(data, workers=0)
            feeds = {"plain": plain(data.view, source / "train.parquet", size), "lt_ray": ours(data, size)}
            steps = steps_of(settings, base, data.facts, next(feeds["plain"]))
            nothing: dict[str, Callable[[Pair], object]] = dict.fromkeys(feeds, lambda batch: batch)
            loading = seconds(feeds, nothing, STEPS["loading"])
            training = seconds(feeds, steps, STEPS["training"])
            share = sum(loading["lt_ray"]) / len(loading["lt_ray"]) / np.mean(training["lt_ray"])
            table.add_row(name, ratio(loading), ratio(training), goal, f"{share:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
