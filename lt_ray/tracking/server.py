"""Asking an MLflow server or database for anything: set up once, and its errors told in a few words."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lt_ray.errors import TrackingError
from lt_ray.tracking.target import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

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
    import sqlalchemy
    from mlflow import MlflowClient
    from sqlalchemy.exc import NoSuchModuleError

    errors: list[Exception] = []

    def ask() -> None:
        with quiet():
            try:
                if uri.startswith(("http", "databricks")):
                    MlflowClient(tracking_uri=uri).get_experiment_by_name(experiment)
                else:
                    sqlalchemy.create_engine(uri).connect().close()  # MLflow would try again for minutes
            except Exception as error:  # MLflow and the drivers of databases raise what they like
                errors.append(error)

    asking = threading.Thread(target=ask, name="lt_ray-access", daemon=True)
    asking.start()
    asking.join(_PATIENCE_S)
    if not errors:
        return
    (error,) = errors
    if isinstance(error, ImportError | NoSuchModuleError):
        raise TrackingError(
            f"`--tracking-uri {without_password(uri)}` needs a driver of its database ({cause(error)}): install it, or "
            "give another record, or `--tracking-uri none`"
        )
    if is_denied(error):
        raise TrackingError(
            f"`--tracking-uri {without_password(uri)}` must take the sweep's record, but access is refused "
            f"({cause(error)}): mend its user, password, token or database, or give another one, or "
            "`--tracking-uri none`"
        )


def search(client: MlflowClient, experiment: str, wanted: str = "") -> Iterator[Run]:
    """Yield an experiment's runs that are not deleted and match a filter, by their start."""
    token = None
    while True:
        page = client.search_runs([experiment], wanted, order_by=["attributes.start_time ASC"], page_token=token)
        yield from page
        if not (token := page.token):
            return


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
    for part in noisy:
        part.addFilter(is_foreign)
    try:
        yield
    finally:
        for part in noisy:
            part.removeFilter(is_foreign)
