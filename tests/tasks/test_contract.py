"""The laws of a task's data (`tasks/task.py`), for every task that is registered, README's own among them.

A new task is a case by being registered: where its data come from files, `written` writes a few; where its settings say
how much there is, `SMALL` has small ones.
"""

import base64
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from picturing import encoded, picture
from PIL import Image
from readme import TASK_NAMES, plugged_in

from lt_ray.cycle.metrics import measured
from lt_ray.cycle.pictures import FilePictures
from lt_ray.cycle.tasks import TASKS, FileTexts, TaskSettings
from lt_ray.errors import DamagedError
from lt_ray.tasks import kept, registry
from lt_ray.tasks.arrays import ArrayData
from lt_ray.tasks.task import SPLITS, Data

SIZES = {"train": 53, "validation": 20, "test": 20}
SMALL = {
    "toy": [{"train": 53, "validation": 20, "test": 20}],
    "folder": [{"label": "class"}, {"label": "several"}, {"label": "number"}],
    "toy_images": [{"train": 53, "validation": 20, "test": 20, "crop": "padded"}],
    "images": [{"size": 8}],
    "cifar10": [{"size": 8}],
    "imagenet": [],  # of a thousand classes; read as `cifar10`
    "rings": [{"points": 53}],
}
"""Task → small settings of it; several where they ask for other things"""
LABELS = {"class": ["x", "y", "z"], "several": ["x,y", "", "z"], "number": ["1.5", "-2", "3"]}
ARRAYS = ("classes", "labels", "numbers")
CASES = [(name, place) for name in TASK_NAMES for place in range(len(SMALL.get(name, "?")))]
CASES += [("arrays", place) for place in range(len(ARRAYS))]


class Case(NamedTuple):
    settings: TaskSettings | None
    """None = arrays that are no registered task's"""
    load: Callable[..., Data]
    """Makes the data from nothing; `cache` is `registry.load`'s"""
    data: Data


@pytest.fixture(scope="module", autouse=True)
def _plugged_in():
    with plugged_in():
        yield


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, tmp_path_factory) -> Case:
    """One task."""
    name, place = request.param
    if name == "arrays":
        return Case(None, lambda cache=None: arrays(ARRAYS[place]), arrays(ARRAYS[place]))
    settings = TASKS[name](**SMALL.get(name, [{}])[place])
    folder = None
    if isinstance(settings, FileTexts | FilePictures):
        folder = tmp_path_factory.mktemp(name)
        (written if isinstance(settings, FileTexts) else drawn)(settings, folder)

    def load(cache: Path | None = None) -> Data:
        return registry.load(settings, 100, folder, cache)[0]

    return Case(settings, load, load())


@pytest.fixture
def data(case) -> Data:
    return case.data


def arrays(targets: str) -> ArrayData:
    """Numbers of an example, and what is asked of it."""
    drawn = np.random.default_rng(1)
    asked = {
        "classes": lambda n: drawn.integers(0, 3, n),
        "labels": lambda n: drawn.integers(0, 2, (n, 3)),
        "numbers": lambda n: drawn.normal(size=n),
    }[targets]
    splits = {split: (drawn.normal(size=(n, 2, 3)), asked(n)) for split, n in SIZES.items()}
    return ArrayData.of(splits, ("a", "b", "c") if targets == "labels" else ())


def written(settings: FileTexts, folder: Path) -> None:
    """Write a user's texts, of as many classes as the task has."""
    values = LABELS[settings.label] if settings.class_count is None else range(settings.class_count)
    for split, n in SIZES.items():
        rows = "".join(f'words {split} {"very " * (i % 5)}{i},"{values[i % len(values)]}"\n' for i in range(n))
        (folder / f"{split}.csv").write_text(f"text,label\n{rows}")


def drawn(settings: FilePictures, folder: Path) -> None:
    """Draw a user's pictures, of as many classes as the task has."""
    for split, n in SIZES.items():
        for i in range(n):
            path = folder / split / f"class {i % (settings.class_count or 3)}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(picture(n + i)))


def same(one, other) -> bool:
    """Whether two lists of batches hold the same bits."""
    return len(one) == len(other) and all(
        torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) for a, b in zip(one, other, strict=True)
    )


def equal(one: Data, other: Data) -> bool:
    """Whether two data are the same in all that reaches a model, and in what is told of them."""
    return (one.digest, one.facts, one.notes, one.classes, one.longest) == (
        other.digest, other.facts, other.notes, other.classes, other.longest,
    ) and all(same(list(one.measuring(split)), list(other.measuring(split))) for split in SPLITS)  # fmt: skip


def test_the_same_settings_give_the_same_data(case, tmp_path):
    """Whatever was drawn before, and through a cache as without one, in which they are made once."""
    np.random.seed(7)
    torch.manual_seed(7)
    for cache in (None, tmp_path, tmp_path):
        assert equal(case.load(cache=cache), case.data)
    assert len(list(tmp_path.iterdir())) == (case.settings is not None)


def test_saved_and_loaded_it_is_the_same(data, tmp_path):
    """What is loaded has the digest, the facts, the notes and the batches of what was saved; a changed bit is seen."""
    data.save(tmp_path / "kept")
    assert equal(Data.load(tmp_path / "kept"), data)
    path = tmp_path / "kept" / kept.TENSORS
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(DamagedError, match="digest"):
        Data.load(tmp_path / "kept")


