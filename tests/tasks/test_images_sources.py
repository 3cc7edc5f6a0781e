"""Where pictures come from: folders, tables and the hub's layout; and what is refused there."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from picturing import encoded, folder, header, picture
from pyarrow import parquet

from lt_ray.cycle.metrics import METRICS
from lt_ray.cycle.models import ResNet
from lt_ray.cycle.tasks import Cifar10, ImageNet, Images
from lt_ray.errors import DataError
from lt_ray.models.model import model_of
from lt_ray.tasks import registry
from lt_ray.tasks.images_data import ImageData, check_of
from lt_ray.training.randomness import generators

DATA = Path(os.environ.get("LT_RAY_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
TASK = Images(size=8, crop="none", flip=False)


def load(path: Path, task: Images = TASK) -> ImageData:
    """The data of a folder."""
    data, _ = registry.load(task, 1, path)
    assert isinstance(data, ImageData)
    return data


def table(path: Path, labels: list, pictures: list[bytes] | None = None, names: tuple[str, ...] = (), **more) -> None:
    """Write a table of encoded pictures as Hugging Face's library does, or plainly."""
    column, wrapped = more.get("column", "image"), more.get("wrapped", False)
    made = pictures or [encoded(picture(place + more.get("seed", 0))) for place in range(len(labels))]
    rows = {column: [{"bytes": data, "path": f"{i}.png"} if wrapped else data for i, data in enumerate(made)]}
    whole = pyarrow.table(rows | {"label": labels})
    if names:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}, column: {"_type": "Image"}}
        whole = whole.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".arrow":
        with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, whole.schema) as writer:
            writer.write_table(whole)
    else:
        parquet.write_table(whole, path)


def test_a_folder_of_classes(tmp_path: Path) -> None:
    """Classes are train's folders, sorted; a test that is given is kept, validation is cut from train, stratified."""
    data = load(folder(tmp_path, per_class=10))
    assert data.classes == ("ant", "bee", "cat")
    assert {split: data.examples(split) for split in ("train", "validation", "test")} == {
        "train": 27, "validation": 3, "test": 9,
    }  # fmt: skip
    assert sorted(data.targets("validation").tolist()) == [0, 1, 2]
    assert data.targets("test").tolist() == [0] * 3 + [1] * 3 + [2] * 3
    (batch,) = data.some("test", np.arange(9), 9)
    again = load(folder(tmp_path / "other", per_class=10))
    assert again.digest == data.digest, "the same pictures elsewhere are the same data"
    other = load(tmp_path, TASK.model_copy(update={"split_seed": 1}))
    assert other.digest != data.digest
    assert batch.inputs.shape == (9, 3, 8, 8)


def test_names_of_splits_and_classes(tmp_path: Path) -> None:
    """A folder `val` validates; `labels.json` orders the classes, which folders may be called by their WordNet ids."""
    folder(tmp_path, classes=("n02", "n01"))
    (tmp_path / "test").rename(tmp_path / "val")
    told = [{"name": "crane", "wnid": "n02"}, {"name": "crane", "wnid": "n01"}]
    (tmp_path / "labels.json").write_text(json.dumps(told))
    (tmp_path / "sketches").mkdir()
    data = load(tmp_path)
    assert data.classes == ("crane (n02)", "crane (n01)")
    assert data.targets("validation").tolist() == [1] * 3 + [0] * 3, "folders are read by name"
    assert data.examples("test") == 2
    assert any("`sketches` is not read" in note for note in data.notes)


@pytest.mark.parametrize("form", ["parquet", "arrow", "shards", "hub"])
def test_tables_of_encoded_pictures(tmp_path: Path, form: str) -> None:
    """Plain bytes or the hub's structs, in one file or in shards, hold the same pictures; names come from the file."""
    names, labels = ("x", "y"), [0, 1] * 6
    more = {"names": names, "wrapped": form == "hub", "column": "img" if form == "hub" else "image"}
    if form == "shards":
        pictures = [encoded(picture(place)) for place in range(12)]
        for part, own in enumerate((slice(0, 7), slice(7, 12))):
            table(tmp_path / f"train-{part:05d}-of-00002.parquet", labels[own], pictures[own], **more)
    else:
        table(tmp_path / f"train.{'arrow' if form == 'arrow' else 'parquet'}", labels, **more)
    table(tmp_path / "test.parquet", [1, 0, 1], seed=50, **more)
    data = load(tmp_path, Images(size=24, crop="none", centre=1.0, validation_share=0.25))
    assert data.classes == names
    assert data.targets("test").tolist() == [1, 0, 1]
    everything = np.concatenate([data.arrays["train.pixels"], data.arrays["validation.pixels"]])
    expected = np.stack([np.asarray(picture(place)).transpose(2, 0, 1) for place in range(12)])
    assert sorted(everything.reshape(12, -1).tolist()) == sorted(expected.reshape(12, -1).tolist())
    train = [np.flatnonzero((expected == seen).all(axis=(1, 2, 3)))[0] % 2 for seen in data.arrays["train.pixels"]]
    assert train == data.targets("train").tolist(), "a picture keeps its class"


