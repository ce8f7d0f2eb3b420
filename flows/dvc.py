"""Telling DVC what the steps made, so that `dvc repro` does not make it again. Without Prefect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from components.storage.digests import file_digest, text_digest
from components.storage.files import write_text
from components.storage.workspace import Workspace


def is_known(workspace: Workspace, params: Path) -> bool:
    """Whether dvc.yaml speaks of what these settings make."""
    root = workspace.root
    here = (root / ".dvc").is_dir() and (root / "dvc.yaml").is_file()
    return here and Path(params).name == "params.yaml"


def is_recorded(workspace: Workspace) -> bool:
    """Whether DVC was told of the outputs as they are: since then no step has made any."""
    path = _marker(workspace)
    recorded = path.exists() and path.read_text(encoding="utf-8") == _state(workspace)
    return recorded and (workspace.root / "dvc.lock").exists()


def record_outputs(workspace: Workspace) -> str:
    """Write dvc.lock and fill DVC's cache; returns why that failed, empty if it did not.

    A failure is no failure of the pipeline, whose outputs are all there.
    """
    root = workspace.root
    absent = _absent_keys(root)
    if absent:
        return (
            f"params.yaml leaves out {', '.join(absent)}, which dvc.yaml names: write their "
            "defaults out, as the project's own params.yaml does"
        )
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "commit", "--force", "--quiet"],
        cwd=root,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        return said[0].removeprefix("ERROR: ") if said else f"dvc ended with {done.returncode}"
    write_text(_marker(workspace), _state(workspace))
    return ""


def _marker(workspace: Workspace) -> Path:
    return workspace.state / "recorded"


def _state(workspace: Workspace) -> str:
    """Of the settings, and of the stamps, which name every file that the steps have made."""
    stamps = sorted((workspace.state / "stamps").rglob("*.json"))
    files = [workspace.root / "params.yaml", workspace.root / "dvc.yaml", *stamps]
    return text_digest(*(file_digest(path) for path in files))


def _absent_keys(root: Path) -> list[str]:
    """What the stages' `params` name and params.yaml does not hold; DVC itself says so in no way
    that a user could act upon."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    named = {key for stage in stages.values() for key in stage.get("params", [])}
    return sorted(key for key in named if not _holds(params, key))


def _holds(params: Any, dotted: str) -> bool:
    for key in dotted.split("."):
        if not isinstance(params, dict) or key not in params:
            return False
        params = params[key]
    return True
