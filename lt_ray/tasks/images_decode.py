"""One picture: from encoded bytes to three channels of a square, and the random part that training sees of it."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]

MOST_PIXELS = 89_478_485
"""Pixels of the largest picture that is decoded: where Pillow begins to warn [count]"""
THUMBNAIL = 112
"""Longest side of a picture that is shown [pixels]"""
TRIES = 10
"""Parts that are drawn until one lies within the picture [count]"""
FEW_DRAWS = 4
"""Numbers that an example's flip and move use: flip, top, left, and one that none uses [count]"""
DRAWS = FEW_DRAWS + 2 * TRIES
"""Numbers that a random part uses: the same, then area and shape of each try [count]"""


class BrokenPictureError(Exception):
    """Bytes that are no picture, told by the reason."""


def opened(data: bytes) -> Image.Image:
    """Return a picture upright and in RGB; raises `BrokenPictureError`.

    Its size is known from its header, before anything is decoded. Turned as EXIF says; grey, palettes and CMYK become
    RGB, 16 bits a channel 8, transparent parts white; of several frames the first.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise BrokenPictureError(f"it has {width:,} × {height:,} pixels, more than {MOST_PIXELS:,}")
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            return _rgb(picture)
    except BrokenPictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BrokenPictureError(f"it has more than {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise BrokenPictureError("it is no picture of a known kind" if data else "it is empty") from None
    except Exception as error:  # each format's decoder raises its own
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise BrokenPictureError(f"it cannot be decoded ({reason})") from None


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture.copy()
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, dtype=np.float64)
        scaled = values / 256 if values.max() > 255 else values
        return Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    return picture.convert("RGB")


def middle(picture: Image.Image, size: int, centre: float) -> Pixels:
    """Return the middle of a picture, uint8 (3, size, size), by bilinear interpolation over all that is reduced.

    - `centre`: side of the square that is seen, as a share of the shorter side (0, 1]
    """
    width, height = picture.size
    side = centre * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return _square(picture, size, (left, top, left + side, top + side))


def part(picture: Image.Image, size: int, numbers: Numbers, least_area: float) -> Pixels:
    """Return a random part of a picture, uint8 (3, size, size): Szegedy et al. 2015, as torchvision's
    `RandomResizedCrop` draws it.

    - `numbers`: in [0, 1), of shape `(DRAWS,)`
    - `least_area`: share of the picture's area that a part has at least (0, 1]
    """
    left, top, width, height = part_box(*picture.size, numbers, least_area)
    return _square(picture, size, (left, top, left + width, top + height))


def part_box(width: int, height: int, numbers: Numbers, least_area: float) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a random part [pixels]; the middle where no try lies within."""
    low, high = math.log(3 / 4), math.log(4 / 3)
    for area, shape in numbers[FEW_DRAWS:].reshape(TRIES, 2).tolist():
        target = width * height * (least_area + area * (1 - least_area))
        ratio = math.exp(low + shape * (high - low))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(numbers[2] * (width - w + 1)), int(numbers[1] * (height - h + 1)), w, h
    w = min(width, max(1, round(height * 4 / 3)))
    h = min(height, max(1, round(width / (3 / 4))))
    return (width - w) // 2, (height - h) // 2, w, h


def moved(pixels: Pixels, numbers: Numbers, padding: int) -> Pixels:
    """Return pictures moved by up to `padding` pixels over a black border, uint8 (B, 3, S, S).

    - `pixels`: uint8 (B, 3, S, S); `numbers`: in [0, 1), of shape `(B, FEW_DRAWS)`
    """
    size = pixels.shape[-1]
    bordered = np.pad(pixels, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    tops, lefts = (numbers[:, 1:3] * (2 * padding + 1)).astype(np.int64).T
    moved = np.empty_like(pixels)
    for place, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
        moved[place] = bordered[place, :, top : top + size, left : left + size]
    return moved


def flipped(pixels: Pixels, numbers: Numbers) -> Pixels:
    """Return pictures, half of them mirrored left to right: those whose first number is below a half."""
    mirrored = numbers[:, 0] < 0.5
    return np.where(mirrored[:, None, None, None], pixels[..., ::-1], pixels)


def address(pixels: Pixels) -> str:
    """Return a small copy of a picture as an address that holds it, `data:image/png;base64,…`.

    - `pixels`: uint8 (3, S, S)
    """
    picture, out = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))), io.BytesIO()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    form = "png" if pixels.shape[-1] <= THUMBNAIL else "jpeg"  # of few pixels each is to be seen
    picture.save(out, form)
    return f"data:image/{form};base64,{base64.b64encode(out.getvalue()).decode()}"


def _square(picture: Image.Image, size: int, box: tuple[float, float, float, float]) -> Pixels:
    seen = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.ascontiguousarray(np.asarray(seen).transpose(2, 0, 1))
