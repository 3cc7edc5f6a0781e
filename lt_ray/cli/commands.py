"""`lt-ray`: what can be asked of sweeps that were run."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from lt_ray.board import terminal
from lt_ray.cli.guard import guarded
from lt_ray.cycle.metrics import METRICS
from lt_ray.errors import InputError, nearest
from lt_ray.store.storage import CACHE, check_folder

Storage = Annotated[Path, typer.Option(help="Where sweeps are kept.")]
Name = Annotated[str, typer.Argument(help="The sweep's name.")]

app = typer.Typer(
    help="Sweeps of prune-retrain cycles on Ray Tune.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_OF_A_SCRIPT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_OF_A_SCRIPT)
@guarded
def run(context: typer.Context, script: Path) -> int:
    """Run a sweep script with its own options: lt-ray run sweeps/imdb_lt.py --toy."""
    return _script(script, context.args)


@app.command(context_settings=_OF_A_SCRIPT)
@guarded
def plan(context: typer.Context, script: Path) -> int:
    """Show what a sweep script would run: lt-ray plan sweeps/imdb_lt.py --toy."""
    return _script(script, ["--plan", *context.args])


def _script(script: Path, words: list[str]) -> int:
    if not script.is_file():
        scripts = sorted(str(path) for path in Path("sweeps").glob("*.py"))
        known = f" There are: {', '.join(scripts)}." if scripts else ""
        raise InputError(
            f"`SCRIPT` must be a sweep script, but got {str(script)!r}.{nearest(str(script), scripts)}{known}"
        )
    sys.argv = [str(script), *words]
    runpy.run_path(str(script), run_name="__main__")
    return 0


@app.command()
@guarded
def status(
    name: Name,
    storage: Storage = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a finished round.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look on until the sweep ends or Ctrl-C; needs a terminal.")
    ] = False,
) -> int:
    """Show a sweep from its store alone; it may be running, here or elsewhere."""
    if watch and not terminal.is_live():
        raise InputError(
            "`--watch` needs a terminal, but the output goes elsewhere: leave it out for a table, or say --json"
        )
    check_folder("--storage", storage)
    with terminal.doing("reading"):
        from lt_ray.board import status as statuses

    if watch:
        return statuses.watch(storage / name)
    return statuses.show(storage / name, as_json=as_json)


@app.command()
@guarded
def report(
    names: Annotated[list[str], typer.Argument(metavar="SWEEP…", help="Names of one or more sweeps.")],
    storage: Storage = Path("runs"),
    tracking_uri: Annotated[
        str | None, typer.Option(help="Read from this MLflow server or database alone; default: from the store.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default: the sweep's own, or STORAGE/report.")
    ] = None,
    published: Annotated[
        Path | None, typer.Option(help="Folder of published tables to compare with; default: the research logs'.")
    ] = None,
    plugin: Annotated[
        list[str] | None, typer.Option(help="Plugin of the sweeps' own tasks, models or prunings, with --tracking-uri.")
    ] = None,
) -> int:
    """Answer a sweep's question: verdicts, curves and tables as Markdown, CSV, pictures and one HTML page."""
    with terminal.doing("reading"):
        from lt_ray.cycle import plugins
        from lt_ray.tracking import reading as reports
        from lt_ray.tracking.target import checked

        check_folder("--storage", storage)
        uri = None if tracking_uri is None else checked(tracking_uri)
        for one in plugin or ():
            plugins.load(one)
    with terminal.doing("writing the report"):
        page = reports.report(names, storage=storage, uri=uri, out=out, published_folder=published)
    terminal.console.print(f"report  {page}", soft_wrap=True)
    return 0


@app.command()
@guarded
def export(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's name.")],
    cycle: Annotated[str, typer.Argument(metavar="CYCLE", help="The cycle's id, or its beginning: see lt-ray status.")],
    round_: Annotated[
        int | None, typer.Option("--round", help="Round; default: the last one that was not rejected.", min=0)
    ] = None,
    storage: Storage = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: SWEEP-CYCLE-rROUND here.")] = None,
) -> int:
    """Write a round's model: a Hugging Face folder for an encoder, safetensors and config.json for a text model."""
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
        f"round {result.round} of {result.cycle}: test {METRICS[result.metric].label} {result.value('test'):.4f}, "
        f"{result.parameters:,} parameters"
    )
    terminal.console.print(f"model   {folder}", soft_wrap=True)
    return 0


@app.command()
@guarded
def sync(
    name: Name,
    storage: Storage = Path("runs"),
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server; default: where the sweep was recorded last.")
    ] = None,
) -> int:
    """Deliver a sweep's record to MLflow from its store: after a server was away, or to another one."""
    with terminal.doing("reading"):
        from lt_ray.tracking import sync as syncing

    check_folder("--storage", storage)
    return syncing.sync(storage / name, tracking_uri)
