"""Log sweep and pilots in MLflow and register the LODE: as champion, or as a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from components.evaluation.metric import Metric
from components.registry.about import About
from components.registry.models import register
from components.registry.promotion import appoint
from components.registry.tracking import log_sweep
from components.runs.sweep_histories import sweep_histories
from components.runs.validated import read_accepted
from components.settings import Settings
from components.steps.declared import learning_digest
from components.steps.results import read_pilots, read_registration
from components.storage.typed import write_sealed
from components.storage.workspace import Workspace, git_revision
from components.training.history import History, history_path, read_history


def work(settings: Settings, workspace: Workspace) -> None:
    task, uri = settings.task, workspace.database(settings.registry.tracking_uri)
    validated = read_accepted(workspace.accepted(task))
    sweep = sweep_histories(task, workspace)
    for experiment, runs in (("sweep", sweep), ("pilots", pilot_histories(task, workspace))):
        log_sweep(
            runs,
            tracking_uri=uri,
            experiment=f"{experiment}-{task}",
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
        about=about(settings, workspace, sweep),
    )
    standing = appoint(registered, trial=workspace.name, tracking_uri=uri)
    facts = {**asdict(registered), "tags": dict(registered.tags), "standing": standing}
    write_sealed(workspace.registration(task), facts)


def pilot_histories(task: str, workspace: Workspace) -> list[History]:
    """Those that the fit learned from, the diverged among them."""
    found = read_pilots(workspace.pilot_summary(task))
    return [read_history(history_path(workspace.pilots(task), one)) for one in found.run_ids]


def about(
    settings: Settings, workspace: Workspace, sweep: Sequence[History], also: str = ""
) -> About:
    """What a version's pages say: what it was learned from, and what that took and brought.

    Args:
        also: what it was learned from beside sweep and pilots.
    """
    pilots = read_pilots(workspace.pilot_summary(settings.task))
    figures = {
        "sweep_runs": len(sweep),
        "sweep_seconds": sum(float(one.points["elapsed_s"].max()) for one in sweep),
        "pilot_runs": pilots.runs,
        "pilot_seconds": pilots.seconds,
    }
    if pilots.gain.mean is not None and pilots.gain.error is not None:
        figures |= {"pilots_gain": pilots.gain.mean, "pilots_gain_error": pilots.gain.error}
    return About(
        metric=Metric.of(sweep),
        figures={name: value for name, value in figures.items() if math.isfinite(value)},
        learned_from=f"{len(sweep)} sweep runs and {pilots.runs} pilots{also}",
    )


def summary(settings: Settings, workspace: Workspace) -> str:
    found = read_registration(workspace.registration(settings.task))
    return f"{found.name} version {found.version}, {found.standing}"
