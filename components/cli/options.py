"""What every command of `lode …` is given: the settings file, and settings replaced.

Settings and workspace are imported when a command runs: `lode --help` starts without them.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from components.lode.settings import RATES, SEEDS, OutOfRangeError, Range
from components.storage.shown import cut, shown
from components.storage.strict_yaml import YamlError, read_yaml

if TYPE_CHECKING:
    from components.settings import Settings
    from components.storage.workspace import Workspace


class _Ranged(click.ParamType):
    """A number as params.yaml takes it: the ranges of settings are those of options."""

    def __init__(self, kind: click.ParamType, allowed: Range) -> None:
        self.kind, self.allowed, self.name = kind, allowed, kind.name

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = self.kind.convert(value, param, ctx)
        try:
            return self.allowed.check(number)
        except OutOfRangeError as error:
            self.fail(f"{shown(number, 40)} {error}", param, ctx)


SEED = _Ranged(click.INT, SEEDS)
RATE = _Ranged(click.FLOAT, RATES)


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
    params: Path,
    overrides: tuple[str, ...],
    task: str | None = None,
    *,
    one_run: bool = False,
) -> tuple[Settings, Workspace]:
    """The settings a command runs with, and the workspace they belong to: with settings replaced,
    a trial's.

    Args:
        task: instead of the file's; None: the file's.
        one_run: what is run reads the sweep and the LODE, and leaves nothing that anybody reads:
            no trial.
    """
    from components.steps.trials import opened

    settings, workspace = opened(params, replaced(overrides), task)
    if one_run:
        return settings, workspace.main
    if workspace.name:
        click.echo(f"trial {workspace.name}: what it makes is in {workspace.root}", err=True)
    return settings, workspace


def replaced(overrides: tuple[str, ...]) -> dict[str, Any]:
    """`KEY=VALUE` as `components.settings.load` takes them, the value being YAML.

    Raises:
        SettingsError: no `=`, or YAML that a settings file may not have either.
    """
    from components.settings import SettingsError

    found = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise SettingsError(
                f"--set {cut(override)}: write KEY=VALUE, e.g. --set training.points=50"
            )
        try:
            found[key.strip()] = read_yaml(value, f"--set {cut(override, 80)}", lines=False)
        except YamlError as error:
            raise SettingsError(str(error)) from None
    return found


def refuse_given(context: click.Context, names: tuple[str, ...], why: str) -> None:
    """Options that the command would ignore are a mistake, not a detail.

    Raises:
        click.UsageError: one of these parameters is on the command line.
    """
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names
        and context.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: {why}", context)


def ask(question: str, yes: bool) -> None:
    """Go on only if a person agrees, or has with `--yes`.

    Raises:
        click.Abort: no. click.UsageError: nobody is there to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is nobody to ask: add --yes")
    click.confirm(question, abort=True)


def check_folder(folder: Path, option: str = "--out") -> None:
    """Try to write there before hours of work; what is made to try is removed.

    Raises:
        click.BadParameter: no file can be written there.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.BadParameter(
            f"{cut(str(folder))} cannot be written to ({error.strerror}); name another folder",
            param_hint=f"'{option}'",
        ) from None
    finally:
        for one in made:
            with contextlib.suppress(OSError):
                one.rmdir()
