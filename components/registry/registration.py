"""A registered version as the rest of the pipeline sees it; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Registration:
    """A registered version. `uri`: `models:/<name>/<version>`; `run_id`: the MLflow run that
    logged it; `tags`: its lineage; `location`: where `register` has its files, a local folder's
    path or an address (empty where nobody looked)."""

    name: str
    version: int
    run_id: str
    uri: str
    tags: Mapping[str, str]
    location: str = field(default="", compare=False)


def model_name(task: str) -> str:
    return f"lode-{task}"


def as_registration(found: ModelVersion) -> Registration:
    return Registration(
        name=found.name,
        version=int(found.version),
        run_id=str(found.run_id or ""),
        uri=f"models:/{found.name}/{found.version}",
        tags=dict(found.tags),
    )
