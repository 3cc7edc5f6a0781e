"""Pictures that several tests make."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24


def encoded(picture: Image.Image, form: str = "png", **more) -> bytes:
    """A picture's bytes."""
    out = io.BytesIO()
    picture.save(out, form, **more)
    return out.getvalue()


def picture(seed: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    """A picture of noise in large patches."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.NEAREST)


def folder(path: Path, per_class: int = 6, classes: tuple[str, ...] = ("ant", "bee", "cat")) -> Path:
    """A folder of pictures, `SPLIT/CLASS/N.png`, of different sizes."""
    for split, n in (("train", per_class), ("test", 3)):
        for label, name in enumerate(classes):
            (path / split / name).mkdir(parents=True)
            for place in range(n):
                seed = 100 * (split == "test") + 10 * label + place
                (path / split / name / f"{place}.png").write_bytes(encoded(picture(seed, SIDE + place, SIDE)))
    return path


def header(width: int, height: int) -> bytes:
    """A PNG that says its size and holds next to nothing."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
