"""The Prefect server of `make serve`: whether one is up, and what Prefect must be told of it.

Without Prefect: it is asked before Prefect is imported, which takes 10 to 20 s.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

import psutil

from components.storage.workspace import Workspace

SAME_S = 2.0  # a process's start, by a clock that is set now and then
OURS = "http://127.0.0.1:"  # `make serve` listens nowhere else


def prefect_environment(workspace: Workspace, server: dict[str, Any] | None) -> dict[str, str]:
    """What Prefect must find set when it is imported; what the caller has set stays."""
    ours = {
        "PREFECT_HOME": str(workspace.main.state / "prefect"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # progress bars stay readable
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # 20 is too short when new
    }
    if server:
        ours["PREFECT_API_URL"] = f"{server['prefect']}/api"
    return {name: os.environ.get(name, value) for name, value in ours.items()}


def running_server(workspace: Workspace) -> dict[str, Any] | None:
    """What `make serve` wrote to `.lode/serve.json`, if that runs and Prefect answers."""
    try:
        server = json.loads((workspace.main.state / "serve.json").read_text(encoding="utf-8"))
        if not server["prefect"].startswith(OURS) or not _lives(server["pid"], server["at"]):
            return None
        with urllib.request.urlopen(f"{server['prefect']}/api/health", timeout=5):
            return dict(server)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # nothing there, or no file of ours


def _lives(pid: int, at: float) -> bool:
    """Whether the `make serve` that wrote so is there: one that was killed leaves its file, and
    another's server may answer at that address."""
    try:
        return abs(psutil.Process(pid).create_time() - at) < SAME_S
    except psutil.Error:
        return False
