"""The round store: round key → an immutable directory that appears whole or not at all.

    rounds/<key>/   manifest.json  weights.safetensors  masks.safetensors  answers.safetensors (of pictures)
    rewind/<key>-<epoch>/   the weights of one epoch of a round, for later rounds to rewind to
    partial/<key>/  the running state of an unfinished round
    statistics/<key>/   what was measured of a round's model and several prunings of it need
    claims/         locks of rounds being computed; the kernel frees them when their process dies
    damaged/        what was found not to be what its manifest says

Weights may be dropped from a finished round once nothing starts from them; everything else stays as written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from lt_ray.cycle.identity import canonical
from lt_ray.cycle.results import TIMES, BlockDecision, Epoch, Measurement
from lt_ray.errors import DamagedError
from lt_ray.pruning.masks import pack, unpack
from lt_ray.store.files import MANIFEST, metadata, read_file, read_manifest, tensors, write_directory, write_file

log = logging.getLogger("lt_ray")

_AT_WORK = "work.json"
_WEIGHTS, _MASKS = "weights.safetensors", "masks.safetensors"
_ANSWERS = "answers.safetensors"
_STATISTICS = "statistics.safetensors"


class StoredRound(BaseModel):
    """A finished round, its tensors left on disk."""

    model_config = ConfigDict(frozen=True)

    key: str
    inputs: dict[str, Any]
    """What the key is the digest of"""
    measurement: Measurement
    epochs: tuple[Epoch, ...]
    counts: dict[str, tuple[int, int]]
    """Parameter name → (weights not pruned, weights) [count]"""
    computed_by: str
    """Identity of the cycle that computed it"""
    made_with: dict[str, str | int]
    """Device, threads and versions: recorded, not part of the key"""
    blocks: tuple[int, ...] | None = None
    """Its blocks' positions in the dense model; None for a model without blocks"""
    frozen: tuple[int, ...] = ()
    """Of them, those that were not trained"""
    decision: BlockDecision | None = None
    """How blocks were compared and removed; None where they were not"""
    confusions: dict[str, tuple[tuple[int, ...], ...]] = {}
    """Split → how often its examples of each class (rows) were taken for each (columns), of a classifier [count]"""

    def pure(self) -> str:
        """Return all that is equal whenever and wherever the round is computed, as canonical JSON."""
        times = set(TIMES)
        others: dict[str, Any] = {
            "computed_by": True,
            "made_with": True,
            "measurement": times,
            "epochs": {"__all__": times},
        }
        return canonical(self.model_dump(exclude=others))


