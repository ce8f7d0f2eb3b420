"""Versions of the histories: DVC keeps the files, a Git branch of its own keeps what they were.

Nothing of the user's is touched: not the checked-out branch, the index, the working tree or
dvc.lock. How is in `git_branch.py` and `dvc_folder.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.retraining import git_branch
from components.retraining.dvc_folder import add_and_push, bring_back, dvc_folder, has_dvc
from components.retraining.errors import VersioningError
from components.retraining.git_branch import Manifest
from components.storage.workspace import Workspace
from components.training.history import HistoryError, digest, read_histories, read_history


@dataclass(frozen=True)
class HistoriesVersion:
    """One version of a task's histories: `revision` (Git), `date` (ISO 8601), the `digest` of
    `components.training.history` over its `runs`, and how many were `added` and `removed`."""

    revision: str
    date: str
    message: str
    digest: str
    runs: int
    added: int
    removed: int


@dataclass(frozen=True)
class Snapshot:
    """`revision`: of the version; empty where there is none, and `summary` tells why. `pushed`:
    whether the files are in the default remote."""

    revision: str
    pushed: bool
    summary: str


def snapshot(
    workspace: Workspace, task: str, message: str, files: Mapping[str, Path] | None = None
) -> Snapshot:
    """Make a version of a task's histories, push it to the default remote, and say what changed.

    The same set as the last version's is no new version, unless that could not be pushed. Without
    a Git repository or a `.dvc` folder nothing is done.

    Args:
        message: subject of the commit.
        files: path by run id; None: all readable ones of the sweep, pilots, scheduled, nightly and
            imported runs.

    Raises:
        VersioningError: Git or DVC failed. That the remote cannot be reached is only said.
    """
    root = workspace.root
    missing = _missing(root)
    if missing:
        return Snapshot("", False, f"no version of the histories: {missing}")
    files = _all_files(workspace, task) if files is None else files
    seen = digest(read_history(path) for path in files.values())
    tip = git_branch.tip(root)
    before = git_branch.manifest(root, tip, task) if tip else None
    if before is not None and before.digest == seen and before.pushed:
        return Snapshot(tip, True, f"version {tip[:12]}: the histories are the same")
    with dvc_folder(workspace) as folder:
        pointer, error = add_and_push(folder, task, files)
    manifest = _manifest(task, seen, set(files), before, pushed=not error)
    revision = git_branch.commit(root, tip, message, pointer, manifest)
    return Snapshot(revision, not error, _summary(revision, manifest, error))


def histories_versions(workspace: Workspace, task: str) -> list[HistoriesVersion]:
    """All versions of a task's histories, newest first; empty where there are none.

    Raises:
        VersioningError: no Git repository.
    """
    root = workspace.root
    missing = _missing(root)
    if missing:
        raise VersioningError(f"{root}: no versions of histories: {missing}")
    versions = []
    for revision, date, message in git_branch.log(root, task):
        found = git_branch.manifest(root, revision, task)
        if found is not None:
            counts = len(found.runs), len(found.added), len(found.removed)
            versions.append(HistoriesVersion(revision, date, message, found.digest, *counts))
    return versions


def restore(workspace: Workspace, task: str, revision: str, out: Path) -> int:
    """Bring the histories of a version into the folder `out`; returns how many there are.

    They come from DVC's cache, or from the default remote if they are no longer there.

    Args:
        revision: a commit as `lode histories` lists it, or anything Git resolves to one.
        out: must not exist, or be empty.

    Raises:
        VersioningError: no such version; files in neither cache nor remote; `out` in use; or what
            came is not what the version's digest says.
    """
    manifest = git_branch.manifest(workspace.root, revision, task)
    if manifest is None:
        raise VersioningError(
            f"{revision}: no version of the histories of {task}; `lode histories` lists them"
        )
    if out.exists() and any(out.iterdir()):
        raise VersioningError(f"{out}: not empty; choose another folder with --out")
    pointer = git_branch.pointer(workspace.root, revision, task)
    with dvc_folder(workspace) as folder:
        error = bring_back(folder, task, pointer)
        if error:
            raise VersioningError(
                f"version {revision} is neither in DVC's cache nor in its remote ({error}): "
                "`lode prune` has deleted it, or another remote has it: dvc remote add -d NAME URL"
            )
        _check(folder / task, manifest.digest, revision)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            out.rmdir()
        shutil.move(folder / task, out)
    return len(manifest.runs)


def _missing(root: Path) -> str:
    """What versions need and is not there; empty if all is."""
    if not has_dvc(root):
        return "no DVC here (`dvc init`)"
    return "" if git_branch.is_repository(root) else "no Git repository here (`git init`)"


def _all_files(workspace: Workspace, task: str) -> dict[str, Path]:
    folders = (
        workspace.histories(task),
        workspace.pilots(task),
        workspace.scheduled(task),
        workspace.nightly(task),
        workspace.imported(task),
    )
    files: dict[str, Path] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.parquet"))):
        try:
            files.setdefault(read_history(path).run_id, path)
        except HistoryError:
            continue  # nobody learns from it either
    return files


def _manifest(
    task: str, seen: str, runs: set[str], before: Manifest | None, *, pushed: bool
) -> Manifest:
    old = set(before.runs) if before else set()
    return Manifest(task, seen, pushed, sorted(runs), sorted(runs - old), sorted(old - runs))


def _summary(revision: str, manifest: Manifest, error: str) -> str:
    added, removed = len(manifest.added), len(manifest.removed)
    text = f"version {revision[:12]}: {len(manifest.runs)} runs, {added} added, {removed} removed"
    return text + (f"; not pushed, it is in DVC's cache only: {error}" if error else "")


def _check(folder: Path, expected: str, revision: str) -> None:
    try:
        found = digest(read_histories(folder))
    except HistoryError as error:
        raise VersioningError(f"version {revision}: {error}") from None
    if found != expected:
        raise VersioningError(
            f"version {revision}: the files are not those of its digest {expected[:12]}; the "
            "remote is damaged: take another copy of it"
        )