def test_what_is_shown_is_the_example_that_was_measured(data):
    """Measured in its own order, each example of the test is the picture that its address holds."""
    if not data.SHOWS:
        with pytest.raises(NotImplementedError):
            data.shown("test", 0)
        return
    seen = torch.cat([batch.inputs for batch in data.measuring("test")])
    for example, inputs in enumerate(seen[:7]):
        form, _, code = data.shown("test", example).partition(";base64,")
        picture = np.array(Image.open(io.BytesIO(base64.b64decode(code)))).transpose(2, 0, 1)
        assert form == "data:image/png"
        assert torch.allclose(data.view.normalised(picture[None])[0], inputs)


def test_its_facts_tell_what_batches_are(case):
    """Inputs and targets have the kind, the shape and the range that a model is built for; of classes, each has a name
    and the largest is counted."""
    data, facts = case.data, case.data.facts
    for split in SPLITS:
        (batch,) = data.some(split, np.arange(7), 7)
        if facts.inputs == "text":
            assert (batch.inputs.dtype, batch.inputs.dim()) == (torch.int64, 2)
            assert 0 <= int(batch.inputs.min()) <= int(batch.inputs.max()) < facts.rows
            assert (batch.inputs != facts.padding).any(dim=1).all()
        else:
            assert (batch.inputs.dtype, batch.inputs.shape[1:]) == (torch.float32, facts.shape)
        targets = data.targets(split)
        assert len(targets) == data.examples(split) > 0
        if facts.targets == "classes":
            assert (batch.targets.dtype, targets.ndim) == (torch.int64, 1)
            assert len(data.classes) == facts.width > targets.max() >= targets.min() >= 0
            assert data.largest(split) == max(np.sum(targets == place) for place in range(facts.width))
        else:
            assert (batch.targets.dtype, targets.shape[1]) == (torch.float32, facts.width)
            assert data.largest(split) is None
            assert len(data.classes) == (facts.width if facts.targets == "labels" else 0)
            assert facts.targets == "numbers" or set(np.unique(targets)) <= {0, 1}
    assert case.settings is None or case.settings.targets == facts.targets
    assert case.settings is None or case.settings.inputs == facts.inputs
    assert case.settings is None or case.settings.class_count in (None, facts.width)


@pytest.mark.parametrize("by_length", [False, True])
def test_an_epoch_from_a_step_on_is_the_rest_of_it(data, by_length):
    """An epoch holds every example of train once; begun later, it is the same batches from there on."""
    order = np.random.default_rng(0).permutation(data.examples("train"))
    whole = list(data.epoch(order, 8, by_length=by_length))
    assert sum(map(len, whole)) == data.examples("train")
    met = torch.cat([batch.targets for batch in whole]).tolist()
    assert sorted(map(str, met)) == sorted(map(str, data.targets("train").tolist()))
    for first in (0, 1, 3, len(whole)):
        assert same(list(data.epoch(order, 8, by_length=by_length, first=first)), whole[first:])


def test_batches_are_of_the_order_that_is_given(data):
    """An example is the same wherever it comes and however often, among some of a split and in an epoch, where an
    augmented one is drawn for that epoch."""
    order = np.random.default_rng(1).permutation(data.examples("train"))
    (one,) = data.some("train", order[:8], 8)
    (backwards,) = data.some("train", np.concatenate([order[:8][::-1], order[:1]]), 9)
    assert torch.equal(backwards.inputs[:8].flip(0), one.inputs)
    assert torch.equal(backwards.inputs[8], one.inputs[0])
    assert torch.equal(backwards.targets[:8].flip(0), one.targets)
    assert torch.equal(one.targets, torch.from_numpy(data.targets("train")[order[:8]]))
    n = data.examples("train")
    (whole,), (turned,) = (data.epoch(each, n, seed=3, epoch=2) for each in (order, order[::-1]))
    assert torch.equal(whole.inputs, turned.inputs.flip(0))
    assert torch.equal(whole.targets, turned.targets.flip(0))


def test_measuring_meets_every_example_once(data):
    """The targets met while a split is measured are the split's, however they are batched."""
    for split in SPLITS:
        met = torch.cat([batch.targets for batch in data.measuring(split)]).numpy()
        targets = data.targets(split)
        assert met.shape == targets.shape
        assert sorted(map(str, met.tolist())) == sorted(map(str, targets.tolist()))


def test_a_batch_in_parts_has_its_loss(data):
    """Losses of a batch's parts, weighted, are the whole batch's loss, and outputs get a gradient."""
    facts = data.facts
    (batch,) = data.some("train", np.arange(10), 10)
    outputs = torch.randn(10, facts.width, generator=torch.Generator().manual_seed(0), requires_grad=True)
    parts = [(data.loss(o, part), data.weight(part)) for o, part in zip(outputs.chunk(3), batch.parts(3), strict=True)]
    whole = data.loss(outputs, batch)
    assert sum(loss.item() * weight for loss, weight in parts) / data.weight(batch) == pytest.approx(whole.item())
    whole.backward()
    assert outputs.grad is not None
    assert outputs.grad.abs().sum() > 0


def test_all_its_metrics_are_measured(case):
    """A split has a finite value of each metric of the task, README's among them, the deciding one first."""
    facts = case.data.facts
    metrics = measured(facts.targets, facts.inputs, facts.width) if case.settings is None else case.settings.metrics
    meter = case.data.meter(metrics)
    for batch in case.data.measuring("test"):
        meter.add(torch.randn(len(batch), facts.width), batch.targets)
    assert list(meter.values()) == [metric.name for metric in metrics if facts.width >= metric.least_width]
    assert all(map(math.isfinite, meter.values().values()))
