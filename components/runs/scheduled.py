"""Runs under a fitted LODE: what they are named after, and which files they need."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.lode import judge, model
from components.lode.settings import DEFAULT
from components.runs.job import Job
from components.settings import Settings
from components.storage.digests import file_digest, text_digest
from components.storage.workspace import Workspace, WorkspaceError

JUDGE_FILES = (judge.WEIGHTS, judge.CONFIG)  # beside the LODE, of the default controller


def lode_files(folder: Path, controller: str) -> list[Path]:
    """What a LODE in `folder` consists of, for runs under `controller`."""
    judged = JUDGE_FILES if controller == DEFAULT else ()
    return [folder / name for name in (model.WEIGHTS, model.CONFIG, *judged)]


def controller_settings(settings: Settings) -> dict[str, Any]:
    """What `LODEScheduler` is built with; JSON-able, as it travels with a job."""
    return {"controller": settings.lode.controller, **asdict(settings.lode.scheduler)}


def lode_job(template: Job, settings: Settings, workspace: Workspace, seed: int) -> Job:
    """`template` as a run under the workspace's LODE."""
    folder, controller = workspace.lode(settings.task), controller_settings(settings)
    return scheduled_job(template, folder, controller, seed)


def scheduled_job(template: Job, folder: Path, controller: dict[str, Any], seed: int) -> Job:
    """`template` as a run under the LODE in `folder`; its name depends on weights and controller.

    Raises:
        WorkspaceError: no LODE there, or no judge for the default controller.
    """
    fitted = [
        path for path in lode_files(folder, controller["controller"]) if path.name != model.CONFIG
    ]
    for path in fitted:
        if not path.exists():
            raise WorkspaceError(f"{path}: no fitted LODE; run `lode fit` first")
    digest = text_digest(*map(file_digest, fitted), controller)[:16]
    spec = replace(
        template.spec, scheduler="lode", peak_lr=None, seed=seed, scheduler_digest=digest
    )
    return replace(template, spec=spec, lode=folder, controller=controller)


def check_unchanged(job: Job) -> None:
    """For whoever does a job that was made elsewhere or a while ago.

    Raises:
        WorkspaceError: the LODE it names is no longer the one that the run is named after.
    """
    if job.lode and scheduled_job(job, job.lode, job.controller, job.spec.seed).spec != job.spec:
        raise WorkspaceError(
            f"{job.lode}: refitted since this run was handed out; start what handed it out again"
        )
