"""Baselines beyond the sweep's schedules: tuned on the sweep's own grid and seeds, at their price.

Their runs teach the LODE nothing: they are not of the sweep, whose histories are all that a user
of the LODE has to pay for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from components.schedulers.names import LEARNED_SCHEDULERS, WITHOUT_PEAK_LR
from components.settings import Settings
from components.storage.workspace import Workspace

if TYPE_CHECKING:
    from components.runs.job import Job


def learn_policies(settings: Settings, workspace: Workspace) -> None:
    """Learn the policies that are asked for and not there."""
    from components.runs.policies import learn_policy

    for scheduler in settings.baselines.schedulers:
        if scheduler in LEARNED_SCHEDULERS:
            learn_policy(settings, workspace, scheduler)


def tuning_jobs(settings: Settings, workspace: Workspace) -> list[Job]:
    """Every baseline × peak lr × sweep seed; none for a baseline without a peak lr."""
    from components.runs.single import job_of
    from components.steps.all_steps import sweep_plan

    folder = workspace.baselines(settings.task)
    template = replace(sweep_plan(settings, workspace).template, histories=folder)
    return [
        job_of(template, settings, workspace, scheduler, peak_lr, seed)
        for scheduler in settings.baselines.schedulers
        if scheduler not in WITHOUT_PEAK_LR
        for peak_lr in settings.sweep.peak_lrs
        for seed in settings.sweep.seeds
    ]
