"""The branch `lode-histories`: what versions of histories were, kept by Git.

A version is a commit whose tree is HEAD's, so that code and settings are there too, and below
`lode-histories/` a DVC pointer and a manifest for each task. It is made with a temporary index: the
checked-out branch, the index and the working tree are not touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from components.retraining.errors import VersioningError
from components.retraining.typed_json import parse_or_none

BRANCH = "lode-histories"
FOLDER = "lode-histories"  # in the trees of that branch
_WHO = {
    "GIT_AUTHOR_NAME": "lode",
    "GIT_AUTHOR_EMAIL": "lode@localhost",
    "GIT_COMMITTER_NAME": "lode",
    "GIT_COMMITTER_EMAIL": "lode@localhost",
}


@dataclass(frozen=True)
class Manifest:
    """What a version holds: the `digest` of `components.training.history` over its `runs` (ids,
    sorted), which of them were `added` and what was `removed` since the version before, and whether
    the files were `pushed` to DVC's default remote."""

    task: str
    digest: str
    pushed: bool
    runs: list[str]
    added: list[str]
    removed: list[str]


def is_repository(root: Path) -> bool:
    return bool(_git(root, "rev-parse", "--git-dir", check=False))


def tip(root: Path) -> str:
    """The branch's last commit; empty where there is none."""
    return _git(root, "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}", check=False)


def log(root: Path, task: str) -> Iterator[tuple[str, str, str]]:
    """(revision, date, message) of the commits that made a version for the task, newest first."""
    branch = f"refs/heads/{BRANCH}"
    lines = _git(root, "log", "--format=%H %cI %s", branch, "--", _path(task, "json"), check=False)
    for line in lines.splitlines():
        revision, date, message = line.split(" ", 2)
        yield revision, date, message


def manifest(root: Path, revision: str, task: str) -> Manifest | None:
    """Of the task's version at a revision; None where there is none."""
    text = _git(root, "show", f"{revision}:{_path(task, 'json')}", check=False)
    return parse_or_none(Manifest, text)


def pointer(root: Path, revision: str, task: str) -> str:
    """DVC's pointer file of the task's version at a revision.

    Raises:
        VersioningError: there is none.
    """
    return _git(root, "show", f"{revision}:{_path(task, 'dvc')}") + "\n"


def tasks(root: Path) -> set[str]:
    """Those that have versions on the branch."""
    listed = _git(root, "ls-tree", "--name-only", tip(root), f"{FOLDER}/", check=False)
    return {Path(line).stem for line in listed.splitlines() if line.endswith(".dvc")}


def pointers_elsewhere(root: Path) -> list[str]:
    """What dvc.lock and DVC's pointer files say in the working tree, and said in any commit that
    does not belong to versions of histories.

    Raises:
        VersioningError: Git failed.
    """
    which = ["*dvc.lock", "*.dvc", f":(exclude){FOLDER}"]
    committed = _git(root, "log", "--all", "-p", "-m", "--format=", "--", *which)
    there = _git(root, "ls-files", "-z", "--cached", "--others", "--", *which).split("\0")
    files = [root / name for name in there if name and (root / name).is_file()]
    return [committed, *(path.read_text(encoding="utf-8", errors="replace") for path in files)]


def commit(root: Path, before: str, message: str, pointer: str, manifest: Manifest) -> str:
    """A commit on the branch, whose tip must still be `before`; returns its id.

    Raises:
        VersioningError: Git failed, or another process has moved the branch meanwhile.
    """
    kept = _git(root, "ls-tree", "-r", before, f"{FOLDER}/") if before else ""  # other tasks'
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n"
    entries = [
        *kept.splitlines(),
        _entry(root, _path(manifest.task, "dvc"), pointer),
        _entry(root, _path(manifest.task, "json"), text),
    ]
    tree, parents = _tree(root, entries), ["-p", before] if before else []
    made = _git(root, "commit-tree", tree, *parents, "-m", message, env=_WHO)
    _git(root, "update-ref", f"refs/heads/{BRANCH}", made, before or "0" * 40)
    return made


def _path(task: str, kind: str) -> str:
    return f"{FOLDER}/{task}.{kind}"


def _entry(root: Path, path: str, text: str) -> str:
    """A line for Git's index: `text` as a file."""
    blob = _git(root, "hash-object", "-w", "--stdin", given=text)
    return f"100644 blob {blob}\t{path}"


def _tree(root: Path, entries: list[str]) -> str:
    """HEAD's tree with these entries."""
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD^{tree}", check=False)
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        if head:
            _git(root, "read-tree", head, env=index)
        lines = "".join(f"{entry}\n" for entry in entries)
        _git(root, "update-index", "--index-info", env=index, given=lines)
        return _git(root, "write-tree", env=index)


def _git(
    root: Path,
    *command: str,
    check: bool = True,
    given: str | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Output of a git command in `root`; empty where it failed and `check` is off."""
    try:
        done = subprocess.run(
            ["git", *command],
            cwd=root,
            capture_output=True,
            text=True,
            input=given,
            env={**os.environ, **(env or {})},
        )
    except FileNotFoundError:
        if not check:
            return ""
        raise VersioningError("git is not on this machine; install it") from None
    if not done.returncode:
        return done.stdout.strip()
    if check:
        raise VersioningError(f"git {command[0]}: {done.stderr.strip()}")
    return ""
