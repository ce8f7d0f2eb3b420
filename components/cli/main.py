"""`lode …`: a thin door to the steps. Imports are inside the commands: `--help` stays fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.cli.learn import learn_command
from components.cli.nightly import (
    histories_group,
    retrain_command,
    rollback_command,
    versions_command,
)
from components.cli.options import read_settings, settings_options
from components.schedulers.names import SCHEDULERS
from components.tasks.names import TASKS

if TYPE_CHECKING:
    from components.settings import Settings
    from components.storage.workspace import Workspace


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lode-pipeline")
def cli() -> None:
    """Learned learning-rate schedules: a sweep's histories teach a latent ODE (LODE), which then
    schedules new trainings.

    \b
    The whole pipeline, under Prefect:   make demo
    One step at a time, in this order:   lode sweep, validate, pilot, fit, register, baselines,
                                         train, evaluate
    Every night, on all that has come:   lode retrain; then lode versions, rollback, histories

    A step that finds its finished output does nothing; a killed one goes on where it was.
    """


def _run_step(name: str, settings: Settings, workspace: Workspace) -> None:
    from components.steps.all_steps import STEPS
    from components.storage.lock import only_one

    with only_one(workspace):
        result = STEPS[name](settings, workspace)
    done = f"{result.seconds:.1f} s" if result.ran else "up to date"
    click.echo(f"{name} {settings.task}: {result.summary} ({done})")


def _step_command(name: str, help_text: str) -> None:
    @cli.command(name, help=help_text)
    @settings_options
    def command(params: Path, overrides: tuple[str, ...]) -> None:
        _run_step(name, *read_settings(params, overrides))


_step_command("sweep", "Train every run of the sweep that is not on disk.")
_step_command("validate", "Check the histories; quarantine bad runs, stop on structural faults.")
_step_command("pilot", "Try proposed schedules; find the plan that LODE-scheduled runs begin with.")
_step_command("fit", "Fit the LODE and its judge on the histories of sweep and pilots.")
_step_command("register", "Log the sweep in MLflow and register the LODE as champion.")
_step_command("baselines", "Tune the baselines of baselines.schedulers as the sweep tunes its own.")
_step_command("evaluate", "Compare on fresh seeds and draw reports/<task>/index.html.")


@cli.command("train")
@settings_options
@click.option("--scheduler", type=click.Choice(SCHEDULERS), help="Train one network under this.")
@click.option("--task", type=click.Choice(TASKS), help="What to train.  [default: params.yaml's]")
@click.option("--peak-lr", type=float, help="Peak (or initial) lr.  [default: the sweep's best]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for its history and weights.",
)
def train_command(
    params: Path,
    overrides: tuple[str, ...],
    scheduler: str | None,
    task: str | None,
    peak_lr: float | None,
    seed: int,
    out: Path,
) -> None:
    """Train under the LODE, and under the best of every baseline, on the same fresh seeds.

    With --scheduler: train one network, and keep its history and its best weights.
    """
    if task:
        overrides = (*overrides, f"task={task}")
    settings, workspace = read_settings(params, overrides)
    if scheduler is None:
        return _run_step("train", settings, workspace)
    from components.runs.single import single_run

    click.echo(single_run(settings, workspace, scheduler, peak_lr, seed, out))


for other in (learn_command, retrain_command, versions_command, rollback_command, histories_group):
    cli.add_command(other)


@cli.command("tasks")
def tasks_command() -> None:
    """List the tasks of the catalog."""
    from components.tasks.catalog import TASKS as CATALOG

    for task in CATALOG.values():
        click.echo(f"{task.name:26} {task.title}, batch {task.batch_size}")


@cli.command("plot")
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
    from components.evaluation.figures import histories_over_training
    from components.training.history import read_history

    histories_over_training([read_history(path) for path in histories], out)
    click.echo(out)


@cli.command("table")
@settings_options
def table_command(params: Path, overrides: tuple[str, ...]) -> None:
    """Print the result table of the last evaluation and the report's path."""
    from components.steps.all_steps import result_table

    click.echo(result_table(*read_settings(params, overrides)))


@cli.command("report")
@settings_options
@click.option("--markdown", is_flag=True, help="As a Markdown table.")
def report_command(params: Path, overrides: tuple[str, ...], markdown: bool) -> None:
    """Print the paper's Table 1 with what was evaluated here; the rest says "not run"."""
    from components.evaluation.overview import overview

    _, workspace = read_settings(params, overrides)
    click.echo(overview(workspace.root / "reports", markdown=markdown))


def expected_errors() -> tuple[type[BaseException], ...]:
    """Errors whose message is meant for the user: shown as one line, without a traceback."""
    return (ValueError, LookupError, RuntimeError, OSError)


def main() -> None:
    """Entry point of `lode`."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except expected_errors() as error:
        if not type(error).__module__.startswith("components."):
            raise
        click.echo(f"lode: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
