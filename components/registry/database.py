"""A local MLflow database that is there whole or not at all.

MLflow creates one in some forty steps over seconds, and one that was killed in between is refused
for ever ("table datasets already exists"). So it is made under another name and then given its own.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from components.registry.lazy import db_utils, sqlalchemy

# How long a half-made database must have been left alone to be taken for a killed process's; one
# that is being made is written to every few milliseconds.
ABANDONED_S = 10.0
LOCK_S = 30.0  # how long another process may hold the database
# What MLflow itself puts into a new database; all else is somebody's.
_OWN_TABLES = ("alembic_version", "sqlite_sequence", "workspaces")


def make_whole(path: Path) -> None:
    """Create the database, also in the place of one whose creation was killed; else do nothing.

    Several processes may do so at the same time. Nothing that holds a run is ever touched.

    Raises:
        OSError, sqlite3.Error: the folder or the file cannot be read or written.
    """
    while path.exists() and (age := _age_if_half_made(path)) is not None and age < ABANDONED_S:
        time.sleep(0.2)
    if path.exists() and _age_if_half_made(path) is None:
        return
    with _only_one(path.parent):
        if path.exists():
            if _age_if_half_made(path) is None:  # made while this process waited
                return
            _remove(path)
        temporary = path.with_name(f"{_prefix(path)}{uuid.uuid4().hex}")
        for left in path.parent.glob(f"{_prefix(path)}*"):  # by killed processes: this one has
            left.unlink(missing_ok=True)  # the lock
        try:
            _create(temporary)
            # a link, not a rename: should another process be first all the same, its database stays
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            _remove(temporary)


def _prefix(path: Path) -> str:
    return f".{path.name}.new-"


def _create(path: Path) -> None:
    # MLflow's own steps for an empty database, which a client would take at the final place
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    try:
        db_utils._initialize_tables(engine)
    finally:
        engine.dispose()
    with path.open("rb") as written:
        os.fsync(written.fileno())


def _age_if_half_made(path: Path) -> float | None:
    """Seconds since a half-made database was last written to; None of any other file.

    Half-made is what has no row of anybody and not yet the schema that MLflow gives a new one. Of
    another version of MLflow it may be, too: then it is empty, and making it anew loses nothing.
    """
    status = path.stat()
    if status.st_size == 0:
        return time.time() - status.st_mtime + ABANDONED_S  # nothing to wait for
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=LOCK_S)
    ) as database:
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        ours = not tables or {"experiments", "runs"} & set(tables)
        if not ours or any(
            database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()
            for name in set(tables) - set(_OWN_TABLES)
        ):
            return None
        if _revision(database, tables) == _newest_revision():
            return None
    return time.time() - status.st_mtime


def _revision(database: sqlite3.Connection, tables: list[str]) -> str | None:
    if "alembic_version" not in tables:
        return None
    found = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found[0]) if found else None


def _newest_revision() -> str:
    return str(db_utils._get_latest_schema_revision())


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Of those that create a database in this folder; the lock leaves no file behind."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks; `os.link` then decides who is first
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-journal", f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
