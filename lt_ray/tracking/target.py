"""Where a sweep is recorded: a tracking URI that was looked at before anything starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lt_ray.errors import TrackingError
from lt_ray.store.storage import ARTIFACTS, DATABASE

_DATABASES = ("postgresql", "mysql", "mssql")
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
    if _is_odd(path):
        raise TrackingError(
            f"`--storage` must have no {' '.join(_ODD)} in its whole path, where MLflow's database would be sought "
            f"elsewhere, but got {path.parent}: name another folder, or another record by `--tracking-uri`"
        )
    return f"sqlite:///{path}"


def artifacts(uri: str, storage: Path) -> str | None:
    """Return where the artifacts of an experiment go, if it is created; None = where the server says.

    A database has no place for them, and MLflow would take the working directory.
    """
    return (storage / ARTIFACTS).resolve().as_uri() if _kind(uri) in ("sqlite", *_DATABASES) else None


def checked(uri: str) -> str:
    """Return a tracking URI, an SQLite file in it made absolute; nothing is asked over the network.

    Raises `TrackingError` for one that can never take a record.
    """
    scheme, separator, rest = uri.partition("://")
    if _kind(uri) == "sqlite" and rest.startswith("/") and len(rest) > 1:
        file, mark, options = rest[1:].partition("?")
        path = Path(file).absolute()
        if _is_odd(path):
            raise TrackingError(
                f"`--tracking-uri`: an SQLite file must have no {' '.join(_ODD)} in its whole path, but got {uri!r}: "
                "MLflow would seek it elsewhere; name another one"
            )
        if why := _unusable(path):
            raise TrackingError(f"`--tracking-uri {uri}`: an SQLite file or a new one must be named, but {file} {why}")
        return f"{scheme}:///{path}{mark}{options}"
    if uri in ("none", "databricks") or (rest and (scheme == "databricks" or _kind(uri) in _DATABASES)):
        return uri
    if scheme in ("http", "https") and _has_host(uri):
        return uri
    is_folder = scheme == "file" or (uri and not separator and not Path(uri).is_file())
    raise TrackingError(
        "`--tracking-uri` must be an MLflow server (http://HOST:5000), a database (sqlite:///FILE, postgresql://…) or "
        f"`none`, but got {without_password(uri)!r}."
        + (" A folder cannot hold the records: MLflow 3 refuses it." if is_folder else "")
    )


def _kind(uri: str) -> str:
    """The scheme without the database's driver: `postgresql+psycopg://…` → `postgresql`."""
    return uri.partition(":")[0].partition("+")[0]


def _is_odd(path: Path) -> bool:
    return any(character in str(path) for character in _ODD)


def _has_host(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _unusable(path: Path) -> str:
    """Why a path is no SQLite file and cannot become one; empty where it is, or can."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return "" if file.read(len(_SQLITE)) in (_SQLITE, b"") else "holds something else"
        return "is a folder" if path.exists() else "" if path.parent.is_dir() else "has no folder to be in"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def without_password(text: str) -> str:
    """Return a text with the user, the password and the tokens of every URI in it left out."""
    return re.sub(_SECRETS, r"\1…", re.sub(r"//[^/\s]*@", "//", text), flags=re.IGNORECASE)
