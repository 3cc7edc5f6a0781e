"""The runs of one sweep in MLflow: one parent, one nested run a cycle. Nothing else imports MLflow."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lt_ray.errors import TrackingError
from lt_ray.tracking.events import (
    CYCLE_TAG,
    REASON_TAG,
    ROUND_MARK,
    ROUND_METRICS,
    STATE_TAG,
    SWEEP_TAG,
    WAITING_TAG,
    Dataset,
    Point,
    Status,
    joined,
    whole_tags,
)
from lt_ray.tracking.target import Target, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# MLflow's limit of one log_batch [count]
_METRICS_A_BATCH = 1000
# It takes 100 parameters and 100 tags in one, but a request of at most 10^6 bytes [count, bytes]
_TEXTS_A_BATCH = 100
_BYTES_A_BATCH = 800_000
_DIGEST_LENGTH = 8  # MLflow takes 36, and shows them all in a column

# Unless the user set them: with MLflow's own 120 s a dead server holds its caller for minutes.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

# Codes that blame what was sent. After any other (a proxy's 404, an expired token) the same may pass later.
_REFUSED = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}

# Codes of a server, or of a proxy before it, that wants another password, and words of proxies that answer JSON of
# their own: MLflow then takes their answer for an error of its server
_DENIED = {"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"}
_DENIED_STATUS = r"failed with error code (401|403|407)\b"
_DENIED_WORDS = r"\b(401|403|407|unauthori[sz]ed|unauthenticated|forbidden|(permission|access).denied)\b"
# What databases say; as a driver raises it, before anything is asked, it bears no code
_DENIED_BY_DATABASE = (
    r"authenticat|password|access denied|permission denied|login failed|no pg_hba|does not exist|unknown database"
)
_PATIENCE_S = 5.0
"""With a server that is asked before training, after which it is taken to be away [s]"""


def prepare() -> None:
    """Set MLflow up for this process and import it: two threads that import it at once can deadlock."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # MLflow repeats a call that was answered 500, also one that made a run: there would be two. We look first.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    import mlflow  # noqa: F401


def check_access(uri: str, experiment: str) -> None:
    """Raise `TrackingError` where a server or a database refuses access, or cannot be spoken to at all.

    One that does not answer may do so later, and a file is made when it is needed: neither is an error.

    - `experiment`: name of the one that the sweep is recorded in
    """
    if uri == "none" or uri.startswith("sqlite"):
        return
    prepare()
    from sqlalchemy.exc import NoSuchModuleError

    found: list[Exception] = []

    def ask() -> None:
        with quiet():
            try:
                _ask(uri, experiment)
            except Exception as error:  # MLflow and the drivers of databases raise what they like
                found.append(error)

    asking = threading.Thread(target=ask, name="lt_ray-access", daemon=True)
    asking.start()
    asking.join(_PATIENCE_S)
    if not found:
        return
    if isinstance(found[0], ImportError | NoSuchModuleError):
        raise TrackingError(
            f"`--tracking-uri {without_password(uri)}` needs a driver of its database ({cause(found[0])}): install it, "
            "or give another record, or `--tracking-uri none`"
        )
    if is_denied(found[0]):
        raise TrackingError(
            f"`--tracking-uri {without_password(uri)}` must take the sweep's record, but access is refused "
            f"({cause(found[0])}): mend its user, password, token or database, or give another one, or "
            "`--tracking-uri none`"
        )


def _ask(uri: str, experiment: str) -> None:
    if uri.startswith(("http", "databricks")):
        from mlflow import MlflowClient

        MlflowClient(tracking_uri=uri).get_experiment_by_name(experiment)
        return
    import sqlalchemy

    sqlalchemy.create_engine(uri).connect().close()  # MLflow would try again for minutes


class ReadRun(NamedTuple):
    """One run as MLflow has it."""

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Mapping[str, Mapping[int, tuple[float, int]]]
    """Metric by round → step → (value, time [ms])"""


