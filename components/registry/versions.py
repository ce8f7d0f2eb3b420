"""What versions of a LODE are registered.

A local database is read as it is: MLflow's own client takes seconds to import for these few rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from components.registry.aliases import aliases
from components.registry.connection import connect, is_there, local_database
from components.registry.database import LOCK_S
from components.registry.lookup import versions
from components.registry.registration import model_name

# MLflow's schema that the queries below are written for; a database of another is left to MLflow.
SCHEMA = "dc11669786a5"
_IS_OURS = "workspace = 'default' AND name = ?"
# What is deleted keeps its row.
_VERSIONS = f"""SELECT version, creation_time FROM model_versions
    WHERE {_IS_OURS} AND current_stage != 'Deleted_Internal' ORDER BY version"""
_ALIASES = f"SELECT alias, version FROM registered_model_aliases WHERE {_IS_OURS}"
_SCHEMA = "SELECT version_num FROM alembic_version"
_TAGS = f"SELECT version, key, value FROM model_version_tags WHERE {_IS_OURS}"


@dataclass(frozen=True)
class Version:
    """A registered version: `created` in local time, `aliases` sorted, `tags` as registered."""

    version: int
    aliases: tuple[str, ...]
    created: datetime
    tags: Mapping[str, str]


def list_versions(task: str, *, tracking_uri: str) -> list[Version]:
    """All versions, oldest first; empty where there are none.

    Raises:
        RegistryError: the registry is unreachable.
    """
    if not is_there(tracking_uri):
        return []
    found = _read(model_name(task), tracking_uri) if tracking_uri.startswith("sqlite:") else None
    return _asked(model_name(task), tracking_uri) if found is None else found


def _read(name: str, tracking_uri: str) -> list[Version] | None:
    """From the database's file; None where that is of another schema or cannot be read, which
    MLflow has the words for."""
    uri = f"{local_database(tracking_uri).absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_S)) as database:
            database.execute("BEGIN")  # all see the same moment
            if database.execute(_SCHEMA).fetchall() != [(SCHEMA,)]:
                return None
            rows, named, tagged = (
                database.execute(query, (name,)).fetchall()
                for query in (_VERSIONS, _ALIASES, _TAGS)
            )
    except sqlite3.Error:
        return None
    tags: dict[int, dict[str, str]] = {}
    for number, key, value in tagged:
        tags.setdefault(number, {})[key] = value
    return _versions(rows, dict(named), tags)


def _asked(name: str, tracking_uri: str) -> list[Version]:
    with connect(tracking_uri) as client:
        named, found = aliases(client, name), versions(client, name)
    rows = [(int(one.version), one.creation_timestamp) for one in found]
    return _versions(rows, named, {int(one.version): dict(one.tags) for one in found})


def _versions(
    rows: Iterable[tuple[int, int]], named: Mapping[str, int], tags: Mapping[int, dict[str, str]]
) -> list[Version]:
    return [
        Version(
            version=number,
            aliases=tuple(sorted(alias for alias, holder in named.items() if holder == number)),
            created=datetime.fromtimestamp(milliseconds / 1000).astimezone(),
            tags=tags.get(number, {}),
        )
        for number, milliseconds in rows
    ]
