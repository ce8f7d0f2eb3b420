"""A finished run is found wherever in the workspace it lies: trials and production share runs.

A run's name says all that determines it, so the same name is the same run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.runs.job import Job, RunAll
from components.storage.files import atomic_path
from components.storage.workspace import Workspace
from components.training.history import History, HistoryError, history_path, read_history

KINDS = ("histories", "pilots", "baselines", "scheduled")  # of Workspace: what steps train


def lend(jobs: Iterable[Job], workspace: Workspace) -> None:
    """Put the histories of jobs that others have done where these jobs look for them."""
    others = [one for one in workspace.siblings() if one != workspace]
    if not others:
        return
    for job in jobs:
        if not job.path.exists():
            _lend(job, others)


def lent(run_all: RunAll, workspace: Workspace) -> RunAll:
    """Who trains, but for what others have done."""

    def train(jobs: Iterable[Job], **options: Any) -> list[History]:
        jobs = list(jobs)
        lend(jobs, workspace)
        return run_all(jobs, **options)

    return train


def _lend(job: Job, others: list[Workspace]) -> None:
    for other in others:
        for kind in KINDS:
            folder: Path = getattr(other, kind)(job.spec.task)
            found = history_path(folder, job.spec.run_id)
            with suppress(HistoryError):  # damaged there: it is trained here
                if found.exists() and read_history(found):
                    _link(found, job.path)
                    return


def _link(found: Path, path: Path) -> None:
    with atomic_path(path) as temporary:
        try:
            os.link(found, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(found, temporary)
