"""Telling DVC what a flow run made, so that `dvc repro` does not make it again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from components.storage.workspace import Workspace


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
    root = workspace.root
    known = (root / ".dvc").is_dir() and (root / "dvc.yaml").is_file()
    if not known or Path(params).name != "params.yaml":
        return
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "commit", "--force", "--quiet"],
        cwd=root,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        message = f"dvc commit failed, so `dvc repro` will run again: {done.stderr.strip()}"
        get_run_logger().warning(message)
        click.echo(message, err=True)
