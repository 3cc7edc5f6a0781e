"""Sweeps → what a report says of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lt_ray.cycle.models import model_name
from lt_ray.cycle.settings import Scalar
from lt_ray.report.findings import bill as bills
from lt_ray.report.findings import block_verdicts, blocks, front, headline, heat_map, importance, tables, verdicts
from lt_ray.report.findings.compare import Compared, Group, compare, curve, dense, distinct, groups, has_blocks
from lt_ray.report.findings.document import Curves, Document, Front, HeatMap, Opening, ReportTable, Searched, Section
from lt_ray.report.findings.verdicts import listed
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
    billed = bills.bills(sweep.cycles, arm_of)
    sentences: list[str] = []
    curves: list[Curves] = []
    listing: list[ReportTable] = []
    settings: list[Searched] = []
    fronts: list[Front] = []
    maps: list[HeatMap] = []
    first, summary = "", list[ReportTable]()
    opening: Opening = "curves"
    for group, compared in zip(found, compare(found), strict=True):
        own = "" if group.main else f"on-{group.task}-"
        where = "" if group.main else f", on {group.task}"
        searched = importance.settings(group, f"{own}settings", f"Settings and what they came to{where}")
        settings += [searched] if searched is not None else []
        if any(cycle.results for cycle in group.cycles):
            if group.main:
                first = headline.headline(group, compared.pairs, searched)
                summary = [headline.summary(group, compared.pairs, "summary")]
                is_search = headline.is_search(group, compared.pairs, searched)
                opening = "settings" if is_search else "fronts" if has_blocks(group) else "curves"
            if has_blocks(group):
                sentences += block_verdicts.verdicts(group)
                fronts += front.fronts(group, own)
                maps += heat_map.heat_maps(group, own)
            sentences += verdicts.verdicts(group, compared)
            curves.append(_curves(group, f"{own}{group.words.metric.name}"))
            listing += _tables(group, compared, published, own)
    if sweep.cycles:
        listing += [tables.unfinished(sweep.cycles, arm_of, "unfinished"), tables.bill(billed, "bill")]
        sentences.append(verdicts.bill(bills.total(list(billed.values()))))
    return Section(
        title=sweep.name,
        lead=_lead(sweep),
        warnings=tuple(_warnings(sweep, found, arm_of)),
        verdicts=tuple(sentences),
        curves=tuple(curves),
        tables=tuple(table for table in listing if table.rows),
        settings=tuple(settings),
        fronts=tuple(fronts),
        maps=tuple(maps),
        headline=first,
        summary=tuple(summary),
        opening=opening,
    )


def _tables(group: Group, compared: Compared, published: Sequence[Published], own: str) -> list[ReportTable]:
    """The tables of one group.

    - `own`: what their names begin with
    """
    if has_blocks(group):
        # Published encoders are BERT-base whatever ours is: they stand where that is said.
        first = [*blocks.tables(group, published, own), tables.rounds(group, (), f"{own}rounds")]
    else:
        first = [
            tables.rounds(group, published, f"{own}rounds"),
            tables.before_pruning(group, published, f"{own}before-pruning"),
            tables.after_pruning(group, published, f"{own}after-pruning"),
        ]
    return [
        *first,
        tables.tickets(group, f"{own}tickets"),
        tables.differences(group, compared, f"{own}differences"),
        tables.crossing_points(group, compared, f"{own}crossings"),
    ]


def _curves(group: Group, slug: str) -> Curves:
    starts = distinct([result for result in map(dense, group.cycles) if result is not None])
    where = "" if group.main else f" on {group.task}, where its tickets are found"
    return Curves(
        slug=slug,
        title=f"{group.sweep.name}: test {group.words.name} against sparsity{where}",
        curves=tuple(curve(arm, cycles) for arm, cycles in group.arms.items() if any(c.results for c in cycles)),
        dense=statistics.fmean(map(tested, starts)) if starts else None,
        tolerance=group.sweep.tolerance,
        metric=group.words.metric,
    )


def _warnings(sweep: ReportedSweep, found: Sequence[Group], arm_of: Mapping[str, str]) -> Iterable[str]:
    if isinstance(notes := sweep.data.get("notes"), str) and notes:
        yield notes
    if not sweep.cycles:
        yield "No cycle was planned yet."
    elif not any(cycle.results for cycle in sweep.cycles):
        yield "No round has finished yet: there is nothing to compare."
    said = {
        "failed": "failed, and only what they had finished is used",
        "stopped": "ended early by a rule; later rounds are of those that it let go on, so do not compare arms there",
        "unfinished": "still running or interrupted, and only what has finished is used",
    }
    for state, what in said.items():
        cycles = [cycle for cycle in sweep.cycles if cycle.state == state]
        if not cycles:
            continue
        named = [f"{arm_of[c.id]} seed {c.seed} ({_progress(c)}{_reason(c)})" for c in cycles[:_MOST_NAMED]]
        more = f"; and {len(cycles) - _MOST_NAMED} more" if len(cycles) > _MOST_NAMED else ""
        verb = (
            ("is " if len(cycles) == 1 else "are ") if state == "unfinished" else "were " if state == "stopped" else ""
        )
        verb = "was " if state == "stopped" and len(cycles) == 1 else verb
        yield f"{len(cycles)} of {len(sweep.cycles)} cycles {verb}{what}: {'; '.join(named)}{more}."
    for group in found:
        uneven = [arm for arm, cycles in group.arms.items() if _uneven(cycles)]
        if uneven:
            where = "" if group.main else f" on {group.task}"
            yield f"Means{where} are over unequal numbers of cycles per round, the column n, in {listed(uneven)}."


def _uneven(cycles: Sequence[ReportedCycle]) -> bool:
    """Whether a round that some cycles finished was planned for others that did not."""
    done = {result.round for cycle in cycles for result in cycle.results}
    return any(done & set(c.cycle.trained_rounds) - {result.round for result in c.results} for c in cycles)


def _progress(cycle: ReportedCycle) -> str:
    return f"{len(cycle.results)} of {len(cycle.cycle.trained_rounds)} rounds"


def _reason(cycle: ReportedCycle) -> str:
    said = " ".join(cycle.reason.split())
    return "" if not said else f": {said if len(said) <= 160 else said[:159] + '…'}"


def _lead(sweep: ReportedSweep) -> str:
    cycles = [cycle for cycle in sweep.cycles if not cycle.finds_tickets] or list(sweep.cycles)
    sentences = [_what(sweep, cycles)]
    sentences += [_training(sweep, cycles)] if cycles else []
    sentences += [_where(sweep.environment)] if sweep.environment else []
    return " ".join(sentences)


def _what(sweep: ReportedSweep, cycles: Sequence[ReportedCycle]) -> str:
    results = [result for cycle in cycles for result in cycle.results]
    model = _values(sweep, cycles, "model.name").upper() or "A model"
    size = ""
    if encoders := [result for result in results if result.blocks is not None and result.round == 0]:
        model = model_name(_values(sweep, cycles, "model.path")) or "An encoder"
        blocks = _range([result.blocks or 0 for result in encoders])
        size = f" of {blocks} blocks and {_range([result.parameters for result in encoders])} parameters"
    elif results:
        prunable = _range([result.prunable for result in results])
        size = f" of {_range([result.parameters for result in results])} parameters, {prunable} prunable,"
    sizes = [f"{value:,} {name}" for name in _SPLITS if isinstance(value := sweep.data.get(name), int)]
    data = ""
    if sizes:
        classes = sweep.data.get("classes")
        data = f" ({listed(sizes)} examples{f', {classes} classes' if classes else ''})"
    prunings = f" of {_range([cycle.cycle.rounds for cycle in cycles])} prunings" if cycles else ""
    schedule = _values(sweep, cycles, "schedule")
    prunings += f" ({schedule})" if encoders and schedule else ""
    seeds = sorted({cycle.seed for cycle in sweep.cycles})
    others = len(sweep.cycles) - len(cycles)
    more = f" (and {others} that find tickets for them)" if others else ""
    seeded = f", seed{'s' if len(seeds) > 1 else ''} {listed([str(seed) for seed in seeds])}" if seeds else ""
    return f"{model}{size} on {sweep.task}{data}: {len(cycles)} cycles{prunings}{more}{seeded}."


_SPLITS = ("train", "validation", "test")


def _training(sweep: ReportedSweep, cycles: Sequence[ReportedCycle]) -> str:
    named = (
        ("training.optimizer", "{}"), ("training.lr", "lr {}"), ("training.batch_size", "batch size {}"),
        ("model.dropout", "dropout {}"), ("training.weight_decay", "weight decay {}"),
        ("magnitude.fraction", "fraction {}"), ("similarity.threshold", "threshold {}"),
        ("similarity.max_drop", "largest drop {}"), ("wanda.sparsity", "Wanda sparsity {}"),
    )  # fmt: skip
    words = [form.format(value) for key, form in named if (value := _values(sweep, cycles, key)) not in ("", "0")]
    patience = _values(sweep, cycles, "training.patience")
    stops = f", stops after {patience} without a lower validation loss," if patience else ""
    return f"A round trains up to {_values(sweep, cycles, 'training.epochs')} epochs{stops} with {', '.join(words)}."


def _where(environment: Mapping[str, str]) -> str:
    gpus = environment.get("gpu")
    cpus = f"{environment['cpus']} CPU cores" if "cpus" in environment else ""
    cpu = f" ({environment['cpu']})" if cpus and "cpu" in environment else ""
    hardware = [*([gpus] if gpus else []), *([cpus + cpu] if cpus else [])]
    ram = f", {environment['ram_gib']} GiB" if "ram_gib" in environment else ""
    names = ("python", "torch", "ray", "lt_ray")
    versions = [f"{name} {environment[name]}" for name in names if name in environment]
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


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
