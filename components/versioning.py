"""Versions of what a LODE learned from: histories under DVC, one git commit per version.

A version is a commit on the branch `lode-histories`: the code as it was checked out, and below
`training-sets/<task>` the histories as DVC pointer (`<task>.dvc`) and a manifest that git can show
the changes of (`<task>.json`). It is made in a git worktree of its own, so neither the checked-out
branch nor the index nor the files of the workspace are touched. DVC's default remote gets the data.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.training.history import History, digest, read_histories, write_history
from components.workspace import Workspace

BRANCH = "lode-histories"
FOLDER = "training-sets"
_LEFT = shutil.ignore_patterns("cache", "tmp", "remote")  # of .dvc: the data itself


class VersioningError(RuntimeError):
    """A version cannot be made or brought back; the message says why and what to do."""


@dataclass(frozen=True)
class Version:
    """A version of a task's histories.

    Attributes:
        revision: the commit, 12 hex digits. when: ISO date. message: its first line.
        digest: `training.history.digest` of its histories. runs: how many.
    """

    revision: str
    when: str
    message: str
    digest: str
    runs: int


def snapshot(
    workspace: Workspace, task: str, histories: Sequence[History], message: str
) -> str | None:
    """Make `histories` a version, unless they are the latest one already.

    Returns:
        Its revision; None where the workspace is no git repository with DVC.

    Raises:
        VersioningError: git or DVC failed; what was there before still is.
    """
    if not versioned(workspace):
        return None
    said = digest(histories)
    known = versions(workspace, task)
    if known and known[0].digest == said:
        return known[0].revision
    with _worktree(workspace, _tip(workspace)) as tree:
        changed = _write(tree, task, histories, said)
        _dvc(tree, "add", "--quiet", f"{FOLDER}/{task}")
        _dvc(tree, "push", "--quiet", f"{FOLDER}/{task}.dvc")
        _git(tree, "add", "--force", f"{FOLDER}/{task}.dvc", f"{FOLDER}/{task}.json",
             f"{FOLDER}/.gitignore")  # fmt: skip
        _git(tree, *_author(tree), "commit", "--quiet", "--no-verify", "-m",
             f"{task}: {message}", "-m", changed)  # fmt: skip
        revision = _git(tree, "rev-parse", "--short=12", "HEAD").strip()
        _git(tree, "branch", "--force", BRANCH, "HEAD")
    return revision


def versions(workspace: Workspace, task: str) -> list[Version]:
    """The task's versions, latest first; empty where there is none."""
    if not versioned(workspace) or not _exists(workspace, BRANCH):
        return []
    manifest = f"{FOLDER}/{task}.json"
    log = _git(workspace.root, "log", "--format=%h%x09%cI%x09%s", "--abbrev=12", BRANCH, "--",
               manifest)  # fmt: skip
    found = []
    for line in log.splitlines():
        revision, when, subject = line.split("\t", 2)
        facts = json.loads(_git(workspace.root, "show", f"{revision}:{manifest}"))
        found.append(Version(revision, when, subject, facts["digest"], len(facts["runs"])))
    return found


def bring_back(workspace: Workspace, task: str, revision: str, out: Path) -> int:
    """Write the histories of a version to `out`, from DVC's cache or its remote.

    Returns:
        How many.

    Raises:
        VersioningError: no such version, its data is nowhere, or not what the manifest says.
    """
    if not versioned(workspace):
        raise VersioningError(f"{workspace.root}: not a git repository with DVC: no versions here")
    manifest = f"{FOLDER}/{task}.json"
    if not _exists(workspace, revision) or not _exists(workspace, f"{revision}:{manifest}"):
        known = ", ".join(version.revision for version in versions(workspace, task)) or "none"
        raise VersioningError(f"{revision}: no version of {task}'s histories; known: {known}")
    with _worktree(workspace, revision) as tree:
        _dvc(tree, "pull", "--quiet", f"{FOLDER}/{task}.dvc")
        expected = json.loads((tree / manifest).read_text(encoding="utf-8"))["digest"]
        histories = read_histories(tree / FOLDER / task)
        if digest(histories) != expected:
            raise VersioningError(f"{revision}: the data is not what its manifest says")
        for history in histories:
            write_history(history, out)
    return len(histories)


def versioned(workspace: Workspace) -> bool:
    """Whether the workspace is the root of a git repository with DVC and at least one commit."""
    root = workspace.root
    return (root / ".git").exists() and (root / ".dvc").is_dir() and _exists(workspace, "HEAD")


def _write(tree: Path, task: str, histories: Sequence[History], said: str) -> str:
    """Histories and manifest into the worktree; returns what changed, in words."""
    folder, manifest = tree / FOLDER / task, tree / FOLDER / f"{task}.json"
    before: set[str] = set()
    if manifest.exists():
        before = set(json.loads(manifest.read_text(encoding="utf-8"))["runs"])
    for history in histories:
        write_history(history, folder)
    runs = {history.run_id: history.describe() for history in histories}
    text = json.dumps({"task": task, "digest": said, "runs": runs}, indent=1, sort_keys=True)
    manifest.write_text(text + "\n", encoding="utf-8")
    added, removed = len(set(runs) - before), len(before - set(runs))
    return f"{len(runs)} runs, {added} added, {removed} removed\n\ndigest {said}"


@contextmanager
def _worktree(workspace: Workspace, revision: str) -> Iterator[Path]:
    """A checkout of `revision` beside the workspace, with its DVC cache and remotes."""
    root = workspace.root
    parent = Path(tempfile.mkdtemp(prefix="lode-versions-"))
    tree = parent / "tree"
    try:
        _git(root, "worktree", "add", "--quiet", "--detach", str(tree), revision)
        shutil.rmtree(tree / ".dvc", ignore_errors=True)
        shutil.copytree(root / ".dvc", tree / ".dvc", ignore=_LEFT)
        _point_at(root, tree)
        yield tree
    finally:
        shutil.rmtree(parent, ignore_errors=True)
        _git(root, "worktree", "prune")


def _point_at(root: Path, tree: Path) -> None:
    """Cache and remotes are the workspace's: what is relative there is so to another folder."""
    cache = _dvc(root, "cache", "dir").strip()
    _dvc(tree, "config", "--local", "cache.dir", cache)
    for line in _dvc(root, "config", "--list").splitlines():
        key, _, url = line.partition("=")
        if key.startswith("remote.") and key.endswith(".url") and "://" not in url:
            _dvc(tree, "config", "--local", key, url)


def _tip(workspace: Workspace) -> str:
    """What a new version is put upon."""
    return BRANCH if _exists(workspace, BRANCH) else "HEAD"


def _exists(workspace: Workspace, thing: str) -> bool:
    asked = ["git", "cat-file", "-e", thing]
    return subprocess.run(asked, cwd=workspace.root, capture_output=True).returncode == 0


def _author(tree: Path) -> list[str]:
    """Who commits, where git knows nobody (as on a server)."""
    known = subprocess.run(["git", "config", "user.email"], cwd=tree, capture_output=True)
    return (
        [] if known.stdout.strip() else ["-c", "user.name=lode", "-c", "user.email=lode@localhost"]
    )


def _git(folder: Path, *command: str) -> str:
    return _call(["git", *command], folder)


def _dvc(folder: Path, *command: str) -> str:
    return _call([sys.executable, "-m", "dvc", *command], folder)


def _call(command: list[str], folder: Path) -> str:
    # a git hook that calls us sets these, and they would mean another repository
    environment: dict[str, Any] = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = " ".join(command[command.index("-m") + 1 :] if "-m" in command[:2] else command)
        raise VersioningError(f"{said[:80]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
