"""Fit the challenger: the same LODE and judge as the `fit` step's, on all that has come since."""

from __future__ import annotations

import time
from pathlib import Path

from components.lode.model import CONFIG, WEIGHTS
from components.retraining.record import Night, this_night
from components.settings import Settings
from components.steps import stamps
from components.steps.all_steps import JUDGE_FILES, StepResult, fit_models, pilot_histories
from components.storage.workspace import Workspace

STEP = "challenger"


def fit_challenger(settings: Settings, workspace: Workspace) -> StepResult:
    """Fit LODE and judge into `models/challenger/<task>`, with the plan that the pilots found.

    A fit that was killed goes on from its checkpoint; a finished one of the same night is kept.

    Raises:
        RetrainingError: no night was begun. HistoryError: a history is gone. LODEError: the fit
            failed.
    """
    started, task = time.perf_counter(), settings.task
    night, folder = this_night(workspace, task), workspace.challenger(task)
    outputs = challenger_files(settings, folder)
    ran = not stamps.is_current(workspace, task, STEP, night.id, outputs)
    if ran:
        _, plan = pilot_histories(settings, workspace)
        fit_models(
            settings,
            night.read(workspace, night.sweep),
            night.read(workspace, night.others),
            plan,
            folder=folder,
            checkpoint=workspace.night(task),
        )
        stamps.write_stamp(workspace, task, STEP, night.id, outputs)
    facts = stamps.read_json(folder / CONFIG)["fit"]
    return StepResult(
        "fit_challenger",
        ran=ran,
        summary=_said(night, facts["fitted"]),
        facts=facts,
        seconds=time.perf_counter() - started,
    )


def challenger_files(settings: Settings, folder: Path) -> list[Path]:
    judge = JUDGE_FILES if settings.lode.controller == "default" else ()
    return [folder / name for name in (WEIGHTS, CONFIG, *judge)]


def _said(night: Night, fitted: int) -> str:
    return f"fitted on {fitted} of {len(night.files)} runs"
