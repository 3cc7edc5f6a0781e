"""A sweep's directory → what MLflow is told of it, and the report. The driver and `lt-ray sync` tell the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.names import arm_keys, arm_name, cycle_name
from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.report.findings import assemble
from lt_ray.report.findings.document import Document
from lt_ray.report.findings.headline import best_points
from lt_ray.report.pages import files
from lt_ray.report.pages.markdown import as_note
from lt_ray.report.pages.rounds import rounds_csv
from lt_ray.report.reading import published, rows
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep
from lt_ray.rounds.outcome import epoch_result
from lt_ray.store.files import write_file
from lt_ray.store.store import StoredRound
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.recorded import RecordedCycle
from lt_ray.sweep.search import best
from lt_ray.tracking.events import (
    Closed,
    CycleEnded,
    Dataset,
    Event,
    Opened,
    Reported,
    RoundDone,
    Status,
    Summed,
)
from lt_ray.tracking.names import (
    ARM_TAG,
    FIELDS_TAG,
    KEYS_TAG,
    SPACE_TAG,
    TASK_TAG,
    milliseconds,
)
from lt_ray.tracking.summaries import summaries

_PUBLISHED = Path(__file__).parents[2] / "reports" / "published"


def document(sweeps: Sequence[ReportedSweep], published_folder: Path | None = None) -> Document:
    """Return what a report of these sweeps says, beside published tables.

    - `published_folder`: where the tables are; None = `reports/published/` of lt_ray's repository, where there is one
    """
    folder = published_folder or (_PUBLISHED if _PUBLISHED.is_dir() else None)
    return assemble.assemble(sweeps, published.load(folder) if folder is not None else ())


def parent(directory: SweepDirectory) -> Opened:
    """Return the event that begins a sweep's record; raises `StorageError` where there is no sweep."""
    tree = directory.read()
    environment, data = directory.surroundings()
    definition: dict[str, Any] = tree["definition"]
    own = {key: value for key, value in definition.items() if key not in ("cycle", "space", "data")}
    if not any(key["kind"] != "grid" for key in _space(definition).values()):
        own = {key: value for key, value in own.items() if key not in ("samples", "sampling_seed")}
    params: dict[str, Scalar] = {key: value for key, value in _flat(own) if value is not None}
    params |= {"rounds": len(definition["cycle"]["schedule"]), "tolerance": tree.get("tolerance")}
    params |= {f"data.{name}": value for name, value in data.items() if name != "digest"} | {
        "data.digest": definition["data"]
    }
    tags = {f"env.{name}": value for name, value in environment.items()}
    tags |= {SPACE_TAG: json.dumps(_space(definition)), TASK_TAG: definition["cycle"]["task"]["name"]}
    if "commit" in environment:
        tags["mlflow.source.git.commit"] = environment["commit"].rstrip("+")
    return Opened(
        cycle=None,
        name=tree["name"],
        params=params,
        tags=tags,
        dataset=Dataset(definition["cycle"]["task"]["name"], definition["data"], json.dumps(data)),
        at_ms=milliseconds(float(tree["created_at"])),
    )


def first_start(results: Sequence[RoundResult], *, otherwise: float) -> float:
    """Return when the first of a cycle's rounds began, as far as its rounds tell; those of other cycles count only
    where it computed none [s]."""
    own = [result for result in results if result.source == "computed"] or results[:1]
    return min((result.finished_at - result.train_s - result.eval_s for result in own), default=otherwise)


