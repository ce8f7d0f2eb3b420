"""What the commands here have in common: errors on one line, and how they read a workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from components.evaluation.results import Evaluation
from components.settings import Settings, load
from components.steps.results import read_evaluation
from components.storage.workspace import Workspace

PARAMS = click.Path(dir_okay=False, path_type=Path)  # a workspace's params.yaml
T = TypeVar("T")


class ExperimentError(ValueError):
    """The figures cannot be printed; the message names the folder and the command to run."""


class Command(click.Command):
    """A command whose expected errors are shown as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, RuntimeError) as error:
            if not type(error).__module__.startswith("components."):
                raise
            raise click.ClickException(str(error)) from None


def opened(params: Path) -> tuple[Settings, Workspace]:
    """The settings in a `params.yaml`, and the workspace that it lies in.

    Raises:
        ExperimentError: no such file. SettingsError: it is not valid.
    """
    if not params.is_file():
        raise ExperimentError(f"{params}: no such file; name the params.yaml of a workspace")
    return load(params), Workspace.of(params)


def evaluation_of(params: Path) -> Evaluation:
    """The evaluation in a workspace.

    Raises:
        ExperimentError: none there, or its seeds or lengths are not those of `params.yaml`.
        WorkspaceError: it is damaged or of another version.
    """
    settings, workspace = opened(params)
    path, again = workspace.evaluation(settings.task), f"run `lode evaluate --params {params}`"
    if not path.exists():
        raise ExperimentError(f"{params.parent}: {settings.task} is not evaluated; {again}")
    found, training = read_evaluation(path), settings.training
    wanted = training.updates, training.points, sorted(settings.evaluation.seeds)
    if (found.setup.updates, found.setup.points, found.setup.seeds) != wanted:
        raise ExperimentError(f"{params.parent}: evaluated with other settings; {again}")
    return found


def by_folder(params: Iterable[Path], read: Callable[[Path], T]) -> dict[str, T]:
    """What `read` finds beside every `params.yaml`, by folder as it was named.

    Raises:
        ExperimentError: a folder is named twice.
    """
    found: dict[str, T] = {}
    for path in params:
        folder = str(path.parent)
        if folder in found:
            raise ExperimentError(f"{folder}: named twice")
        found[folder] = read(path)
    return found
