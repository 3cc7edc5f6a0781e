"""Pictures: how one is decoded, what an epoch makes of it, and how many are kept."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from picturing import encoded, folder, header, picture
from PIL import Image

from lt_ray.cycle.tasks import Images, ToyImages
from lt_ray.errors import DamagedError
from lt_ray.tasks import images, images_toy, registry
from lt_ray.tasks import images_decode as decode
from lt_ray.tasks.corpus import uniform_rows, uniforms
from lt_ray.tasks.images_data import ImageData, View
from lt_ray.tasks.images_decode import BrokenPictureError
from lt_ray.tasks.task import Data


def test_every_kind_of_picture_becomes_rgb_upright() -> None:
    """Grey, 16 bits, palette, alpha, CMYK, one pixel and pictures that EXIF turns are seen as a person sees them."""
    red = Image.new("RGB", (4, 4), (200, 0, 0))
    turned = Image.fromarray(np.repeat(np.arange(0, 240, 30, dtype=np.uint8)[None, :, None], 3, axis=2))  # 8 x 1
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    cases = {
        "grey": (encoded(Image.new("L", (4, 4), 77)), (77, 77, 77)),
        "two levels": (encoded(Image.new("1", (4, 4), 1)), (255, 255, 255)),
        "16 bits": (encoded(Image.fromarray(np.full((4, 4), 77 * 256, np.uint16))), (77, 77, 77)),
        "palette": (encoded(red.quantize(4)), (200, 0, 0)),
        "transparent": (encoded(clear), (255, 255, 255)),
        "transparent in a palette": (encoded(red.quantize(4), transparency=0), None),
        "CMYK": (encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "jpeg"), (255, 0, 0)),
        "one pixel": (encoded(Image.new("RGB", (1, 1), (1, 2, 3))), (1, 2, 3)),
        "a frame of several": (encoded(red, "gif", save_all=True, append_images=[red]), (200, 0, 0)),
    }
    for name, (data, expected) in cases.items():
        seen = decode.middle(decode.opened(data), 5, 1.0)
        assert seen.shape == (3, 5, 5), name
        assert seen.dtype == np.uint8, name
        if expected is not None:
            assert np.abs(seen.astype(int) - np.array(expected)[:, None, None]).max() <= 3, name
    upright = decode.opened(encoded(turned, "png", exif=exif))
    assert upright.size == (1, 8), "turned by a quarter"


def test_what_is_no_picture_is_told_with_its_reason() -> None:
    """A text, an empty file, half a JPEG and 30,000 × 30,000 pixels are refused, the last by its header alone."""
    whole = encoded(picture(0, 200, 200), "jpeg")
    for data, reason in (
        (b"hello, I am a text", "no picture of a known kind"),
        (b"", "empty"),
        (whole[: len(whole) // 2], "truncated"),
        (header(30_000, 30_000), "more than 89,478,485 pixels"),
        (header(10_000, 9_000), "pixels"),
    ):
        with pytest.raises(BrokenPictureError, match=reason):
            decode.opened(data)


def test_the_middle_is_measured() -> None:
    """The measured square is the largest in the middle, or a share of it; at its own size it is the very pixels."""
    wide = picture(1, 40, 20)
    assert np.array_equal(decode.middle(wide, 20, 1.0), np.asarray(wide)[:, 10:30].transpose(2, 0, 1))
    assert np.array_equal(decode.middle(wide, 10, 0.5), np.asarray(wide)[5:15, 15:25].transpose(2, 0, 1))


def test_rows_of_numbers_are_those_of_the_table() -> None:
    """A row drawn alone is the row of the whole table; rows depend on the seed and the purpose."""
    table = uniforms(3, "x", (50, 24))
    rows = np.array([49, 0, 7])
    assert np.array_equal(uniform_rows(3, "x", rows, 24), table[rows])
    assert not np.array_equal(uniform_rows(4, "x", rows, 24), table[rows])


def test_a_random_part_lies_within_and_has_its_area_and_shape() -> None:
    """10,000 parts lie within the picture, have at least the least area and 3:4 to 4:3; where none fits, the middle."""
    numbers = uniforms(0, "parts", (10_000, decode.DRAWS))
    boxes = np.array([decode.part_box(60, 40, row, 0.25) for row in numbers])
    left, top, width, height = boxes.T
    assert left.min() == top.min() == 0
    assert (left + width).max() == 60
    assert (top + height).max() == 40
    assert (width * height).min() >= 0.24 * 2400
    assert 0.7 < (width / height).min() < (width / height).max() < 1.4
    assert decode.part_box(100, 1, numbers[0], 1.0) == (49, 0, 1, 1)


def test_moves_and_flips() -> None:
    """Moved pictures are parts of the picture with a black border, every one of 9 × 9 equally often, half mirrored."""
    pixels = np.random.default_rng(0).integers(1, 256, (81 * 40, 3, 8, 8), dtype=np.uint8)
    numbers = uniforms(1, "moves", (len(pixels), decode.FEW_DRAWS))
    moved = decode.moved(pixels, numbers, 4)
    bordered = np.pad(pixels, ((0, 0), (0, 0), (4, 4), (4, 4)))
    places = (numbers[:, 1:3] * 9).astype(int)
    for example in range(200):
        top, left = places[example]
        assert np.array_equal(moved[example], bordered[example, :, top : top + 8, left : left + 8])
    assert np.bincount(places[:, 0] * 9 + places[:, 1], minlength=81).min() > 15
    mirrored = decode.flipped(moved, numbers)
    same = (mirrored == moved).all(axis=(1, 2, 3))
    assert 0.45 < same.mean() < 0.55
    assert np.array_equal(mirrored[~same], moved[~same][..., ::-1])


def test_a_shown_picture_is_small() -> None:
    """A large one is a JPEG of 112 pixels, near in colour; a small one a PNG of its own size."""
    large = np.full((3, 224, 224), 0, dtype=np.uint8)
    large[0] = 200
    for pixels, form, side in ((large, "jpeg", 112), (large[:, :32, :32], "png", 32)):
        kind, _, code = decode.address(pixels).partition(";base64,")
        found = Image.open(io.BytesIO(base64.b64decode(code)))
        assert (kind, found.size) == (f"data:image/{form}", (side, side))
        assert np.abs(np.asarray(found, dtype=int) - [200, 0, 0]).max() < 8


def batches(data: ImageData, **more) -> list[torch.Tensor]:
    """The inputs of an epoch."""
    order = np.random.default_rng(0).permutation(data.examples("train"))
    return [batch.inputs for batch in data.epoch(order, more.pop("size", 4), **more)]


@pytest.fixture(params=["decoded", "encoded"])
def data(request, tmp_path) -> ImageData:
    """Pictures kept in either form, augmented in both ways."""
    crop = "padded" if request.param == "decoded" else "resized"
    task = Images(size=8, crop=crop, padding=2, validation_share=0.2)
    found, _ = registry.load(task, 1, folder(tmp_path / "data"), tmp_path / "cache")
    assert isinstance(found, ImageData)
    assert (found.encoded is None) == (request.param == "decoded")
    return found


def test_an_example_is_augmented_by_seed_epoch_and_itself(data: ImageData) -> None:
    """Another seed or epoch shows other pictures; another order, batch size or first step the same one."""
    order = np.random.default_rng(0).permutation(data.examples("train"))
    one = torch.cat(batches(data, seed=1, epoch=2))
    assert torch.equal(one, torch.cat(batches(data, seed=1, epoch=2, size=3)))
    assert torch.equal(one[8:], torch.cat(batches(data, seed=1, epoch=2, first=2)))
    backwards = torch.cat([batch.inputs for batch in data.epoch(order[::-1].copy(), 5, seed=1, epoch=2)])
    assert torch.equal(backwards.flip(0), one)
    for other in ({"seed": 2, "epoch": 2}, {"seed": 1, "epoch": 3}):
        assert not torch.equal(one, torch.cat(batches(data, **other)))


def test_threads_change_no_bit(data: ImageData) -> None:
    """However many threads decode ahead, an epoch and a measured split are the same bits."""
    alone, *others = (dataclasses.replace(data, workers=workers) for workers in (0, 1, 2))
    for other in others:
        for a, b in zip(batches(alone), batches(other), strict=True):
            assert torch.equal(a, b)
        for a, b in zip(alone.measuring("test"), other.measuring("test"), strict=True):
            assert torch.equal(a.inputs, b.inputs)


def test_a_stopped_epoch_leaves_no_thread(data: ImageData) -> None:
    """Threads end with the iterator that they decode for."""
    import threading

    iterator = dataclasses.replace(data, workers=2).epoch(np.arange(12), 2)
    next(iter(iterator))
    if data.encoded is not None:
        iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]


def test_measured_pictures_are_normalised_by_train(tmp_path: Path) -> None:
    """Train's measured pictures have mean 0 and deviation 1 in every channel; ImageNet's constants are as they are."""
    task = Images(size=8, crop="none", flip=False)
    found, _ = registry.load(task, 1, folder(tmp_path / "data"))
    train = torch.cat([batch.inputs for batch in found.measuring("train")]).double()
    assert torch.allclose(train.mean(dim=(0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(train.std(dim=(0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64), atol=1e-5)
    view = View(2, mean=images.IMAGENET[0], deviation=images.IMAGENET[1])
    seen = view.normalised(np.full((1, 3, 2, 2), 128, np.uint8))[0, :, 0, 0]
    assert seen.tolist() == pytest.approx(
        [(128 / 255 - m) / d for m, d in zip(*images.IMAGENET, strict=True)], rel=1e-5
    )


def test_decoded_and_encoded_pictures_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a number of bytes pictures stay encoded, in a file for each split, and every batch is what it was."""
    task = Images(size=8, crop="padded", padding=2)
    found, _ = registry.load(task, 1, folder(tmp_path / "data"), tmp_path / "cache")
    monkeypatch.setattr(images, "DECODED", 1000)
    large, directory = registry.load(task, 1, tmp_path / "data", tmp_path / "other")
    assert found.encoded is None
    assert large.encoded is not None
    for a, b in zip(batches(found), batches(large), strict=True):
        assert torch.equal(a, b)
    path = directory / "train.pictures"
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + b"\0" + whole[41:])
    with pytest.raises(DamagedError, match="is not the one that was kept"):
        batches(Data.load(directory))
    path.write_bytes(whole[:-1])
    with pytest.raises(DamagedError, match="pictures of train"):
        Data.load(directory)


