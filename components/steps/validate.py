"""Check the sweep's histories; quarantine bad runs, stop on structural faults."""

from __future__ import annotations

from components.runs.tasks import digest_of, metric_of
from components.settings import Settings
from components.steps.results import read_validation
from components.storage.workspace import Workspace
from components.validation.validate import validate


def work(settings: Settings, workspace: Workspace) -> None:
    sweep, training = settings.sweep, settings.training
    validate(
        workspace.histories(settings.task),
        task=settings.task,
        schedulers=sweep.schedulers,
        peak_lrs=sweep.peak_lrs,
        seeds=sweep.seeds,
        updates=training.updates,
        points=training.points,
        train_samples=training.train_samples,
        data_digest=digest_of(settings, workspace),
        sampler=sweep.sampler,
        max_train_loss=settings.validation.max_train_loss,
        max_quarantined=settings.validation.max_quarantined,
        metric=metric_of(settings, workspace),
        imported=settings.own is not None and settings.own.imported,
        report_dir=workspace.reports(settings.task),
    )


def summary(settings: Settings, workspace: Workspace) -> str:
    found = read_validation(workspace.validation(settings.task))
    return f"{found.accepted} runs accepted, {len(found.quarantined)} quarantined"
