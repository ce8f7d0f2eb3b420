"""A temporary DVC project with the cache and remotes of the workspace's own.

The pipeline's own stages are left alone on purpose. `dvc commit` would declare their outputs made
from whatever code and settings lie there at the moment, and a set to learn from spans all folders.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.retraining.errors import VersioningError
from components.storage.workspace import Workspace
from components.training.history import history_path


def has_dvc(root: Path) -> bool:
    return (root / ".dvc").is_dir()


def places(root: Path) -> list[str]:
    """Where DVC's cache and its default remote are: absolute paths, or addresses."""
    parser = _configuration(root / ".dvc")
    remote = parser.get("core", "remote", fallback="")
    url = parser.get(f"'remote \"{remote}\"'", "url", fallback="")
    return [parser.get("cache", "dir"), *([url] if url else [])]


@contextmanager
def dvc_folder(workspace: Workspace) -> Iterator[Path]:
    """The project's folder. Private (mode 700), as the configuration may hold the remote's
    credentials."""
    workspace.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="versions-", dir=workspace.state) as name:
        folder = Path(name)
        (folder / ".dvc").mkdir()
        with (folder / ".dvc" / "config").open("w", encoding="utf-8") as file:
            _configuration(workspace.root / ".dvc").write(file)
        yield folder


def add_and_push(folder: Path, task: str, files: Mapping[str, Path]) -> tuple[str, str]:
    """Put histories, paths by run id, into DVC's cache and its default remote.

    Returns:
        The pointer's text, and why the push failed; empty if it did not.

    Raises:
        VersioningError: they could not even be cached.
    """
    # Copies, not links: DVC makes what is in its cache read-only.
    (folder / task).mkdir()
    for run_id, path in files.items():
        shutil.copyfile(path, history_path(folder / task, run_id))
    error = _dvc(folder, "add", task)
    if error:
        raise VersioningError(f"dvc add: {error}")
    pointer = (folder / f"{task}.dvc").read_text(encoding="utf-8")
    return pointer, _dvc(folder, "push", f"{task}.dvc")


def bring_back(folder: Path, task: str, pointer: str) -> str:
    """Bring what a pointer means to `folder / task`, from the cache or the default remote.

    Returns:
        Why it is in neither; empty if it came.
    """
    (folder / f"{task}.dvc").write_text(pointer, encoding="utf-8")
    return _dvc(folder, "checkout", f"{task}.dvc") and _dvc(folder, "pull", f"{task}.dvc")


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
