"""Fit the challenger: the same LODE and judge as the `fit` step's, on all that has come since."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from components.lode.names import PLAN
from components.retraining.record import Night, frozen, this_night
from components.retraining.typed_json import read_or_none, write
from components.runs.scheduled import lode_files
from components.settings import Settings
from components.steps.fit import fit_models, pilot_histories
from components.steps.results import read_fit
from components.steps.step import StepResult
from components.storage.digests import file_digest
from components.storage.workspace import Workspace

FITTED = "challenger.json"


@dataclass(frozen=True)
class Fitted:
    """What a finished fit leaves: the id of its night, and SHA-256 by name of every file."""

    night: str
    files: dict[str, str]

    @classmethod
    def of(cls, night: Night, settings: Settings, folder: Path) -> Fitted:
        """As if the files that are in `folder` now were fitted for `night`."""
        files = [*lode_files(folder, settings.lode.controller), folder / PLAN]
        return cls(night.id, {path.name: file_digest(path) for path in files if path.exists()})


def fit_challenger(settings: Settings, workspace: Workspace) -> StepResult:
    """Fit LODE and judge into `models/challenger/<task>`, with the plan that the pilots found.

    A fit that was killed goes on from its checkpoint; a finished one of the same night is kept.

    Raises:
        RetrainingError: no night was begun, or the fit failed. HistoryError: a history is gone.
    """
    started, task = time.perf_counter(), settings.task
    night, folder = this_night(workspace, task), workspace.challenger(task)
    stamp = workspace.night(task) / FITTED
    stale = read_or_none(Fitted, stamp) != Fitted.of(night, settings, folder)
    if stale:
        with frozen(task):
            _fit(night, settings, workspace)
        write(Fitted.of(night, settings, folder), stamp)
    summary, seconds = _summary(night, folder), time.perf_counter() - started
    return StepResult("fit_challenger", stale, summary, seconds)


def _fit(night: Night, settings: Settings, workspace: Workspace) -> None:
    _, plan = pilot_histories(settings, workspace)
    fit_models(
        settings,
        night.read(workspace, night.sweep),
        night.read(workspace, night.others),
        plan,
        folder=workspace.challenger(settings.task),
        checkpoint=workspace.night(settings.task),
    )


def _summary(night: Night, folder: Path) -> str:
    found = read_fit(folder)
    return f"fitted on {found.fitted if found else None} of {len(night.files)} runs"
