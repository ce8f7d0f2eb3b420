"""One pipeline at a time in one workspace."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from components.storage.workspace import Workspace, WorkspaceError


@contextmanager
def only_one(workspace: Workspace) -> Iterator[None]:
    """Hold `.lode/pipeline.lock`; wait for another process that holds it, and say which.

    May be nested within one thread. The lock ends with its process, however that ends.

    Raises:
        WorkspaceError: nothing can be written or locked below `.lode`.
    """
    holder = workspace.state / "pipeline.json"
    with _writing(workspace.state):
        workspace.state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(workspace.state / "pipeline.lock", is_singleton=True)
        _wait_for(lock, holder)
    try:
        with _writing(workspace.state):
            since = datetime.now().astimezone().isoformat(timespec="seconds")
            holder.write_text(json.dumps({"pid": os.getpid(), "since": since}), encoding="utf-8")
        yield
    finally:
        lock.release()


def _wait_for(lock: BaseFileLock, holder: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        message = f"{_describe(holder)} in this folder; waiting for it to end"
        print(message, file=sys.stderr, flush=True)
        lock.acquire()


@contextmanager
def _writing(state: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            f"{error.filename or state}: cannot be written to ({error.strerror}); "
            "free space or change its owner or permissions, then start again"
        ) from None
    except NotImplementedError as error:  # a file system without locks
        raise WorkspaceError(
            f"{state}: files cannot be locked there ({error}); put the workspace on another disk"
        ) from None


def _describe(holder: Path) -> str:
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return f"a pipeline (process {int(found['pid'])}, since {found['since']:.25}) is running"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        # it has only just taken the lock, or somebody else wrote into its file
        return "a pipeline is running"