class RoundStore:
    """Finished and running rounds under one path that every process of a sweep sees.

    - `root`: made if absent
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    # Finished rounds

    def put(
        self,
        stored: StoredRound,
        weights: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        answers: Sequence[int] | None = None,
    ) -> StoredRound:
        """Keep a finished round and drop its partial state; return what the store now holds.

        - `answers`: the class that each test example was taken for; None where that is not kept

        The first writer wins. A second one's result is compared, and a difference is warned of: the two machines do
        not compute alike (another device or thread count), so results of this sweep mix both.
        """
        files = {
            _WEIGHTS: safetensors.torch.save(dict(weights)),
            _MASKS: safetensors.torch.save(
                pack(masks), {"shapes": json.dumps({n: list(m.shape) for n, m in masks.items()})}
            ),
        }
        if answers is not None:
            files[_ANSWERS] = safetensors.torch.save({"test": torch.tensor(answers, dtype=torch.int32)})
        if not write_directory(self._round(stored.key), files, stored.model_dump()):
            first = self.find(stored.key)
            if first is None:  # it was damaged, and has just been set aside
                return self.put(stored, weights, masks, answers)
            if first.pure() != stored.pure():
                log.warning(
                    "round %s was computed twice with different results (%s, %s); the first is kept",
                    stored.key, dict(first.made_with), dict(stored.made_with),
                )  # fmt: skip
            stored = first
        self.drop_partial(stored.key)
        return stored

    def find(self, key: str, *, thorough: bool = False) -> StoredRound | None:
        """Return a finished round, or None; a damaged one is set aside with a warning and counts as absent.

        - `thorough`: read every file and compare its digest, not only its size
        """
        try:
            return self.read(key, thorough=thorough)
        except DamagedError as error:
            aside = self.root / "damaged" / f"{key}.{time.time_ns()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self._round(key).rename(aside)
                log.warning("%s; set aside as damaged/%s, the round is computed again", error, aside.name)
            return None

    def read(self, key: str, *, thorough: bool = False) -> StoredRound | None:
        """Return a finished round or None, changing nothing; raises `DamagedError`."""
        manifest = read_manifest(self._round(key), optional={_WEIGHTS}, thorough=thorough)
        if manifest is None:
            return None
        try:
            return StoredRound.model_validate(manifest)
        except ValidationError:
            raise DamagedError(f"{key}: the manifest has other fields than this version of lt_ray reads") from None

    def has(self, key: str) -> bool:
        """Return whether a finished round is there, unread."""
        return (self._round(key) / MANIFEST).exists()

    def masks(self, key: str) -> dict[str, Tensor]:
        """Return a finished round's masks in the order in which they were put; raises `DamagedError`."""
        data = read_file(self._round(key), _MASKS)
        shapes = json.loads(metadata(data)["shapes"])
        masks = unpack(tensors(data), {name: tuple(shape) for name, shape in shapes.items()})
        return {name: masks[name] for name in shapes}  # the model's order, which breaks ties

    def answers(self, key: str) -> Tensor | None:
        """Return the class that a round took each test example for, int32 (n,); None where it is not there whole."""
        with contextlib.suppress(DamagedError):
            return tensors(read_file(self._round(key), _ANSWERS))["test"]
        return None

    def weights(self, key: str) -> dict[str, Tensor] | None:
        """Return the weights a finished round ended with, or None where they were dropped; raises `DamagedError`."""
        if not self.has_weights(key):
            return None
        return tensors(read_file(self._round(key), _WEIGHTS))

    def has_weights(self, key: str) -> bool:
        """Return whether a finished round's weights are still there."""
        return (self._round(key) / _WEIGHTS).exists()

    def put_weights_back(self, key: str, weights: Mapping[str, Tensor]) -> None:
        """Write dropped weights of a finished round again; warns where they are not the ones it ended with."""
        data = safetensors.torch.save(dict(weights))
        expected = json.loads((self._round(key) / MANIFEST).read_text())["files"][_WEIGHTS]["sha256"]
        if hashlib.sha256(data).hexdigest() != expected:
            log.warning("round %s trained again gives other weights: another device or thread count?", key)
            return
        write_file(self._round(key) / _WEIGHTS, data)

    def drop_weights(self, key: str) -> None:
        """Delete the weights of a finished round; its measurements and masks stay."""
        (self._round(key) / _WEIGHTS).unlink(missing_ok=True)

    # Weights to rewind to

    def put_rewind(self, key: str, epoch: int, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights of one epoch of a round; the first writer wins."""
        files = {_WEIGHTS: safetensors.torch.save({n: w.detach().cpu() for n, w in weights.items()})}
        write_directory(self._rewind(key, epoch), files, {"key": key, "epoch": epoch})

    def rewind(self, key: str, epoch: int) -> dict[str, Tensor] | None:
        """Return the weights of one epoch of a round, or None where they were not kept or are damaged."""
        return _undamaged(self._rewind(key, epoch), _WEIGHTS, "they are trained again")

    def drop_rewinds(self, key: str) -> None:
        """Delete all weights kept to rewind to of one round."""
        for directory in (self.root / "rewind").glob(f"{key}-*"):
            shutil.rmtree(directory, ignore_errors=True)

    # What was measured of a round's model

    def put_statistics(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep what was measured of a round's model; the first writer wins."""
        files = {_STATISTICS: safetensors.torch.save(dict(tensors))}
        write_directory(self.root / "statistics" / key, files, {"key": key})

    def statistics(self, key: str) -> dict[str, Tensor] | None:
        """Return what was measured of a round's model, or None where it was not kept or is damaged."""
        return _undamaged(self.root / "statistics" / key, _STATISTICS, "it is measured again")

    # Running rounds

    def save_partial(self, key: str, tensors: Mapping[str, Tensor], progress: str, position: tuple[int, int]) -> None:
        """Keep the state of a running round, in place of an earlier one.

        - `progress`: text given back by `load_partial`
        - `position`: (epochs, steps) finished; of two states the further one is taken
        """
        data = safetensors.torch.save(dict(tensors), {"progress": progress})
        name = f"{position[0]:06d}-{position[1]:09d}-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
        directory = self.root / "partial" / key
        write_file(directory / name, data)
        for other in directory.iterdir():
            if other.name < name:
                other.unlink(missing_ok=True)

    def load_partial(self, key: str) -> tuple[dict[str, Tensor], str] | None:
        """Return the furthest undamaged (tensors, progress) of a running round, or None."""
        for path in sorted((self.root / "partial" / key).glob("*.safetensors"), reverse=True):
            data = path.read_bytes()
            if path.stem.endswith(hashlib.sha256(data).hexdigest()[:16]):
                return tensors(data), metadata(data)["progress"]
            log.warning("partial state %s of round %s is damaged; an earlier one is taken", path.name, key)
        return None

    def begin_work(self, key: str) -> float:
        """Note that a round is being computed; return the seconds of earlier attempts whose work was lost [s].

        An attempt's work is lost from its last saved state to its last sign of life (`show_life`).
        """
        path = self.root / "partial" / key / _AT_WORK
        lost_s = 0.0
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            begun = json.loads(path.read_text())
            saved = [file.stat().st_mtime for file in path.parent.glob("*.safetensors")]
            kept_at = max([float(begun["began_at"]), *saved])
            lost_s = float(begun["redone_s"]) + max(0.0, path.stat().st_mtime - kept_at)
        write_file(path, json.dumps({"began_at": time.time(), "redone_s": lost_s}).encode())
        return lost_s

    def show_life(self, key: str) -> None:
        """Leave a sign of life of the process that computes a round."""
        with contextlib.suppress(OSError):
            os.utime(self.root / "partial" / key / _AT_WORK)

    def drop_partial(self, key: str) -> None:
        """Delete the state of a running round."""
        shutil.rmtree(self.root / "partial" / key, ignore_errors=True)

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Hold the right to compute a round, waiting while another process holds it.

        It only saves work: where the file system knows no locks, two may compute one round, and the first one wins.
        """
        path = self.root / "claims" / f"{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(poll_interval=0.1)
        except (NotImplementedError, OSError) as error:
            log.warning("no lock can be had on %s (%s): rounds may be computed twice", path.parent, error)
        try:
            yield
        finally:
            lock.release()

    def clear_leftovers(self, older_than_s: float = 600) -> None:
        """Delete half-written entries of killed processes, and running states of finished rounds."""
        for path in (self.root / "partial").glob("*"):
            if self.has_weights(path.name):  # else the state may be of weights that are trained again
                self.drop_partial(path.name)
        for kind in ("rounds", "rewind", "statistics"):
            for path in (self.root / kind).glob(".tmp-*"):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > older_than_s:
                        shutil.rmtree(path, ignore_errors=True)

    def _round(self, key: str) -> Path:
        return self.root / "rounds" / key

    def _rewind(self, key: str, epoch: int) -> Path:
        return self.root / "rewind" / f"{key}-{epoch}"


def _undamaged(directory: Path, name: str, way_out: str) -> dict[str, Tensor] | None:
    """The tensors of a directory's file; None where there is no directory, and where it was damaged and so is deleted
    with a warning.

    - `way_out`: what happens then
    """
    try:
        return None if read_manifest(directory, optional=set()) is None else tensors(read_file(directory, name))
    except DamagedError as error:
        log.warning("%s; %s", error, way_out)
        shutil.rmtree(directory, ignore_errors=True)
        return None
