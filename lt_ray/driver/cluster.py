"""Being connected to a Ray cluster, this machine's own or a running one."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lt_ray.board import terminal
from lt_ray.driver import ray_processes
from lt_ray.driver.interruption import Interruption
from lt_ray.driver.resources import Resources, check_nodes
from lt_ray.errors import ClusterError, NotNowError

_ANSWER_S = 60.0
"""So long the first process on a cluster may take to start and answer [s]"""
_SOCKET_LENGTH = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Of the private directory's path: longer ones leave no room for Ray's sockets in it [bytes]"""


@contextlib.contextmanager
def connected(address: str, resources: Resources, interruption: Interruption) -> Iterator[None]:
    """Be connected to a Ray cluster that has room for a trial.

    - `address`: `local` starts one in a private directory and ends it, `auto` and HOST:PORT join

    Raises `ClusterError` where none answers, refuses the token or is too small, and for `ray://…`; `NotNowError` where
    one does not start here.
    """
    with contextlib.ExitStack() as stack:
        with (
            terminal.doing("starting Ray" if address == "local" else f"joining the Ray cluster at {address}"),
            interruption.postponed(),
        ):
            stack.enter_context(_cluster(address))
            check_nodes(resources, nodes(), "this cluster's largest node")
        yield


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[None]:
    if address.startswith("ray://"):
        raise ClusterError(
            f"`--address {address}`: through Ray's client, Tune would run the sweep's driver on the cluster, away from "
            "this terminal. Run the command on a node of the cluster with `--address auto`, for instance by "
            "`ray job submit -- python sweeps/… --address auto`"
        )
    if ":" in address and not ray_processes.answers(address):  # Ray itself would try for minutes
        raise ClusterError(_no_cluster(address, "nothing listens at this host and port"))
    _set_environment(address)
    import ray

    private = _private_directory() if address == "local" else None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if private is not None:
        options |= {"_temp_dir": private, "include_dashboard": False}
    with contextlib.ExitStack() as stack:
        if private is not None:
            stack.callback(shutil.rmtree, private, ignore_errors=True)
        apart = ray_processes.Apart()
        stack.callback(apart.end)
        said: list[str] = []
        try:
            with ray_processes.overheard(said), apart.starting():
                ray.init(address=address, **options)
        except Exception as error:  # Ray raises plain ones, too, such as where its processes do not start in time
            reason = " ".join(f"{error} {' '.join(said)}".split())
            if address == "local":
                raise NotNowError(
                    f"`--address local`: Ray did not start on this machine ({reason[:300]}): "
                    "try again, or say `--local`"
                ) from None
            raise ClusterError(_no_cluster(address, reason)) from None
        stack.callback(_disconnect)
        if address != "local":
            with ray_processes.overheard([]):
                heard = _workers_answer()
            if not heard:
                raise ClusterError(_no_workers(address))
        yield


def _set_environment(address: str) -> None:
    """Tell Ray how to behave; what is set already stays."""
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


def nodes() -> list[dict[str, float]]:
    """Return what each living node of the connected cluster has: its CPUs and GPUs, by Ray's names [count]."""
    import ray

    living = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [{name: float(node.get(name, 0.0)) for name in ("CPU", "GPU")} for node in living]


def _no_cluster(address: str, said: str) -> str:
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
