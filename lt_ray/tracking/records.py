"""A sweep's directory → what MLflow is told of it, and the report. The driver and `lt-ray sync` tell the same."""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.names import arm_keys, arm_names, cycle_name
from lt_ray.cycle.results import EpochResult, RoundResult, winning_round
from lt_ray.cycle.settings import Scalar
from lt_ray.errors import DamagedError, StorageError
from lt_ray.report.findings import assemble
from lt_ray.report.findings.document import Document
from lt_ray.report.findings.headline import best_points
from lt_ray.report.pages import files
from lt_ray.report.pages.cells import rounds_csv
from lt_ray.report.pages.markdown import as_note
from lt_ray.report.pages.picture import colour
from lt_ray.report.reading import published, rows
from lt_ray.report.reading.examples import GONE, Examples
from lt_ray.report.reading.rows import Confusion, ReportedCycle, ReportedSweep
from lt_ray.rounds.outcome import epoch_result
from lt_ray.store.files import write_file
from lt_ray.store.store import StoredRound
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.recorded import RecordedCycle
from lt_ray.sweep.search import AskedPoint, best, by_point, point_result
from lt_ray.tasks.task import Data
from lt_ray.tracking.events import Dataset, Ended, Event, Opened, Point, Reported, RoundDone, Status, Summed
from lt_ray.tracking.names import (
    ARM_TAG,
    COLOUR_TAG,
    FIELDS_TAG,
    KEYS_TAG,
    NOTE_TAG,
    SPACE_TAG,
    TASK_TAG,
    legal,
    milliseconds,
    round_values,
)

_PUBLISHED = Path(__file__).parents[2] / "reports" / "published"
_PARENT_COLOUR = "#777777"
_ENDS: Mapping[str, Status] = {"failed": "FAILED", "unfinished": "KILLED"}
"""State of a reported cycle → how its run ended; any other FINISHED"""


def document(sweeps: Sequence[ReportedSweep], published_folder: Path | None = None) -> Document:
    """Return what a report of these sweeps says, beside published tables.

    - `published_folder`: where the tables are; None = `reports/published/` of lt_ray's repository, where there is one
    """
    folder = published_folder or (_PUBLISHED if _PUBLISHED.is_dir() else None)
    return assemble.assemble(sweeps, published.load(folder) if folder is not None else ())


def first_start(results: Sequence[RoundResult], *, otherwise: float) -> float:
    """Return when the first of a cycle's rounds began, as far as its rounds tell; those of other cycles count only
    where it computed none [s]."""
    computed = [result for result in results if result.source == "computed"] or results[:1]
    return min((result.finished_at - result.train_s - result.eval_s for result in computed), default=otherwise)


def _confusion(stored: StoredRound) -> Confusion | None:
    """What is told of how often a round's classes were taken for each other on the test split; None without classes."""
    counts = stored.confusions.get("test")
    return None if counts is None else rows.confusion(counts)


def _by_epoch(stored: StoredRound) -> tuple[float, ...]:
    """The deciding metric on the validation split after each epoch of a round."""
    return tuple(value for epoch in stored.epochs if (value := epoch.value("val")) is not None)


