"""`lode promote` and `lode rollback`: which version the alias `champion` points to."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.cli.nightly import version_table
from components.cli.options import ask, read_settings, settings_options
from components.registry.promotion import promote, rollback, way_back
from components.registry.versions import list_versions

if TYPE_CHECKING:
    from components.settings import Settings

YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command("promote")
@click.argument("version", type=click.IntRange(1))
@settings_options
@YES
@click.option("--why", default="", help="The reason, kept in the version's tags.")
def promote_command(
    version: int, params: Path, overrides: tuple[str, ...], yes: bool, why: str
) -> None:
    """Make VERSION the champion, after a look at its figures beside the champion's.

    For candidates: what was fitted with other settings than the champion's, in a trial for
    instance, becomes the champion by this, or by a night's gate, and in no other way. `lode
    versions` lists them; `lode rollback` is the way back.
    """
    settings, uri = _registry(params, overrides)
    _show(settings, uri, version)
    ask(f"Make version {version} of lode-{settings.task} the champion?", yes)
    before, now = promote(settings.task, version, tracking_uri=uri, who=_user(), why=why)
    left = "" if before is None else f", no longer version {before}"
    click.echo(f"lode-{settings.task}@champion is version {now}{left}")


@click.command("rollback")
@settings_options
@click.option(
    "--to",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Which version.  [default: the champion before]",
)
@YES
@click.option("--why", default="", help="The reason, kept in the tags of the version that is left.")
def rollback_command(
    params: Path, overrides: tuple[str, ...], to: int | None, yes: bool, why: str
) -> None:
    """Move the alias `champion` back to the champion before (or --to VERSION).

    Never to a version that was not the champion, nor to one that was itself rolled back. Nothing is
    deleted; the version that is left is tagged with who, when and why. Whoever loads
    models:/lode-<task>@champion gets the other one from now on.
    """
    settings, uri = _registry(params, overrides)
    left, target = way_back(settings.task, tracking_uri=uri, to=to)
    _show(settings, uri, target)
    ask(f"Go back from version {left} to version {target}?", yes)
    rollback(settings.task, tracking_uri=uri, who=_user(), why=why, to=target)
    click.echo(f"lode-{settings.task}@champion is version {target} again, no longer version {left}")


def _registry(params: Path, overrides: tuple[str, ...]) -> tuple[Settings, str]:
    settings, workspace = read_settings(params, overrides)
    return settings, workspace.database(settings.registry.tracking_uri)


def _show(settings: Settings, uri: str, version: int) -> None:
    """The champion and the version beside each other."""
    found = list_versions(settings.task, tracking_uri=uri)
    shown = [one for one in found if one.version == version or "champion" in one.aliases]
    if shown:
        click.echo(version_table(shown).text(left=True, rule=False))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return "unknown"
