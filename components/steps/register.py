"""Log the sweep in MLflow and register the LODE as `lode-<task>@champion`."""

from __future__ import annotations

from dataclasses import asdict

from components.registry.models import register
from components.registry.tracking import log_sweep
from components.runs.sweep_histories import sweep_histories
from components.runs.validated import read_accepted
from components.settings import Settings
from components.steps.declared import learning_digest
from components.steps.results import read_registration
from components.storage.typed import write_sealed
from components.storage.workspace import Workspace, git_revision


def work(settings: Settings, workspace: Workspace) -> None:
    task, uri = settings.task, workspace.database(settings.registry.tracking_uri)
    validated = read_accepted(workspace.accepted(task))
    log_sweep(
        sweep_histories(task, workspace),
        tracking_uri=uri,
        experiment=f"sweep-{task}",
        artifact_root=workspace.artifacts,
    )
    registered = register(
        workspace.lode(task),
        task=task,
        tags={
            "histories_digest": validated.histories_digest,
            "settings_digest": learning_digest(settings),
            "git_revision": git_revision(workspace.root),
            "sweep_size": str(len(validated.accepted)),
        },
        controller=settings.lode.controller,
        settings=settings.lode.scheduler,
        tracking_uri=uri,
        artifact_root=workspace.artifacts,
    )
    facts = {**asdict(registered), "tags": dict(registered.tags)}
    write_sealed(workspace.registration(task), facts)


def summary(settings: Settings, workspace: Workspace) -> str:
    found = read_registration(workspace.registration(settings.task))
    return f"{found.name} version {found.version}"
