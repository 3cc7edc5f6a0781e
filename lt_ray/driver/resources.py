"""What a trial takes, and how many trials fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lt_ray.cycle.settings import Settings
from lt_ray.errors import ClusterError
from lt_ray.rounds.run import PARTIAL_EVERY_S

_SMALLEST = 0.0001
"""Share of a GPU that Ray can tell from none [count]"""


class Resources(Settings):
    """What one trial takes, and how many may run at once."""

    gpus_per_trial: float = 0.0
    """Share of a GPU [count]"""
    cpus_per_trial: float = 1.0
    """CPUs, and as many threads [count]"""
    max_concurrent: int | None = None
    """Trials at once; None = as many as fit [count]"""
    partial_every_s: float = PARTIAL_EVERY_S
    """Seconds of a running round that a kill may cost [s]"""
    reuse_actors: bool = True
    """Whether a trial may go on in the process of an ended one: seconds of imports saved"""

    @property
    def threads(self) -> int:
        """Threads of one trial: its CPUs; two threads on a shared core collapse [count]."""
        return max(1, int(self.cpus_per_trial))


def describe_resources(resources: Resources, nodes: Sequence[Mapping[str, float]] | None) -> str:
    """Return in a few words what a trial takes, how many fit at once, and of what.

    - `nodes`: CPUs and GPUs of the cluster's nodes, empty while unknown; None = no cluster, one cycle after the
      other [count]
    """
    share = f"{resources.cpus_per_trial:g} CPU"
    share += f" + {resources.gpus_per_trial:g} GPU a trial" if resources.gpus_per_trial else " a trial, no GPU"
    if nodes is None:
        return f"one at a time, in this process · {share}"
    if not nodes:
        return share
    cpus, gpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    whole = f"{cpus:g} CPU" + (f" + {gpus:g} GPU" if gpus else "")
    return f"{at_once(resources, nodes)} at once · {share} · cluster {whole}"


def at_once(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return how many trials fit the nodes, none of them across two nodes or two shared GPUs, and may run [count]."""
    fitting = sum(_on_node(resources, node) for node in nodes)
    return fitting if resources.max_concurrent is None else min(fitting, resources.max_concurrent)


def _on_node(resources: Resources, node: Mapping[str, float]) -> int:
    """Trials that fit one node [count]."""
    fitting = _floor(node.get("CPU", 0.0) / resources.cpus_per_trial)
    share, gpus = resources.gpus_per_trial, node.get("GPU", 0.0)
    if share > 1:
        fitting = min(fitting, _floor(gpus / share))
    elif share:
        fitting = min(fitting, _floor(gpus) * _floor(1 / share) + _floor(gpus % 1 / share))
    return fitting


def _floor(ratio: float) -> int:
    return int(ratio + 1e-9)


def check_shares(gpus_per_trial: float, cpus_per_trial: float) -> None:
    """Raise `ClusterError` for a share that Ray cannot give a trial, whatever the cluster."""
    for option, share in (
        ("--gpus-per-trial", gpus_per_trial),
        ("--cpus-per-trial", cpus_per_trial),
    ):
        if not math.isfinite(share):
            raise ClusterError(f"`{option}` must be a finite number, but got {share:g}: name a share, such as 0.5")
    share = gpus_per_trial
    if share > 1 and share != int(share):
        raise ClusterError(
            f"`--gpus-per-trial` above 1 must be whole, since no GPU is shared by trials that have several, but got "
            f"{share:g}: say {math.floor(share)} or {math.ceil(share)}"
        )
    if 0 < share < _SMALLEST:
        raise ClusterError(f"`--gpus-per-trial` must be 0 or at least {_SMALLEST:g}, but got {share:g}: ask for more")


def check_nodes(resources: Resources, nodes: Sequence[Mapping[str, float]], where: str) -> None:
    """Raise `ClusterError` where none of these nodes can hold one trial.

    - `nodes`: CPUs and GPUs of each, by Ray's names [count]; `where`: what they are called
    """
    for name, asked, option in (
        ("GPU", resources.gpus_per_trial, "--gpus-per-trial"),
        ("CPU", resources.cpus_per_trial, "--cpus-per-trial"),
    ):
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if asked > most:
            raise ClusterError(
                f"`{option} <= {most:g}` must hold, since {where} has {most:g}, but got {asked:g}: "
                "ask for less, or join another cluster with --address"
            )
