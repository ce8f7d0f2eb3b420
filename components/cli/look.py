"""`lode tasks`, `plot`, `table`, `report`: looking at what is there."""

from __future__ import annotations

from pathlib import Path

import click

from components.cli.options import check_folder, read_settings, settings_options
from components.storage.shown import cut


@click.command("tasks")
@click.option(
    "--params",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("params.yaml"),
    show_default=True,
    help="The settings file whose own tasks are listed too, where there is one.",
)
def tasks_command(params: Path) -> None:
    """List the tasks of the catalog, and those of the section `tasks` of params.yaml."""
    from components.settings import SettingsError, load  # pydantic
    from components.tasks.catalog import TASKS  # torch

    try:
        own = load(params).tasks if params.exists() else {}
    except SettingsError as error:  # the catalog is the same whatever lies here
        click.echo(f"without tasks of your own: {error}", err=True)
        own = {}
    for name, told in own.items():
        what = told.command or told.python or "imported histories"
        click.echo(f"{name:26} {cut(what, 80)}")
    for task in TASKS.values():
        click.echo(f"{task.name:26} {task.title}, batch {task.batch_size}")


@click.command("plot")
@click.argument(
    "histories", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("runs.svg"),
    show_default=True,
    help="The picture.",
)
def plot_command(histories: tuple[Path, ...], out: Path) -> None:
    """Draw train loss, validation metric and learning rate of HISTORIES (.parquet) as SVG."""
    check_folder(out.parent)
    from components.evaluation.figures import histories_over_training  # numpy, matplotlib
    from components.training.history import read_history

    histories_over_training([read_history(path) for path in histories], out)
    click.echo(out)


@click.command("table")
@settings_options
def table_command(params: Path, overrides: tuple[str, ...]) -> None:
    """Print the result table of the last evaluation and the report's path."""
    from components.steps.table import result_table  # pydantic, torch

    click.echo(result_table(*read_settings(params, overrides)))


@click.command("report")
@settings_options
@click.option("--markdown", is_flag=True, help="As a Markdown table.")
def report_command(params: Path, overrides: tuple[str, ...], markdown: bool) -> None:
    """Print the paper's Table 1 with what was evaluated here; the rest says "not run".

    The same as a page, with what to use for each task and links to their reports, is then in
    reports/index.html.
    """
    from components.evaluation.overview import overview, write_overview  # numpy, jinja2
    from components.steps.results import read_evaluations  # pydantic, torch

    _, workspace = read_settings(params, overrides)
    found, unread = read_evaluations(workspace)
    for reason in unread.values():
        click.echo(f"left out: {reason}", err=True)
    click.echo(overview(found, markdown=markdown))
    if found or unread:
        write_overview(found, unread, workspace.overview())
        click.echo(f"as a page: {workspace.overview()}", err=markdown)
