"""The sweep's directory: the one owner of every file name below `<storage>/<sweep>/` but the round store's.

sweep.json          the definition, versions, the sweep's own id
cycles/<id>.json    each planned cycle with its settings and the keys of its rounds
failures/<id>.json  cycles that failed, and why
stopped/<id>.json   cycles that a rule ended early, and why
rounds/ rewind/ partial/ claims/ damaged/   the round store
environment.json    what the last run of it ran on, and the sizes of its data
inputs.json         what an exported model needs: classes, sizes of the encoded data
plugins/<digest>.py what the sweep's cycles were planned with
report/             the final table and the curve over sparsity, written when a run ends
tracking-uri        the MLflow that the sweep was recorded in last, without its password
faults.log          tracebacks, and what Ray says of lost workers and nodes; can be deleted at any time
driver.lock         held while a driver runs the sweep
live.json           what its driver knows and the store does not tell, for those who watch; can be deleted at any time
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import shlex
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lt_ray.cycle import plugins
from lt_ray.cycle.identity import canonical
from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.errors import DamagedError, StorageError
from lt_ray.rounds.outcome import round_result
from lt_ray.store.files import write_file
from lt_ray.store.storage import set_aside_suffix
from lt_ray.store.store import RoundStore, StoredRound
from lt_ray.sweep.difference import difference
from lt_ray.sweep.listener import Listener
from lt_ray.sweep.plan import Plan, PlannedCycle
from lt_ray.sweep.recorded import RecordedCycle
from lt_ray.sweep.search import State

log = logging.getLogger("lt_ray")

FORMAT = 1
"""Of the directory; raised when an older one can no longer be read."""
_LOOK_S = 0.5
"""How long a driver tries to get its lock, which who watches holds for a moment to see whether it is free [s]"""


@dataclass(frozen=True)
class SweepDirectory(Listener):
    """One sweep on disk; told of a sweep's events, it keeps those that the store does not tell."""

    path: Path

    @cached_property
    def store(self) -> RoundStore:
        """The sweep's rounds."""
        return RoundStore(self.path)

    @property
    def report(self) -> Path:
        """Where the final table and the curve are."""
        return self.path / "report"

    @property
    def log(self) -> Path:
        """Where tracebacks are, and Ray's own text."""
        return self.path / "faults.log"

    def keep(self, name: str, tree: Mapping[str, Any]) -> None:
        """Keep plain values in one of its files.

        - `name`: the file's, without its ending, such as `environment`, `inputs` or `live`
        """
        write_file(self.path / f"{name}.json", json.dumps(tree, indent=1).encode())

    def kept(self, name: str) -> dict[str, Any] | None:
        """Return what one of its files keeps; None where it is not there or damaged."""
        try:
            tree = json.loads((self.path / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None
        return tree if isinstance(tree, dict) else None

    def _explain(self, what: str, text: str) -> None:
        """Add a traceback to the log; nothing hangs on it, and the disk may be full."""
        with contextlib.suppress(OSError), self.log.open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {what}\n{text.rstrip()}\n\n")

    def environment(self) -> tuple[dict[str, str], dict[str, Scalar]]:
        """Return what the last run ran on and its data's sizes; nothing where that is not known."""
        tree = self.kept("environment") or {}
        return dict(tree.get("environment", {})), dict(tree.get("data", {}))

    def record_in(self, uri: str) -> None:
        """Keep which MLflow the sweep is recorded in.

        - `uri`: its tracking URI, without a password
        """
        write_file(self.path / "tracking-uri", uri.encode())

    def recorded_in(self) -> str | None:
        """Return the tracking URI that `record_in` kept, or an older lt_ray, or None."""
        files = (self.path / "tracking-uri", self.path / "spool" / "target")
        return next((file.read_text() for file in files if file.exists()), None)

    def keep_plugins(self, digests: Collection[str]) -> None:
        """Keep the plugins that its cycles come from, for those who read them without the sweep's command."""
        for digest, text in plugins.texts(digests).items():
            write_file(self.path / "plugins" / f"{digest}.py", text.encode())

    def run_plugins(self) -> None:
        """Run the plugins that its cycles come from, once in this process; raises `PluginError`."""
        for path in sorted((self.path / "plugins").glob("*.py")):
            plugins.load(path)

    def inputs(self) -> dict[str, Any]:
        """Return what its models need besides weights; raises `StorageError` where it is not there."""
        try:
            tree: dict[str, Any] = json.loads((self.path / "inputs.json").read_text())
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{self.path}/inputs.json cannot be read ({error}): run the sweep's command again, which writes it anew"
            ) from None
        return tree

    def exists(self) -> bool:
        """Return whether a sweep was defined here."""
        return (self.path / "sweep.json").exists()

    def read(self) -> dict[str, Any]:
        """Return `sweep.json`; raises `StorageError` where there is none."""
        try:
            tree: dict[str, Any] = json.loads((self.path / "sweep.json").read_text())
        except FileNotFoundError:
            raise StorageError(_no_sweep(self.path)) from None
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.path}/sweep.json cannot be read ({error})") from None
        if tree.get("format") != FORMAT:
            raise StorageError(
                f"{self.path}/sweep.json must have format {FORMAT}, but has {tree.get('format')}: "
                "read it with the lt_ray that wrote it"
            )
        return tree

    def check(self, definition: Mapping[str, Any], but: Collection[str] = ()) -> None:
        """Raise `StorageError`, which shows the difference, where the name is used for another definition.

        - `but`: keys that are not compared
        """
        if not self.exists():
            return
        trees = (self.read()["definition"], json.loads(canonical(definition)))
        there, here = ({key: value for key, value in tree.items() if key not in but} for tree in trees)
        lines = list(difference(there, here))
        if lines:
            raise StorageError(
                f"{self.path} holds a sweep with another definition:\n"
                + "\n".join(f"  {line}" for line in lines)
                + "\ngive another `--name`, or `--fresh` to set the old one aside and start over"
            )

    def define(self, plan: Plan, definition: Mapping[str, Any]) -> str:
        """Write the definition and the planned cycles unless they are there; return the sweep's id.

        Raises `StorageError` where the name is used for another definition.
        """
        self.check(definition)
        if self.exists():
            tree = self.read()
        else:
            tree = {
                "format": FORMAT,
                "id": uuid.uuid4().hex,
                "name": plan.sweep.name,
                "definition": definition,
                "versions": {name: version(name) for name in ("lt_ray", "torch")},
                "created_at": time.time(),
            }
        tree["tolerance"] = plan.sweep.tolerance
        for path in sorted((self.path / "cycles").glob("*.json")):
            if _whole(path) is None:
                log.warning("%s was damaged: it is written anew from the plan", path)
                path.unlink()
        for planned in plan.cycles:
            self.planned(planned)
        self.keep("sweep", tree)
        return str(tree["id"])

    def set_aside(self) -> Path | None:
        """Rename the sweep's directory out of the way; return its new path, or None where there was none.

        Raises `StorageError` where a driver is at work in it.
        """
        if not self.path.exists():
            return None
        aside = self.path.with_name(self.path.name + set_aside_suffix())
        with self.driving():
            self.path.rename(aside)
        return aside

    @contextlib.contextmanager
    def driving(self) -> Iterator[None]:
        """Be the sweep's only driver; raises `StorageError` where another one is at work."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / "driver.lock", timeout=_LOOK_S)
        try:
            lock.acquire(poll_interval=_LOOK_S / 10)
        except Timeout:
            raise StorageError(
                f"{self.path} is being run by another process: wait for it, watch it with `lt-ray status "
                f"{self.path.name} --watch --storage {shlex.quote(str(self.path.parent))}`, or give another `--name`"
            ) from None
        except (NotImplementedError, OSError):  # a file system without locks: the store keeps rounds whole anyway
            pass
        try:
            yield
        finally:
            lock.release()

    def driven(self) -> bool | None:
        """Return whether a driver is at work here; None where the file system knows no locks."""
        path = self.path / "driver.lock"
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
        except (NotImplementedError, OSError):
            return None

    def begun(self, plan: Plan) -> None:
        """Do nothing: `define` wrote the plan."""

    def planned(self, planned: PlannedCycle) -> None:
        """Keep a planned cycle, unless it is there."""
        path = self.path / "cycles" / f"{planned.id}.json"
        if not path.exists():
            kept = set(RecordedCycle.model_fields)
            write_file(path, planned.model_dump_json(indent=1, include=kept).encode())

    def ended(self, cycle: str, state: State, reason: str = "", detail: str = "") -> None:
        """Keep why a cycle failed, or which rule ended it early."""
        if state == "finished":
            return
        name = self._end(state, cycle)
        try:
            if not (self.path / f"{name}.json").exists():
                self.keep(name, {"cycle": cycle, "reason": reason, "at": time.time()})
        except OSError as error:
            log.warning("why cycle %s was ended (%s) could not be written down (%s)", cycle, reason, error)
        if detail:
            self._explain(f"cycle {cycle} failed", detail)

    def fell(self, cycle: str, what: str, then: str, detail: str) -> None:
        """Add what is known of a fault to the log."""
        self._explain(f"cycle {cycle}: {what}", detail)

    def points(self) -> list[dict[str, Scalar]]:
        """Return the points of the planned cycles, in the order in which they were asked."""
        whole = filter(None, map(_whole, (self.path / "cycles").glob("*.json")))
        asked = {recorded.point: dict(recorded.asked) for recorded in whole}
        return [asked[place] for place in itertools.takewhile(asked.__contains__, itertools.count())]

    def cycles(self) -> Iterator[RecordedCycle]:
        """Yield the planned cycles in the order of their plan; raises `StorageError` for a file that is none."""
        self.run_plugins()
        cycles = []
        for path in (self.path / "cycles").glob("*.json"):
            try:
                cycles.append(RecordedCycle.model_validate_json(path.read_bytes()))
            except (OSError, ValueError) as error:
                said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise StorageError(
                    f"{path} cannot be read ({said}): run the sweep's command again, which writes it anew"
                ) from None
        yield from sorted(cycles, key=lambda recorded: (recorded.order, recorded.cycle.id))

    def cycles_mark(self) -> object:
        """Return a value that is another one once other cycles are planned."""
        definition = self.path / "sweep.json"
        return definition.stat().st_mtime_ns, sum(1 for _ in (self.path / "cycles").glob("*.json"))

    def results(self, recorded: RecordedCycle, known: dict[str, StoredRound]) -> Iterator[RoundResult]:
        """Yield a cycle's finished rounds in order, changing nothing; a damaged one counts as absent.

        - `known`: rounds already read, by key; those read here are added
        """
        for key in recorded.keys:
            if key not in known:
                with contextlib.suppress(DamagedError):
                    stored = self.store.read(key)
                    if stored is not None:
                        known[key] = stored
            if key in known:
                yield round_result(recorded.cycle, key, known[key], recorded.prunable)

    def how_ended(self, recorded: RecordedCycle, finished: int) -> tuple[State | None, str]:
        """Return how a cycle ended, None where it has not, and which rule or error it was.

        - `finished`: its finished rounds [count]
        """
        if finished == len(recorded.keys):
            return "finished", ""
        for state in ("stopped", "failed"):
            name = self._end(state, recorded.cycle.id)
            if (self.path / f"{name}.json").exists():
                unknown = "unknown: the file that says why cannot be read"
                return state, str((self.kept(name) or {}).get("reason", unknown))
        return None, ""

    def forgive(self, cycle_id: str) -> None:
        """Forget that a cycle failed."""
        (self.path / f"{self._end('failed', cycle_id)}.json").unlink(missing_ok=True)

    def _end(self, state: State, cycle_id: str) -> str:
        """The name of the file that says why a cycle failed, or was stopped."""
        return f"{'failures' if state == 'failed' else 'stopped'}/{cycle_id}"


def _whole(path: Path) -> RecordedCycle | None:
    """What a cycle's file keeps; None where it is not there or damaged."""
    try:
        return RecordedCycle.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _no_sweep(path: Path) -> str:
    others = sorted(p.parent.name for p in path.parent.glob("*/sweep.json")) if path.parent.is_dir() else []
    those = f"; there are {', '.join(others)}" if others else "; there is none"
    return f"`{path.name}` must name a sweep below {path.parent}{those}: give another name, or `--storage DIR`"
