"""Can the runs that are asked for be done at all? Asked before worker processes are started."""

from __future__ import annotations

from components.runs.command import check_command
from components.runs.execute import load_data
from components.runs.plan import template
from components.runs.tasks import own_of, task_of
from components.settings import Settings
from components.storage.workspace import Workspace
from components.tasks.errors import TaskError
from components.tasks.own import Command


def check_runnable(settings: Settings, workspace: Workspace) -> None:
    """Before worker processes are started: is there what the runs need?

    Raises:
        DataError, TaskError, CommandError: data, object or folder is missing or faulty.
        TaskError: of histories only, nothing can be trained.
    """
    own = own_of(settings, workspace)
    if isinstance(own, Command):
        check_command(own)
        return
    if settings.own is not None and settings.own.imported:
        folder = workspace.histories(settings.task)
        raise TaskError(
            f"{settings.task}: histories only, so nothing can be trained; `lode import` brings "
            f"more into {folder}, or give the task a command"
        )
    task = task_of(template(settings, workspace, workspace.histories(settings.task)))
    load_data(task, workspace.data, settings.training.train_samples, "cpu")
