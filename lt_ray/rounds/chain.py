"""The chain of rounds that a cycle is, before anything is computed.

A round is a pure function of its inputs: data, model, seed, training settings, and the round and pruning it comes from.
Its key is their digest, so equal rounds of different cycles are one round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.identity import SCHEMA, digest
from lt_ray.cycle.prunings import PruningSettings, Restarting
from lt_ray.models.model import Model
from lt_ray.rounds.methods.method import Left, method_of

RewindEpoch = int | Literal["last"]
_RESTART_FIELDS = ("restart", "rewind_epoch", "rewind_budget", "shared_start", "epochs")


@dataclass(frozen=True)
class Round:
    """One round of a cycle before it is computed."""

    index: int
    """0 = dense [count]"""
    key: str
    pruning: PruningSettings | None
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
        restarts = isinstance(self.pruning, Restarting) and self.pruning.restart != "final"
        return self.parent is not None and not (self.taken and restarts)


def chain(cycle: Cycle, data_digest: str, source_digest: str | None = None) -> tuple[Round, ...]:
    """Return the rounds that a cycle trains on its task, round 0 first; the keys are known before anything is computed.

    - `source_digest`: digest of the source task's data, where tickets come from there
    """
    origin = origin_chain(cycle, data_digest, source_digest)
    dense = _round(cycle, data_digest, 0)
    rounds = [dense]
    for index in cycle.trained_rounds[1:]:
        pruning = cycle.schedule[index - 1]
        counts_alone = isinstance(pruning, Restarting) and pruning.random_pruning
        if cycle.tickets == "source" or (pruning.is_control and not counts_alone):
            rounds.append(_round(cycle, data_digest, index, pruning, origin[index], origin[0], taken=True))
            continue
        counted = origin[index].key if counts_alone else None
        parent = dense if pruning.one_shot else rounds[-1]
        if pruning.one_shot and not counts_alone:
            pruning = pruning.at_once(cycle.schedule[: index - 1])
        rounds.append(_round(cycle, data_digest, index, pruning, parent, dense, counted=counted))
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
    pruning: PruningSettings | None = None,
    parent: Round | None = None,
    dense: Round | None = None,
    *,
    taken: bool = False,
    counted: str | None = None,
) -> Round:
    """Return a round with its key; `parent`, `dense`, `taken` and `counted` as `Round` has them, by the rounds."""
    meaning = pruning.on(cycle.model).meaning() if pruning else None
    if taken and meaning:
        restart = {name: value for name, value in meaning.items() if name in _RESTART_FIELDS}
        meaning = {"method": "ticket", **restart}
    inputs: dict[str, Any] = {
        "schema": SCHEMA,
        "data": data_digest,
        "model": cycle.model.meaning(),
        "seed": cycle.seed,
        "training": cycle.training.meaning(),
        "parent": parent.key if parent else None,
        "pruning": meaning,
    }
    if parent is not None and not taken and index != parent.index + 1:
        inputs["index"] = index  # its draws depend on it, which else follows from the parent
    if counted is not None:
        inputs["counted"] = counted
    key = digest(inputs)[:24]
    return Round(
        index, key, pruning, inputs, parent.key if parent else None, dense.key if dense else key, taken, counted
    )


def rewind_epochs(cycles: Iterable[Cycle]) -> frozenset[RewindEpoch]:
    """Return the epochs of round 0 that any of the cycles rewinds to and that must be kept: all but 0, which is
    drawn again from the seed.

    A transferred ticket goes back to the weights of its origin's round 0, not of its own.
    """
    rewinding = [cycle for cycle in cycles if cycle.tickets == "own"]
    prunings = [p for cycle in rewinding for p in cycle.schedule if isinstance(p, Restarting)]
    wanted = {p.rewind_epoch for p in prunings if p.rewinds}
    return frozenset(wanted - {0})


def prunable_names(cycle: Cycle, model: Model[Any]) -> tuple[str, ...]:
    """Return the parameters that any pruning of the cycle may touch; all of them where it has none."""
    touched = {name for pruning in cycle.schedule for name in method_of(pruning).touches(model)}
    return tuple(name for name in model.sizes if name in touched or not cycle.schedule)


def forecast(cycle: Cycle, rounds: Sequence[Round], model: Model[Any]) -> tuple[Left, ...]:
    """Return what each round will have, by the rules of its prunings alone; its tensors' counts are left out.

    - `rounds`: a whole chain, each round after its parent
    - `model`: the cycle's

    Which blocks are alike, and how a global ranking falls on tensors, depends on the weights.
    """
    counted = prunable_names(cycle, model)
    dense = Left(model.initial_counts(), 0, sum(model.sizes.values()), 0).without({}, counted)
    left: dict[str, Left] = {}
    for round in rounds:
        if round.pruning is None or round.parent is None:
            left[round.key] = dense
        else:
            left[round.key] = method_of(round.pruning).leaves(model, left[round.parent], counted)
    return tuple(replace(left[round.key], counts=None) for round in rounds)
