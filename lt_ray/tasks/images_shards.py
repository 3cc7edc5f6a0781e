"""Encoded pictures, one after the other in a few large files that every worker maps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lt_ray.errors import DamagedError

SHARD = 2**30
"""Bytes after which a next file is begun [count]"""
Integers = npt.NDArray[np.int64]


def check_of(data: bytes) -> int:
    """Return the first 63 bits of the SHA-256 of a picture's bytes."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1


class Writer:
    """Writes the pictures of a split into files `{split}-00000.shard` and so on.

    - `directory`: there already
    """

    def __init__(self, directory: Path, split: str) -> None:
        self.directory, self.split = directory, split
        self.paths: list[Path] = []
        self._file: BinaryIO | None = None

    def add(self, data: bytes) -> None:
        """Add a picture's bytes."""
        if self._file is None or self._file.tell() >= SHARD:
            self.close()
            self.paths.append(self.directory / f"{self.split}-{len(self.paths):05d}.shard")
            self._file = self.paths[-1].open("wb")
        self._file.write(data)

    def close(self) -> None:
        """Write out what is not written yet."""
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True)
class Shards:
    """The encoded pictures of all splits.

    - `parts`: split → its files, mapped
    - `places`: split → file, first byte, length and check of each picture, int64 (n, 4)
    """

    parts: Mapping[str, list[npt.NDArray[np.uint8]]]
    places: Mapping[str, Integers]
    paths: list[Path]

    @classmethod
    def found(cls, directory: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Shards:
        """Return the shards in a directory; raises `DamagedError` where they are not as long as the pictures.

        - `arrays`: `{split}.lengths` and `{split}.checks`, int64 (n,)
        """
        parts: dict[str, list[npt.NDArray[np.uint8]]] = {}
        places: dict[str, Integers] = {}
        paths: list[Path] = []
        for split in (name.removesuffix(".lengths") for name in arrays if name.endswith(".lengths")):
            lengths, checks = arrays[f"{split}.lengths"], arrays[f"{split}.checks"]
            files, starts, file, start = [], [], 0, 0
            for length in lengths.tolist():
                if start >= SHARD:
                    file, start = file + 1, 0
                files.append(file)
                starts.append(start)
                start += length
            table = np.stack([np.array(files), np.array(starts), lengths, checks], axis=1)
            own = sorted(directory.glob(f"{split}-*.shard"))
            sizes = [int(table[table[:, 0] == place, 2].sum()) for place in range(file + 1)]
            if [path.stat().st_size for path in own] != sizes:
                raise DamagedError(f"{directory}: not a whole encoded data set (the shards of {split}).")
            parts[split] = [np.memmap(path, np.uint8, "r") for path in own]
            places[split] = table
            paths += own
        return cls(parts, places, paths)

    def read(self, split: str, example: int) -> bytes:
        """Return a picture's bytes; raises `DamagedError` where they are not those that were kept."""
        file, start, length, check = self.places[split][example].tolist()
        data: bytes = self.parts[split][file][start : start + length].tobytes()
        if check_of(data) != check:
            raise DamagedError(f"{self.paths[0].parent}: picture {example} of {split} is not the one that was kept.")
        return data
