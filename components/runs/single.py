"""One training by hand: `lode train --scheduler …`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.runs.progress import progress
from components.schedulers.names import LEARNED_SCHEDULERS, PARAMETRIC_SCHEDULERS
from components.settings import Settings
from components.storage.workspace import Workspace

if TYPE_CHECKING:
    from components.runs.job import Job


POPULATION = 8  # members of a PBT run; it costs so many trainings


class SingleRunError(ValueError):
    """The run asked for is not fully described; the message says what to add."""


def single_run(
    settings: Settings,
    workspace: Workspace,
    scheduler: str,
    peak_lr: float | None,
    seed: int,
    out: Path,
) -> str:
    """Train one network; write `<out>/<task>/<run_id>.parquet` and `.safetensors`.

    Args:
        peak_lr: None takes the best of the sweep, where there is one.
        out: folder; the history and the weights of the best validation point go below it.

    Returns:
        One line for people: the result and where it lies.

    Raises:
        SingleRunError: no peak lr given and no sweep to take it from, or one given to `lode`.
    """
    from components.runs.execute import execute_and_keep
    from components.steps.all_steps import sweep_plan
    from components.training.history import history_path

    template = replace(sweep_plan(settings, workspace).template, histories=out / settings.task)
    job = job_of(template, settings, workspace, scheduler, peak_lr, seed)
    with progress(f"{settings.task} {job.spec.describe()}", settings.training.points) as advance:
        history = execute_and_keep(job, lambda row: advance(1, _note(row)))
    test = history.meta["test_metric"]
    result = f"test {test:.4f}" if test is not None else f"{history.meta['status']}"
    path = history_path(job.histories, history.run_id)
    return f"{settings.task} {job.spec.describe()}: {result}; history and weights in {path.parent}"


def job_of(
    template: Job,
    settings: Settings,
    workspace: Workspace,
    scheduler: str,
    peak_lr: float | None,
    seed: int,
) -> Job:
    """`template` as a run under any scheduler, with what else determines it (LODE, policy, range).

    Raises:
        SingleRunError: a peak lr too few or too many, or one that is not positive.
        PolicyError, WorkspaceError: no policy, or no LODE, in the workspace.
    """
    from components.steps.all_steps import lode_job

    if scheduler == "lode":
        if peak_lr is not None:
            raise SingleRunError("scheduler lode sets the learning rate itself; drop --peak-lr")
        return lode_job(template, settings, workspace, seed)
    if scheduler in LEARNED_SCHEDULERS:
        return _policy_job(template, workspace, scheduler, peak_lr, seed)
    if scheduler == "pbt":
        return _population_job(template, settings, peak_lr, seed)
    if peak_lr is None:
        peak_lr = _best_of_sweep(settings, workspace, scheduler)
    if not peak_lr > 0:
        raise SingleRunError(f"--peak-lr {peak_lr:g}: must be greater than 0")
    spec = replace(template.spec, scheduler=scheduler, peak_lr=peak_lr, seed=seed)
    return replace(template, spec=spec)


def _policy_job(
    template: Job, workspace: Workspace, scheduler: str, peak_lr: float | None, seed: int
) -> Job:
    from components.runs.policies import policy_job

    if peak_lr is None or not peak_lr > 0:
        raise SingleRunError(
            f"scheduler {scheduler} needs the learning rate it starts from: add --peak-lr 0.01"
        )
    return policy_job(template, workspace, scheduler, peak_lr, seed)


def _population_job(template: Job, settings: Settings, peak_lr: float | None, seed: int) -> Job:
    from components.storage.workspace import text_digest

    if peak_lr is not None:
        raise SingleRunError("scheduler pbt draws its learning rates itself; drop --peak-lr")
    peaks = settings.sweep.peak_lrs
    controller = {"lr_range": [min(peaks), max(peaks)], "members": POPULATION}
    spec = replace(
        template.spec,
        scheduler="pbt",
        peak_lr=None,
        seed=seed,
        scheduler_digest=text_digest(controller)[:16],
    )
    return replace(template, spec=spec, controller=controller)


def _best_of_sweep(settings: Settings, workspace: Workspace, scheduler: str) -> float:
    from components.evaluation.ranking import best_configurations
    from components.training.history import HistoryError, read_histories

    try:
        best = best_configurations(read_histories(workspace.histories(settings.task)))
        return best[scheduler]
    except (HistoryError, KeyError):
        instead = ", or run `lode sweep` first and the best of the sweep is taken"
        raise SingleRunError(
            f"scheduler {scheduler} needs a peak learning rate: add --peak-lr 0.01"
            + (instead if scheduler in PARAMETRIC_SCHEDULERS else "")
        ) from None


def _note(row: dict[str, float]) -> str:
    return f"loss {row['train_loss']:.3f}  metric {row['val_metric']:.4f}  lr {row['lr']:.2e}"
