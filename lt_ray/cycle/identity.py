"""Identity: the digest of what is asked."""

from __future__ import annotations

import hashlib
import json

SCHEMA = 5
"""Raised when the meaning of a field changes; part of every identity."""


def digest(value: object) -> str:
    """Return the SHA-256 of a tree of plain values, written canonically (sorted keys, no spaces, shortest floats).

    Raises ValueError for NaN, infinities and anything JSON does not know.
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: object) -> str:
    """Return the one JSON text of a tree of plain values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
