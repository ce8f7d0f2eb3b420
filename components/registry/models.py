"""The LODE in the MLflow model registry: `lode-<task>`, alias `champion`."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.lode.model import LODE
from components.lode.names import CONFIG, PLAN
from components.lode.settings import DEFAULT, ControllerSettings
from components.registry import about as pages
from components.registry.about import About
from components.registry.aliases import CHAMPION
from components.registry.connection import RegistryError, connect, experiment_id, inside
from components.registry.contents import FILES_DIGEST, check, download, files_digest, location
from components.registry.lookup import by_alias, resolve, versions
from components.registry.packaging import (
    copy_weights,
    files,
    holds,
    interface,
    log_model,
    weights_in,
)
from components.registry.registration import Registration, as_registration, model_name
from components.registry.shipping import ship

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# The tags that make a version: equal ones are not registered twice.
_IDENTITY = ("weights_digest", "settings_digest", "code", "interface", "controller", "metric")


def register(
    lode_dir: Path,
    *,
    task: str,
    tags: Mapping[str, str],
    tracking_uri: str,
    artifact_root: Path | str | None = None,
    controller: str = DEFAULT,
    settings: ControllerSettings = ControllerSettings(),
    about: About = About(),
) -> Registration:
    """Register a fitted LODE; the same weights, settings and code are the same version.

    The model is code and safetensors, nothing is pickled, and it carries the code it needs. A
    version whose files are gone, changed, or in another workspace is registered anew, with a
    warning.

    Args:
        lode_dir: `models/lode/<task>`.
        tags: lineage: histories and settings digest, git revision, sweep size. A change of
            `settings_digest` makes a new version.
        artifact_root: folder for the model's files where no server decides.
        controller, settings: defaults of the model's parameters.
        about: what its pages say beside what its files do.

    Raises:
        LODEError: `lode_dir` holds no readable LODE.
        RegistryError: the registry is unreachable or not writable.
    """
    lode = LODE.load(Path(lode_dir))
    name = model_name(task)
    defaults = {"controller": controller, **asdict(settings), "horizon": settings.horizon or 0}
    with tempfile.TemporaryDirectory() as scratch, connect(tracking_uri) as client:
        package = ship(Path(scratch) / "code")
        weights = copy_weights(Path(lode_dir), Path(scratch) / "lode")
        figures = {**pages.figures_of(lode, weights), **about.figures}
        readable = pages.tags(lode, about, figures)
        lineage = {str(key): str(value) for key, value in tags.items()} | {
            "task": task,
            "weights_digest": weights_digest(weights),
            "code": package.name,
            "interface": interface(),
            "controller": json.dumps(defaults, sort_keys=True),
            **readable,
        }
        found = None
        for same in _same(client, name, lineage):
            found = found or _usable(client, same, weights, package, artifact_root)
        if found is None:
            experiment = experiment_id(client, name, artifact_root, for_files=True)
            version_ = log_model(
                name,
                weights,
                package,
                experiment=experiment,
                controller=defaults,
                points=lode.config.points,
                metric=about.metric,
                figures=figures,
                tags=lineage,
            )
            said = pages.description(name, version_, lode, about)
            client.update_model_version(name, str(version_), description=said)
            client.update_registered_model(name, description=pages.of_all_versions(task))
            lineage |= _content(client, client.get_model_version(name, str(version_)))
            found = _tag(client, name, version_, lineage)
        return replace(as_registration(found), location=location(client, found))


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

    All files of the version are compared with its tag `files_digest` first; a version from before
    there was one is warned of once.

    Args:
        uri: `models:/lode-<task>@champion` or `models:/lode-<task>/3`.
        folder: where to; None: a new temporary folder, the caller's to remove.

    Raises:
        RegistryError: unreachable, no such model, version or alias (names what exists), or its
            files are gone or not those that were registered.
    """
    with connect(tracking_uri) as client:
        found = resolve(client, uri)
        into = Path(folder or tempfile.mkdtemp(prefix="lode-"))
        with tempfile.TemporaryDirectory() as scratch:
            copied = download(client, found, Path(scratch))
            check(found, copied)
            return copy_weights(weights_in(copied), into)


def weights_digest(lode_dir: Path) -> str:
    """SHA-256 (hex) of all weights: of the LODE, and of its judge with the plan."""
    total = hashlib.sha256()
    for path in files(lode_dir):
        # how long the fit took to converge, and what follows from the weights, is not what it is
        if path.name not in (CONFIG, PLAN):
            total.update(path.read_bytes())
    return total.hexdigest()


def _same(client: MlflowClient, name: str, lineage: Mapping[str, str]) -> list[ModelVersion]:
    """Versions of the same weights, settings and code that were registered whole, latest first."""
    keys = [k for k in _IDENTITY if k in lineage]
    return [
        found
        for found in reversed(versions(client, name))
        if all(found.tags.get(key) == lineage[key] for key in keys)
    ]


def _usable(
    client: MlflowClient,
    found: ModelVersion,
    weights: Path,
    package: Path,
    artifact_root: Path | str | None,
) -> ModelVersion | None:
    """A version again if its files are there and as they should be, else None, and a warning.

    One from before there was a digest of its files gets it, if they are what is registered now.
    """
    try:
        place = location(client, found)
        ours = None if artifact_root is None else Path(artifact_root).absolute()
        if ours and client.tracking_uri.startswith("sqlite:") and not inside(place, ours):
            raise RegistryError(
                f"models:/{found.name}/{found.version} has its files in {place}, not in {ours}: "
                "this folder was moved or copied"
            )
        with tempfile.TemporaryDirectory() as scratch:
            folder = download(client, found, Path(scratch))
            if FILES_DIGEST in found.tags:
                check(found, folder)
                return found
            if not holds(folder, weights, package):
                raise RegistryError(
                    f"models:/{found.name}/{found.version}: its files are not those of this LODE"
                )
        digest = _content(client, found)[FILES_DIGEST]
        client.set_model_version_tag(found.name, found.version, FILES_DIGEST, digest)
        return client.get_model_version(found.name, found.version)
    except (RegistryError, OSError) as error:
        warnings.warn(f"{error}; it is registered anew", stacklevel=3)
        return None


def _content(client: MlflowClient, found: ModelVersion) -> dict[str, str]:
    """The tag that says what the files of a version are now."""
    with tempfile.TemporaryDirectory() as scratch:
        return {FILES_DIGEST: files_digest(download(client, found, Path(scratch)))}


def _tag(
    client: MlflowClient, name: str, version_: int, lineage: Mapping[str, str]
) -> ModelVersion:
    """Lineage on the version; the weights' digest last: only whole registrations carry it."""
    for key, value in sorted(lineage.items(), key=lambda item: item[0] == "weights_digest"):
        client.set_model_version_tag(name, str(version_), key, value)
    return client.get_model_version(name, str(version_))
