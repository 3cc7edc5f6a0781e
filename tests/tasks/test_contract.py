"""The laws of a task's data (`tasks/task.py`), for every kind that there is."""

import numpy as np
import pytest
import torch
from picturing import encoded, picture

from lt_ray.cycle.tasks import Folder, Images, Toy, ToyImages
from lt_ray.errors import DamagedError
from lt_ray.tasks import kept, registry
from lt_ray.tasks.arrays import ArrayData
from lt_ray.tasks.task import SPLITS, Data

SIZES = {"train": 53, "validation": 20, "test": 20}


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


def folder(path, label: str) -> Data:
    """A user's texts."""
    values = {"class": ["x", "y", "z"], "several": ["x,y", "", "z"], "number": ["1.5", "-2", "3"]}[label]
    for split, n in SIZES.items():
        rows = "".join(f'words {split} {"very " * (i % 5)}{i},"{values[i % 3]}"\n' for i in range(n))
        (path / f"{split}.csv").write_text(f"text,label\n{rows}")
    return registry.load(Folder(label=label), 100, path)[0]


def pictures(path, kind: str) -> Data:
    """Pictures, built in and decoded, or from files and encoded."""
    if kind == "toy":
        return registry.load(ToyImages(**SIZES, crop="padded"), 1)[0]
    for split, n in SIZES.items():
        for place in range(n):
            own = path / split / "xyz"[place % 3] / f"{place}.png"
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_bytes(encoded(picture(place)))
    return registry.load(Images(size=8), 1, path)[0]


KINDS = ["toy", "class", "several", "number", "arrays classes", "arrays labels", "arrays numbers"]
KINDS += ["pictures toy", "pictures files"]


@pytest.fixture(params=KINDS)
def data(request, tmp_path) -> Data:
    """One data set of each kind."""
    if request.param == "toy":
        return registry.load(Toy(train=53, validation=20, test=20), 100)[0]
    if request.param.startswith("arrays"):
        return arrays(request.param.partition(" ")[2])
    if request.param.startswith("pictures"):
        return pictures(tmp_path / "pictures", request.param.partition(" ")[2])
    (tmp_path / "texts").mkdir()
    return folder(tmp_path / "texts", request.param)


def same(one, other) -> bool:
    """Whether two lists of batches hold the same bits."""
    return len(one) == len(other) and all(
        torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) for a, b in zip(one, other, strict=True)
    )


def test_saved_and_loaded_it_is_the_same(data, tmp_path):
    """What is loaded has the digest, the facts, the notes and the batches of what was saved; a changed bit is seen."""
    data.save(tmp_path / "kept")
    again = registry.load_data(tmp_path / "kept")
    assert (again.digest, again.facts, again.notes, again.classes) == (
        data.digest, data.facts, data.notes, data.classes,
    )  # fmt: skip
    for split in SPLITS:
        assert same(list(data.measuring(split)), list(again.measuring(split)))
    path = tmp_path / "kept" / kept.TENSORS
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(DamagedError, match="digest"):
        registry.load_data(tmp_path / "kept")


@pytest.mark.parametrize("by_length", [False, True])
def test_an_epoch_from_a_step_on_is_the_rest_of_it(data, by_length):
    """An epoch holds every example of train once; begun later, it is the same batches from there on."""
    order = np.random.default_rng(0).permutation(data.examples("train"))
    whole = list(data.epoch(order, 8, by_length=by_length))
    assert sum(map(len, whole)) == data.examples("train") == SIZES["train"]
    for first in (0, 1, 3, len(whole)):
        assert same(list(data.epoch(order, 8, by_length=by_length, first=first)), whole[first:])


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