def read_runs(uri: str, name: str) -> tuple[list[ReadRun], list[str]]:
    """Return all runs of the newest sweep of a name, none where there is none, and the names of all experiments.

    Raises `TrackingError` where MLflow does not answer.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    try:
        others = sorted(experiment.name for experiment in client.search_experiments())
        experiment = client.get_experiment_by_name(name)
        parents = [] if experiment is None else _all(client, experiment.experiment_id, "", newest_first=True)
        own = next((run for run in parents if SWEEP_TAG in run.data.tags and CYCLE_TAG not in run.data.tags), None)
        if experiment is None or own is None:
            return [], others
        wanted = f"tags.`{SWEEP_TAG}` = '{own.data.tags[SWEEP_TAG]}'"
        runs = _all(client, experiment.experiment_id, wanted)
        cycles = [run for run in runs if CYCLE_TAG in run.data.tags]
        return [_read(client, run) for run in (own, *cycles)], others
    except TrackingError:
        raise
    except Exception as error:  # MLflow raises what its stores and transports raise
        raise TrackingError(f"MLflow at {without_password(uri)} {unanswered(error)}") from None


def _all(client: MlflowClient, experiment: str, wanted: str, newest_first: bool = False) -> list[Run]:
    order = ["attributes.start_time DESC" if newest_first else "attributes.start_time ASC"]
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], wanted, order_by=order, page_token=token)
        found += page
        if not (token := page.token):
            return found


def _read(client: MlflowClient, run: Run) -> ReadRun:
    names = [name for name in run.data.metrics if name in ROUND_METRICS] if CYCLE_TAG in run.data.tags else []
    points = {
        name: {point.step: (point.value, point.timestamp) for point in client.get_metric_history(run.info.run_id, name)}
        for name in names
    }
    try:
        tags = joined(run.data.tags)
    except ValueError as error:
        raise TrackingError(
            f"the record of {run.info.run_name!r} in MLflow is not whole: {error}. Deliver it again with "
            "`lt-ray sync`, or report from the store"
        ) from None
    return ReadRun(run.info.run_name, tags, run.data.params, points)


def _batches(texts: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Parameters and tags in parts that fit one request."""
    part: list[Any] = []
    size = 0
    for text in texts:
        own = len(json.dumps([text.key, text.value]))  # as JSON escapes it
        if part and (len(part) == _TEXTS_A_BATCH or size + own > _BYTES_A_BATCH):
            yield part
            part, size = [], 0
        part.append(text)
        size += own
    if part:
        yield part


