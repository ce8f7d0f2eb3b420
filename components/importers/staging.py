"""Histories come in all together or not at all, also where the import is killed.

All are written to a folder aside; when it is complete it is called `ready`, and only then are they
moved. An import that was killed before left nothing; one that was killed after it is finished by
the next.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from components.importers.errors import RunsError
from components.storage.shown import cut
from components.training.history import History, HistoryError, read_history, write_history

READY, AT_WORK = "ready", "at-work"


def finish(state: Path, folder: Path) -> int:
    """Move what an import had ready when it was killed; how many files."""
    ready = state / READY
    if not ready.is_dir():
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(ready.glob("*.parquet"))
    for path in paths:
        path.replace(folder / path.name)
    shutil.rmtree(ready)
    return len(paths)


def publish(histories: Sequence[History], state: Path, folder: Path) -> int:
    """Move these into `folder`, where they replace those of the same runs.

    Args:
        state: a folder of its own on the same disk.

    Returns:
        How many are new there, or changed.
    """
    finish(state, folder)
    fresh = [history for history in histories if not _there(history, folder)]
    at_work = state / AT_WORK
    shutil.rmtree(at_work, ignore_errors=True)
    for history in fresh:
        write_history(history, at_work)
    if fresh:
        at_work.rename(state / READY)
    finish(state, folder)
    return len(fresh)


def check_others(folder: Path, ours: set[str], updates: int, points: int) -> int:
    """How many other histories the folder has.

    Raises:
        RunsError: one is of another length, with which these could not be fitted.
    """
    others = [path for path in sorted(folder.glob("*.parquet")) if path.stem not in ours]
    for path in others:
        try:
            meta = read_history(path).meta
        except HistoryError:
            continue  # validation says what is wrong with it
        if (meta["updates"], meta["points"]) != (updates, points):
            raise RunsError(
                f"{cut(str(folder))} has histories of {meta['updates']:,} updates and "
                f"{meta['points']} points, and these are of {updates:,} and {points}: a LODE is of "
                "one length. Give these a task of their own (--task), or move the others away"
            )
    return len(others)


def _there(history: History, folder: Path) -> bool:
    try:
        found = read_history(folder / f"{history.run_id}.parquet")
    except HistoryError:
        return False
    same = found.points.astype(object).equals(history.points[found.points.columns].astype(object))
    return same and found.meta == history.meta
