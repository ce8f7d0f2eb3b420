"""`lode ask`, `tell`, `status`: the pipeline where a cluster starts the runs; `lode check`."""

from __future__ import annotations

from pathlib import Path

import click

from components.cli.options import check_folder, read_settings, settings_options


@click.command("ask")
@settings_options
@click.option(
    "--count",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="How many runs at most.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("jobs"),
    show_default=True,
    help="Folder for a JSON file of each.",
)
def ask_command(params: Path, overrides: tuple[str, ...], count: int, out: Path) -> None:
    """Write what the next runs are to be, for a cluster that starts them itself.

    The runs of the sweep, then of the pilots, of the baselines, of the comparison: whatever the
    pipeline is at. Start your script once for each file, with LODE_RUN naming it, and hand the logs
    back by `lode tell`. Asked again before, the same runs are given.
    """
    check_folder(out)
    settings, workspace = read_settings(params, overrides)
    from components.steps.study import Study  # torch

    written = Study(settings, workspace).ask(count, out)
    for path in written:
        click.echo(path)
    if not written:
        click.echo("nothing more to do; `lode table` shows the result", err=True)
    elif len(written) < count:
        said = f"{len(written)} instead of {count}: what follows depends on these; tell them first"
        click.echo(said, err=True)


@click.command("tell")
@settings_options
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_context
def tell_command(
    context: click.Context, params: Path, overrides: tuple[str, ...], files: tuple[Path, ...]
) -> None:
    """Take back what runs have logged: FILES of `lode ask`, their logs, or folders of them."""
    settings, workspace = read_settings(params, overrides)
    from components.steps.study import Study  # torch

    told = Study(settings, workspace).tell(files)
    for line in told.taken:
        click.echo(line)
    for name, why in told.refused.items():
        click.echo(f"left out: {name} {why}", err=True)
    click.echo(f"{len(told.taken)} taken, {len(told.refused)} left out", err=True)
    if told.refused and not told.taken:
        context.exit(1)


@click.command("status")
@settings_options
def status_command(params: Path, overrides: tuple[str, ...]) -> None:
    """Say which runs the pipeline waits for, and what it will still take."""
    settings, workspace = read_settings(params, overrides)
    from components.steps.study import Study  # torch

    click.echo(f"{settings.task}: {Study(settings, workspace).status()}")


@click.command("check")
@settings_options
def check_command(params: Path, overrides: tuple[str, ...]) -> None:
    """Run the script of a command task for a handful of updates, and say what is missing."""
    settings, workspace = read_settings(params, overrides, one_run=True)
    from components.runs.check import check  # torch

    click.echo(check(settings, workspace))
