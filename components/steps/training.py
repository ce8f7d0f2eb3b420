"""What the steps that only train have in common."""

from __future__ import annotations

from components.runs.job import Job, RunAll
from components.runs.lending import lend
from components.runs.plan import missing, note
from components.runs.pool import run_all as on_this_machine
from components.runs.progress import progress
from components.settings import Settings
from components.steps.step import Trained
from components.storage.workspace import Workspace


def train_all(
    step: str, jobs: list[Job], settings: Settings, workspace: Workspace, run_all: RunAll | None
) -> Trained:
    """Do every job that has no history yet.

    Args:
        run_all: who trains; None: processes of this machine.
    """
    lend(jobs, workspace)
    absent = missing(jobs)
    with progress(f"{step} {settings.task}", len(jobs)) as advance:
        histories = (run_all or on_this_machine)(
            jobs,
            workers=settings.sweep.workers,
            on_history=lambda job, history: advance(1, note(history)),
        )
    return Trained(len(jobs), sum(not h.completed for h in histories), absent)
