"""Compare on the fresh seeds and draw the report."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np

from components.evaluation.decision import choose
from components.evaluation.evaluate import Made, evaluate, write_evaluation
from components.evaluation.key_metrics import key_metrics
from components.evaluation.results import Evaluation
from components.evaluation.wording import law
from components.lode.names import PLAN
from components.lode.opening import Opening
from components.lode.plan_file import pairs_of, read_plan, to_csv
from components.lode.predictions import predict_held_out
from components.registry.connection import RegistryError
from components.registry.report import log_report
from components.registry.tracking import log_sweep
from components.runs.comparison import comparison
from components.runs.job import Job
from components.runs.progress import progress
from components.schedulers.names import LODE, PARAMETRIC_SCHEDULERS
from components.schedulers.plan import interpolate
from components.settings import Settings
from components.steps.declared import spelled
from components.steps.pipeline import STEPS
from components.steps.results import read_fit, read_pilots, read_registration, read_validation
from components.storage.workspace import Workspace, WorkspaceError, git_revision
from components.training.history import History, HistoryError, read_history


def work(settings: Settings, workspace: Workspace) -> None:
    with progress(f"evaluate {settings.task}", 4) as advance:
        _work(settings, workspace, lambda note: advance(1, note))


def _work(settings: Settings, workspace: Workspace, done: Callable[[str], None]) -> None:
    task = settings.task
    compared = comparison(settings, workspace)
    sweep = compared.sweep
    runs = read_histories_of(compared.jobs, "lode train")
    done("the LODE's predictions")
    trajectories = predict_held_out(workspace.lode(task), sweep, runs)
    done("the comparison")
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
        remarks=[law(compared.law.unexplained, compared.law.refused)] if compared.law else [],
        made=_made(settings, workspace),
    )
    done("the figures and the page")
    plans = {job.spec.scheduler: job.plan for job in compared.jobs if job.plan}
    schedules = schedules_of(found, workspace, plans)
    write_evaluation(found, sweep, runs, trajectories, workspace.reports(task), schedules)
    done("logging the runs in MLflow")
    if workspace.registration(task).exists():
        try:
            log_in_registry(settings, workspace, found, runs)
        except RegistryError as error:  # the report is there; it can be logged another time
            warnings.warn(f"the evaluation is not in MLflow: {error}", stacklevel=2)


def _made(settings: Settings, workspace: Workspace) -> Made:
    """What the page says of where it comes from."""
    return Made(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit=git_revision(workspace.root).removeprefix("none"),
        settings=spelled(settings, STEPS["evaluate"].settings),
    )


def schedules_of(
    found: Evaluation,
    workspace: Workspace,
    plans: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> dict[str, str]:
    """To take away, text by file name: LODE's plan, and what is recommended where that is another
    schedule whose rates can be stated beforehand.

    Args:
        plans: rates at log points 0 … T of the rows that follow a table.
    """
    path = workspace.lode(found.task) / PLAN
    texts = {
        "plan.json": path.read_text(encoding="utf-8"),
        "plan.csv": to_csv(read_plan(path).rates),
    }
    row = choose(found).row
    entry = found.schedulers[row] if row is not None and row != LODE else None
    if entry and entry.scheduler in plans:
        about, table = found.setup, np.array(plans[entry.scheduler])
        rates = interpolate(table, np.arange(about.updates), about.updates)
        texts["schedule.csv"] = to_csv(pairs_of(rates, about.points))
    elif entry and entry.scheduler in PARAMETRIC_SCHEDULERS and entry.peak_lr is not None:
        opening, about = Opening(schedule=(entry.scheduler, entry.peak_lr)), found.setup
        rates = opening.rates(about.updates, about.points)
        texts["schedule.csv"] = to_csv(pairs_of(rates, about.points))
    return texts


def log_in_registry(
    settings: Settings, workspace: Workspace, found: Evaluation, runs: Sequence[History]
) -> None:
    """The runs in an experiment of theirs, the report with the version that was evaluated."""
    task, uri = settings.task, workspace.database(settings.registry.tracking_uri)
    log_sweep(
        runs,
        tracking_uri=uri,
        experiment=f"scheduled-{task}",
        artifact_root=workspace.artifacts,
    )
    test = found.schedulers[LODE].test.mean
    log_report(
        workspace.lode(task),
        task=task,
        version=read_registration(workspace.registration(task)).version,
        tracking_uri=uri,
        figures={} if test is None else {"test_metric": test},
        metrics={f"evaluation.{name}": value for name, value in key_metrics(found).items()},
        files=[
            workspace.figures(task),
            workspace.downloads(task),
            workspace.run_table(task),
            workspace.evaluation(task),
            workspace.page(task),
        ],
    )


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
