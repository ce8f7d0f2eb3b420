"""Tune the baselines beyond the sweep's schedules, on the sweep's peak lrs and seeds."""

from __future__ import annotations

import warnings

from components.runs.comparison import tuning_jobs
from components.runs.job import RunAll
from components.runs.law import find_law
from components.runs.plan import template
from components.runs.policies import learn_policy
from components.schedulers.names import LEARNED_SCHEDULERS, MULTI_POWER_LAW
from components.settings import Settings
from components.steps.step import Trained
from components.steps.training import train_all
from components.storage.files import folder_of
from components.storage.workspace import Workspace


def work(settings: Settings, workspace: Workspace, run_all: RunAll | None) -> Trained:
    folder = workspace.baselines(settings.task)
    folder_of(folder, "Runs that tuned baselines; none where baselines.schedulers names none.")
    for scheduler in settings.baselines.schedulers:
        if scheduler in LEARNED_SCHEDULERS:
            learn_policy(settings, workspace, template(settings, workspace, folder), scheduler)
        if scheduler == MULTI_POWER_LAW:
            law = find_law(settings.task, workspace)
            if law.refused:
                warnings.warn(
                    f"the comparison goes on without {scheduler}: {law.refused}", stacklevel=2
                )
    jobs = tuning_jobs(settings, workspace)
    return train_all("baselines", jobs, settings, workspace, run_all)
