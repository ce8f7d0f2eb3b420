"""What is trained: a network of the catalog, a Python object of the user's own, or a command."""

from __future__ import annotations

import functools
import importlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from components.runs.job import Job
from components.settings import OwnTaskSettings, Settings
from components.storage.digests import file_digest, text_digest
from components.storage.workspace import Workspace
from components.tasks.errors import TaskError
from components.tasks.own import Command, Own, OwnMetric, PythonTask
from components.tasks.own_data import data_digest

if TYPE_CHECKING:
    from components.tasks.task import Task

NOT_CODE = ("__pycache__", ".git")
MOST_FILES = 10_000  # that `digest` of a command may name: more is a data set


def own_of(settings: Settings, workspace: Workspace) -> Own | None:
    """What a job is told of a task of the user's own; None: it is of the catalog, or has histories
    only."""
    own, root = settings.own, str(workspace.main.root)
    if own is None or own.imported:
        return None
    if own.python is not None:
        return PythonTask(own.python, root)
    assert own.command is not None and own.metric is not None
    return Command(own.command, root, own.folder, own.metric.plain(), own.timeout)


def digest_of(settings: Settings, workspace: Workspace) -> str | None:
    """Of what a task of this name may be another time: the user's own data, command or code.

    Raises:
        DataError: the data is not there. TaskError: a file that a command's `digest` names is not.
    """
    own = settings.own
    if own is None:
        return data_digest(settings.task, workspace.data)
    if own.imported:
        return None
    if own.python is not None:
        return text_digest("python", own.python)
    assert own.metric is not None
    return text_digest("command", own.command, own.metric.plain().facts(), _files(own, workspace))


def metric_of(settings: Settings, workspace: Workspace) -> OwnMetric | None:
    """Of a task of the user's own; None: it is of the catalog.

    Raises:
        TaskError: as of `python_task`.
    """
    own = own_of(settings, workspace)
    if isinstance(own, PythonTask):
        task = python_task(own, settings.task)
        return OwnMetric(task.metric_name, "maximize", task.in_percent)
    found = settings.own
    return None if found is None or found.metric is None else found.metric.plain()


def _files(own: OwnTaskSettings, workspace: Workspace) -> dict[str, str]:
    """SHA-256 by path of what `digest` names, relative to the command's folder."""
    folder = (workspace.main.root / own.folder).resolve()
    found: dict[str, str] = {}
    for name in own.digest:
        path = folder / name
        if not path.exists():
            raise TaskError(f"{path}: not there, and the task's `digest` names it")
        inside = [path] if path.is_file() else sorted(path.rglob("*"))
        files = [one for one in inside if one.is_file() and not set(one.parts) & set(NOT_CODE)]
        if len(files) > MOST_FILES:
            raise TaskError(
                f"{path}: {len(files):,} files; name those in the task's `digest` that a result "
                "follows from"
            )
        found |= {one.relative_to(folder).as_posix(): file_digest(one) for one in files}
    return found


def is_command(job: Job) -> bool:
    """Whether a script of the user's own does it."""
    return isinstance(job.own, Command)


def task_of(job: Job) -> Task:
    """The task whose network a job trains.

    Raises:
        UnknownTaskError: the catalog has none of that name. TaskError: as of `python_task`.
    """
    from components.tasks import catalog  # torchvision

    if isinstance(job.own, PythonTask):
        return python_task(job.own, job.spec.task)
    return catalog.get(job.spec.task)


@functools.lru_cache
def python_task(own: PythonTask, name: str) -> Task:
    """The object, under the name that params.yaml gives it.

    Raises:
        TaskError: its module cannot be imported, or has no Task of that name.
    """
    from components.tasks.task import Task  # torch

    module, _, attribute = own.path.partition(":")
    if own.root not in sys.path:
        sys.path.append(own.root)
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # whatever a stranger's code may raise
        raise TaskError(
            f"{name}: {own.path} cannot be imported: {type(error).__name__}: {error}; it is looked "
            f"for in {own.root} and where Python looks"
        ) from error
    if not isinstance(found, Task):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise TaskError(
            f"{name}: {own.path} is {what}, must be a components.tasks.task.Task "
            "(docs/guides/your-own-task.md)"
        )
    return replace(found, name=name)
