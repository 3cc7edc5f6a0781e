"""Where a sweep is recorded: a tracking URI that was looked at before anything starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lt_ray.errors import TrackingError
from lt_ray.store.storage import ARTIFACTS, DATABASE

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_ODD = "#%?"
_SQLITE = b"SQLite format 3\0"
_SECRETS = r"([?&][^=&\s]*(?:password|passwd|pwd|token|secret|key)[^=&\s]*=)[^&\s]+"


class Target(NamedTuple):
    """Where the runs of one sweep go."""

    uri: str
    """MLflow's tracking URI, with its password"""
    experiment: str
    """Name of the experiment, created or restored where missing"""
    sweep_id: str
    """Tag by which the sweep's runs are found again, without quotes"""
    artifact_location: str | None = None
    """Of the experiment, if it is created; None = the server's own"""

    @property
    def shown(self) -> str:
        """The URI as it may be shown and written."""
        return without_password(self.uri)


def default_uri(storage: Path) -> str:
    """Return the URI of the database that a storage has of its own.

    Raises `TrackingError` for a path with characters that a URI has a use for: MLflow and SQLAlchemy read them in
    several ways, and files would be made elsewhere.
    """
    path = (storage / DATABASE).resolve()
    odd = sorted(set(str(path)) & set(_ODD))
    if odd:
        raise TrackingError(
            f"`--storage` must have no {' '.join(_ODD)} in its whole path, where MLflow's database would be sought "
            f"elsewhere, but got {path.parent}: name another folder, or another record by `--tracking-uri`"
        )
    return f"sqlite:///{path}"


def artifacts(uri: str, storage: Path) -> str | None:
    """Return where the artifacts of an experiment go, if it is created; None = where the server says.

    A database has no place for them, and MLflow would take the working directory.
    """
    return (storage / ARTIFACTS).resolve().as_uri() if uri.partition(":")[0].partition("+")[0] in _DATABASES else None


def checked(uri: str) -> str:
    """Return a tracking URI, an SQLite file in it made absolute; nothing is asked over the network.

    Raises `TrackingError` for one that can never take a record.
    """
    _check(uri)
    path = uri.removeprefix("sqlite:///")
    return f"sqlite:///{Path(path).absolute()}" if path != uri else uri


def _check(uri: str) -> None:
    scheme, separator, rest = uri.partition("://")
    kind = scheme.partition("+")[0]
    if uri == "none" or uri == "databricks" or (scheme == "databricks" and rest):
        return
    if kind == "sqlite" and rest.startswith("/") and len(rest) > 1:
        # Made absolute first: the folder that a relative path begins in counts too.
        if set(str(Path(rest[1:].partition("?")[0]).absolute())) & set(_ODD):
            raise TrackingError(
                f"`--tracking-uri`: an SQLite file must have no {' '.join(_ODD)} in its whole path, but got {uri!r}: "
                "MLflow would seek it elsewhere; name another one"
            )
        _check_sqlite(Path(rest[1:].partition("?")[0]), uri)
        return
    if kind in _DATABASES and kind != "sqlite" and separator and rest:
        return
    if scheme in ("http", "https"):
        try:
            parts = urlsplit(uri)
            if parts.hostname and (parts.port is None or parts.port > 0):
                return
        except ValueError:
            pass
    path = Path(uri.removeprefix("file://") or ".")
    folder = " A folder cannot hold the records: MLflow 3 refuses it."
    raise TrackingError(
        "`--tracking-uri` must be an MLflow server (http://HOST:5000), a database (sqlite:///FILE, postgresql://…) or "
        f"`none`, but got {without_password(uri)!r}."
        + (folder if scheme == "file" or (not separator and uri and not path.is_file()) else "")
    )


def without_password(text: str) -> str:
    """Return a text with the user, the password and the tokens of every URI in it left out."""
    return re.sub(_SECRETS, r"\1…", re.sub(r"//[^/\s]*@", "//", text), flags=re.IGNORECASE)


def _check_sqlite(path: Path, uri: str) -> None:
    try:
        if path.is_file():
            with path.open("rb") as file:
                usable = file.read(len(_SQLITE)) in (_SQLITE, b"")
        else:
            usable = not path.exists() and path.parent.is_dir()
        why = "holds something else" if path.is_file() else "is a folder" if path.exists() else "has no folder to be in"
    except OSError as error:
        usable, why = False, f"cannot be read ({error.strerror})"
    if not usable:
        raise TrackingError(f"`--tracking-uri {uri}`: an SQLite file or a new one must be named, but {path} {why}")
