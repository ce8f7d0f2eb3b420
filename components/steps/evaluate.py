"""Compare on the fresh seeds and draw the report."""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.evaluate import evaluate, write_evaluation
from components.lode.predictions import predict_held_out
from components.runs.comparison import comparison
from components.runs.job import Job
from components.settings import Settings
from components.steps.results import read_fit, read_pilots, read_validation
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import History, HistoryError, read_history


def work(settings: Settings, workspace: Workspace) -> None:
    task = settings.task
    compared = comparison(settings, workspace)
    sweep = compared.sweep
    runs = read_histories_of(compared.jobs, "lode train")
    trajectories = predict_held_out(workspace.lode(task), sweep)
    pilots = read_pilots(workspace.pilot_summary(task))
    found = evaluate(
        task,
        seeds=settings.evaluation.seeds,
        sweep=sweep,
        chosen=compared.chosen,
        runs=runs,
        tuned=compared.tuned,
        finer=compared.finer,
        fit=read_fit(workspace.lode(task)),
        validation=read_validation(workspace.validation(task)),
        pilots=pilots if pilots.runs else None,
        trajectories=trajectories,
    )
    write_evaluation(found, sweep, runs, trajectories, workspace.reports(task))


def summary(settings: Settings, workspace: Workspace) -> str:
    return f"report in {workspace.page(settings.task)}"


def read_histories_of(jobs: Sequence[Job], command: str) -> list[History]:
    """The histories of jobs that are done.

    Raises:
        WorkspaceError: one is missing; `command` makes it.
    """
    missing = [job for job in jobs if not job.path.exists()]
    if missing:
        first = missing[0]
        raise WorkspaceError(
            f"{first.histories}: {len(missing)} of {len(jobs)} runs are missing, e.g. "
            f"{first.spec.describe()}; run `{command}`"
        )
    try:
        return [read_history(job.path) for job in jobs]
    except HistoryError as error:
        raise WorkspaceError(f"{error}: run `{command}`") from None
