"""One command line for every sweep script, and `lt-ray plan | run | status | report | sync`."""

import contextlib
import json
import logging
import runpy
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lt_ray.cli.options import ADAPTIVE_SAMPLES, Defaults, Keep, Options, Scheduler, Search, sweep_of, words_of
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import MODELS, Encoder
from lt_ray.cycle.settings import Scalar
from lt_ray.cycle.tasks import TASKS
from lt_ray.errors import DISK_TROUBLE, InputError, ModelError, nearest
from lt_ray.store.storage import CACHE, check_folder, check_name
from lt_ray.sweep.objective import objectives

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none of it
    from lt_ray.driver.interruption import Interruption
    from lt_ray.driver.tuner import Resources
    from lt_ray.models.pretrained import Base
    from lt_ray.rounds.inputs import Datasets
    from lt_ray.sweep.directory import SweepDirectory
    from lt_ray.sweep.sweep import Sweep
    from lt_ray.tracking.tracker import Tracker

app = typer.Typer(
    help="Sweeps of prune-retrain cycles on Ray Tune.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

INTERRUPTED = 75


def main(
    *,
    name: str,
    cycle: Cycle,
    space: Path | None = None,
    samples: int = 1,
    seeds: int = 1,
    tolerance: float = 0.005,
    summary: str = "",
    argv: Sequence[str] | None = None,
) -> None:
    """Be the command line of a sweep script; ends the process with 0, 1, 2 or 75.

    - `name`: the sweep's; `cycle`: what its cycles have in common; `space`: its search-space file
    - `samples`, `seeds`, `tolerance`: defaults of the options of these names
    - `summary`: the script's docstring, shown by `--help`
    - `argv`: words after the script's name; None = the process's own
    """
    defaults = Defaults(name, cycle, space, samples, seeds, tolerance)
    command = typer.Typer(add_completion=False, rich_markup_mode=None)
    command.command(help=summary)(_sweep_command(defaults))
    command(args=list(argv) if argv is not None else None)


def _sweep_command(defaults: Defaults) -> Callable[..., None]:
    def option(text: str, *names: str, **more: Any) -> Any:
        return typer.Option(*names, help=text, **more)

    cluster = option("Ray cluster: local (this machine), auto (the running one that this node is in) or HOST:PORT.")
    local_ = option("Run in this process, without Ray; the results are the same.", "--local")
    task_ = option(f"Task: {', '.join(TASKS)}.")
    ours = ", ".join(name for name in MODELS if name != "encoder")
    model_ = option(f"Model: {ours}; or an encoder: its name on the Hugging Face hub, or its folder.")
    config_ = option("Draw an encoder's weights from the seed: only its configuration is needed.", "--from-config")
    rounds_ = option("Prunings after the dense round.")
    space_ = option("Search-space file (YAML).")
    fix = option("Fix a cycle field (training.lr=0.001), also a searched one.", "--set", metavar="KEY=VALUE")
    search_ = option(
        "random: grids crossed, other keys drawn; grid: all crossed; optuna: adaptive (TPE), --samples points in all."
    )
    samples_ = option(
        f"Draws of the space's random keys, each at every grid point; default {defaults.samples}, with optuna "
        f"{ADAPTIVE_SAMPLES}.",
        min=1,
    )
    objective_ = option(
        f"What optuna looks for and asha compares: {', '.join(objectives(defaults.cycle.task.metrics))} (of validation "
        "data); repeat it for a "
        "Pareto front."
    )
    delay_ = option("With optuna: points that may be under way at once; default 8.", min=1)
    scheduler_ = option("asha: end cycles that are worse than others after the same round.")
    reduction_ = option("With asha: one in so many goes on; default 3.", min=2)
    grace_ = option("With asha: first round after which a cycle may end; default 1.", min=1)
    drop_ = option("End cycles whose validation accuracy falls by more than this below their own dense one.")
    drop_rounds_ = option("With --max-drop: rounds in a row; default 2.", min=1)
    seeds_ = option("Seeds at every point, paired.", min=1)
    tolerance_ = option("Validation accuracy that a winning ticket may lose.", min=0, max=1)
    data = option("Folder with DIR/<task>/{train,validation,test}.parquet (.csv, .jsonl), or these files themselves.")
    toy_ = option("The same sweep on a built-in corpus with a small model: about a minute, offline.", "--toy")
    gpus = option("Share of a GPU for one trial, such as 0.25.", min=0)
    cpus = option("CPUs, and threads, of one trial.", min=0.1)
    concurrent = option("Trials at once; default: as many as fit.", min=1)
    storage_ = option("Where sweeps are kept; every node must see it.")
    keep_ = option("Trained weights to keep: those needed, or all.")
    partial = option("Seconds of a running round that a kill may cost.", min=0)
    tracking = option("MLflow server, or `none`; default: STORAGE/mlflow.db.")
    name_ = option(f"Name of the sweep; default: {defaults.name}.")
    fresh_ = option("Set the sweep of this name aside and start over.", "--fresh")
    retry = option("Run cycles again that failed.", "--retry-errored")
    plan_ = option("Show what would run, and stop.", "--plan")
    json_ = option("With --plan: as JSON.", "--json")

    def sweep(
        address: Annotated[str, cluster] = "local",
        local: Annotated[bool, local_] = False,
        task: Annotated[str | None, task_] = None,
        model: Annotated[str | None, model_] = None,
        from_config: Annotated[bool, config_] = False,
        rounds: Annotated[int | None, rounds_] = None,
        space: Annotated[Path | None, space_] = None,
        set_: Annotated[list[str] | None, fix] = None,
        search: Annotated[Search, search_] = Search.random,
        samples: Annotated[int | None, samples_] = None,
        seeds: Annotated[int, seeds_] = defaults.seeds,
        objective: Annotated[list[str] | None, objective_] = None,
        delay: Annotated[int | None, delay_] = None,
        scheduler: Annotated[Scheduler, scheduler_] = Scheduler.fifo,
        asha_reduction: Annotated[int | None, reduction_] = None,
        asha_grace: Annotated[int | None, grace_] = None,
        max_drop: Annotated[float | None, drop_] = None,
        drop_rounds: Annotated[int | None, drop_rounds_] = None,
        tolerance: Annotated[float, tolerance_] = defaults.tolerance,
        data_dir: Annotated[Path | None, data] = None,
        toy: Annotated[bool, toy_] = False,
        gpus_per_trial: Annotated[float, gpus] = 0.0,
        cpus_per_trial: Annotated[float, cpus] = 1.0,
        max_concurrent: Annotated[int | None, concurrent] = None,
        storage: Annotated[Path, storage_] = Path("runs"),
        keep: Annotated[Keep, keep_] = Keep.needed,
        partial_every: Annotated[float, partial] = 60.0,
        tracking_uri: Annotated[str | None, tracking] = None,
        name: Annotated[str | None, name_] = None,
        fresh: Annotated[bool, fresh_] = False,
        retry_errored: Annotated[bool, retry] = False,
        plan: Annotated[bool, plan_] = False,
        json: Annotated[bool, json_] = False,
    ) -> None:
        options = Options(**{key: value for key, value in locals().items() if key in Options.__annotations__})
        _guarded(lambda: _interruptible(defaults, options))

    return sweep


def _guarded(work: Callable[[], int]) -> None:
    """Turn an input error into one message and exit code 2, an interruption into 75."""
    from lt_ray.board.terminal import show_error, show_warning

    class Warn(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            show_warning(record.getMessage())

    log, handler = logging.getLogger("lt_ray"), Warn(logging.WARNING)
    log.addHandler(handler)
    try:
        code = work()
    except InputError as error:
        show_error(str(error))
        code = 2
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise
        show_error(f"{error}: nothing that is finished is lost; once the disk is well, the same command goes on")
        code = INTERRUPTED
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        log.removeHandler(handler)
    raise typer.Exit(code)


def _interruptible(defaults: Defaults, options: Options) -> int:
    """Run a sweep; an interruption before its first trial ends with a message and 75, too."""
    from lt_ray.board import terminal
    from lt_ray.driver.interruption import Interruption
    from lt_ray.tracking.target import without_password

    with Interruption() as interruption:
        try:
            code = _run(defaults, options, interruption)
        except KeyboardInterrupt:
            from lt_ray.board.ending import command_line

            terminal.console.print("[bold yellow]Interrupted[/]: what is finished is kept; the same command goes on.")
            terminal.console.print(f"resume  {escape(without_password(command_line(sys.argv)))}", soft_wrap=True)
            code = INTERRUPTED
        if interruption.came or interruption.leaves:
            interruption.leave(code)
    return code


def _run(defaults: Defaults, options: Options, interruption: "Interruption") -> int:
    from lt_ray.board import terminal

    if options.json and not options.plan:
        raise InputError("`--json` prints the plan, but `--plan` is not there: add it, or see `lt-ray status --json`")
    with terminal.doing("loading torch"), interruption.postponed():
        from lt_ray.board.ending import command_line, show_outcome
        from lt_ray.board.plan import plan_tree, show_plan
        from lt_ray.driver import flow as driver
        from lt_ray.driver.tuner import Resources, check_machine, check_shares, describe_resources
        from lt_ray.models import registry
        from lt_ray.rounds import inputs as datasets
        from lt_ray.store.store import check_writable
        from lt_ray.sweep.directory import SweepDirectory
        from lt_ray.sweep.sweep import Planner
        from lt_ray.tracking import target
        from lt_ray.tracking.server import check_access

    check_folder("--storage", options.storage)
    check_folder("--data-dir", options.data_dir)
    sweep = sweep_of(defaults, options)
    check_name(sweep.name)
    check_shares(options.gpus_per_trial, options.cpus_per_trial)
    resources = Resources(
        gpus_per_trial=options.gpus_per_trial,
        cpus_per_trial=options.cpus_per_trial,
        max_concurrent=options.max_concurrent,
        partial_every_s=options.partial_every,
    )
    address = None if options.local else options.address
    joined = address is not None and address != "local" and not options.plan
    if not joined and not options.plan:
        check_machine(resources)
    check_writable(options.storage)
    uri = target.default_uri(options.storage) if options.tracking_uri is None else target.checked(options.tracking_uri)
    cache = options.storage / CACHE
    words_of(sweep, None)  # what cannot be searched is told before a model is fetched
    with terminal.doing(f"reading model {sweep.cycle.model.name}"):
        sweep, base, reached = _with_model(sweep, options, cache / "models")
    directory = SweepDirectory(options.storage / sweep.name)
    words = words_of(sweep, base)
    # All that can be known to be wrong without the data is told before they are read, which may take minutes.
    rows, outputs = words if isinstance(words, int) else 1, 1 if base is None else 2
    Planner(sweep, rows, outputs, data_digest="", source_outputs=outputs, source_digest="", base=base).plan()
    if not reached:
        _plan_unreached(sweep, options, resources, address)
        return 0
    if not options.fresh:
        directory.check(sweep.definition(""), but=("data", "source_data"))
    with contextlib.ExitStack() as stack:
        if joined:
            stack.enter_context(driver.connected(options.address, resources, interruption))
        with terminal.doing(f"reading the data of task {sweep.cycle.task.name}"):
            data, data_directories = datasets.prepare(sweep.cycle, words, options.data_dir, cache, base)
        with terminal.doing("planning"):
            planner = Planner(
                sweep,
                data.own.facts.rows,
                registry.outputs_of(sweep.cycle.model, data.own.facts),
                data.own.digest,
                None if data.source is None else registry.outputs_of(sweep.cycle.model, data.source.facts),
                data.source_digest,
                base,
                data,
            )
            planned = planner.plan()
        if not options.fresh:
            directory.check(sweep.definition(data.own.digest, data.source_digest))
        if options.plan:
            stored = 0 if options.fresh else sum(directory.store.has(key) for key in planned.keys)
            if options.json:
                print(json.dumps(plan_tree(planned, keep=options.keep.value), indent=1))
            else:
                share = describe_resources(resources, None if address is None else ())
                show_plan(planned, keep=options.keep.value, concurrent=share, stored=stored)
            return 0
        with terminal.doing("asking MLflow"):
            check_access(uri, sweep.name)
        if not joined and address is not None:
            stack.enter_context(driver.connected(address, resources, interruption))
        if options.fresh:
            aside = directory.set_aside()
            if aside is not None:
                terminal.show_warning(f"the sweep of this name was set aside as {aside}")
        directory.take(datasets.inputs(sweep.cycle, data.own, data_directories.own, base))
        outcome = driver.run(
            planner,
            planned,
            data,
            data_directories,
            directory,
            tracker=_tracker(uri, options.storage, directory, data),
            on_cluster=address is not None,
            resources=resources,
            keep=options.keep.value,
            retry_errored=options.retry_errored,
            interruption=interruption,
        )
    place = [sweep.name, "--storage", str(options.storage)]
    show_outcome(
        outcome,
        resume=target.without_password(command_line(sys.argv)),
        status=shlex.join(["lt-ray", "status", *place]),
        sync=shlex.join(["lt-ray", "sync", *place]),
        mlflow=None if uri == "none" else driver.mlflow_command(target.without_password(uri)),
    )
    return driver.exit_code(outcome)


def _with_model(sweep: "Sweep", options: Options, cache: Path) -> "tuple[Sweep, Base | None, bool]":
    """Return the sweep with its encoder's digest, what the encoder is made of, and whether it was found.

    A plan needs no more than a configuration, and some of those are known.
    """
    from lt_ray.board.terminal import show_warning
    from lt_ray.models import encoder
    from lt_ray.rounds import bases

    try:
        cycle, base = bases.prepare(sweep.cycle, cache)
    except ModelError as error:
        known = isinstance(sweep.cycle.model, Encoder) and encoder.known_model(sweep.cycle.model) is not None
        if not (options.plan and known):
            raise
        show_warning(f"{error}\nPlanned from its known configuration; what the store has of it is not known.")
        return sweep, None, False
    return sweep.model_copy(update={"cycle": cycle}), base, True


def _plan_unreached(sweep: "Sweep", options: Options, resources: "Resources", address: str | None) -> None:
    """Print the plan of a sweep whose model is known by its configuration alone."""
    from lt_ray.board.plan import plan_tree, show_plan
    from lt_ray.driver.tuner import describe_resources
    from lt_ray.sweep.sweep import Planner
    from lt_ray.tasks import registry

    classes = registry.classes_of(sweep.cycle.task)
    planned = Planner(sweep, 1, classes, data_digest="unknown").plan()
    if options.json:
        print(json.dumps(plan_tree(planned, keep=options.keep.value), indent=1))
    else:
        share = describe_resources(resources, None if address is None else ())
        show_plan(planned, keep=options.keep.value, concurrent=share, stored=0)


def _tracker(
    uri: str, storage: Path, directory: "SweepDirectory", data: "Datasets"
) -> "Callable[[str], Tracker | None]":
    from lt_ray.board.terminal import show_warning
    from lt_ray.tasks.task import SPLITS
    from lt_ray.tracking import records
    from lt_ray.tracking.environment import environment
    from lt_ray.tracking.target import Target, artifacts
    from lt_ray.tracking.tracker import Tracker

    def track(sweep_id: str) -> "Tracker | None":
        own = data.own
        facts: dict[str, Scalar] = {split: own.examples(split) for split in SPLITS}
        facts["classes"] = len(own.classes)
        if data.notes:
            facts["notes"] = " ".join(data.notes)
        directory.surround(environment(Path.cwd()), facts)
        if uri == "none":
            return None
        parent = records.parent(directory)
        target = Target(uri, parent.name, sweep_id, artifacts(uri, storage))
        return Tracker(target, parent, spool=directory.spool, warn=show_warning)

    return track


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def run(context: typer.Context, script: Path) -> None:
    """Run a sweep script with its own options: lt-ray run sweeps/imdb_lt.py --toy."""
    _script(script, context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def plan(context: typer.Context, script: Path) -> None:
    """Show what a sweep script would run: lt-ray plan sweeps/imdb_lt.py --toy."""
    _script(script, ["--plan", *context.args])


def _script(script: Path, words: list[str]) -> None:
    def execute() -> int:
        if not script.is_file():
            scripts = sorted(str(path) for path in Path("sweeps").glob("*.py"))
            known = f" There are: {', '.join(scripts)}." if scripts else ""
            raise InputError(
                f"`SCRIPT` must be a sweep script, but got {str(script)!r}.{nearest(str(script), scripts)}{known}"
            )
        sys.argv = [str(script), *words]
        runpy.run_path(str(script), run_name="__main__")
        return 0

    _guarded(execute)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    storage: Annotated[Path, typer.Option(help="Where sweeps are kept.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a finished round.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look on until the sweep ends or Ctrl-C; needs a terminal.")
    ] = False,
) -> None:
    """Show a sweep from its store alone; it may be running, here or elsewhere."""

    def execute() -> int:
        from lt_ray.board import terminal

        if watch:
            terminal.check_live("--watch", "leave it out for a table, or say --json")
        check_folder("--storage", storage)
        with terminal.doing("reading"):
            from lt_ray.board import status as statuses

        if watch:
            return statuses.watch(storage / name)
        return statuses.show(storage / name, as_json=as_json)

    _guarded(execute)


@app.command()
def report(
    names: Annotated[list[str], typer.Argument(metavar="SWEEP…", help="Names of one or more sweeps.")],
    storage: Annotated[Path, typer.Option(help="Where sweeps are kept.")] = Path("runs"),
    tracking_uri: Annotated[
        str | None, typer.Option(help="Read from this MLflow server or database alone; default: from the store.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default: the sweep's own, or STORAGE/report.")
    ] = None,
    published: Annotated[
        Path | None, typer.Option(help="Folder of published tables to compare with; default: the logs'.")
    ] = None,
) -> None:
    """Answer a sweep's question: verdicts, curves and tables as Markdown, CSV, pictures and one HTML page."""

    def execute() -> int:
        from lt_ray.board import terminal

        with terminal.doing("reading"):
            from lt_ray.tracking import reading as reports
            from lt_ray.tracking.target import checked

            check_folder("--storage", storage)
            uri = None if tracking_uri is None else checked(tracking_uri)
        with terminal.doing("writing the report"):
            page = reports.report(names, storage=storage, uri=uri, out=out, published_folder=published)
        terminal.console.print(f"report  {page}", soft_wrap=True)
        return 0

    _guarded(execute)


@app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's name.")],
    cycle: Annotated[str, typer.Argument(metavar="CYCLE", help="The cycle's id, or its beginning: see lt-ray status.")],
    round_: Annotated[
        int | None, typer.Option("--round", help="Round; default: the last one that was not rejected.", min=0)
    ] = None,
    storage: Annotated[Path, typer.Option(help="Where sweeps are kept.")] = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: SWEEP-CYCLE-rROUND here.")] = None,
) -> None:
    """Write a round's model: a Hugging Face folder for an encoder, safetensors and config.json for a text model."""

    def execute() -> int:
        from lt_ray.board import terminal

        with terminal.doing("loading torch"):
            from lt_ray.sweep import export as exports
            from lt_ray.sweep.directory import SweepDirectory

        check_folder("--storage", storage)
        directory = SweepDirectory(storage / name)
        directory.read()
        suffix = "" if round_ is None else f"-r{round_}"
        folder = out or Path(f"{name}-{cycle}{suffix}")
        with terminal.doing("writing the model"):
            result = exports.export(directory, cycle, round_, folder, storage / CACHE / "models")
        terminal.console.print(
            f"round {result.round} of {result.cycle}: test accuracy {result.test_accuracy:.4f}, "
            f"{result.parameters:,} parameters"
        )
        terminal.console.print(f"model   {folder}", soft_wrap=True)
        return 0

    _guarded(execute)


@app.command()
def sync(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    storage: Annotated[Path, typer.Option(help="Where sweeps are kept.")] = Path("runs"),
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server; default: where the sweep was recorded last.")
    ] = None,
) -> None:
    """Deliver a sweep's record to MLflow from its store: after a server was away, or to another one."""

    def execute() -> int:
        from lt_ray.board import terminal

        with terminal.doing("reading"):
            from lt_ray.tracking import sync as syncing

        check_folder("--storage", storage)
        return syncing.sync(storage / name, tracking_uri)

    _guarded(execute)
