"""Train the LODE-scheduled runs and the best of every baseline on the same fresh seeds."""

from __future__ import annotations

from components.runs.comparison import comparison
from components.runs.job import RunAll
from components.settings import Settings
from components.steps.step import Trained
from components.steps.training import train_all
from components.storage.workspace import Workspace


def work(settings: Settings, workspace: Workspace, run_all: RunAll | None) -> Trained:
    jobs = comparison(settings, workspace).jobs
    return train_all("train", jobs, settings, workspace, run_all)
