"""The flow's last task: telling DVC what the steps made."""

from __future__ import annotations

from pathlib import Path

import click
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from components.storage.workspace import Workspace
from flows.dvc import is_known, record_outputs


@task(
    name="record",
    task_run_name="record the outputs in DVC",
    cache_policy=NO_CACHE,
    timeout_seconds=30 * 60,
)
def record(workspace: Workspace, params: Path) -> None:
    """Write dvc.lock and fill DVC's cache; does nothing where dvc.yaml does not speak of this run.

    A failure is no failure of the pipeline, whose outputs are all there: it is reported.
    """
    why = record_outputs(workspace) if is_known(workspace, params) else ""
    if why:
        message = f"dvc commit failed, so `dvc repro` will run again: {why}"
        get_run_logger().warning(message)
        click.echo(message, err=True)
