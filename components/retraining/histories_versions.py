"""Versions of the histories: DVC keeps the files, a Git branch of its own keeps what they were.

A version is a commit on the branch `lode-histories`: the tree of HEAD, so that code and settings
are there too, and below `lode-histories/` a DVC pointer and a manifest (run ids, digest). It is
made without the checked-out branch, the index, the working tree or dvc.lock being touched: DVC
works in a temporary folder with the project's cache and remotes, Git with a temporary index.

The pipeline's own stages are left alone on purpose. `dvc commit` would declare their outputs made
from whatever code and settings lie there at the moment, and a set to learn from spans all folders.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.storage.workspace import Workspace
from components.training.history import HistoryError, digest, read_histories, read_history

BRANCH = "lode-histories"
FOLDER = "lode-histories"  # in the trees of that branch
_WHO = {
    "GIT_AUTHOR_NAME": "lode",
    "GIT_AUTHOR_EMAIL": "lode@localhost",
    "GIT_COMMITTER_NAME": "lode",
    "GIT_COMMITTER_EMAIL": "lode@localhost",
}


class VersioningError(RuntimeError):
    """A version cannot be made or brought back; the message says what to do."""


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
    """`revision`: of the version; empty where there is none, and `said` tells why. `pushed`:
    whether the files are in the default remote."""

    revision: str
    pushed: bool
    said: str


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
    tip = _git(root, "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}", check=False)
    before = _manifest(root, tip, task) if tip else None
    if before is not None and before["digest"] == seen and before["pushed"]:
        return Snapshot(tip, True, f"version {tip[:12]}: the histories are the same")
    with _dvc_folder(workspace) as scratch:
        pointer, failed = _add_and_push(scratch, task, files)
    manifest = _compared(task, seen, sorted(files), before, pushed=not failed)
    revision = _commit(root, tip, task, message, pointer, manifest)
    said = f"version {revision[:12]}: {len(files)} runs, {len(manifest['added'])} added, "
    return Snapshot(revision, not failed, f"{said}{len(manifest['removed'])} removed{failed}")


def histories_versions(workspace: Workspace, task: str) -> list[HistoriesVersion]:
    """All versions of a task's histories, newest first; empty where there are none.

    Raises:
        VersioningError: no Git repository.
    """
    root = workspace.root
    if _missing(root):
        raise VersioningError(f"{root}: no versions of histories: {_missing(root)}")
    log = _git(
        root,
        "log",
        "--format=%H %cI %s",
        f"refs/heads/{BRANCH}",
        "--",
        _path(task, "json"),
        check=False,
    )
    found = []
    for line in log.splitlines():
        revision, date, message = line.split(" ", 2)
        said = _manifest(root, revision, task)
        if said is not None:
            counts = (len(said[key]) for key in ("runs", "added", "removed"))
            found.append(HistoriesVersion(revision, date, message, said["digest"], *counts))
    return found


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
    root = workspace.root
    manifest = _manifest(root, revision, task)
    if manifest is None:
        raise VersioningError(
            f"{revision}: no version of the histories of {task}; `lode histories` lists them"
        )
    if out.exists() and any(out.iterdir()):
        raise VersioningError(f"{out}: not empty; choose another folder with --out")
    pointer = _git(root, "show", f"{revision}:{_path(task, 'dvc')}")
    with _dvc_folder(workspace) as scratch:
        (scratch / f"{task}.dvc").write_text(pointer + "\n", encoding="utf-8")
        if _dvc(scratch, "checkout", f"{task}.dvc"):
            error = _dvc(scratch, "pull", f"{task}.dvc")
            if error:
                raise VersioningError(
                    f"version {revision} is neither in DVC's cache nor in its remote ({error}); "
                    "set the remote that has it: dvc remote add -d NAME URL"
                )
        _check(scratch / task, manifest["digest"], revision)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            out.rmdir()
        shutil.move(scratch / task, out)
    return len(manifest["runs"])


def _missing(root: Path) -> str:
    if not (root / ".dvc").is_dir():
        return "no DVC here (`dvc init`)"
    if not _git(root, "rev-parse", "--git-dir", check=False):
        return "no Git repository here (`git init`)"
    return ""


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
        except (HistoryError, KeyError):
            continue  # nobody learns from it either
    return files


def _compared(
    task: str, seen: str, runs: list[str], before: dict[str, Any] | None, *, pushed: bool
) -> dict[str, Any]:
    old = set(before["runs"]) if before else set()
    return {
        "task": task,
        "digest": seen,
        "pushed": pushed,
        "runs": runs,
        "added": sorted(set(runs) - old),
        "removed": sorted(old - set(runs)),
    }


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


# ------------------------------------------------------------------------------------------ DVC


@contextmanager
def _dvc_folder(workspace: Workspace) -> Iterator[Path]:
    """A temporary DVC project with this one's cache and remotes. Private (mode 700), as the
    configuration may hold the remote's credentials."""
    workspace.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="versions-", dir=workspace.state) as name:
        scratch = Path(name)
        (scratch / ".dvc").mkdir()
        with (scratch / ".dvc" / "config").open("w", encoding="utf-8") as file:
            _configuration(workspace.root / ".dvc").write(file)
        yield scratch