class Runs:
    """The runs of a sweep, found by tag, created where missing; raises what MLflow raises.

    Every method can be called again with the same arguments, and leaves what one call leaves.
    """

    def __init__(self, target: Target) -> None:
        from mlflow import MlflowClient

        _make_database(target.uri)
        self._client = MlflowClient(tracking_uri=target.uri)
        self._sweep_id = target.sweep_id
        self._experiment_id = _experiment_id(self._client, target)
        self._ids: dict[str | None, str] = {}
        """Cycle → run id; None → the parent's"""
        self._rounds: dict[str, set[int]] = {}
        """Cycle → rounds that its run has, as far as was asked"""
        self._waiting: set[str | None] = set()
        """Cycles whose run was made before they had begun"""
        begun: set[str] = set()
        for run in self._search():
            cycle = run.data.tags.get(CYCLE_TAG)
            if cycle not in self._ids or (run.data.metrics and self._ids[cycle] not in begun):
                self._ids[cycle] = run.info.run_id
                (self._waiting.add if WAITING_TAG in run.data.tags else self._waiting.discard)(cycle)
            if run.data.metrics:
                begun.add(run.info.run_id)

    def open(
        self,
        cycle: str | None,
        name: str,
        at_ms: int,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        dataset: Dataset | None = None,
        *,
        begun: bool = True,
    ) -> None:
        """Make a cycle's run, or with None the parent, be there and be RUNNING; a known parameter keeps its value.

        A run that is there keeps its start, since MLflow can change none. One that was made before its cycle had begun
        is therefore deleted, and another one made, once that begins.
        """
        from mlflow.entities import Param, RunTag

        own = {SWEEP_TAG: self._sweep_id}
        if cycle is not None:
            own |= {CYCLE_TAG: cycle, "mlflow.parentRunId": self._id(None)}
        if begun and cycle in self._waiting:
            self._client.delete_run(self._ids.pop(cycle))
            self._waiting.remove(cycle)
        made = own if begun else own | {WAITING_TAG: "true"}
        if cycle in self._ids:
            self._client.update_run(self._ids[cycle], status="RUNNING", name=name)
        else:
            run = self._client.create_run(self._experiment_id, start_time=at_ms, run_name=name, tags=made)
            self._ids[cycle] = run.info.run_id
            if cycle is not None:
                self._rounds[cycle] = set()
            if not begun:
                self._waiting.add(cycle)
        run_id = self._ids[cycle]
        known = self._client.get_run(run_id)
        if REASON_TAG in known.data.tags:
            self._client.delete_tag(run_id, REASON_TAG)
        new = [Param(key, value) for key, value in params.items() if key not in known.data.params]
        labels = [RunTag(key, value) for key, value in {**tags, **own}.items()]
        for part in _batches([*new, *labels]):
            found = [[item for item in part if isinstance(item, kind)] for kind in (Param, RunTag)]
            self._client.log_batch(run_id, params=found[0], tags=found[1], synchronous=True)
        if dataset is not None and not known.inputs.dataset_inputs:
            self._log_dataset(run_id, dataset)

    def log_round(self, cycle: str, round: int, points: Sequence[Point]) -> None:
        """Log a round's points unless the run has them; `ROUND_MARK` tells, since it comes last."""
        assert points[-1].name == ROUND_MARK
        if cycle not in self._rounds:
            history = self._client.get_metric_history(self._id(cycle), ROUND_MARK)
            self._rounds[cycle] = {metric.step for metric in history}
        if round not in self._rounds[cycle]:
            self.log(cycle, points)
            self._rounds[cycle].add(round)

    def log(self, cycle: str | None, points: Sequence[Point]) -> None:
        """Log points; the same point again is the same row."""
        from mlflow.entities import Metric

        for i in range(0, len(points), _METRICS_A_BATCH):
            metrics = [Metric(*point) for point in points[i : i + _METRICS_A_BATCH]]
            self._client.log_batch(self._id(cycle), metrics=metrics, synchronous=True)

    def tag(self, cycle: str | None, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        from mlflow.entities import RunTag

        labels = [RunTag(name, value) for name, value in whole_tags(tags).items()]
        for part in _batches(labels):
            self._client.log_batch(self._id(cycle), tags=part, synchronous=True)

    def end(self, cycle: str, status: Status, at_ms: int, tags: Mapping[str, str]) -> None:
        """End a cycle's run."""
        self.tag(cycle, tags)
        self._client.set_terminated(self._id(cycle), status, at_ms)

    def end_all(self, status: Status, at_ms: int) -> None:
        """End the parent's run, and those of cycles still RUNNING as KILLED; delete what came twice."""
        for run in list(self._search("attributes.status = 'RUNNING'")):
            run_id, cycle = run.info.run_id, run.data.tags.get(CYCLE_TAG)
            if run_id != self._ids.get(cycle, run_id) and not run.data.metrics:
                self._client.delete_run(run_id)  # created, but the answer came too late: another one is used
            elif run_id != self._id(None):
                self._client.set_tag(run_id, STATE_TAG, "interrupted")
                self._client.set_terminated(run_id, "KILLED", at_ms)
        self.tag(None, {STATE_TAG: {"FAILED": "failed", "KILLED": "interrupted"}.get(status, "finished")})
        self._client.set_terminated(self._id(None), status, at_ms)

    def keep(self, folder: str) -> None:
        """Make a folder's files be artifacts of the parent, in place of earlier ones."""
        self._client.log_artifacts(self._id(None), folder)

    def _id(self, cycle: str | None) -> str:
        if cycle not in self._ids:
            raise LookupError(f"cycle {cycle} was not opened" if cycle else "the sweep's own run is missing")
        return self._ids[cycle]

    def _log_dataset(self, run_id: str, dataset: Dataset) -> None:
        from mlflow.entities import Dataset as LoggedDataset
        from mlflow.entities import DatasetInput
        from mlflow.exceptions import MlflowException

        logged = LoggedDataset(
            name=dataset.name,
            digest=dataset.digest[:_DIGEST_LENGTH],
            source_type="lt_ray",
            source="{}",
            profile=dataset.profile,
        )
        inputs = [DatasetInput(dataset=logged, tags=[])]
        try:
            self._client.log_inputs(run_id, datasets=inputs)
        except MlflowException:  # sweeps share an experiment's data sets: another one may have made it at this moment
            self._client.log_inputs(run_id, datasets=inputs)

    def _search(self, condition: str = "") -> Iterator[Run]:
        """Yield the sweep's runs that are not deleted, oldest first."""
        wanted = " AND ".join(filter(None, [f"tags.`{SWEEP_TAG}` = '{self._sweep_id}'", condition]))
        oldest_first = ["attributes.start_time ASC"]
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], wanted, order_by=oldest_first, page_token=token)
            yield from page
            if not (token := page.token):
                return


