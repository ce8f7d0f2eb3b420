"""A registered LODE for a training that follows it, here or with the code that it carries."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from components.lode.model import LODE
from components.lode.settings import as_shares
from components.registry.connection import RegistryError, connect
from components.registry.contents import check, download
from components.registry.lazy import mlflow
from components.registry.lookup import resolve
from components.registry.packaging import copy_weights, weights_in


def followed(uri: str, folder: Path, tracking_uri: str | None = None) -> dict[str, Any]:
    """Copy a version's weights and plan into `folder`; returns the settings of its controller.

    Args:
        uri: `models:/lode-<task>@champion` or `models:/lode-<task>/3`.
        tracking_uri: None: what MLflow is set to, by MLFLOW_TRACKING_URI for instance.

    Raises:
        RegistryError: as of `models.fetch`; MLflow is not installed.
    """
    try:
        tracking_uri = tracking_uri or str(mlflow.get_tracking_uri())
    except ModuleNotFoundError:
        raise RegistryError(f"{uri}: MLflow is not installed: pip install mlflow") from None
    with connect(tracking_uri) as client, tempfile.TemporaryDirectory() as scratch:
        found = resolve(client, uri)
        copied = download(client, found, Path(scratch))
        check(found, copied)
        copy_weights(weights_in(copied), folder)
        registered = json.loads(found.tags.get("controller", "{}"))
        points = LODE.load(folder).config.points
    return as_shares(registered, points) if registered else {}
