"""Running cycles as Ray Tune trials, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lt_ray.cycle.settings import Settings
from lt_ray.driver import ray_processes
from lt_ray.driver.faults import one_line
from lt_ray.errors import ClusterError
from lt_ray.rounds.inputs import Directories
from lt_ray.rounds.run import PARTIAL_EVERY_S, Event
from lt_ray.sweep.agenda import Agenda

END_TRIALS = signal.SIGUSR1
"""Sent to this process, it makes Tune end all trials and return"""
_ANSWER_S = 60.0
"""So long the first process on a cluster may take to start and answer [s]"""
_SMALLEST = 0.0001
"""Share of a GPU that Ray can tell from none [count]"""
_SOCKET_LENGTH = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Of the private directory's path: longer ones leave no room for Ray's sockets in it [bytes]"""


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


@contextlib.contextmanager
def cluster(address: str) -> Iterator[None]:
    """Be connected to a Ray cluster: `local` starts one in a private directory and ends it, `auto` and HOST:PORT join.

    Raises `ClusterError` where none answers or it refuses the token, and for `ray://…`.
    """
    if address.startswith("ray://"):
        raise ClusterError(
            f"`--address {address}`: through Ray's client, Tune would run the sweep's driver on the cluster, away from "
            "this terminal. Run the command on a node of the cluster with `--address auto`, for instance by "
            "`ray job submit -- python sweeps/… --address auto`"
        )
    _probe(address)
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it would end with 0, after a last snapshot
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address != "local" and (Path.home() / ".ray" / "auth_token").exists():
        # `ray start` turns tokens on where this file exists, but a driver that joins does not and is refused; one that
        # sends a token is welcome on a cluster without them too.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    private = _private_directory() if address == "local" else None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if private is not None:
        options |= {"_temp_dir": private, "include_dashboard": False}
    with contextlib.ExitStack() as stack:
        if private is not None:
            stack.callback(shutil.rmtree, private, ignore_errors=True)
        own = stack.enter_context(ray_processes.apart())
        said: list[str] = []
        try:
            with ray_processes.overheard(said), own.starting():
                ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ClusterError(_no_cluster(address, f"{error} {' '.join(said)}")) from None
        stack.callback(_disconnect)
        if address != "local":
            with ray_processes.overheard([]):
                heard = _workers_answer()
            if not heard:
                raise ClusterError(_no_workers(address))
        yield


def _workers_answer() -> bool:
    """Whether a process on the cluster can send this one a result."""
    import ray

    class Probe:  # an actor, as trials are; it travels whole, so nothing of ours is imported for it
        def answer(self) -> bool:
            return True

    probe = ray.remote(num_cpus=0, max_restarts=0)(Probe).remote()
    try:
        ray.get(probe.answer.remote(), timeout=_ANSWER_S)
        ray.kill(probe)
    except (ray.exceptions.RayError, TimeoutError):
        return False
    return True


def _no_workers(address: str) -> str:
    mode = os.environ.get("RAY_AUTH_MODE", "disabled")
    other = "disabled" if mode == "token" else "token"
    return (
        f"`--address {address}`: the cluster answers, but its workers do not. `RAY_AUTH_MODE` must be the same for the "
        f"head, every node and this shell, but is {mode} here: try RAY_AUTH_MODE={other}, or look into the nodes' logs"
    )


def _disconnect() -> None:
    """Leave the cluster; without its head, Ray would try for a minute and then abort this process."""
    import ray

    if ray_processes.answers(head_address()):
        with ray_processes.overheard([]):
            ray.shutdown()


def head_address() -> str:
    """Return HOST:PORT of the connected cluster's head."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def _private_directory() -> str:
    """Make a directory for Ray's files whose path leaves room for sockets, in TMPDIR where that is short enough.

    Raises `ClusterError` where no such directory can be made.
    """
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if len(os.fsencode(os.path.abspath(parent))) + len("/lt_ray_12345678") <= _SOCKET_LENGTH:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="lt_ray_", dir=parent)
    raise ClusterError(
        f"`TMPDIR` must be a path of at most {_SOCKET_LENGTH - len('/lt_ray_12345678')} bytes, since Ray's sockets "
        f"have names of at most 107, but got {tempfile.gettempdir()!r}, and /tmp cannot be written: set a shorter one"
    )


def _probe(address: str) -> None:
    """Raise `ClusterError` where nothing listens at HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ClusterError(_no_cluster(address, error)) from None


def check_machine(resources: Resources) -> None:
    """Raise `ClusterError` where this machine cannot hold one trial; nothing is started to find out."""
    import torch

    _check(resources, [{"GPU": torch.cuda.device_count(), "CPU": os.cpu_count() or 1}], "this machine")


def check_cluster(resources: Resources) -> None:
    """Raise `ClusterError` where no node of the connected cluster can hold one trial."""
    import ray

    _check(resources, [node["Resources"] for node in ray.nodes() if node["Alive"]], "this cluster's largest node")


