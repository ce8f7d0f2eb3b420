"""One pipeline at a time in one workspace."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from components.storage.workspace import Workspace


@contextmanager
def only_one(workspace: Workspace) -> Iterator[None]:
    """Hold `.lode/pipeline.lock`; wait for another process that holds it, and say which.

    May be nested within one thread. The lock ends with its process, however that ends.
    """
    workspace.state.mkdir(parents=True, exist_ok=True)
    holder = workspace.state / "pipeline.json"
    lock = FileLock(workspace.state / "pipeline.lock", is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        message = f"{_describe(holder)} in this folder; waiting for it to end"
        print(message, file=sys.stderr, flush=True)
        lock.acquire()
    try:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        holder.write_text(json.dumps({"pid": os.getpid(), "since": since}), encoding="utf-8")
        yield
    finally:
        lock.release()


def _describe(holder: Path) -> str:
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return f"a pipeline (process {found['pid']}, since {found['since']}) is running"
    except (OSError, ValueError, KeyError):  # it has only just taken the lock
        return "a pipeline is running"