def test_a_cache_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files are looked at once; another file, or another setting, is other data."""
    task, path = Images(size=8), folder(tmp_path / "data")
    first, directory = registry.load(task, 1, path, tmp_path / "cache")
    with monkeypatch.context() as patched:
        patched.setattr(images, "_make", lambda *_: pytest.fail("made again"))
        again, there = registry.load(task.model_copy(update={"metric": "macro_f1"}), 1, path, tmp_path / "cache")
    assert (again.digest, there) == (first.digest, directory)
    (path / "train" / "ant" / "0.png").write_bytes(encoded(picture(77)))
    other, elsewhere = registry.load(task, 1, path, tmp_path / "cache")
    assert other.digest != first.digest
    assert elsewhere != directory
    assert not list((tmp_path / "cache").glob(".*")), "nothing is left over"


def test_the_built_in_pictures_need_more_than_a_weighted_sum() -> None:
    """Logistic regression on the pixels of the built-in pictures stays below 0.6, a small convnet reaches 0.9."""
    from sklearn.linear_model import LogisticRegression
    from torch import nn

    data = images_toy.data(ToyImages())
    (train,), (test,) = (list(data.some(s, np.arange(data.examples(s)), 9999)) for s in ("train", "test"))
    linear = LogisticRegression(C=0.01, max_iter=50).fit(train.inputs.flatten(1).numpy(), train.targets.numpy())
    assert linear.score(test.inputs.flatten(1).numpy(), test.targets.numpy()) <= 0.6
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        nn.Linear(24, 4),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(6):
        order = np.random.default_rng(epoch).permutation(data.examples("train"))
        for batch in data.epoch(order, 50, epoch=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        assert (model(test.inputs).argmax(1) == test.targets).double().mean() >= 0.9
