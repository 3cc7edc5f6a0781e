"""Which errors fail a cycle, and which leave its round to be computed again: a full disk, a lost worker, a full memory.

A cycle's own error would come again: the cycle has failed. What a disk, a network, a memory or a worker did says
nothing about the cycle: its round stays unfinished, and is computed again after a pause or by the same command later.
"""

from __future__ import annotations

from typing import Literal

import torch

from lt_ray.errors import DamagedError

_DEVICE_TROUBLE = ("CUDA error", "CUDA out of memory", "cuDNN error", "CUBLAS_STATUS", "can't allocate memory")
"""How torch's plain `RuntimeError`s begin to tell that memory or a device is to blame"""
PATIENCE = 6
"""Times in a run that one round may fall to a fault before it is left for later [count]"""
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
_LINE = 300
"""Longest reason that is shown [characters]"""


def is_fault(error: BaseException, seen: frozenset[int] = frozenset()) -> bool:
    """Return whether the machines are to blame for an error, and not the cycle that met it.

    Files and connections (every `OSError`: a full or lost disk, a broken network), memory of the host and of a GPU, the
    state of a GPU, and stored files that are not what was written. The same for what such an error caused.
    """
    if isinstance(error, OSError | MemoryError | DamagedError | torch.OutOfMemoryError | torch.AcceleratorError):
        return True
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _DEVICE_TROUBLE):
        return True
    cause, seen = error.__cause__, seen | {id(error)}
    return cause is not None and id(cause) not in seen and is_fault(cause, seen)


def one_line(error: BaseException) -> str:
    """Return an error's kind and what it says, in one line of bounded length."""
    said = " ".join(str(error).split())
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


Verdict = Literal["again", "left", "stop"]
"""What becomes of a round that fell: it is computed `again` after a pause; it is `left` for a later run of the command,
where others were finished meanwhile; or, where none was, the sweep has to `stop`"""


class Faults:
    """Counts the faults of one run, round by round.

    A round that falls `PATIENCE` times is left for later; where no round of the sweep was finished since its first
    fall, the sweep stops.
    """

    def __init__(self) -> None:
        self._falls: dict[str, tuple[int, int]] = {}
        """Round → its falls, and the rounds that were finished before the first of them [count, count]"""
        self._finished = 0

    def finished(self, key: str) -> None:
        """Take in that a round was computed: its faults are over."""
        self._finished += 1
        self._falls.pop(key, None)

    def fell(self, key: str) -> tuple[Verdict, int, float]:
        """Take in that a round fell; return what becomes of it, its falls [count] and the pause before the next [s]."""
        before, then = self._falls.get(key, (0, self._finished))
        falls = before + 1
        self._falls[key] = falls, then
        pause_s = min(_LONGEST_PAUSE_S, _PAUSE_S * 2.0 ** (falls - 1))
        if falls < PATIENCE:
            return "again", falls, pause_s
        return ("left" if self._finished > then else "stop"), falls, pause_s
