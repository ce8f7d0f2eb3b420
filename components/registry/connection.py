"""Reach an MLflow registry, or say within seconds why not."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from components.registry.database import LOCK_S, make_whole
from components.registry.lazy import loading, mlflow, sqlalchemy

if TYPE_CHECKING:
    from mlflow import MlflowClient

REACH_S = 5.0  # how long a server may take to say that it is there

# MLflow's own defaults retry for minutes. Set before its import, and only where nobody chose.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_DATABASES = ("postgresql", "mysql", "mssql")  # those that MLflow knows beside SQLite
_DRIVERS = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # module and package differ
# What the runs are of. The pages of MLflow 3.17 ask the browser's switch "Model training" first, or
# `?workflowType=machine_learning` in an address; without both they open on language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_LOGGERS = ("mlflow", "mlflow.store.db.utils", "alembic", "alembic.runtime.migration")


class RegistryError(RuntimeError):
    """The registry cannot be reached or does not hold what was asked; the message says what to
    do."""


def is_there(tracking_uri: str) -> bool:
    """Whether there is anything to look at: false of a local database that nobody has made."""
    if not tracking_uri.startswith("sqlite:"):
        return True
    return local_database(tracking_uri).exists()


@contextmanager
def connect(tracking_uri: str) -> Iterator[MlflowClient]:
    """A client of the registry at `tracking_uri`, MLflow's fluent API set to the same inside.

    A local database that is not there is made: whoever only looks asks `is_there` first.

    Raises:
        RegistryError: database file not writable, server unreachable, a driver that is not
            installed, schema of another MLflow version; also instead of any MLflow or database
            error inside the block.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with _quiet(), _fluent(tracking_uri):
        _check_reachable(tracking_uri)
        try:
            with loading():  # what a store needs is imported with the first client
                client = mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
            yield client
        except (
            mlflow.exceptions.MlflowException,
            sqlalchemy.exc.SQLAlchemyError,
            OSError,
        ) as error:
            raise RegistryError(_explain(tracking_uri, error)) from error


def _check_reachable(uri: str) -> None:
    if uri.startswith("sqlite:"):
        _check_sqlite(uri)
    elif uri.startswith(("http://", "https://")):
        _check_server(uri)
    elif uri.startswith(_DATABASES):
        _check_driver(uri)


def _check_sqlite(uri: str) -> None:
    path = local_database(uri)
    try:
        make_whole(path)
        # Taking the write lock tells a read-only file, folder or disk, and what is no database.
        database = sqlite3.connect(path, timeout=LOCK_S, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        finally:
            database.close()
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        said = getattr(error, "strerror", None) or getattr(error, "orig", None) or error
        raise RegistryError(
            f"registry database {path} cannot be written ({said}); check the folder and its "
            "permissions, or set registry.tracking_uri to another place"
        ) from None


def local_database(uri: str) -> Path:
    """The file of `sqlite:///…`."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def _check_server(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=REACH_S):
            pass
    except urllib.error.HTTPError:
        pass  # it answers; what it refuses, MLflow will say
    except (urllib.error.URLError, OSError) as error:
        raise RegistryError(
            f"registry {shown(uri)} is not reachable ({getattr(error, 'reason', error)}); start it "
            "with `make serve`, or set registry.tracking_uri to one that runs, e.g. sqlite:///mlflow.db"
        ) from None


def _check_driver(uri: str) -> None:
    try:
        sqlalchemy.engine.make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        module = str(error.name)
        raise RegistryError(
            f"registry {shown(uri)} needs the module {module}: run `pip install "
            f"{_DRIVERS.get(module, module)}` in this environment, or set registry.tracking_uri "
            "to another place, e.g. sqlite:///mlflow.db"
        ) from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise RegistryError(_explain(uri, error)) from None


def shown(uri: str) -> str:
    """An address without its password, for messages."""
    return re.sub(r"//[^/@]*@", "//…@", uri)[:120]


def _explain(uri: str, error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    if "out-of-date database schema" in str(error):
        command = f"mlflow db upgrade {shown(uri)}"
        return f"registry {shown(uri)} is of another MLflow version: run `{command}`"
    return f"registry {shown(uri)}: {first[:300]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes on migrations and type hints that MLflow writes to stderr."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _fluent(uri: str) -> Iterator[None]:
    """The fluent API (which logs models) knows only global URIs: set them, and put them back.

    MLflow's setters also write environment variables, which child processes would inherit, and
    its getters tell a default from a choice by nobody; hence the look at its module variables.
    """
    registry = mlflow.tracking._model_registry.utils
    tracking = mlflow.tracking._tracking_service.utils
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    environment = {name: os.environ.get(name) for name in names}
    before = tracking._tracking_uri, registry._registry_uri
    tracking.set_tracking_uri(uri)
    registry.set_registry_uri(uri)
    try:
        yield
    finally:
        tracking.set_tracking_uri(before[0])  # type: ignore[arg-type]
        registry.set_registry_uri(before[1])  # type: ignore[arg-type]
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def experiment_id(
    client: MlflowClient, name: str, artifact_root: Path | str | None, *, for_files: bool = False
) -> str:
    """The experiment's id, created where it is missing.

    Args:
        artifact_root: where a database without a server keeps files (MLflow's own default is
            `./mlruns` in the working directory); a server decides for itself.
        for_files: files will be written. MLflow keeps absolute places, so that the experiment of a
            workspace that was moved or copied still means the old place: then it is another one,
            named after the place as well.
    """
    place = None
    if artifact_root is not None and not client.tracking_uri.startswith("http"):
        place = Path(artifact_root).absolute()
    found = client.get_experiment_by_name(name)
    if found and for_files and place and not inside(found.artifact_location, place):
        name = f"{name} ({hashlib.sha256(str(place).encode()).hexdigest()[:8]})"
        found = client.get_experiment_by_name(name)
    if found is None:
        location = None if place is None else (place / name).as_uri()
        # another process may be first: then its experiment is found below
        with suppress(mlflow.exceptions.MlflowException):
            return str(client.create_experiment(name, artifact_location=location, tags=_KIND))
        found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise RegistryError(
            f"experiment {name!r} was deleted in MLflow: run `mlflow experiments restore`, or "
            "`mlflow gc` to be rid of it"
        )
    for key, value in _KIND.items():
        if key not in found.tags:  # one of an earlier version
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def inside(location: str, folder: Path) -> bool:
    """Whether a place where MLflow keeps files is in this folder; what is no local path is."""
    path = local_path(location)
    return path is None or path.resolve().is_relative_to(folder.resolve())


def local_path(location: str) -> Path | None:
    """The folder on this machine that a location means; None of one elsewhere."""
    parts = urllib.parse.urlsplit(location)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    return Path(urllib.request.url2pathname(parts.path) if parts.scheme else location)
