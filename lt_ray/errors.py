"""The exception tree.

LtRayError
├── InputError            what the user gave cannot be run; exit code 2, nothing started
│   ├── CycleError        a cycle's field breaks a rule
│   ├── SpaceError        a search space breaks a rule
│   ├── DataError         a data set cannot be had or is not usable
│   ├── ModelError        a pretrained model cannot be had or is not usable
│   ├── PluginError       a user's plugin cannot be run, or adds nothing
│   ├── StorageError      a path cannot be used, or holds another sweep
│   ├── ClusterError      no cluster, or one too small for what a trial asks
│   └── TrackingError     a record cannot be kept where it was asked for
├── NotNowError           Ray did not start in time; exit code 75, the same command may do later
├── DamagedError          a stored file is not what its manifest says
├── DegenerateError       a block's output is the same for all examples
└── DivergedError         a training left the finite numbers
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE})
"""`OSError.errno` of a disk that is full or lost: no path is wrong, and the same command may do later"""


class LtRayError(Exception):
    """Base of every error that lt_ray raises on purpose."""


class InputError(LtRayError):
    """Something the user gave cannot be run; the message states the rule, the value and the way out."""


class CycleError(InputError):
    """A field of a cycle breaks a rule."""


class SpaceError(InputError):
    """A search space breaks a rule."""


class DataError(InputError):
    """A data set cannot be had, or is not usable."""


class ModelError(InputError):
    """A pretrained model cannot be had, or is not usable."""


class PluginError(InputError):
    """A user's plugin cannot be run, or adds nothing; the message names its file and line."""


class StorageError(InputError):
    """A path cannot be used, or holds another sweep than the one asked for."""


class ClusterError(InputError):
    """No Ray cluster can be reached, or it is too small for what one trial asks."""


class TrackingError(InputError):
    """The record of a sweep cannot be kept where it was asked for, or not now; nothing of it is lost."""


class NotNowError(LtRayError):
    """Something outside did not come about in time, and nothing is wrong with what was asked: it may later."""


class DamagedError(LtRayError):
    """A stored file is missing or is not what its manifest says."""


class DegenerateError(LtRayError):
    """A block's output is the same for all examples, so that nothing can be compared with it."""


class DivergedError(LtRayError):
    """A training loss left the finite numbers."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `" Did you mean X?"` for the known word nearest to `word`, or an empty string.

    A dotted key is also known by its last part: `lr` finds `training.lr`.
    """
    words = list(known)
    found = [name for name in words if name.rpartition(".")[2] == word]
    found = found or difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f" Did you mean `{found[0]}`?" if found else ""
