"""Runs under a fitted LODE: what they are named after, and which files they need."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.lode.names import CONFIG, JUDGE_CONFIG, JUDGE_WEIGHTS, WEIGHTS
from components.lode.settings import DEFAULT
from components.runs.job import Job
from components.settings import Settings
from components.storage.digests import file_digest, text_digest
from components.storage.typed import SEAL, DamagedError, parsed
from components.storage.workspace import Workspace, WorkspaceError

JUDGE_FILES = (JUDGE_WEIGHTS, JUDGE_CONFIG)  # beside the LODE, of the default controller


def lode_files(folder: Path, controller: str) -> list[Path]:
    """What a LODE in `folder` consists of, for runs under `controller`."""
    judged = JUDGE_FILES if controller == DEFAULT else ()
    return [folder / name for name in (WEIGHTS, CONFIG, *judged)]


def controller_settings(settings: Settings) -> dict[str, Any]:
    """What `LODEScheduler` is built with; JSON-able, as it travels with a job."""
    return {"controller": settings.lode.controller, **asdict(settings.lode.scheduler)}


def lode_job(template: Job, settings: Settings, workspace: Workspace, seed: int) -> Job:
    """`template` as a run under the workspace's LODE."""
    folder, controller = workspace.lode(settings.task), controller_settings(settings)
    return scheduled_job(template, folder, controller, seed)


def scheduled_job(template: Job, folder: Path, controller: dict[str, Any], seed: int) -> Job:
    """`template` as a run under the LODE in `folder`; named after it and the controller.

    Raises:
        WorkspaceError: no LODE there, no judge for the default controller, or a damaged file.
    """
    fitted = lode_files(folder, controller["controller"])
    for path in fitted:
        if not path.exists():
            raise WorkspaceError(f"{path}: no fitted LODE; run `lode fit` first")
    said = [_what_it_says(path) if path.suffix == ".json" else file_digest(path) for path in fitted]
    digest = text_digest(*said, controller)[:16]
    spec = replace(
        template.spec, scheduler="lode", peak_lr=None, seed=seed, scheduler_digest=digest
    )
    return replace(template, spec=spec, lode=folder, controller=controller)


def _what_it_says(config: Path) -> str:
    """Digest of a model's JSON without what that says of the fit: times differ, and a fit that was
    killed and went on is the same fit."""
    try:
        found = parsed(config.read_bytes())
    except (OSError, DamagedError) as error:
        raise WorkspaceError(f"{config}: {error}; run `lode fit` again") from None
    return text_digest({key: value for key, value in found.items() if key not in ("fit", SEAL)})


def check_unchanged(job: Job) -> None:
    """For whoever does a job that was made elsewhere or a while ago.

    Raises:
        WorkspaceError: the LODE it names is no longer the one that the run is named after.
    """
    if job.lode and scheduled_job(job, job.lode, job.controller, job.spec.seed).spec != job.spec:
        raise WorkspaceError(
            f"{job.lode}: refitted since this run was handed out; start what handed it out again"
        )
