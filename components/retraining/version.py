"""A night's part: keep a DVC version of what it learns from."""

from __future__ import annotations

import time
from dataclasses import replace

from components.retraining.errors import VersioningError
from components.retraining.histories_versions import snapshot
from components.retraining.record import save_night, this_night
from components.settings import Settings
from components.steps.step import StepResult
from components.storage.workspace import Workspace


def record_version(settings: Settings, workspace: Workspace) -> StepResult:
    """Make a version of exactly the night's histories, so that any past set can be brought back.

    Lineage, not learning: where it fails the night goes on, and the summary says why.

    Raises:
        RetrainingError: no night was begun.
    """
    started, task = time.perf_counter(), settings.task
    night = this_night(workspace, task)
    if night.data_revision:
        return StepResult("record_version", False, f"version {night.data_revision[:12]}")
    files = {run_id: workspace.main.root / path for run_id, path in night.files.items()}
    try:
        made = snapshot(workspace, task, f"{task}: {len(files)} runs, night {night.id}", files)
    except (VersioningError, OSError) as error:
        summary = f"no version of the histories: {error}"
        return StepResult("record_version", False, summary, time.perf_counter() - started)
    save_night(replace(night, data_revision=made.revision), workspace, task)
    seconds = time.perf_counter() - started
    return StepResult("record_version", bool(made.revision), made.summary, seconds)
