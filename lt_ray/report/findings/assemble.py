"""Sweeps → what a report says of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lt_ray.cycle.models import model_name
from lt_ray.cycle.prunings import PRUNINGS
from lt_ray.cycle.settings import Scalar
from lt_ray.report.findings import (
    bill,
    block_tables,
    block_verdicts,
    confusion,
    disagreements,
    front,
    headline,
    heat_map,
    importance,
    tables,
    verdicts,
)
from lt_ray.report.findings.compare import Compared, Group, compare, curve, distinct, groups
from lt_ray.report.findings.document import Chart, Curves, Document, HeatMap, ReportTable, Section
from lt_ray.report.findings.words import first_of, listed, seeds_of, span
from lt_ray.report.reading.published import Published
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep, tested

_MOST_NAMED = 6
"""Cycles that a warning names one by one [count]"""


def assemble(sweeps: Sequence[ReportedSweep], published: Sequence[Published] = ()) -> Document:
    """Return what a report says: a section for each sweep, in order.

    - `published`: results of others; those on a sweep's task and model stand beside its own

    Arms are compared within one task, at equal sparsity, by cycles that agree in seed and all other settings.
    """
    names = [sweep.name for sweep in sweeps]
    title = f"Prune-retrain sweeps: {listed(names)}" if names else "Prune-retrain sweeps: none"
    return Document(title, tuple(_section(sweep, published) for sweep in sweeps))


def _section(sweep: ReportedSweep, published: Sequence[Published]) -> Section:
    found = groups(sweep)
    arm_of = {
        cycle.id: arm if group.main else f"{arm}, on {group.task}"
        for group in found
        for arm, cycles in group.arms.items()
        for cycle in cycles
    }
    opening: dict[str, Any] = {}
    first, sentences, listing = "", list[str](), list[ReportTable]()
    charts, maps = list[Chart](), list[HeatMap]()
    for group, own in zip(found, compare(found), strict=True):
        searched = importance.settings(group)
        charts += [searched] if searched is not None else []
        if not any(cycle.results for cycle in group.cycles):
            continue
        if group.main:
            first, opening = headline.opening(group, own.pairs, searched)
        said = [*(block_verdicts.verdicts(group) if group.has_blocks else ()), *verdicts.verdicts(group, own)]
        sentences += [one if group.main else f"On {group.task}, where tickets are found: {one}" for one in said]
        charts += [_curves(group), *(front.fronts(group) if group.has_blocks else ())]
        maps += heat_map.heat_maps(group)
        listing += _tables(group, own, published)
    if sweep.cycles:
        bills = bill.bills(sweep.cycles, arm_of)
        listing += [tables.unfinished(sweep.cycles, arm_of), tables.bill(bills)]
        sentences.append(bill.sentence(bill.total(bills.values())))
    opening = opening or {"headline": sentences.pop(0) if sentences else ""}
    return Section(
        title=sweep.name,
        lead=_lead(sweep),
        warnings=tuple(_warnings(sweep, found, arm_of)),
        verdicts=tuple(sentences),
        charts=tuple(sorted(charts, key=lambda chart: (chart.folder != first, chart.folder))),
        tables=tuple(table for table in listing if table.rows),
        maps=tuple(maps),
        **opening,
    )


def _tables(group: Group, compared: Compared, published: Sequence[Published]) -> list[ReportTable]:
    """The tables of one group."""
    if group.has_blocks:
        # Published encoders are BERT-base whatever ours is: they stand where that is said.
        first = [*block_tables.tables(group, published), tables.rounds(group, ())]
    else:
        first = [
            tables.rounds(group, published),
            tables.before_pruning(group, published),
            tables.after_pruning(group, published),
        ]
    return [
        *first,
        tables.tickets(group),
        tables.differences(group, compared),
        tables.crossing_points(group, compared),
        confusion.confusion(group),
        disagreements.disagreements(group),
    ]


def _curves(group: Group) -> Curves:
    starts = distinct(cycle.dense for cycle in group.cycles)
    return Curves(
        slug=f"{group.slug}{group.words.metric.name}",
        title=f"{group.sweep.name}: test {group.words.name} against sparsity{group.where}",
        lines=tuple(curve(arm, cycles) for arm, cycles in group.arms.items() if any(c.results for c in cycles)),
        dense=statistics.fmean(map(tested, starts)) if starts else None,
        tolerance=group.sweep.tolerance,
        metric=group.words.metric,
    )


def _warnings(sweep: ReportedSweep, groups: Sequence[Group], arm_of: Mapping[str, str]) -> Iterable[str]:
    if isinstance(notes := sweep.data.get("notes"), str) and notes:
        yield notes
    if isinstance(sweep.examples, str) and sweep.examples:
        yield sweep.examples
    if not sweep.cycles:
        yield "No cycle was planned yet."
    elif not any(cycle.results for cycle in sweep.cycles):
        yield "No round has finished yet: there is nothing to compare."
    states = {
        "failed": ("", "", "failed, and only what they had finished is used"),
        "stopped": (
            "was ", "were ",
            "ended early by a rule; later rounds are of those that it let go on, so do not compare arms there",
        ),
        "unfinished": ("is ", "are ", "still running or interrupted, and only what has finished is used"),
    }  # fmt: skip
    for state, (one, several, what) in states.items():
        cycles = [cycle for cycle in sweep.cycles if cycle.state == state]
        if cycles:
            named = first_of(
                [f"{arm_of[cycle.id]} seed {cycle.seed} ({_progress(cycle)})" for cycle in cycles], _MOST_NAMED
            )
            verb = one if len(cycles) == 1 else several
            yield f"{len(cycles)} of {len(sweep.cycles)} cycles {verb}{what}: {named}."
    for group in groups:
        if uneven := [arm for arm, cycles in group.arms.items() if _uneven(cycles)]:
            yield (
                f"Means are over unequal numbers of cycles per round, the column n, in {listed(uneven)}{group.where}."
            )


def _uneven(cycles: Sequence[ReportedCycle]) -> bool:
    """Whether a round that some cycles finished was planned for others that did not."""
    done = {index for cycle in cycles for index in cycle.by_round}
    return any(done & set(cycle.cycle.trained_rounds) - cycle.by_round.keys() for cycle in cycles)


def _progress(cycle: ReportedCycle) -> str:
    reason = " ".join(cycle.reason.split())
    short = reason if len(reason) <= 160 else f"{reason[:159]}…"
    return f"{len(cycle.results)} of {len(cycle.cycle.trained_rounds)} rounds{': ' if short else ''}{short}"


def _lead(sweep: ReportedSweep) -> str:
    cycles = [cycle for cycle in sweep.cycles if not cycle.finds_tickets] or list(sweep.cycles)
    sentences = [_what(sweep, cycles)]
    sentences += [_training(sweep, cycles)] if cycles else []
    sentences += [_where(sweep.environment)] if sweep.environment else []
    return " ".join(sentences)


def _what(sweep: ReportedSweep, cycles: Sequence[ReportedCycle]) -> str:
    results = [result for cycle in cycles for result in cycle.results]
    encoders = [result for result in results if result.blocks is not None and result.round == 0]
    model = (
        model_name(_values(sweep, cycles, "model.path")) or _values(sweep, cycles, "model.name").upper() or "A model"
    )
    schedule, size = "", ""
    if encoders:
        blocks = span(result.blocks or 0 for result in encoders)
        size = f" of {blocks} blocks and {span(result.parameters for result in encoders)} parameters"
        schedule = _values(sweep, cycles, "schedule")
    elif results:
        prunable = span(result.prunable for result in results)
        size = f" of {span(result.parameters for result in results)} parameters, {prunable} prunable,"
    splits = ("train", "validation", "test")
    sizes = [f"{value:,} {name}" for name in splits if isinstance(value := sweep.data.get(name), int)]
    classes = f", {sweep.data['classes']} classes" if sweep.data.get("classes") else ""
    data = f" ({listed(sizes)} examples{classes})" if sizes else ""
    prunings = f" of {span(cycle.cycle.rounds for cycle in cycles)} prunings" if cycles else ""
    prunings += f" ({schedule})" if schedule else ""
    others = len(sweep.cycles) - len(cycles)
    more = f" (and {others} that find tickets for them)" if others else ""
    seeds = f", {seeds_of(cycle.seed for cycle in sweep.cycles)}" if sweep.cycles else ""
    return f"{model}{size} on {sweep.task}{data}: {len(cycles)} cycles{prunings}{more}{seeds}."


def _training(sweep: ReportedSweep, cycles: Sequence[ReportedCycle]) -> str:
    fields = {
        "training.optimizer": "", "training.lr": "lr", "training.batch_size": "batch size", "model.dropout": "dropout",
        "training.weight_decay": "weight decay",
    }  # fmt: skip
    for method, settings in PRUNINGS.items():
        fields |= {f"{method}.{name}": words for name, words in settings.key_fields.items()}
    values = {key: _values(sweep, cycles, key) for key in fields}
    said = [f"{words} {values[key]}".strip() for key, words in fields.items() if values[key] not in ("", "0")]
    patience = _values(sweep, cycles, "training.patience")
    stops = f", stops after {patience} without a lower validation loss," if patience else ""
    return f"A round trains up to {_values(sweep, cycles, 'training.epochs')} epochs{stops} with {', '.join(said)}."


def _where(environment: Mapping[str, str]) -> str:
    hardware = [environment["gpu"]] if "gpu" in environment else []
    if "cpus" in environment:
        cpu = f" ({environment['cpu']})" if "cpu" in environment else ""
        hardware.append(f"{environment['cpus']} CPU cores{cpu}")
    ram = f", {environment['ram_gib']} GiB" if "ram_gib" in environment else ""
    versions = [f"{name} {environment[name]}" for name in ("python", "torch", "ray", "lt_ray") if name in environment]
    commit = environment.get("lt_ray_commit") or environment.get("commit")
    versions += [f"commit {commit[:12]}{'+' if commit.endswith('+') else ''}"] if commit else []
    on = f" on {' and '.join(hardware)}{ram}" if hardware else ""
    return f"Last run{on}{' with ' + ', '.join(versions) if versions else ''}."


def _values(sweep: ReportedSweep, cycles: Sequence[ReportedCycle], key: str) -> str:
    """A field's value, the values there are, or the range it was drawn from; nothing where it is not known."""
    searched: Mapping[str, Any] = sweep.space.get(key) or {}
    if searched.get("kind") in ("uniform", "log_uniform", "integer", "log_integer"):
        low, high = searched["values"]
        return f"{low:g} to {high:g}{' (log scale)' if str(searched['kind']).startswith('log_') else ''}"
    values: list[Scalar] = list(dict.fromkeys(cycle.fields.get(key) for cycle in cycles))
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in values if value is not None]
    return shown[0] if len(shown) == 1 else " or ".join(shown[:8]) + (" …" if len(shown) > 8 else "")
