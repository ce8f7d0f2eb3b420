"""What every flow begins with: the settings, and the workspace they lie in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from components.settings import Settings
from components.steps.trials import opened
from components.storage.workspace import Workspace
from flows.parameters import AS_IN_PARAMS

# A worker starts a flow run in an empty folder; where its workspace is, its machine says.
WORKSPACE = "LODE_WORKSPACE"


def read(
    params: Path, task: str | None = None, overrides: dict[str, Any] | None = None
) -> tuple[Settings, Workspace]:
    """The settings a flow run works with, and the workspace they belong to (a trial's, if any that
    a result follows from are not as in the file).

    Args:
        task: instead of the file's; `AS_IN_PARAMS` or None: the file's.
        params: a relative path is meant from `$LODE_WORKSPACE`, or from the current folder.
    """
    chosen = task if task != AS_IN_PARAMS else None
    return opened(_path(params), overrides or {}, chosen)


def workspace_of(params: Path) -> Workspace:
    """The workspace of a settings file, which need not be there."""
    return Workspace.of(_path(params))


def _path(params: Path) -> Path:
    return Path(os.environ.get(WORKSPACE, ".")) / params
