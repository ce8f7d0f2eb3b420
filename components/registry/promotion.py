"""Which version is in use: promotion, the way back, and what the versions are.

MLflow has no compare-and-swap for aliases. So the alias `champion` is moved last, after everything
that explains it is written, and only if it still points where the caller saw it. Between that look
and the move a few milliseconds remain in which another's move would be overwritten; its version and
its tags stay, and `lode versions` shows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.registry.aliases import CHALLENGER, CHAMPION, PREVIOUS, aliases, make_champion, now
from components.registry.connection import RegistryError, connect
from components.registry.lookup import resolve, versions
from components.registry.models import Registration, as_registration, model_name, register

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Version:
    """A registered version: `created` in local time, `aliases` sorted, `tags` as registered."""

    version: int
    aliases: tuple[str, ...]
    created: datetime
    tags: Mapping[str, str]


def find(task: str, alias: str, *, tracking_uri: str) -> Registration | None:
    """The version that an alias points to; None where there is no such model or alias.

    Raises:
        RegistryError: the registry is unreachable.
    """
    name = model_name(task)
    with connect(tracking_uri) as client:
        number = aliases(client, name).get(alias)
        if number is None:
            return None
        return as_registration(client.get_model_version(name, str(number)))


def register_challenger(
    lode_dir: Path,
    *,
    task: str,
    tags: Mapping[str, str],
    decision: Mapping[str, str],
    promote: bool,
    champion: int | None,
    tracking_uri: str,
    **options: Any,
) -> Registration:
    """Register a challenger with its decision, and move `champion` to it if it was promoted.

    Called again after a kill it registers nothing twice and ends the same. A challenger that is the
    champion to the byte keeps the champion's tags.

    Args:
        tags: lineage, as of `register`. decision: more tags, written before any alias moves.
        champion: the version it was compared with; None: there was none.
        options: `artifact_root`, `controller` and `settings`, as of `register`.

    Raises:
        RegistryError: unreachable, or `champion` is another version by now.
    """
    found = register(
        lode_dir, task=task, tags=tags, tracking_uri=tracking_uri, promote=False, **options
    )
    with connect(tracking_uri) as client:
        current = aliases(client, found.name).get(CHAMPION)
        if current == found.version:  # promoted before a kill, or the same weights once more
            return _again(client, found)
        if current != champion:
            raise RegistryError(
                f"{found.name}@{CHAMPION} is {_named(current)} by now, compared was "
                f"{_named(champion)}: run `lode retrain` again, and it is compared with that one"
            )
        _tag(client, found, {**tags, **decision})
        client.set_registered_model_alias(found.name, CHALLENGER, str(found.version))
        if promote:
            make_champion(client, found.name, found.version)
        return _again(client, found)


def rollback(
    task: str, *, tracking_uri: str, who: str, why: str, to: int | None = None
) -> tuple[int, int]:
    """Move `champion` back to the version before it, or to `to`; returns (left, now in use).

    The version that is left gets the tags `rolled_back_at`, `_by`, `_why` and `_to`; nothing is
    deleted.

    Raises:
        RegistryError: unreachable; no champion; no version before it is known; `to` does not exist
            or is the champion.
    """
    name = model_name(task)
    with connect(tracking_uri) as client:
        left = resolve(client, f"models:/{name}@{CHAMPION}")
        before = left.tags.get(PREVIOUS)
        if to is None and before is None:
            others = [str(v.version) for v in versions(client, name) if v.version != left.version]
            raise RegistryError(
                f"{name} version {left.version} followed no other champion; choose one with "
                f"--to VERSION ({'there are ' + ', '.join(others) if others else 'it is the only'})"
            )
        target = resolve(client, f"models:/{name}/{before if to is None else to}")
        if target.version == left.version:
            raise RegistryError(f"{name} version {to} is the champion already")
        facts = {"at": now(), "by": who, "why": why, "to": str(target.version)}
        for key, value in facts.items():
            client.set_model_version_tag(name, str(left.version), f"rolled_back_{key}", value)
        client.set_registered_model_alias(name, CHAMPION, str(target.version))
        return int(left.version), int(target.version)


def list_versions(task: str, *, tracking_uri: str) -> list[Version]:
    """All versions, oldest first; empty where there are none.

    Raises:
        RegistryError: the registry is unreachable.
    """
    name = model_name(task)
    with connect(tracking_uri) as client:
        held: dict[int, list[str]] = {}
        for alias, number in aliases(client, name).items():
            held.setdefault(number, []).append(alias)
        return [
            Version(
                version=int(found.version),
                aliases=tuple(sorted(held.get(int(found.version), []))),
                created=datetime.fromtimestamp(found.creation_timestamp / 1000).astimezone(),
                tags=dict(found.tags),
            )
            for found in versions(client, name)
        ]


def _tag(client: MlflowClient, found: Registration, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(found.name, str(found.version), key, str(value))


def _again(client: MlflowClient, found: Registration) -> Registration:
    return as_registration(client.get_model_version(found.name, str(found.version)))


def _named(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