class Record:
    """All that a sweep's directory tells; read once, when it is first asked for.

    Its properties and methods raise `StorageError` where there is no sweep.
    """

    def __init__(self, directory: SweepDirectory) -> None:
        self.directory = directory
        self._stored: dict[str, StoredRound] = {}

    @cached_property
    def cycles(self) -> list[tuple[RecordedCycle, ReportedCycle]]:
        """The planned cycles with their finished rounds."""
        return [(recorded, self._reported(recorded)) for recorded in self.directory.cycles()]

    def _reported(self, recorded: RecordedCycle) -> ReportedCycle:
        cycle = recorded.cycle
        results = tuple(self.directory.results(recorded, self._stored))
        state, reason = self.directory.how_ended(recorded, len(results))
        stored = {result.round: self._stored[result.key] for result in results}
        compared = {round: own.decision for round, own in stored.items() if own.decision is not None}
        confusions = {round: counts for round, own in stored.items() if (counts := _confusion(own)) is not None}
        epochs = {round: _by_epoch(own) for round, own in stored.items() if own.epochs}
        known = (state or "unfinished", results, reason, compared, confusions, epochs)
        return ReportedCycle(cycle.id, cycle, recorded.settings, *known)

    @cached_property
    def parent(self) -> Opened:
        """The event that begins the record."""
        tree, definition = self._tree, self._definition
        environment, data = self.directory.environment()
        asked = {key: value for key, value in definition.items() if key not in ("cycle", "space", "data")}
        if all(key["kind"] == "grid" for key in self._space.values()):  # then nothing is drawn
            asked = {key: value for key, value in asked.items() if key not in ("samples", "sampling_seed")}
        params: dict[str, Scalar] = {key: value for key, value in _flat(asked) if value is not None}
        params |= {"rounds": len(definition["cycle"]["schedule"]), "tolerance": tree.get("tolerance")}
        params |= {f"data.{name}": value for name, value in data.items()} | {"data.digest": definition["data"]}
        tags = {f"env.{name}": value for name, value in environment.items()}
        tags |= {SPACE_TAG: json.dumps(self._space), TASK_TAG: self._task["name"]}
        if "commit" in environment:
            tags["mlflow.source.git.commit"] = environment["commit"].rstrip("+")
        return Opened(
            cycle=None,
            name=tree["name"],
            params=params,
            tags=tags,
            dataset=Dataset(self._task["name"], definition["data"], json.dumps(data)),
            at_ms=milliseconds(float(tree["created_at"])),
        )

    def opened(self, planned: RecordedCycle, began: float, *, begun: bool = True) -> Opened:
        """Return the event that begins a cycle's record.

        - `began`: when, if its run is not there yet [Unix s]
        - `begun`: False for one that has had no place to run: its run begins anew once it has
        """
        cycle, settings = planned.cycle, planned.settings
        arm = self._arm(settings)
        # In their own order, which is that of the words in an arm's name.
        fields = json.dumps({"settings": dict(settings), "cycle": cycle.model_dump(mode="json")})
        return Opened(
            cycle=cycle.id,
            name=cycle_name(settings, cycle.seed),
            params=cycle.flat(),
            tags={FIELDS_TAG: fields, KEYS_TAG: " ".join(planned.keys)} | ({ARM_TAG: arm} if arm else {}),
            dataset=self.parent.dataset,
            at_ms=milliseconds(began),
            begun=begun,
        )

    def _arm(self, settings: Mapping[str, Scalar]) -> str:
        """What a cycle's arm is called, apart from those of other numbers that the space has."""
        numbers = [key for key in self._arm_keys if isinstance(settings.get(key), float)]
        others = [{**settings, key: value} for key in numbers for value in self._space[key]["values"]]
        return arm_names([settings, *others], self._arm_keys)[0]

    def round_done(self, cycle: Cycle, result: RoundResult, epochs: Sequence[EpochResult]) -> RoundDone:
        """Return the event of a finished round."""
        stored = self._stored.get(result.key) or self.directory.store.find(result.key)
        return RoundDone(
            result=result,
            epochs=tuple(epochs),
            epochs_a_round=cycle.most_epochs,
            decision=None if stored is None else stored.decision,
            confusion=None if stored is None else _confusion(stored),
        )

    def events(self) -> Iterator[Event]:
        """Yield all that follows the parent, in an order in which it can be recorded from nothing."""
        created_at = ended = float(self._tree["created_at"])
        statuses = set()
        for recorded, reported in self.cycles:
            cycle, results = recorded.cycle, reported.results
            began = first_start(results, otherwise=created_at)
            begun = bool(results) or reported.state != "unfinished"
            yield self.opened(recorded, began, begun=begun)
            for result in results:
                epochs = self._stored[result.key].epochs
                yield self.round_done(cycle, result, [epoch_result(cycle, result.round, epoch) for epoch in epochs])
            at = max((result.finished_at for result in results), default=began)
            ended = max(at, ended)
            status = _ENDS.get(reported.state, "FINISHED")
            statuses.add(status)
            yield Ended(cycle=cycle.id, status=status, reason=reported.reason, at_ms=milliseconds(at))
        yield from self.summaries()
        whole: Status = "KILLED" if "KILLED" in statuses else "FAILED" if "FAILED" in statuses else "FINISHED"
        yield Ended(cycle=None, status=whole, at_ms=milliseconds(ended))
        yield Reported(folder=str(self.directory.report.resolve()))

    def summaries(self) -> Iterator[Summed]:
        """Yield each run in a few numbers once it has ended, so that no later round changes them; the sweep's last."""
        winners = []
        cycles = [cycle for members in self._arms.values() for cycle in members]
        for arm, members in enumerate(self._arms.values()):
            for place, cycle in enumerate(members):
                winner = winning_round(cycle.results, self._tolerance)
                winners += [] if winner is None else [winner]
                numbers = _best(cycle.results) | _ticket(winner) if cycle.state != "unfinished" else {}
                points = tuple(self._points(numbers, cycle.results))
                yield Summed(cycle=cycle.id, points=points, tags={COLOUR_TAG: colour(arm, place)})
        everything = [result for cycle in cycles for result in cycle.results]
        sparsest = max(winners, key=lambda result: (result.sparsity, result.score("test")), default=None)
        counts = {"cycles_finished": sum(cycle.state in ("finished", "stopped") for cycle in cycles)}
        best = _best([result for result in everything if result.metric == self._task["metric"]])
        numbers = {**counts, "tickets": len(winners), **best, **_ticket(sparsest)}
        ended = all(cycle.state != "unfinished" for cycle in cycles)
        points = (*self._points(numbers, everything), *self._mean_points()) if ended else ()
        yield Summed(cycle=None, points=points, tags={NOTE_TAG: self._note(), COLOUR_TAG: _PARENT_COLOUR})

    def _points(self, numbers: Mapping[str, float | None], results: Sequence[RoundResult]) -> Iterator[Point]:
        """A summary's points; their time is the same for equal numbers, though a round was damaged and computed again
        since, and later for those made of more rounds."""
        for name, value in numbers.items():
            if value is not None:
                yield Point(f"summary/{name}", float(value), self.parent.at_ms + len(results), 0)

    def _mean_points(self) -> Iterator[Point]:
        """Means over an arm's cycles: the chart page shows the parent alone until it is unfolded.

        Each arm has curves of its own, since a mean over arms would be that of none. Cycles that find tickets for
        others are no arm.
        """
        means, names = (f"round/test_{self._task['metric']}", "round/sparsity"), set[str]()
        arms = {arm: cycles for arm, cycles in self._arms.items() if not cycles[0].finds_tickets}
        for arm, cycles in arms.items():
            results = [result for cycle in cycles for result in cycle.results]
            suffix = "" if len(arms) == 1 else f" {arm}"
            if any(legal(name + suffix) in names for name in means):  # spelled alike once odd characters are gone
                suffix += f" {len(names)}"
            names |= {legal(name + suffix) for name in means}
            for round in sorted({result.round for result in results}):
                members = [round_values(result) for result in results if result.round == round]
                for name in means:
                    values = [member[name] for member in members if name in member]
                    if values:
                        at_ms = self.parent.at_ms + len(members)
                        yield Point(legal(name + suffix), statistics.fmean(values), at_ms, round)

    @cached_property
    def sweep(self) -> ReportedSweep:
        """The sweep as a report sees it."""
        environment, data = self.directory.environment()
        return rows.reported_sweep(
            name=self._tree["name"],
            space=self._space,
            tolerance=self._tolerance,
            task=self._task["name"],
            cycles=[reported for _, reported in self.cycles],
            environment=environment,
            data={name: value for name, value in data.items() if name != "digest"},
            examples=self._examples(),
        )

    def _examples(self) -> Examples | str:
        """The test examples that can be shown, or why none can."""
        if not any(recorded.cycle.task.inputs == "images" for recorded, _ in self.cycles):
            return ""
        with contextlib.suppress(DamagedError, StorageError):
            data = Data.load(Path(self.directory.inputs().get("data") or ""))
            if data.digest == self._definition["data"]:
                return Examples(data, self.directory.store) if data.SHOWS else ""
        return GONE

    def write_report(self) -> None:
        """Write the report, the final table and the definition into the report's folder."""
        folder = self.directory.report
        write_file(folder / "rounds.csv", rounds_csv(self._arms, self._tolerance).encode())
        files.write(self._document, folder)
        folder.joinpath("sweep.json").unlink(missing_ok=True)
        shutil.copyfile(self.directory.path / "sweep.json", folder / "sweep.json")

    @cached_property
    def _document(self) -> Document:
        return document([self.sweep])

    @property
    def _objectives(self) -> list[str]:
        """What the sweep's search looks for, or would: the deciding metric of its task."""
        return list(self._definition.get("objectives") or [f"val_{self._task['metric']}"])

    @property
    def asked(self) -> list[AskedPoint]:
        """Every point that was asked, in order, with what its cycles' results tell an adaptive search of it."""
        told = {reported.id: (reported.state, reported.results) for _, reported in self.cycles}
        points = by_point(recorded for recorded, _ in self.cycles)
        results = [
            point_result([told[recorded.cycle.id] for recorded in point], self._objectives, self._tolerance)
            for point in points
        ]
        return [AskedPoint(cycles[0].asked, result, cycles) for cycles, result in zip(points, results, strict=True)]

    def _note(self) -> str:
        """The report in short."""
        asked = self.asked
        front = [asked[place] for place in best([point.result for point in asked])] if len(asked) > 1 else []
        points = [(point.settings, point.result.values) for point in front if point.result]
        (section,) = self._document.sections
        return as_note(section, [best_points(self._objectives, points)] if points else ())

    @cached_property
    def _arms(self) -> dict[str, list[ReportedCycle]]:
        return rows.by_arm([cycle for _, cycle in self.cycles], self._arm_keys, otherwise=self._tree["name"])

    @property
    def _arm_keys(self) -> tuple[str, ...]:
        return arm_keys(self._space)

    @cached_property
    def _tree(self) -> dict[str, Any]:
        return self.directory.read()

    @property
    def _definition(self) -> dict[str, Any]:
        definition: dict[str, Any] = self._tree["definition"]
        return definition

    @property
    def _task(self) -> dict[str, Any]:
        """The fields of the task that the sweep is about."""
        task: dict[str, Any] = self._definition["cycle"]["task"]
        return task

    @property
    def _space(self) -> dict[str, Any]:
        """The search space: key → {kind, values, when}."""
        space: dict[str, Any] = self._definition.get("space", {}).get("distributions", {})
        return space

    @property
    def _tolerance(self) -> float:
        """What a winning ticket may lose, in the unit of the deciding metric."""
        return float(self._tree.get("tolerance", 0.0))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str | int | float | bool | None) else json.dumps(value)


def _best(results: Sequence[RoundResult]) -> dict[str, float | None]:
    best = max(results, key=lambda result: result.score("val"), default=None)
    return {} if best is None else {f"best_val_{best.metric}": best.value("val")}


def _ticket(winner: RoundResult | None) -> dict[str, float | None]:
    if winner is None:
        return {}
    return {"ticket_sparsity": winner.sparsity, f"ticket_test_{winner.metric}": winner.value("test")}
