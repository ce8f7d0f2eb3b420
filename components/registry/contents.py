"""The files of a registered version: where they lie, and whether they are what was registered.

The tag `files_digest` says what every file of a version held when it was registered, `MLmodel` and
code included. It is the SHA-256 of the lines that `sha256sum` would print of them, sorted by path,
so that anybody can check it without this project (docs/security.md).
"""

from __future__ import annotations

import shutil
import warnings
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from components.registry.connection import RegistryError, local_path
from components.registry.lazy import mlflow
from components.storage.digests import file_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FILES_DIGEST = "files_digest"
# Written beside the files by whoever loads a version from a local store: not part of it.
_META, _CACHE = "registered_model_meta", "__pycache__"
_told: set[tuple[str, int]] = set()  # old versions that were warned of


def files_digest(folder: Path) -> str:
    """SHA-256 (hex) over path and SHA-256 of every file below a folder."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    lines = [f"{file_digest(paths[p])}  {p}\n" for p in sorted(paths) if paths[p].is_file()]
    return sha256("".join(lines).encode()).hexdigest()


def location(client: MlflowClient, found: ModelVersion) -> str:
    """Where a version's files lie: a local folder's path, or an address."""
    place = str(client.get_model_version_download_uri(found.name, found.version))
    path = local_path(place)
    return place if path is None else str(path)


def download(client: MlflowClient, found: ModelVersion, into: Path) -> Path:
    """Copy all files of a version into a folder, which is returned; nothing is loaded.

    Raises:
        RegistryError: they are not there.
    """
    place = location(client, found)
    uri = f"models:/{found.name}/{found.version}"
    try:
        if (path := local_path(place)) is not None and not path.is_dir():
            raise FileNotFoundError("no such folder")
        copied = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(into))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        said = str(error).strip().partition("\n")[0]
        raise RegistryError(
            f"{uri}: its files cannot be read from {place} ({said[:120]}); bring them back, or, "
            "where the folder was moved or copied, run `lode register` to register its LODE here"
        ) from None
    folder = Path(copied)
    (folder / _META).unlink(missing_ok=True)
    for cache in list(folder.rglob(_CACHE)):
        shutil.rmtree(cache)
    return folder


def check(found: ModelVersion, folder: Path) -> None:
    """Compare downloaded files with what was registered; a version without the tag is warned of.

    Raises:
        RegistryError: they differ.
    """
    uri, registered = f"models:/{found.name}/{found.version}", found.tags.get(FILES_DIGEST)
    if registered is None:
        if (found.name, int(found.version)) not in _told:
            _told.add((found.name, int(found.version)))
            warnings.warn(
                f"{uri} was registered without a digest of its files, so that it cannot be "
                "checked whether they were changed; `lode register` makes a version that can be",
                stacklevel=2,
            )
    elif files_digest(folder) != registered:
        raise RegistryError(
            f"{uri}: its files are not those that were registered (tag {FILES_DIGEST}): changed or "
            "damaged, so nothing of them was loaded; bring them back, choose another version with "
            "`lode rollback --to VERSION`, or run `lode register`"
        )
