"""What nights have left and nobody can need any more: found, listed, deleted.

Never deleted: histories in `data/` (the next night learns from all of them), the commits of the
branch `lode-histories` (tags of registered versions name them), and the records of nights.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.registry.pruning import VersionFiles, delete_version, kept_and_old
from components.retraining import git_branch
from components.retraining.dvc_folder import has_dvc
from components.retraining.dvc_objects import files_of, names_in, own_stores
from components.retraining.errors import VersioningError
from components.retraining.record import open_night
from components.settings import Settings
from components.steps.results import read_registration
from components.storage.workspace import Workspace, WorkspaceError


@dataclass(frozen=True)
class Prunable:
    """What may go, and what stays.

    Attributes:
        versions, kept: of the registered LODE.
        histories: revisions whose files may go; kept_histories: how many versions stay.
        objects: DVC's files of those that no other version, task or stage names.
        folders: the last night's challenger, once it is registered.
        elsewhere: caches and remotes outside the workspace, which are left alone.
    """

    versions: list[VersionFiles]
    kept: list[VersionFiles]
    histories: list[str]
    kept_histories: int
    objects: list[Path]
    folders: list[Path]
    elsewhere: list[str]

    @property
    def parts(self) -> dict[str, int]:
        """Bytes by what is deleted; without what there is nothing of."""
        numbers = ", ".join(str(one.version) for one in self.versions)
        found = {
            f"registered versions {numbers}": sum(one.size for one in self.versions),
            f"files of {len(self.histories)} versions of the histories": _size(self.objects),
            "the last night's challenger, which is registered": _size(self.folders),
        }
        there = (self.versions, self.objects, self.folders)
        return {what: size for (what, size), some in zip(found.items(), there, strict=True) if some}


def prunable(settings: Settings, workspace: Workspace, keep: int) -> Prunable:
    """What a task's nights have left, beyond the newest `keep` of each kind and what these and the
    champion refer to.

    Raises:
        RegistryError: the registry is unreachable. VersioningError: Git failed.
    """
    task = settings.task
    uri = workspace.database(settings.registry.tracking_uri)
    kept, old = kept_and_old(
        task,
        keep=keep,
        also=_registered(workspace, task),
        tracking_uri=uri,
        artifact_root=workspace.artifacts,
    )
    night = open_night(workspace, task)
    needed = {one.data_revision for one in kept} | {night.data_revision if night else ""}
    histories, kept_histories, objects, elsewhere = _histories(workspace, task, keep, needed - {""})
    left = [] if night else [workspace.challenger(task), workspace.night(task)]
    folders = [folder for folder in left if folder.exists()]
    return Prunable(old, kept, histories, kept_histories, objects, folders, elsewhere)


def prune(found: Prunable, settings: Settings, workspace: Workspace) -> None:
    """Delete it; killed, the next call finds the rest.

    Raises:
        RegistryError: the registry is unreachable, or will not delete.
    """
    uri = workspace.database(settings.registry.tracking_uri)
    for version in found.versions:
        delete_version(
            settings.task,
            version.version,
            tracking_uri=uri,
            artifact_root=workspace.artifacts,
        )
    for path in found.objects:
        path.unlink(missing_ok=True)
    for folder in found.folders:
        shutil.rmtree(folder)


def _registered(workspace: Workspace, task: str) -> list[int]:
    """The version that the step `register` says is its output."""
    try:
        return [read_registration(workspace.registration(task)).version]
    except WorkspaceError:
        return []


def _histories(
    workspace: Workspace, task: str, keep: int, needed: set[str]
) -> tuple[list[str], int, list[Path], list[str]]:
    """Old revisions, how many are kept, DVC's files of the old ones, and stores left alone."""
    root = workspace.root
    if not (has_dvc(root) and git_branch.is_repository(root)):
        return [], 0, [], []
    stores, elsewhere = own_stores(root)
    pointers = _pointers(root, task, (one for one, _, _ in git_branch.log(root, task)))
    kept = {**dict(list(pointers.items())[:keep]), **_pointers(root, task, needed)}
    old = {one: text for one, text in pointers.items() if text not in kept.values()}
    used = [*kept.values(), *git_branch.pointers_elsewhere(root)]
    for other in git_branch.tasks(root) - {task}:
        revisions = (one for one, _, _ in git_branch.log(root, other))
        used += _pointers(root, other, revisions).values()
    gone = names_in(old.values(), stores) - names_in(used, stores)
    objects = files_of(gone, stores)
    there = [one for one, text in old.items() if files_of(names_in([text], []), stores)]
    return there, len(pointers) - len(old), objects, elsewhere


def _pointers(root: Path, task: str, revisions: Iterable[str]) -> dict[str, str]:
    """DVC's pointer by revision, without revisions that this repository does not have."""
    found = {}
    for revision in revisions:
        try:
            found[revision] = git_branch.pointer(root, revision, task)
        except VersioningError:  # of another clone, on a registry that is shared
            continue
    return found


def _size(paths: Iterable[Path]) -> int:
    files = [each for path in paths for each in (path, *path.rglob("*")) if each.is_file()]
    return sum(each.stat().st_size for each in files)
