"""What every command of `lode …` is given: the settings file, and settings replaced.

Settings and workspace are imported when a command runs: `lode --help` starts without them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

if TYPE_CHECKING:
    from components.settings import Settings
    from components.storage.workspace import Workspace


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--params` and `--set`, the same for every command."""
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Replace a setting, e.g. --set sweep.seeds='[0, 1]'. May be repeated.",
    )(command)
    return click.option(
        "--params",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path("params.yaml"),
        show_default=True,
        help="The settings file; its folder is the workspace.",
    )(command)


def read_settings(
    params: Path, overrides: tuple[str, ...], task: str | None = None
) -> tuple[Settings, Workspace]:
    """The settings a command runs with, and the workspace they lie in.

    Args:
        task: instead of the file's; None: the file's.
    """
    from components.settings import load
    from components.storage.workspace import Workspace

    chosen = {"task": task} if task else {}
    return load(params, replaced(overrides) | chosen), Workspace(params.resolve().parent)


def replaced(overrides: tuple[str, ...]) -> dict[str, Any]:
    """`KEY=VALUE` as `components.settings.load` takes them, the value being YAML.

    Raises:
        SettingsError: no `=`, or not YAML.
    """
    from components.settings import SettingsError

    found = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise SettingsError(f"--set {override}: write KEY=VALUE, e.g. --set training.points=50")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"--set {override}: the value is not YAML") from None
    return found