def cluster_nodes() -> list[dict[str, float]]:
    """Return what each living node of the connected cluster has: its CPUs and GPUs, by Ray's names [count]."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [{name: float(node.get(name, 0.0)) for name in ("CPU", "GPU")} for node in nodes]


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
    return f"{_at_once(resources, nodes)} at once · {share} · cluster {whole}"


def _at_once(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> int:
    """Trials that fit the nodes, none of them across two nodes or two shared GPUs, and may run [count]."""
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


def _check(resources: Resources, nodes: Sequence[Mapping[str, float]], where: str) -> None:
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


def run_trials(
    agenda: Agenda,
    *,
    data: Directories,
    directory: Path,
    resources: Resources,
    on_event: Callable[[Event], bool],
    on_failure: Callable[[str, str, str], None],
    on_fault: Callable[[str, str, str], None],
    on_start: Callable[[str], None],
    on_stop: Callable[[str], None],
    log: Path,
    ended: Callable[[], bool],
) -> None:
    """Run the cycles that an agenda hands out on the connected cluster, until it is exhausted.

    - `data`: where the tokenised data is, on paths that every node sees
    - `directory`: the sweep's directory, likewise
    - `on_event`: called in this process with every event of every cycle; a cycle that is handed out again repeats some.
      Returns whether the cycle should end here
    - `on_failure`: called with a cycle's id, the reason and a traceback
    - `on_fault`: called with the id of a cycle whose trial ended before the cycle did, the reason and all that is
      known of it; the agenda may hand the cycle out again
    - `on_start`: called with a cycle's id when its trial gets its resources
    - `on_stop`: called with the reason where the cluster is lost, or Ray gives up
    - `log`: a file for what Ray says of lost workers and nodes, which is no use in a terminal
    - `ended`: whether to begin no further trial; those that run end by `END_TRIALS`
    """
    from ray import tune

    from lt_ray.driver.trainable import CycleTrainable, Feed, Forwarding, Watching, cycle_id, trial_config

    def next_trial() -> dict[str, Any] | None:
        planned = None if ended() else agenda.next()
        if planned is None:
            return None
        return trial_config(
            planned.cycle,
            data=data.resolved(),
            store=directory.resolve(),
            keep_epochs=agenda.plan.keep_epochs(planned),
            threads=resources.threads,
            cpus=resources.cpus_per_trial,
            gpus=resources.gpus_per_trial,
            partial_every_s=resources.partial_every_s,
        )

    def fell(cycle: str, reason: str, detail: str) -> None:
        if not ended():
            on_fault(cycle, reason, detail)
            if ended():
                signal.raise_signal(END_TRIALS)

    # Tune asks a searcher for one trial at a time, and gives that one the first process that comes free: while trials
    # are shorter than a process takes to start, it would never get to a second one.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(1, _at_once(resources, cluster_nodes())))
    ray_directory = tempfile.mkdtemp(prefix="lt_ray_tune_")
    tuner = tune.Tuner(
        CycleTrainable,
        tune_config=tune.TuneConfig(
            search_alg=Feed(next_trial, lambda: ended() or agenda.exhausted),
            num_samples=-1,  # as many as the feed gives
            max_concurrent_trials=resources.max_concurrent,
            reuse_actors=resources.reuse_actors,
            trial_name_creator=cycle_id,
            trial_dirname_creator=cycle_id,
        ),
        run_config=tune.RunConfig(
            name=f"attempt-{uuid.uuid4().hex[:8]}",
            storage_path=ray_directory,
            stop=Forwarding(on_event, on_failure),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),  # the agenda hands the cycle out again
            callbacks=[Watching(on_start, fell)],
            verbose=0,
        ),
    )
    # Tune's own snapshots are never read back; where it fails to write one, that is nobody's loss.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it would explain the signal, and list the trials
    head = head_address()
    try:
        with ray_processes.written_to(log), ray_processes.watched(head):
            tuner.fit()
    except ray_processes.HeadLost:
        on_stop(f"the Ray cluster's head at {head} answers no longer")
    except Exception as error:
        on_stop(f"Ray gave up ({one_line(error)})")
    finally:
        shutil.rmtree(ray_directory, ignore_errors=True)


def _no_cluster(address: str, error: object) -> str:
    said = " ".join(str(error).split())
    if "authtoken" in said.lower() or "authentication token" in said.lower():
        return (
            f"`--address {address}`: the cluster refuses this shell's token, or that it has none. Set "
            "RAY_AUTH_MODE=token for the head, every node and this shell, with one ~/.ray/auth_token "
            "(`ray get-auth-token --generate`)"
        )
    if address == "auto":
        return (
            "`--address auto` needs a running Ray cluster, but none answers: start one with `ray start --head`, or say "
            "`--address local` to use this machine alone. If one is running and wants a token, set RAY_AUTH_MODE=token "
            "and copy its ~/.ray/auth_token here."
        )
    return f"`--address {address}`: no Ray cluster answers there ({said[:300]}); give another, `auto` or `local`"
