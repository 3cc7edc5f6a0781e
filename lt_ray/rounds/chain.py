"""The chain of rounds that a cycle is, before anything is computed.

A round is a pure function of its inputs: data, model, seed, training settings, and the round and pruning it comes from.
Its key is their digest, so equal rounds of different cycles are one round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.identity import SCHEMA, digest
from lt_ray.cycle.prunings import Magnitude, Pruning, Similarity, Wanda
from lt_ray.models.model import Model
from lt_ray.pruning.restart import matches

RewindEpoch = int | Literal["last"]
_RESTART_FIELDS = ("restart", "rewind_epoch", "rewind_budget", "shared_start", "epochs")


@dataclass(frozen=True)
class Round:
    """One round of a cycle before it is computed."""

    index: int
    """0 = dense [count]"""
    key: str
    pruning: Pruning | None
    """What leads here from the round before; None for round 0"""
    inputs: Mapping[str, Any]
    """What the key is the digest of"""
    parent: str | None
    """Key of the round whose weights and masks it starts from; None for round 0"""
    dense: str
    """Key of the round 0 whose weights it may restore"""
    taken: bool = False
    """Its parent is a round of the cycle's origin, on the source task or the ticket of a control; its masks are taken
    as they are"""
    counted: str | None = None
    """Key of the origin's round that has as many weights in each tensor: of random pruning"""

    @property
    def needs_weights(self) -> bool:
        """Whether it starts from the weights that its parent ended with, not from its masks alone."""
        return self.parent is not None and not (self.taken and _restart(self.pruning) != "final")


def chain(cycle: Cycle, data_digest: str, source_digest: str | None = None) -> tuple[Round, ...]:
    """Return the rounds that a cycle trains on its task, round 0 first; the keys are known before anything is computed.

    - `source_digest`: digest of the source task's data, where tickets come from there
    """
    dense = _round(cycle, data_digest, 0, None, None, None)
    found = origin_chain(cycle, data_digest, source_digest)
    if cycle.tickets == "source":
        return (dense, *(_taken(cycle, data_digest, found, index) for index in cycle.trained_rounds[1:]))
    rounds = [dense]
    for index, pruning in enumerate(cycle.schedule, 1):
        if isinstance(pruning, Magnitude) and pruning.is_control and not pruning.random_pruning:
            rounds.append(_taken(cycle, data_digest, found, index))
        elif isinstance(pruning, Magnitude) and pruning.random_pruning:
            parent = dense if pruning.strategy == "one_shot" else rounds[-1]
            rounds.append(_round(cycle, data_digest, index, pruning, parent, dense, found[index].key))
        elif isinstance(pruning, Magnitude) and pruning.strategy == "one_shot":
            at_once = _at_once([p for p in cycle.schedule[:index] if isinstance(p, Magnitude)])
            rounds.append(_round(cycle, data_digest, index, at_once, dense, dense))
        else:
            rounds.append(_round(cycle, data_digest, index, pruning, rounds[-1], dense))
    return tuple(rounds)


def origin_chain(cycle: Cycle, data_digest: str, source_digest: str | None) -> tuple[Round, ...]:
    """Return the rounds that find the tickets that a cycle takes, up to the last it needs; none where it takes none."""
    if not cycle.takes_tickets:
        return ()
    if cycle.tickets == "source":
        assert source_digest is not None
        data_digest = source_digest
    return chain(cycle.origin, data_digest)[: cycle.trained_rounds[-1] + 1]


def _round(
    cycle: Cycle,
    data_digest: str,
    index: int,
    pruning: Pruning | None,
    parent: Round | None,
    dense: Round | None,
    counted: str | None = None,
) -> Round:
    inputs: dict[str, Any] = _common(cycle, data_digest) | {
        "parent": parent.key if parent else None,
        "pruning": pruning.meaning() if pruning else None,
    }
    if parent is not None and index != parent.index + 1:
        inputs["index"] = index  # its draws depend on it, which else follows from the parent
    if counted is not None:
        inputs["counted"] = counted
    key = digest(inputs)[:24]
    dense_key = dense.key if dense else key
    return Round(index, key, pruning, inputs, parent.key if parent else None, dense_key, counted=counted)


def _taken(cycle: Cycle, data_digest: str, found: Sequence[Round], index: int) -> Round:
    pruning = cycle.schedule[index - 1]
    restart = {name: value for name, value in pruning.meaning().items() if name in _RESTART_FIELDS}
    ticket = found[index].key
    inputs = _common(cycle, data_digest) | {"parent": ticket, "pruning": {"method": "ticket", **restart}}
    return Round(index, digest(inputs)[:24], pruning, inputs, ticket, found[0].key, taken=True)


def _restart(pruning: Pruning | None) -> str:
    return pruning.restart if isinstance(pruning, Magnitude) else "final"


def _common(cycle: Cycle, data_digest: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "data": data_digest,
        "model": cycle.model.meaning(),
        "seed": cycle.seed,
        "training": cycle.training.meaning(),
    }


def _at_once(prunings: Sequence[Magnitude]) -> Magnitude:
    """The last pruning, removing in one cut as much as all of them do one after the other."""
    last = prunings[-1]
    outputs = [p.fraction if p.output_fraction is None else p.output_fraction for p in prunings]
    together = {
        "fraction": 1 - math.prod(1 - p.fraction for p in prunings) if len(prunings) > 1 else last.fraction,
        "strategy": "iterative",
    }
    if any(p.output_fraction is not None for p in prunings):
        together["output_fraction"] = 1 - math.prod(1 - share for share in outputs)
    return last.model_copy(update=together)


def rewind_epochs(cycles: Iterable[Cycle]) -> frozenset[RewindEpoch]:
    """Return the epochs of round 0 that any of the cycles rewinds to and that must be kept: all but 0, which is
    drawn again from the seed.

    A transferred ticket goes back to the weights of its origin's round 0, not of its own.
    """
    rewinding = [cycle for cycle in cycles if cycle.tickets == "own"]
    prunings = [p for cycle in rewinding for p in cycle.schedule if isinstance(p, Magnitude)]
    wanted = {p.rewind_epoch for p in prunings if p.rewinds}
    return frozenset(wanted - {0})


def fractions(pruning: Magnitude, model: Model[Any]) -> dict[str, float]:
    """Return the parameters of which another share than `fraction` is removed, with that share."""
    return {} if pruning.output_fraction is None else dict.fromkeys(model.output_names, pruning.output_fraction)


def prunable_names(cycle: Cycle, model: Model[Any]) -> tuple[str, ...]:
    """Return the parameters that any pruning of the cycle may touch; all of them where it has none."""
    touched = {name for pruning in cycle.schedule for name in touches(pruning, model)}
    return tuple(name for name in model.sizes if name in touched or not cycle.schedule)


def touches(pruning: Pruning, model: Model[Any]) -> tuple[str, ...]:
    """Return the parameters that one pruning may touch."""
    if isinstance(pruning, Similarity):
        return model.block_names
    if isinstance(pruning, Wanda):
        return model.linear_names
    assert isinstance(pruning, Magnitude)
    names = model.weight_names if pruning.parameters == "weights" else tuple(model.sizes)
    return tuple(name for name in names if not matches(name, pruning.exclude))
