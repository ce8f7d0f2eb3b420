"""Which registered versions nobody can need any more, and their removal with all their files."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.registry.aliases import PREVIOUS, aliases
from components.registry.connection import connect, inside, is_there
from components.registry.contents import location
from components.registry.lazy import mlflow
from components.registry.lookup import resolve, versions
from components.registry.registration import model_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_LOGGED = "models:/m-"  # how a version names the logged model that its files belong to
_REGISTERED_WHOLE = "weights_digest"  # the tag that `register` writes last


@dataclass(frozen=True)
class VersionFiles:
    """A version, the histories it names in its tag `data_revision`, and how many bytes its files
    are: 0 where they are gone, not on this machine, or another workspace's."""

    version: int
    data_revision: str
    size: int


def kept_and_old(
    task: str, *, keep: int, also: Collection[int], tracking_uri: str, artifact_root: Path
) -> tuple[list[VersionFiles], list[VersionFiles]]:
    """The task's versions in two: those that somebody can need, and the others; oldest first.

    Kept are every version with an alias, the newest `keep`, `also`, and what `rollback` reaches
    from any of these; further those that were not registered by this project.

    Args:
        artifact_root: where a database without a server keeps files, as of `register`.

    Raises:
        RegistryError: the registry is unreachable.
    """
    name = model_name(task)
    if not is_there(tracking_uri):
        return [], []
    with connect(tracking_uri) as client:
        found = versions(client, name)
        held = {*aliases(client, name).values(), *also}
        needed = _needed({int(one.version): one for one in found}, keep, held)
        described = [_described(client, one, artifact_root) for one in found]
    return (
        [one for one in described if one.version in needed],
        [one for one in described if one.version not in needed],
    )


def delete_version(task: str, version: int, *, tracking_uri: str, artifact_root: Path) -> None:
    """Delete a version: its files, its run, then itself. Killed in between, it is still listed.

    MLflow keeps the rows of what is deleted until `mlflow gc`. In a workspace that was copied, the
    files of older versions are those of the original: they stay.

    Raises:
        RegistryError: the registry is unreachable, or the files cannot be deleted.
    """
    name = model_name(task)
    with connect(tracking_uri) as client:
        found = resolve(client, f"models:/{name}/{version}")
        if _ours(client, found, artifact_root):
            _delete_files(client, found)
        gone = mlflow.exceptions.MlflowException  # by a call that was killed, or by hand
        source = str(found.source)
        if source.startswith(_LOGGED):
            with suppress(gone):
                client.delete_logged_model(source.removeprefix("models:/"))
        if found.run_id:
            with suppress(gone):
                client.delete_run(found.run_id)
        client.delete_model_version(name, str(version))


def _needed(found: dict[int, ModelVersion], keep: int, held: Collection[int]) -> set[int]:
    foreign = {number for number, one in found.items() if _REGISTERED_WHOLE not in one.tags}
    waiting = [*held, *sorted(found)[-keep:], *foreign]
    needed: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number in found and number not in needed:
            needed.add(number)
            before = found[number].tags.get(PREVIOUS, "")
            waiting += [int(before)] if before.isdecimal() else []
    return needed


def _described(client: MlflowClient, found: ModelVersion, artifact_root: Path) -> VersionFiles:
    ours = _ours(client, found, artifact_root)
    there = Path(location(client, found)).rglob("*") if ours else ()
    files = [path for path in there if path.is_file()]
    revision = found.tags.get("data_revision", "none")
    return VersionFiles(
        version=int(found.version),
        data_revision="" if revision == "none" else revision,
        size=sum(path.stat().st_size for path in files),
    )


def _ours(client: MlflowClient, found: ModelVersion, artifact_root: Path) -> bool:
    """Whether the files are this workspace's or a server's, not those of a workspace it is a copy
    of: a copied database still means the old place."""
    local = client.tracking_uri.startswith("sqlite:")
    return not local or inside(location(client, found), artifact_root)


def _delete_files(client: MlflowClient, found: ModelVersion) -> None:
    place = client.get_model_version_download_uri(found.name, str(found.version))
    stores = mlflow.store.artifact.artifact_repository_registry
    stores.get_artifact_repository(place).delete_artifacts()
    with suppress(OSError):  # the folder that MLflow made around them: elsewhere, or not empty
        Path(location(client, found)).parent.rmdir()