def _make_database(uri: str) -> None:
    """Make the SQLite database that a URI names, whole or not at all.

    MLflow makes its tables in some fifty steps, each kept at once: killed between two, it could never open them again.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or "?" in uri or path.exists():
        return
    from mlflow import MlflowClient

    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments()
        try:
            os.link(unfinished, path)
        except FileExistsError:  # another sweep of this storage was faster
            pass
        except OSError:  # a file system without hard links
            unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _experiment_id(client: MlflowClient, target: Target) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(target.experiment)
    if found is None:
        # else the page shows what belongs to language-model applications
        kind = {"mlflow.experimentKind": "custom_model_development"}
        try:
            return str(client.create_experiment(target.experiment, target.artifact_location, tags=kind))
        except MlflowException:
            found = client.get_experiment_by_name(target.experiment)
            if found is None:  # else another process was faster
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def is_refusal(error: Exception) -> bool:
    """Return whether sending the same again must fail again."""
    code = getattr(error, "error_code", None)
    return code in _REFUSED if code is not None else not isinstance(error, OSError)


def is_denied(error: BaseException) -> bool:
    """Return whether a server or a database refused access."""
    from sqlalchemy.exc import DBAPIError

    code, answer = getattr(error, "error_code", None), getattr(error, "json", None)
    if code in _DENIED or (code and re.search(_DENIED_STATUS, str(error))):
        return True
    if isinstance(answer, dict) and re.search(_DENIED_WORDS, str(answer), re.IGNORECASE):
        return True
    if isinstance(error, DBAPIError) and re.search(_DENIED_BY_DATABASE, str(error.orig), re.IGNORECASE):
        return True
    inner = error.__cause__ or error.__context__
    return inner is not None and is_denied(inner)


def unanswered(error: BaseException) -> str:
    """Return what a server did that took no record, in a few words."""
    return f"{'refuses access' if is_denied(error) else 'does not answer'} ({cause(error)})"


def cause(error: BaseException) -> str:
    """Return the first line of what went wrong in the first place: MLflow wraps it several times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    lines = without_password(str(error)).splitlines()
    return re.sub(r"\s+", " ", lines[0])[:200] if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what this thread logs (migrations, retries) off the terminal; what matters is raised as well."""
    thread = threading.get_ident()

    def is_foreign(record: logging.LogRecord) -> bool:
        return record.thread != thread

    noisy: list[logging.Filterer] = [logging.getLogger("urllib3.connectionpool")]
    noisy += {handler for name in ("mlflow", "alembic") for handler in logging.getLogger(name).handlers}
    for source in noisy:
        source.addFilter(is_foreign)
    try:
        yield
    finally:
        for source in noisy:
            source.removeFilter(is_foreign)
