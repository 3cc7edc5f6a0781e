"""Export: a round's model as a folder that others can load without lt_ray, with a card that tells its figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from lt_ray.cycle import plugins
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import MODELS, model_name
from lt_ray.cycle.results import RoundResult
from lt_ray.errors import StorageError, nearest
from lt_ray.models.model import CONFIG, WEIGHTS, implementation, model_of
from lt_ray.store.store import StoredRound
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.recorded import RecordedCycle

_CARD = "README.md"


def export(directory: SweepDirectory, cycle_id: str, round: int | None, out: Path, cache: Path) -> RoundResult:
    """Write the model that a round ended with into a folder, and return the round's row.

    An encoder becomes what `save_pretrained` writes, its tokenizer beside it: `from_pretrained` loads it as it is, with
    fewer blocks and with zeros. A model of lt_ray's own becomes what `load` reads.

    - `cycle_id`: identity of one of the sweep's cycles, or the beginning of one
    - `round`: None = the cycle's last round that was not rejected
    - `out`: made if absent; must hold nothing
    - `cache`: where the sweep keeps pretrained models

    Raises `StorageError` where there is no such cycle, round or folder, or the round's weights were dropped.
    """
    recorded = _recorded(directory, cycle_id)
    results = list(directory.results(recorded, {}))
    chosen = _chosen(recorded, results, round)
    stored = directory.store.read(chosen.key)
    weights = directory.store.weights(chosen.key)
    assert stored is not None
    if weights is None:
        there = [str(result.round) for result in results if directory.store.has_weights(result.key)]
        raise StorageError(
            f"the weights of round {chosen.round} of cycle {recorded.cycle.id} were dropped, since nothing starts from "
            f"them: export one of the rounds {', '.join(there) or '–'}, or run the sweep with `--keep all`"
        )
    if out.exists() and any(out.iterdir()):
        raise StorageError(f"`--out` must be a folder that is empty or not there, but {out} holds files: name another")
    out.mkdir(parents=True, exist_ok=True)
    inputs, cycle = directory.inputs(), recorded.cycle
    model = model_of(cycle.model, Facts(**inputs["facts"]), implementation(cycle.model).kept_files(cycle.model, cache))
    about = {"cycle": cycle.model_dump(mode="json"), **{key: value for key, value in inputs.items() if key != "data"}}
    model.export(weights, stored.blocks, about, out)
    for digest, text in plugins.texts(cycle.plugins).items():
        (out / f"plugin-{digest[:12]}.py").write_text(text)
    for path in out.iterdir():
        path.chmod(0o644)  # some libraries write for their own user alone
    (out / _CARD).write_text(_card(directory, recorded, results, chosen, stored, inputs["classes"]))
    return chosen


def load(folder: Path) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return a model of lt_ray's own that was exported, its weights in place, and its `config.json`.

    The module takes a batch's inputs, int64 (B, T) for texts, and gives outputs, float (B, outputs).
    """
    for path in sorted(folder.glob("plugin-*.py")):
        plugins.load(path)
    tree = json.loads((folder / CONFIG).read_text())
    model = model_of(MODELS.parse(tree["cycle"]["model"]), Facts(**tree["facts"]))
    blocks = None if tree["blocks"] is None else tuple(tree["blocks"])
    state = safetensors.torch.load_file(folder / WEIGHTS)
    return model.live(state, blocks, torch.device("cpu")).eval(), tree


def _recorded(directory: SweepDirectory, cycle_id: str) -> RecordedCycle:
    cycles = {recorded.cycle.id: recorded for recorded in directory.cycles()}
    named = [id for id in cycles if id.startswith(cycle_id)] if cycle_id else []
    if len(named) != 1:
        many = f"the beginning of {len(named)}: {', '.join(named[:5])}" if named else "none of the sweep's"
        raise StorageError(
            f"`CYCLE` must be one of the sweep's {len(cycles)} cycles, but {cycle_id!r} is {many}."
            f"{nearest(cycle_id, cycles)} `lt-ray status {directory.path.name}` lists them"
        )
    return cycles[named[0]]


def _chosen(recorded: RecordedCycle, results: Sequence[RoundResult], round: int | None) -> RoundResult:
    by_index = {result.round: result for result in results}
    if round is None:
        accepted = [result for result in results if result.accepted is not False]
        if accepted:
            return accepted[-1]
    elif round in by_index:
        return by_index[round]
    have = ", ".join(map(str, by_index)) or "none"
    raise StorageError(f"`--round` must be a finished round of cycle {recorded.cycle.id} ({have}), but got {round}")


def _card(
    directory: SweepDirectory,
    recorded: RecordedCycle,
    results: Sequence[RoundResult],
    chosen: RoundResult,
    stored: StoredRound,
    classes: Sequence[str],
) -> str:
    """A model card in Markdown: what it is, its figures, how it came to be."""
    cycle, task = recorded.cycle, recorded.cycle.task.name
    dense, metric = results[0], cycle.metric
    asked = f" Classes: {', '.join(classes)}." if classes else ""
    lines = [
        "---",
        *implementation(cycle.model).card,
        "tags: [pruning]",
        "---",
        "",
        f"# {cycle.model.title} on {task}, pruned",
        "",
        f"Round {chosen.round} of cycle `{cycle.id}` of the sweep `{directory.path.name}`, seed {cycle.seed}: "
        f"{cycle.flat()['schedule'] or 'no pruning'}.{asked}",
        "",
        "| | this model | dense |",
        "|:--|--:|--:|",
        f"| test {metric.label} | {chosen.value('test'):.4f} | {dense.value('test'):.4f} |",
        f"| test loss [nats] | {chosen.test_loss:.4f} | {dense.test_loss:.4f} |",
        f"| validation {metric.label} | {chosen.value('val'):.4f} | {dense.value('val'):.4f} |",
        f"| parameters | {chosen.parameters:,} | {dense.parameters:,} |",
    ]
    if chosen.nonzero is not None and dense.nonzero is not None:
        lines.append(f"| of them not pruned | {chosen.nonzero:,} | {dense.nonzero:,} |")
    if stored.blocks is not None:
        lines.append(f"| blocks | {len(stored.blocks)} | {dense.blocks} |")
        kept = ", ".join(map(str, stored.blocks))
        lines += ["", f"Kept blocks, by their place in the dense model: {kept}."]
    if chosen.nonzero is not None and chosen.nonzero < chosen.parameters:
        lines += ["", "Pruned weights are exact zeros within dense matrices: they make no pass faster."]
    fields = cycle.flat()
    fields |= {key: model_name(str(fields[key])) for key in fields if key == "model.path"}  # no path of a machine
    lines += ["", "Every field of the cycle:", "", "```json", json.dumps(fields, indent=1), "```", ""]
    return "\n".join(lines)