def _configuration(folder: Path) -> configparser.RawConfigParser:
    """The project's, with absolute paths where they are relative to its own folder."""
    parser = configparser.RawConfigParser(delimiters=("=",))
    parser.read([folder / "config", folder / "config.local"], encoding="utf-8")
    for section in ("core", "cache"):
        if not parser.has_section(section):
            parser.add_section(section)
    parser.set("core", "no_scm", "true")
    parser.remove_option("core", "autostage")
    parser.set("cache", "dir", parser.get("cache", "dir", fallback="cache"))
    for section in parser.sections():
        for key in ("url", "dir"):
            value = parser.get(section, key, fallback="")
            if value and "://" not in value:
                parser.set(section, key, os.path.normpath(folder / value))
    return parser


def _add_and_push(scratch: Path, task: str, files: Mapping[str, Path]) -> tuple[str, str]:
    """The pointer's text, and why the push failed, as an ending for a sentence."""
    # Copies, not links: DVC makes what is in its cache read-only.
    (scratch / task).mkdir()
    for run_id, path in files.items():
        shutil.copyfile(path, scratch / task / f"{run_id}.parquet")
    error = _dvc(scratch, "add", task)
    if error:
        raise VersioningError(f"dvc add: {error}")
    pointer = (scratch / f"{task}.dvc").read_text(encoding="utf-8")
    error = _dvc(scratch, "push", f"{task}.dvc")
    return pointer, f"; not pushed, it is in DVC's cache only: {error}" if error else ""


def _dvc(folder: Path, *command: str) -> str:
    """Run DVC there; returns what went wrong, empty if nothing did."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command, "--quiet"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "DVC_NO_ANALYTICS": "true"},
    )
    if not done.returncode:
        return ""
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[0].removeprefix("ERROR: ")


# ------------------------------------------------------------------------------------------ Git


def _path(task: str, kind: str) -> str:
    return f"{FOLDER}/{task}.{kind}"


def _manifest(root: Path, revision: str, task: str) -> dict[str, Any] | None:
    text = _git(root, "show", f"{revision}:{_path(task, 'json')}", check=False)
    return dict(json.loads(text)) if text else None


def _commit(
    root: Path, tip: str, task: str, message: str, pointer: str, manifest: dict[str, Any]
) -> str:
    """A commit on the branch, whose tip must still be `tip`; returns its id."""
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD^{tree}", check=False)
    kept = _git(root, "ls-tree", "-r", tip, f"{FOLDER}/") if tip else ""  # other tasks'
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        if head:
            _git(root, "read-tree", head, env=index)
        entries = [line for line in kept.splitlines() if line]
        for kind, text in (
            ("dvc", pointer),
            ("json", json.dumps(manifest, indent=1, sort_keys=True) + "\n"),
        ):
            blob = _git(root, "hash-object", "-w", "--stdin", given=text)
            entries.append(f"100644 blob {blob}\t{_path(task, kind)}")
        _git(root, "update-index", "--index-info", env=index, given=_lines(entries))
        tree = _git(root, "write-tree", env=index)
    parents = ["-p", tip] if tip else []
    commit = _git(root, "commit-tree", tree, *parents, "-m", message, env=_WHO)
    # Git refuses where another process has moved the branch meanwhile.
    _git(root, "update-ref", f"refs/heads/{BRANCH}", commit, tip or "0" * 40)
    return commit


def _lines(entries: Iterable[str]) -> str:
    return "".join(f"{entry}\n" for entry in entries)


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