def hub(path: Path, splits: dict[str, list[int]], column: str, names: tuple[str, ...]) -> str:
    """Lay a folder out as the hub keeps a data set; return its name."""
    import datasets

    for seed, (split, labels) in enumerate(splits.items()):
        rows = {column: [{"bytes": encoded(picture(100 * seed + i)), "path": None} for i in range(len(labels))]}
        features = datasets.Features({column: datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
        made = datasets.Dataset.from_dict(rows | {"label": labels}, features=features)
        (path / "data").mkdir(parents=True, exist_ok=True)
        made.to_parquet(path / "data" / f"{split}-00000-of-00001.parquet")
    return str(path)


def test_the_public_sets_have_the_hubs_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 is read from `img` and tested on `test`; ImageNet, whose test has no labels, on `validation`."""
    names = tuple("abcdefghij")
    splits = {"train": [*range(10)] * 4, "test": [*range(10)], "validation": [*range(10)]}
    cifar = Cifar10(dataset=hub(tmp_path / "cifar", splits, "img", names), validation_share=0.25)
    data, _ = registry.load(cifar, 1)
    assert (data.classes, data.facts.shape, data.facts.width) == (names, (3, 32, 32), 10)
    assert [data.examples(split) for split in ("train", "validation", "test")] == [40, 10, 10]
    monkeypatch.setattr(ImageNet, "class_count", 2)
    splits = {"train": [0, 1] * 6, "validation": [1, 0, 1], "test": [-1, -1]}
    imagenet = ImageNet(dataset=hub(tmp_path / "imagenet", splits, "image", ("a", "b")), validation_share=0.5, size=8)
    data, _ = registry.load(imagenet, 1)
    assert data.targets("test").tolist() == [1, 0, 1]
    assert [data.examples(split) for split in ("train", "validation")] == [6, 6]
    with pytest.raises(DataError, match="must have 2 classes, but there are 10"):
        registry.load(imagenet.model_copy(update={"dataset": cifar.dataset, "columns": ("img", "label")}), 1)


def test_broken_pictures_are_told_and_left_out_up_to_a_share(tmp_path: Path) -> None:
    """A text named .jpg and half a JPEG are refused by name and class; where the task allows their share, left out."""
    folder(tmp_path, per_class=10)
    (tmp_path / "train" / "ant" / "0.jpg").write_text("hello")
    (tmp_path / "train" / "bee" / "1.jpg").write_bytes(encoded(picture(0, 200, 200), "jpeg")[:2000])
    (tmp_path / "test" / "cat" / "huge.png").write_bytes(header(30_000, 30_000))
    (tmp_path / "train" / "ant" / "Thumbs.db").write_text("x")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert [part for part in ("train: ", "ant/0.jpg (class `ant`): it is no picture", "bee/1.jpg (class `bee`)",
                              "truncated", "broken_share") if part not in str(caught.value)] == []  # fmt: skip
    with pytest.raises(DataError, match=r"test: 1 of 10 .*huge.png \(class `cat`\): it has"):
        load(tmp_path, TASK.model_copy(update={"broken_share": 0.09}))
    data = load(tmp_path, TASK.model_copy(update={"broken_share": 0.1}))
    assert sum(data.examples(split) for split in ("train", "validation")) == 30
    assert data.examples("test") == 9
    assert sum("left out" in note for note in data.notes) >= 2
    assert any("Thumbs.db" in note for note in data.notes)


def spoilt(path: Path, how: str) -> str:
    """Spoil a folder of pictures; return what is said of it."""
    train, test = path / "train", path / "test"
    if how == "empty":
        (train / "dog").mkdir()
        return "train/dog: a class must have pictures"
    if how == "unknown":
        (test / "cat").rename(test / "catt")
        return "a class must be there in train, but `catt` is not.*Did you mean `cat`"
    if how == "case":
        (train / "Ant").mkdir()
        return "classes must differ by more than case and outer blanks, but there are `Ant` and `ant`"
    if how == "split":
        test.rename(path / "tets")
        return "a folder's name must say its split, but `tets` is none.*Did you mean `test`"
    if how == "twice":
        (path / "val").mkdir()
        (path / "validation").mkdir()
        return "validation has `val`, `validation`"
    if how == "one class":
        for name in ("ant", "bee"):
            for place in (train / name).iterdir():
                place.unlink()
            (train / name).rmdir()
        return "two or more classes"
    if how == "named":
        (path / "labels.json").write_text('["ant", "bee"]')
        return "must be one of those in labels.json, but `cat` is not"
    (path / "labels.json").write_text('["ant", "bee", "cat", "dog"]')
    return "train must have pictures of every class, but it has none of `dog`"


@pytest.mark.parametrize("how", ["empty", "unknown", "case", "split", "twice", "one class", "named", "no pictures"])
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, how: str) -> None:
    """An empty class, one that train lacks, one in two spellings, a misspelt split: each is one DataError."""
    said = spoilt(folder(tmp_path), how)
    with pytest.raises(DataError, match=f"(?s){said}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "more", "said"),
    [
        ([0, 1] * 5, [0, 2], {"names": ("x", "y")}, "test.parquet, row 2: a label must be one of the 2 classes"),
        ([0, 1] * 5, [0, 2], {}, "test.parquet, row 2: a label must be one of the 2 classes"),
        (["a", "b"] * 5, ["a", "c"], {}, "row 2: a label must be one of the 2 classes .* but it is 'c'"),
        ([0, 1, None, 0] * 4, [0, 1], {}, "row 3: a label must be one of"),
        ([0.0, 1.0, None] * 4, [0, 1], {}, "row 3: a label must be one of"),
        ([0, 1] * 5, [0, 1], {"column": "picture"}, "the columns `image`, `label` must be there"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, train: list, test: list, more: dict, said: str) -> None:
    """A label past the head, one that train lacks or none at all is named by its row; so are missing columns."""
    table(tmp_path / "train.parquet", train, **more)
    table(tmp_path / "test.parquet", test, **more)
    with pytest.raises(DataError, match=f"(?s){said}"):
        load(tmp_path)


def test_a_metric_that_says_nothing_does_not_decide(tmp_path: Path) -> None:
    """Top-5 accuracy of three classes would always be 1: it is refused before a picture is looked at."""
    with pytest.raises(DataError, match="top5_accuracy must have 6 classes or more, but there are 3"):
        load(folder(tmp_path), TASK.model_copy(update={"metric": "top5_accuracy"}))


def test_no_pictures_at_all(tmp_path: Path) -> None:
    """No folder, a file, an empty folder, a table without bytes, and pictures that two splits share are told."""
    for path, said in ((tmp_path / "no", "there is none"), (tmp_path, "pictures must be in folders")):
        with pytest.raises(DataError, match=said):
            load(path)
    with pytest.raises(DataError, match="must have a data directory"):
        registry.load(TASK, 1)
    (tmp_path / "train.csv").write_text("image,label\na,b\n")
    with pytest.raises(DataError, match="pictures must be in folders"):
        load(tmp_path)
    for place in ("train", "test"):
        table(tmp_path / "tables" / f"{place}.parquet", [0, 1] * 8)
    told = load(tmp_path / "tables", TASK.model_copy(update={"validation_share": 0.25})).notes
    assert ["12 of 16 pictures of test are in train, too" in note for note in told] == [True, False]


@torch.no_grad()
def top1(path: Path) -> float:
    """Top-1 of test by a random ResNet-18 whose head takes a picture for the class of the nearest of train."""
    data, _ = registry.load(ImageNet(size=32, validation_share=0.5), 1, path)
    model = model_of(ResNet(path="microsoft/resnet-18"), data.facts)
    module = model.live(model.drawn(generators(0, "init")), None, torch.device("cpu")).double().eval()
    assert module.classifier[1].weight.shape == (1000, 512)
    for batch in data.some("train", np.arange(1000), 250):
        features = module.resnet(batch.inputs.double()).pooler_output.flatten(1)
        module.classifier[1].weight[batch.targets] = features
        module.classifier[1].bias[batch.targets] = -features.square().sum(1) / 2
    meter = data.meter([METRICS["accuracy"]])
    for batch in data.measuring("test"):
        meter.add(model.forward(module, batch.inputs.double()), batch.targets)
    return meter.values()["accuracy"]


def numbers_of(path: Path, known: dict[int, int]) -> list[tuple[int, int]]:
    """Of each tested picture of an ImageNet in folders: its number by its bytes, and the one that it was given."""
    data, _ = registry.load(ImageNet(size=8, validation_share=0.5), 1, path)
    assert isinstance(data, ImageData)
    assert data.encoded is not None
    found = [known[check] for check in data.arrays["test.checks"].tolist()]
    return list(zip(found, data.targets("test").tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "imagenet_sample").is_dir(), reason="no pictures: name their folder with LT_RAY_DATA")
def test_every_class_of_imagenet_has_its_number(tmp_path: Path) -> None:
    """1,000 folders called by WordNet ids get the usual numbers, in data and in a model's top-1; where two folders are
    exchanged, two are wrong."""
    names = json.loads((DATA / "imagenet_sample" / "labels.json").read_text())
    rows = parquet.read_table(DATA / "imagenet_sample" / "test.parquet").to_pydict()
    known = {check_of(data): label for data, label in zip(rows["image"], rows["label"], strict=True)}
    for data, label in zip(rows["image"], rows["label"], strict=True):
        for place in ("train/a", "train/b", "validation/c"):
            split, _, name = place.partition("/")
            own = tmp_path / split / names[label]["wnid"] / f"{name}.jpg"
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_bytes(data)
    (tmp_path / "labels.json").write_text(json.dumps(names))
    numbers = numbers_of(tmp_path, known)
    assert len(numbers) == 1000
    assert all(right == given for right, given in numbers)
    assert top1(tmp_path) == 1
    one, other = (tmp_path / "validation" / names[label]["wnid"] for label in (3, 900))
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    assert [pair for pair in numbers_of(tmp_path, known) if pair[0] != pair[1]] == [(900, 3), (3, 900)]
    assert top1(tmp_path) == 0.998
