"""Versions for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from components.registry.aliases import make_champion
from components.registry.connection import connect
from components.registry.models import register
from components.registry.registration import Registration, as_registration


def register_champion(lode_dir: Path, *, tracking_uri: str, **given: Any) -> Registration:
    """As `register`, and the version is the champion, whatever was."""
    made = register(lode_dir, tracking_uri=tracking_uri, **given)
    with connect(tracking_uri) as client:
        make_champion(client, made.name, made.version)
        found = as_registration(client.get_model_version(made.name, str(made.version)))
    return replace(found, location=made.location)
