"""A sweep script's command, from its options to its exit code; imports torch."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from lt_ray.board import terminal
from lt_ray.board.ending import command_line, show_outcome
from lt_ray.board.plan import plan_tree, show_plan
from lt_ray.cli.definition import sweep_of, words_of
from lt_ray.cli.options import Options, Script
from lt_ray.cycle import plugins
from lt_ray.cycle.settings import Scalar
from lt_ray.driver import flow
from lt_ray.driver.cluster import connected
from lt_ray.driver.interruption import INTERRUPTED, Interruption
from lt_ray.driver.resources import Resources, check_nodes, check_shares, describe_resources
from lt_ray.errors import ModelError
from lt_ray.models.model import implementation
from lt_ray.models.pretrained import Base
from lt_ray.rounds import bases
from lt_ray.rounds import inputs as datasets
from lt_ray.rounds.inputs import Datasets
from lt_ray.store.files import check_writable
from lt_ray.store.storage import CACHE, check_folder
from lt_ray.sweep.checks import check
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.outcome import Outcome
from lt_ray.sweep.plan import Grounds, Plan, Planner
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks import registry as tasks
from lt_ray.tasks.task import SPLITS
from lt_ray.tracking import target
from lt_ray.tracking.environment import environment
from lt_ray.tracking.records import Record
from lt_ray.tracking.server import check_access
from lt_ray.tracking.target import Target
from lt_ray.tracking.tracker import Tracker

_LONGEST_NAMES = 4000
"""Letters of the classes' names that are told: MLflow takes 6,000 in a parameter [count]"""


@dataclass(frozen=True)
class _Asked:
    """A sweep and how it is to run, checked as far as can be before anything is read."""

    options: Options
    sweep: Sweep
    resources: Resources
    uri: str
    """Of MLflow, or `none`"""

    @property
    def address(self) -> str | None:
        """The Ray cluster's; None = no cluster."""
        return None if self.options.local else self.options.address

    @property
    def joins(self) -> bool:
        """Whether a cluster is there that is joined before the data are read."""
        return self.address not in (None, "local") and not self.options.plan

    @property
    def cache(self) -> Path:
        return self.options.storage / CACHE

    @property
    def directory(self) -> SweepDirectory:
        return SweepDirectory(self.options.storage / self.sweep.name)


def run(script: Script, options: Options, interruption: Interruption) -> int:
    """Run a sweep, or show its plan; return 0 all done · 1 some cycles failed · 75 interrupted.

    All that can be known to be wrong without the data is told before they are read, which may take minutes.
    """
    asked = _asked(script, options)
    with terminal.doing(f"reading model {asked.sweep.cycle.model.name}"):
        asked, base, reached = _with_model(asked)
    words = words_of(asked.sweep, base)
    check(asked.sweep, asked.sweep.first_points, base)
    if not reached:
        facts = tasks.facts_of(asked.sweep.cycle.task)
        _show_plan(asked, Planner(asked.sweep, Grounds(facts, "unknown")).plan(), stored=0)
        return 0
    if not options.fresh:
        asked.directory.check(asked.sweep.definition(""), but=("data", "source_data"))
    with contextlib.ExitStack() as stack:
        if asked.joins:
            stack.enter_context(connected(options.address, asked.resources, interruption))
        with terminal.doing(f"reading the data of task {asked.sweep.cycle.task.name}"):
            data = datasets.prepare(asked.sweep.cycle, words, options.data_dir, asked.cache, base)
        with terminal.doing("planning"):
            planner = Planner(asked.sweep, Grounds.of(data))
            plan = planner.plan()
        if not options.fresh:
            asked.directory.check(asked.sweep.definition(data.task.digest, data.source_digest))
        if options.plan:
            stored = 0 if options.fresh else sum(asked.directory.store.has(key) for key in plan.keys)
            _show_plan(asked, plan, stored=stored)
            return 0
        with terminal.doing("asking MLflow"):
            check_access(asked.uri, asked.sweep.name)
        if asked.address is not None and not asked.joins:
            stack.enter_context(connected(asked.address, asked.resources, interruption))
        outcome = _swept(asked, planner, plan, data, interruption)
    _show_end(asked, outcome)
    return INTERRUPTED if outcome.interrupted else 1 if outcome.failures else 0


