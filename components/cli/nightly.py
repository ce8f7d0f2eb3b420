"""`lode retrain`, `versions`, `histories`, `prune`: what comes after the first champion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from components.cli.options import ask, read_settings, settings_options
from components.evaluation.tables import Table
from components.registry.versions import Version, list_versions
from components.steps.files import VALIDATION
from components.storage.lock import only_one

VERSION_COLUMNS = (
    "version",
    "alias",
    "registered",
    "decision",
    "error",
    "test",
    "histories",
    "digest",
    "data",
    "code",
)
HISTORIES_COLUMNS = ("revision", "date", "runs", "added", "removed", "digest", "what")


@click.command("retrain")
@settings_options
@click.option(
    "--discard",
    is_flag=True,
    help="Throw an unfinished night away and end; the next `lode retrain` gathers anew.",
)
def retrain_command(params: Path, overrides: tuple[str, ...], discard: bool) -> None:
    """Refit the LODE on all histories so far; promote it only if it passes the gate.

    Learns from the validated sweep, the pilots, data/scheduled, data/nightly, and from whatever
    lies in data/imported/<task>. With nothing new it ends within seconds; killed, it goes on where
    it was. The decision is in reports/<task>/nightly.json and in the registry (`lode versions`).
    """
    from components.retraining.record import discard_night  # torch, Great Expectations
    from components.retraining.retrain import retrain

    settings, workspace = read_settings(params, overrides)
    if not workspace.night(settings.task).exists():  # before anything is written, as the lock is
        VALIDATION.check_there(settings.task, workspace)
    with only_one(workspace):
        if discard:
            night = discard_night(workspace, settings.task)
            said = "no unfinished night" if night is None else f"night of {night.started} discarded"
            click.echo(f"retrain {settings.task}: {said}; `lode retrain` begins a new one")
            return
        result = retrain(settings, workspace)
    click.echo(f"retrain {settings.task}: {result.summary} ({result.seconds:.1f} s)")


@click.command("versions")
@settings_options
def versions_command(params: Path, overrides: tuple[str, ...]) -> None:
    """List the registered LODEs of the task: aliases, decision, figures, what they learned from."""
    settings, workspace = read_settings(params, overrides)
    uri = workspace.database(settings.registry.tracking_uri)
    found = list_versions(settings.task, tracking_uri=uri)
    if not found:
        click.echo(f"no version of lode-{settings.task} yet; run `lode register` or `lode retrain`")
        return
    click.echo(version_table(found).text(left=True, rule=False))


@click.group("histories", invoke_without_command=True)
@settings_options
@click.pass_context
def histories_group(context: click.Context, params: Path, overrides: tuple[str, ...]) -> None:
    """List the versions of the histories that nights learned from, newest first.

    `lode histories at REVISION` brings one back.
    """
    context.obj = params, overrides
    if context.invoked_subcommand:
        return
    from components.retraining.histories_versions import histories_versions  # pandas

    settings, workspace = read_settings(params, overrides)
    rows = [
        (
            one.revision[:12],
            one.date[:16].replace("T", " "),
            str(one.runs),
            str(one.added),
            str(one.removed),
            one.digest[:12],
            one.message,
        )
        for one in histories_versions(workspace, settings.task)
    ]
    if rows:
        click.echo(Table.of(HISTORIES_COLUMNS, rows).text(left=True, rule=False))
    else:
        click.echo("no versions yet; `lode retrain` makes them")


@histories_group.command("at")
@click.argument("revision")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to bring them to.  [default: histories-REVISION]",
)
@click.pass_context
def at_command(context: click.Context, revision: str, out: Path | None) -> None:
    """Bring back the histories of REVISION, from DVC's cache or its default remote.

    REVISION is one that `lode histories` lists, or the tag data_revision of a registered LODE. What
    comes is checked against the version's digest.
    """
    from components.retraining.histories_versions import restore  # pandas

    settings, workspace = read_settings(*context.obj)
    folder = out or Path(f"histories-{revision[:12]}")
    count = restore(workspace, settings.task, revision, folder)
    click.echo(f"{count} histories of {settings.task} in {folder}, as their digest says")


def version_table(found: Sequence[Version]) -> Table:
    """A row per version, newest first."""
    rows = (
        (
            str(one.version),
            " ".join(one.aliases) or "–",
            f"{one.created:%Y-%m-%d %H:%M}",
            _decision(one.tags),
            *_figures(one.tags),
            _tag(one.tags, "histories", "sweep_size"),
            _tag(one.tags, "histories_digest"),
            _tag(one.tags, "data_revision"),
            _tag(one.tags, "git_revision"),
        )
        for one in reversed(found)
    )
    return Table.of(VERSION_COLUMNS, rows)


@click.command("prune")
@settings_options
@click.option(
    "--keep",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="So many of the newest registered versions, and of the newest versions of histories.",
)
@click.option("--yes", is_flag=True, help="Delete what is listed without asking.")
def prune_command(params: Path, overrides: tuple[str, ...], keep: int, yes: bool) -> None:
    """Delete what nights have left and nobody can need any more; lists it and asks first.

    Kept beside the newest: every version with an alias, all that rollbacks reach from a kept one,
    and the histories that kept versions learned from. Never deleted: data/, the branch
    lode-histories, records of nights, and DVC stores outside this folder.
    """
    from components.retraining.prune import prunable, prune  # torch

    settings, workspace = read_settings(params, overrides)
    found = prunable(settings, workspace, keep)
    numbers = ", ".join(str(one.version) for one in found.kept) or "none"
    click.echo(f"kept: registered versions {numbers}; {found.kept_histories} of the histories")
    for place in found.elsewhere:
        click.echo(f"left alone, as it is not in this folder: {place}")
    parts = found.parts
    if not parts:
        click.echo(f"nothing of {settings.task} to prune")
        return
    rows = [(what, _megabytes(size)) for what, size in parts.items()]
    click.echo(Table.of(("to delete", "size"), rows).text(rule=False))
    ask("Delete this?", yes)
    with only_one(workspace):  # not while somebody reads the list: a night would wait for them
        if prunable(settings, workspace, keep) != found:
            raise click.ClickException("something has changed meanwhile; run `lode prune` again")
        prune(found, settings, workspace)
    click.echo(f"deleted {_megabytes(sum(parts.values()))}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def _decision(tags: Mapping[str, str]) -> str:
    if "rolled_back_at" in tags:
        return "rolled back"
    return tags.get("decision", "registered")


def _figures(tags: Mapping[str, str]) -> tuple[str, str]:
    """Held-out error and mean test metric; a dash where none was measured."""
    try:
        found = json.loads(tags["figures"])
    except (KeyError, ValueError):  # of `lode register`, not of a night; or cut at a tag's length
        return _tag(tags, "held_out_error"), _tag(tags, "test_metric")
    if not isinstance(found, dict):
        return _tag(tags, "held_out_error"), _tag(tags, "test_metric")
    error, test = (
        f"{value:.4f}" if isinstance(value := found.get(name), int | float) else "–"
        for name in ("error", "test")
    )
    return error, test


def _tag(tags: Mapping[str, str], *names: str) -> str:
    return next((tags[name][:12] for name in names if tags.get(name)), "–")
