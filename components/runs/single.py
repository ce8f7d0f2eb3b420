"""One training by hand: `lode train --scheduler …`."""

from __future__ import annotations

from pathlib import Path

from components.runs.execute import execute_and_keep
from components.runs.plan import job_of, template
from components.runs.progress import progress
from components.settings import Settings
from components.storage.workspace import Workspace
from components.training.history import history_path


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
        JobError: no peak lr given and no sweep to take it from, or one given to `lode`.
    """
    made = template(settings, workspace, out / settings.task)
    job = job_of(made, settings, workspace, scheduler, peak_lr, seed)
    with progress(f"{settings.task} {job.spec.describe()}", settings.training.points) as advance:
        history = execute_and_keep(job, lambda row: advance(1, _note(row)))
    test = history.meta["test_metric"]
    result = (
        f"test {history.metric_sign * test:.4f}"
        if test is not None
        else f"{history.meta['status']}"
    )
    path = history_path(job.histories, history.run_id)
    return f"{settings.task} {job.spec.describe()}: {result}; history and weights in {path.parent}"


def _note(row: dict[str, float]) -> str:
    return f"loss {row['train_loss']:.3f}  metric {row['val_metric']:.4f}  lr {row['lr']:.2e}"