def _asked(script: Script, options: Options) -> _Asked:
    check_folder("--storage", options.storage)
    check_folder("--data-dir", options.data_dir)
    digests = {*script.cycle.plugins, *map(plugins.load, options.plugin or ())}
    cycle = script.cycle.model_copy(update={"plugins": tuple(sorted(digests))})
    sweep = sweep_of(replace(script, cycle=cycle), options)
    check_shares(options.gpus_per_trial, options.cpus_per_trial)
    resources = Resources(
        gpus_per_trial=options.gpus_per_trial,
        cpus_per_trial=options.cpus_per_trial,
        max_concurrent=options.max_concurrent,
        partial_every_s=options.partial_every,
    )
    if not options.plan and (options.local or options.address == "local"):
        machine = {"GPU": torch.cuda.device_count(), "CPU": os.cpu_count() or 1}
        check_nodes(resources, [machine], "this machine")  # nothing is started to find out
    check_writable(options.storage)
    given = options.tracking_uri
    uri = target.default_uri(options.storage) if given is None else target.checked(given)
    words_of(sweep, None)  # what cannot be searched is told before a model is fetched
    return _Asked(options, sweep, resources, uri)


def _with_model(asked: _Asked) -> tuple[_Asked, Base | None, bool]:
    """What was asked for with the model's digest, what the model is made of, and whether it was found.

    A plan needs no more than a configuration, and some of those are known.
    """
    sweep = asked.sweep
    try:
        cycle, base = bases.prepare(sweep.cycle, asked.cache / "models")
    except ModelError as error:
        if not (asked.options.plan and implementation(sweep.cycle.model).known(sweep.cycle.model)):
            raise
        terminal.show_warning(f"{error}\nPlanned from its known configuration; what the store has of it is not known.")
        return asked, None, False
    return replace(asked, sweep=sweep.model_copy(update={"cycle": cycle})), base, True


def _show_plan(asked: _Asked, plan: Plan, *, stored: int) -> None:
    """Print a plan, as JSON where that is asked for.

    - `stored`: rounds that are in the store [count]
    """
    if asked.options.json:
        print(json.dumps(plan_tree(plan, keep=asked.options.keep), indent=1))
    else:
        share = describe_resources(asked.resources, None if asked.address is None else ())
        show_plan(plan, keep=asked.options.keep, concurrent=share, stored=stored)


def _swept(asked: _Asked, planner: Planner, plan: Plan, data: Datasets, interruption: Interruption) -> Outcome:
    options, directory = asked.options, asked.directory
    if options.fresh:
        aside = directory.set_aside()
        if aside is not None:
            terminal.show_warning(f"the sweep of this name was set aside as {aside}")
    directory.keep_plugins(asked.sweep.cycle.plugins)
    directory.keep("inputs", datasets.inputs(asked.sweep.cycle, data))
    return flow.run(
        planner,
        plan,
        data,
        directory,
        tracker=partial(_tracker, asked, data),
        on_cluster=asked.address is not None,
        resources=asked.resources,
        keep=options.keep,
        retry_errored=options.retry_errored,
        interruption=interruption,
    )


def _tracker(asked: _Asked, data: Datasets, sweep_id: str) -> Tracker | None:
    """Keep what the sweep runs on, and make its record in MLflow; None where it is not to be recorded."""
    directory = asked.directory
    facts: dict[str, Scalar] = {split: data.task.examples(split) for split in SPLITS}
    facts["classes"] = len(data.task.classes)
    if len(names := json.dumps(data.task.classes)) <= _LONGEST_NAMES:
        facts["class_names"] = names
    if data.notes:
        facts["notes"] = " ".join(data.notes)
    directory.keep("environment", {"environment": environment(Path.cwd()), "data": facts})
    if asked.uri == "none":
        return None
    parent = Record(directory).parent
    where = Target(asked.uri, parent.name, sweep_id, target.artifacts(asked.uri, asked.options.storage))
    directory.record_in(where.shown)
    return Tracker(where, parent, warn=terminal.show_warning)


def _show_end(asked: _Asked, outcome: Outcome) -> None:
    """Print what the sweep came to, and the commands that lead on."""
    place = [asked.sweep.name, "--storage", str(asked.options.storage)]
    uri = target.without_password(asked.uri)
    is_served = uri.startswith("http") or "://" not in uri
    record = uri if is_served else shlex.join(["mlflow", "ui", "--backend-store-uri", uri])
    show_outcome(
        outcome,
        resume=target.without_password(command_line(sys.argv)),
        status=shlex.join(["lt-ray", "status", *place]),
        sync=shlex.join(["lt-ray", "sync", *place]),
        mlflow=None if asked.uri == "none" else record,
    )