class Record:
    """All that a sweep's directory tells; read once, when it is first asked for."""

    def __init__(self, directory: SweepDirectory) -> None:
        self.directory = directory
        self._known: dict[str, StoredRound] = {}

    @cached_property
    def cycles(self) -> list[tuple[RecordedCycle, ReportedCycle]]:
        """The planned cycles with their finished rounds."""
        found = []
        for recorded in self.directory.cycles():
            results = tuple(self.directory.results(recorded, self._known))
            cycle = recorded.cycle
            state, reason = self._state(recorded, results)
            decided = {result.round: self._known[result.key].decision for result in results}
            decisions = {round: decision for round, decision in decided.items() if decision is not None}
            reported = ReportedCycle(cycle.id, cycle, recorded.settings, state, results, reason, decisions)
            found.append((recorded, reported))
        return found

    @property
    def rounds(self) -> int:
        """Finished rounds of all cycles, shared ones counted once for each cycle [count]."""
        return sum(len(reported.results) for _, reported in self.cycles)

    @property
    def status(self) -> Status:
        """How the sweep stands as a whole."""
        states = {reported.state for _, reported in self.cycles}
        return "KILLED" if "unfinished" in states else "FAILED" if "failed" in states else "FINISHED"

    @cached_property
    def parent(self) -> Opened:
        """The event that begins the record."""
        return parent(self.directory)

    def opened(
        self, cycle: Cycle, settings: Mapping[str, Scalar], keys: Sequence[str], began: float, *, begun: bool = True
    ) -> Opened:
        """Return the event that begins a cycle's record.

        - `settings`: its searched fields; `keys`: of its rounds
        - `began`: when, if its run is not there yet [Unix s]
        - `begun`: False for one that has had no place to run: its run begins anew once it has
        """
        arm = arm_name(settings, self._arm_keys)
        # In their own order, which is that of the words in an arm's name.
        fields = json.dumps({"settings": dict(settings), "cycle": cycle.model_dump(mode="json")})
        return Opened(
            cycle=cycle.id,
            name=cycle_name(settings, cycle.seed),
            params=cycle.flat(),
            tags={FIELDS_TAG: fields, KEYS_TAG: " ".join(keys)} | ({ARM_TAG: arm} if arm else {}),
            dataset=self.parent.dataset,
            at_ms=milliseconds(began),
            begun=begun,
        )

    def events(self) -> Iterator[Event]:
        """Yield everything, in an order in which it can be recorded from nothing."""
        yield self.parent
        created_at = ended = float(self.directory.read()["created_at"])
        for recorded, reported in self.cycles:
            cycle, state = recorded.cycle, reported.state
            began = first_start(reported.results, otherwise=created_at)
            begun = bool(reported.results) or state != "unfinished"
            yield self.opened(cycle, recorded.settings, recorded.keys, began, begun=begun)
            for result in reported.results:
                stored = self._known[result.key]
                yield RoundDone(
                    result=result,
                    epochs=tuple(epoch_result(cycle, result.round, epoch) for epoch in stored.epochs),
                    epochs_a_round=cycle.most_epochs,
                    decision=stored.decision,
                )
            at = max((result.finished_at for result in reported.results), default=began)
            ended = max(at, ended)
            status: Status = "FAILED" if state == "failed" else "KILLED" if state == "unfinished" else "FINISHED"
            yield CycleEnded(cycle=reported.id, status=status, reason=reported.reason, at_ms=milliseconds(at))
        yield from self.summaries()
        yield Closed(status=self.status, at_ms=milliseconds(ended))
        yield Reported(folder=str(self.directory.report.resolve()))

    def summaries(self) -> Iterator[Summed]:
        """Yield each run in a few numbers."""
        return summaries(
            self._arms,
            metric=self._metric,
            tolerance=self.tolerance,
            created_ms=self.parent.at_ms,
            note=self._note,
        )

    @property
    def sweep(self) -> ReportedSweep:
        """The sweep as a report sees it."""
        tree = self.directory.read()
        environment, data = self.directory.surroundings()
        return rows.reported_sweep(
            name=tree["name"],
            space=self.space,
            tolerance=self.tolerance,
            task=tree["definition"]["cycle"]["task"]["name"],
            cycles=[reported for _, reported in self.cycles],
            environment=environment,
            data={name: value for name, value in data.items() if name != "digest"},
        )

    def write_report(self) -> None:
        """Write the report, the final table and the definition into the report's folder."""
        folder = self.directory.report
        write_file(folder / "rounds.csv", rounds_csv(self._arms, self.tolerance).encode())
        files.write(self._document, folder)
        folder.joinpath("sweep.json").unlink(missing_ok=True)
        shutil.copyfile(self.directory.path / "sweep.json", folder / "sweep.json")

    @cached_property
    def _arms(self) -> dict[str, list[ReportedCycle]]:
        tree = self.directory.read()
        reported = [cycle for _, cycle in self.cycles]
        return rows.by_arm(reported, self._arm_keys, otherwise=tree["name"])

    @cached_property
    def _arm_keys(self) -> tuple[str, ...]:
        return arm_keys(self.space)

    @cached_property
    def space(self) -> dict[str, Any]:
        """The search space: key → {kind, values, when}."""
        return _space(self.directory.read()["definition"])

    @cached_property
    def _document(self) -> Document:
        return document([self.sweep])

    @cached_property
    def _note(self) -> str:
        """The report in short."""
        asked = self.directory.asked()
        found = [(asked[index].settings, asked[index].told) for index in best([item.told for item in asked])]
        points = [(settings, told.values) for settings, told in found if told and len(asked) > 1]
        (section,) = self._document.sections
        return as_note(section, [best_points(self.directory.objectives, points)] if points else ())

    @property
    def _metric(self) -> str:
        """Name of the metric that decides."""
        return str(self.directory.read()["definition"]["cycle"]["task"]["metric"])

    @cached_property
    def tolerance(self) -> float:
        """What a winning ticket may lose, in the unit of the deciding metric."""
        return float(self.directory.read().get("tolerance", 0.0))

    def _state(self, recorded: RecordedCycle, results: tuple[RoundResult, ...]) -> tuple[str, str]:
        """A cycle's state, and why."""
        if len(results) == len(recorded.keys):
            return "finished", ""
        if (reason := self.directory.failure(recorded.cycle.id)) is not None:
            return "failed", reason
        if (reason := self.directory.stopped(recorded.cycle.id)) is not None:
            return "stopped", reason
        return "unfinished", ""


def _space(definition: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = definition.get("space", {}).get("distributions", {})
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
