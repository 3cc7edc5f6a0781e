"""Counter-based randomness: every draw comes from (seed, purpose, counters), never from a generator carried along.

So no generator state is saved anywhere, and stopping at any step changes no bit of what follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor


def derive(seed: int, purpose: str, *counters: int | str) -> int:
    """Return the 63-bit seed of one draw: the head of SHA-256 over `seed/purpose/counter/…`."""
    text = "/".join(map(str, (seed, purpose, *counters)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *counters: int | str) -> torch.Generator:
    """Return a fresh CPU generator for one draw."""
    return torch.Generator().manual_seed(derive(seed, purpose, *counters))


def generators(seed: int, purpose: str, *counters: int | str) -> Callable[[str], torch.Generator]:
    """Return tensor name → fresh CPU generator of that tensor's draw."""
    return lambda name: generator(seed, purpose, *counters, name)


def order(seed: int, epoch: int, examples: int) -> Tensor:
    """Return the data order of one epoch: a permutation, int64 (examples,)."""
    return torch.randperm(examples, generator=generator(seed, "order", epoch))


def seed_step(seed: int, epoch: int, step: int) -> None:
    """Seed torch's own generators, which dropout draws from, for one optimizer step."""
    torch.manual_seed(derive(seed, "dropout", epoch, step))
