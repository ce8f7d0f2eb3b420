"""The LODE in the MLflow model registry: `lode-<task>`, alias `champion`."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.lode.model import CONFIG, LODE
from components.lode.settings import DEFAULT, ControllerSettings
from components.registry.aliases import CHAMPION, make_champion
from components.registry.connection import connect, experiment_id
from components.registry.lazy import mlflow
from components.registry.lookup import by_alias, resolve, versions
from components.registry.packaging import ARTIFACT, copy_weights, files, log_model
from components.registry.shipping import ship

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# The tags that make a version: equal ones are not registered twice.
_IDENTITY = ("weights_digest", "settings_digest", "code", "controller")


@dataclass(frozen=True)
class Registration:
    """A registered version. `uri`: `models:/<name>/<version>`; `run_id`: the MLflow run that
    logged it; `tags`: its lineage."""

    name: str
    version: int
    run_id: str
    uri: str
    tags: Mapping[str, str]


def model_name(task: str) -> str:
    return f"lode-{task}"


def register(
    lode_dir: Path,
    *,
    task: str,
    tags: Mapping[str, str],
    tracking_uri: str,
    artifact_root: Path | str | None = None,
    controller: str = DEFAULT,
    settings: ControllerSettings = ControllerSettings(),
    promote: bool = True,
) -> Registration:
    """Register a fitted LODE; the same weights, settings and code are the same version.

    The model is code and safetensors, nothing is pickled, and it carries the code it needs.

    Args:
        lode_dir: `models/lode/<task>`.
        tags: lineage: histories and settings digest, git revision, sweep size. A change of
            `settings_digest` makes a new version.
        artifact_root: folder for the model's files where no server decides.
        controller, settings: defaults of the model's parameters.
        promote: point the alias `champion` to the version, whatever it points to now.

    Raises:
        LODEError: `lode_dir` holds no readable LODE.
        RegistryError: the registry is unreachable or not writable.
    """
    lode = LODE.load(Path(lode_dir))
    name = model_name(task)
    defaults = {"controller": controller, **asdict(settings), "horizon": settings.horizon or 0}
    with tempfile.TemporaryDirectory() as scratch, connect(tracking_uri) as client:
        package = ship(Path(scratch) / "code")
        lineage = {str(key): str(value) for key, value in tags.items()} | {
            "task": task,
            "weights_digest": _digest(Path(lode_dir)),
            "code": package.name,
            "controller": json.dumps(defaults, sort_keys=True),
        }
        found = _same(client, name, lineage)
        if found is None:
            weights = copy_weights(Path(lode_dir), Path(scratch) / "lode")
            experiment = experiment_id(client, name, artifact_root)
            version_ = log_model(
                name,
                weights,
                package,
                experiment=experiment,
                controller=defaults,
                points=lode.config.points,
                tags=lineage,
            )
            found = _tag(client, name, version_, lineage)
        if promote:
            make_champion(client, name, int(found.version))
            found = client.get_model_version(name, found.version)
        return as_registration(found)


def champion(task: str, *, tracking_uri: str) -> Registration:
    """The version that the alias `champion` points to.

    Raises:
        RegistryError: unreachable, or no such model or alias; names what exists.
    """
    name = model_name(task)
    with connect(tracking_uri) as client:
        return as_registration(by_alias(client, name, CHAMPION))


def fetch(uri: str, *, tracking_uri: str, folder: Path | None = None) -> Path:
    """Copy a registered LODE's weights; `LODE.load` reads the folder that is returned.

    Args:
        uri: `models:/lode-<task>@champion` or `models:/lode-<task>/3`.
        folder: where to; None: a new temporary folder, the caller's to remove.

    Raises:
        RegistryError: unreachable, or no such model, version or alias; names what exists.
    """
    with connect(tracking_uri) as client:
        found = resolve(client, uri)
        into = Path(folder or tempfile.mkdtemp(prefix="lode-"))
        source = f"models:/{found.name}/{found.version}/artifacts/{ARTIFACT}"
        with tempfile.TemporaryDirectory() as scratch:
            copied = mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=scratch)
            return copy_weights(Path(copied), into)


def _digest(lode_dir: Path) -> str:
    """SHA-256 (hex) of all weights: of the LODE, and of its judge with the plan."""
    total = hashlib.sha256()
    for path in files(lode_dir):
        if path.name != CONFIG:  # it says how long the fit took to converge, not what it is
            total.update(path.read_bytes())
    return total.hexdigest()


def _same(client: MlflowClient, name: str, lineage: Mapping[str, str]) -> ModelVersion | None:
    """The latest version of the same weights, settings and code that was registered whole."""
    keys = [k for k in _IDENTITY if k in lineage]
    for found in reversed(versions(client, name)):
        if all(found.tags.get(key) == lineage[key] for key in keys):
            return found
    return None


def _tag(
    client: MlflowClient, name: str, version_: int, lineage: Mapping[str, str]
) -> ModelVersion:
    """Lineage on the version; the weights' digest last: only whole registrations carry it."""
    for key, value in sorted(lineage.items(), key=lambda item: item[0] == "weights_digest"):
        client.set_model_version_tag(name, str(version_), key, value)
    return client.get_model_version(name, str(version_))


def as_registration(found: ModelVersion) -> Registration:
    return Registration(
        name=found.name,
        version=int(found.version),
        run_id=str(found.run_id or ""),
        uri=f"models:/{found.name}/{found.version}",
        tags=dict(found.tags),
    )
