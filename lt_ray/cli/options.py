"""The options of a sweep's command: each is declared once, as a field from which the command is made."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, dataclass, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import MODELS
from lt_ray.cycle.tasks import TASKS
from lt_ray.store.storage import Keep
from lt_ray.sweep.objective import Search, objectives

ADAPTIVE_SAMPLES = 30
"""Points of an adaptive search, unless said otherwise [count]"""
Scheduler = Literal["fifo", "asha"]
"""Whether cycles that are worse than others end early"""


@dataclass(frozen=True)
class Script:
    """What a sweep script says, before the options."""

    name: str
    cycle: Cycle
    space: Path | None
    samples: int
    seeds: int
    tolerance: float


def _option(text: str, *names: str, **more: Any) -> Any:
    """An option with its help, in which words in braces are filled in for each script (`command`)."""
    return typer.Option(*names, help=text, **more)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for, by the names of the command line; a field without a default has the script's own."""

    address: Annotated[
        str, _option("Ray cluster: local (this machine), auto (the running one that this node is in) or HOST:PORT.")
    ] = "local"
    local: Annotated[bool, _option("Run in this process, without Ray; the results are the same.", "--local")] = False
    task: Annotated[str | None, _option("Task: {tasks}.")] = None
    model: Annotated[
        str | None, _option("Model: {models}; or an encoder: its name on the Hugging Face hub, or its folder.")
    ] = None
    from_config: Annotated[
        bool, _option("Draw an encoder's weights from the seed: only its configuration is needed.", "--from-config")
    ] = False
    rounds: Annotated[int | None, _option("Prunings after the dense round.")] = None
    space: Annotated[Path | None, _option("Search-space file (YAML).")] = None
    set_: Annotated[
        list[str] | None,
        _option("Fix a cycle field (training.lr=0.001), also a searched one.", "--set", metavar="KEY=VALUE"),
    ] = None
    search: Annotated[
        Search,
        _option(
            "random: grids crossed, other keys drawn; grid: all crossed; "
            "optuna: adaptive (TPE), --samples points in all."
        ),
    ] = "random"
    samples: Annotated[
        int | None,
        _option(
            "Draws of the space's random keys, each at every grid point; default {samples}, with optuna {adaptive}.",
            min=1,
        ),
    ] = None
    seeds: Annotated[int, _option("Seeds at every point, paired.", min=1)]
    objective: Annotated[
        list[str] | None,
        _option(
            "What optuna looks for and asha compares: {objectives} (of validation data); repeat it for a Pareto front."
        ),
    ] = None
    delay: Annotated[int | None, _option("With optuna: points that may be under way at once; default 8.", min=1)] = None
    scheduler: Annotated[Scheduler, _option("asha: end cycles that are worse than others after the same round.")] = (
        "fifo"
    )
    asha_reduction: Annotated[int | None, _option("With asha: one in so many goes on; default 3.", min=2)] = None
    asha_grace: Annotated[
        int | None, _option("With asha: first round after which a cycle may end; default 1.", min=1)
    ] = None
    max_drop: Annotated[
        float | None,
        _option(
            "End cycles that lose more than this of their own dense round's validation {metric}; a training itself "
            "stops early by validation loss."
        ),
    ] = None
    drop_rounds: Annotated[int | None, _option("With --max-drop: rounds in a row; default 2.", min=1)] = None
    tolerance: Annotated[float, _option("Validation {metric} that a winning ticket may lose.")]
    plugin: Annotated[
        list[str] | None,
        _option("Python file with tasks, models, prunings or metrics of your own, or an installed plugin's name."),
    ] = None
    data_dir: Annotated[
        Path | None,
        _option("Folder with DIR/<task>/{{train,validation,test}}.parquet (.csv, .jsonl), or these files themselves."),
    ] = None
    toy: Annotated[
        bool, _option("The same sweep on a built-in corpus with a small model: about a minute, offline.", "--toy")
    ] = False
    gpus_per_trial: Annotated[float, _option("Share of a GPU for one trial, such as 0.25.", min=0)] = 0.0
    cpus_per_trial: Annotated[float, _option("CPUs, and threads, of one trial.", min=0.1)] = 1.0
    max_concurrent: Annotated[int | None, _option("Trials at once; default: as many as fit.", min=1)] = None
    storage: Annotated[Path, _option("Where sweeps are kept; every node must see it.")] = Path("runs")
    keep: Annotated[Keep, _option("Trained weights to keep: those needed, or all.")] = "needed"
    partial_every: Annotated[float, _option("Seconds of a running round that a kill may cost.", min=0)] = 60.0
    tracking_uri: Annotated[str | None, _option("MLflow server, or `none`; default: STORAGE/mlflow.db.")] = None
    name: Annotated[str | None, _option("Name of the sweep; default: {name}.")] = None
    fresh: Annotated[bool, _option("Set the sweep of this name aside and start over.", "--fresh")] = False
    retry_errored: Annotated[bool, _option("Run cycles again that failed.", "--retry-errored")] = False
    plan: Annotated[bool, _option("Show what would run, and stop.", "--plan")] = False
    json: Annotated[bool, _option("With --plan: as JSON.", "--json")] = False


def command(script: Script, run: Callable[[Options], None]) -> Callable[..., None]:
    """Return a function whose signature has every option, for typer; called, it gives `run` what was asked for."""

    def sweep(**given: Any) -> None:
        run(Options(**given))

    hints = get_type_hints(Options, include_extras=True)
    words = {
        "tasks": ", ".join(TASKS),
        "models": ", ".join(name for name in MODELS if name != "encoder"),
        "objectives": ", ".join(objectives(script.cycle.task.metrics)),
        "metric": f"{script.cycle.metric.label} ({script.cycle.metric.unit})",
        "samples": script.samples,
        "adaptive": ADAPTIVE_SAMPLES,
        "name": script.name,
    }
    parameters = []
    for item in fields(Options):
        kind, option = get_args(hints[item.name])
        option = copy(option)
        option.help = option.help.format(**words)
        hints[item.name] = Annotated[kind, option]
        default = getattr(script, item.name) if item.default is MISSING else item.default
        parameters.append(Parameter(item.name, Parameter.KEYWORD_ONLY, default=default, annotation=hints[item.name]))
    sweep.__signature__ = Signature(parameters)  # type: ignore[attr-defined] # what typer reads
    sweep.__annotations__ = hints
    return sweep
