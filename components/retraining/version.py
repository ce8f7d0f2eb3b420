"""The night's histories as a version under DVC, which the registered model then names."""

from __future__ import annotations

import time
from dataclasses import replace

from components.retraining.night import save_night, this_night
from components.settings import Settings
from components.steps import StepResult
from components.versioning import snapshot
from components.workspace import Workspace


def record_version(settings: Settings, workspace: Workspace) -> StepResult:
    """Commit what the night learns from to `lode-histories` and push it to DVC's remote.

    Raises:
        RetrainingError: no night was begun. VersioningError: git, DVC or its remote failed; the
            next call goes on.
    """
    started, task = time.perf_counter(), settings.task
    night = this_night(workspace, task)
    histories = night.read(workspace, list(night.files))
    revision = snapshot(workspace, task, histories, f"night of {night.started[:16]}")
    save_night(replace(night, data_revision=revision or ""), workspace, task)
    where = f"revision {revision}" if revision else "not versioned: no git repository with DVC here"
    return StepResult(
        "record_version", ran=True, summary=f"{len(histories)} histories, {where}",
        facts={"data_revision": revision}, seconds=time.perf_counter() - started,
    )  # fmt: skip
