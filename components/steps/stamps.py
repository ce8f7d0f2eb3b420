"""How a step knows that its output is finished and still belongs to its input.

A step leaves `.lode/stamps/<task>/<step>.json`: the digest of what went in, and the SHA-256 of
every file that came out. The runs of a sweep need none: their names are digests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.storage.files import write_text
from components.storage.workspace import Workspace, file_digest


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def stamp_path(workspace: Workspace, task: str, step: str) -> Path:
    return workspace.state / "stamps" / task / f"{step}.json"


def write_stamp(
    workspace: Workspace, task: str, step: str, inputs: str, outputs: list[Path]
) -> None:
    """Say that `step` turned `inputs` (a digest) into `outputs`, as they are now."""
    files = {str(path.relative_to(workspace.root)): file_digest(path) for path in outputs}
    text = json.dumps({"inputs": inputs, "outputs": files}, indent=1)
    write_text(stamp_path(workspace, task, step), text)


def is_current(
    workspace: Workspace, task: str, step: str, inputs: str, outputs: list[Path]
) -> bool:
    """Whether `outputs` are all there, unchanged, and made from `inputs`."""
    try:
        stamp = read_json(stamp_path(workspace, task, step))
        files = {str(path.relative_to(workspace.root)): file_digest(path) for path in outputs}
    except (FileNotFoundError, ValueError):
        return False
    return bool(stamp["inputs"] == inputs and stamp["outputs"] == files)
