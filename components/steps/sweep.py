"""Train every run of the sweep that is not on disk."""

from __future__ import annotations

from components.runs.job import RunAll
from components.runs.lending import lend, lent
from components.runs.plan import missing, note, sweep_plan
from components.runs.pool import run_all as on_this_machine
from components.runs.progress import progress
from components.runs.runnable import check_runnable
from components.settings import Settings
from components.steps.step import Trained
from components.storage.workspace import Workspace, WorkspaceError
from components.sweep.study import run_sweep
from components.training.history import read_history


def work(settings: Settings, workspace: Workspace, run_all: RunAll | None) -> Trained:
    if settings.own is not None and settings.own.imported:
        return _imported(settings, workspace)
    plan = sweep_plan(settings, workspace)
    if plan.sampler == "grid":
        lend(plan.grid_jobs(), workspace)
    found = {path.stem for path in workspace.histories(settings.task).glob("*.parquet")}
    if plan.sampler != "grid" or missing(plan.grid_jobs()):
        # data problems show here, before worker processes are started
        check_runnable(settings, workspace)
    with progress(f"sweep {settings.task}", settings.sweep_runs) as advance:
        histories = run_sweep(
            plan,
            workers=settings.sweep.workers,
            on_history=lambda job, history: advance(1, note(history)),
            train=lent(run_all or on_this_machine, workspace),
        )
    return Trained(
        len(histories),
        sum(not h.completed for h in histories),
        sum(h.run_id not in found for h in histories),
    )


def _imported(settings: Settings, workspace: Workspace) -> Trained:
    """What `lode import` has left; there is nothing to train.

    Raises:
        WorkspaceError: nothing.
    """
    folder = workspace.histories(settings.task)
    found = sorted(folder.glob("*.parquet"))
    if not found:
        raise WorkspaceError(
            f"{folder}: no histories, and {settings.task} has no other; run `lode import` first"
        )
    diverged = sum(not read_history(path).completed for path in found)
    return Trained(len(found), diverged, 0)
