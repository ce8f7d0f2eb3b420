"""A night's LODE in the registry: registered with its decision, and in use if it was promoted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.registry.aliases import CHALLENGER, CHAMPION, aliases, make_champion
from components.registry.connection import RegistryError, connect
from components.registry.models import register
from components.registry.promotion import tag
from components.registry.registration import Registration, as_registration

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
        options: `artifact_root`, `controller`, `settings` and `about`, as of `register`.

    Raises:
        RegistryError: unreachable, or `champion` is another version by now.
    """
    found = register(lode_dir, task=task, tags=tags, tracking_uri=tracking_uri, **options)
    with connect(tracking_uri) as client:
        current = aliases(client, found.name).get(CHAMPION)
        if current == found.version:  # promoted before a kill, or the same weights once more
            return _again(client, found)
        if current != champion:
            raise RegistryError(
                f"{found.name}@{CHAMPION} is {_named(current)} by now, compared was "
                f"{_named(champion)}: run `lode retrain` again, and it is compared with that one"
            )
        tag(client, found, {**tags, **decision})
        client.set_registered_model_alias(found.name, CHALLENGER, str(found.version))
        if promote:
            make_champion(client, found.name, found.version)
        return _again(client, found)


def _again(client: MlflowClient, found: Registration) -> Registration:
    return as_registration(client.get_model_version(found.name, str(found.version)))


def _named(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
