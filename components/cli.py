"""`lode …`: a thin door to the steps. Imports are inside the commands: `--help` stays fast."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.names import SCHEDULERS, TASKS

if TYPE_CHECKING:
    from components.settings import Settings
    from components.workspace import Workspace


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--params` and `--set`, the same for every command."""
    command = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE",
        help="Replace a setting, e.g. --set sweep.seeds='[0, 1]'. May be repeated.",
    )(command)  # fmt: skip
    return click.option(
        "--params", type=click.Path(dir_okay=False, path_type=Path), default=Path("params.yaml"),
        show_default=True, help="The settings file; its folder is the workspace.",
    )(command)  # fmt: skip


def read_settings(params: Path, overrides: tuple[str, ...]) -> tuple[Settings, Workspace]:
    """The settings a command runs with, and the workspace they lie in."""
    import yaml

    from components.settings import SettingsError, load
    from components.workspace import Workspace

    replaced = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise SettingsError(f"--set {override}: write KEY=VALUE, e.g. --set training.points=50")
        try:
            replaced[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"--set {override}: the value is not YAML") from None
    return load(params, replaced), Workspace(params.resolve().parent)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lode-pipeline")
def cli() -> None:
    """Learned learning-rate schedules: a sweep's histories teach a latent ODE (LODE), which then
    schedules new trainings.

    \b
    The whole pipeline, under Prefect:   make demo
    One step at a time, in this order:   lode sweep, validate, pilot, fit, register, train, evaluate

    A step that finds its finished output does nothing; a killed one goes on where it was.
    """


def _run_step(name: str, settings: Settings, workspace: Workspace) -> None:
    from components.lock import only_one
    from components.steps import STEPS

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
_step_command("evaluate", "Compare on fresh seeds and draw reports/<task>/index.html.")


@cli.command("train")
@settings_options
@click.option("--scheduler", type=click.Choice(SCHEDULERS), help="Train one network under this.")
@click.option("--task", type=click.Choice(TASKS), help="What to train.  [default: params.yaml's]")
@click.option("--peak-lr", type=float, help="Peak (or initial) lr.  [default: the sweep's best]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"),
              show_default=True, help="Folder for its history and weights.")  # fmt: skip
def train_command(
    params: Path, overrides: tuple[str, ...], scheduler: str | None, task: str | None,
    peak_lr: float | None, seed: int, out: Path,
) -> None:  # fmt: skip
    """Train under the LODE, and under the best of every baseline, on the same fresh seeds.

    With --scheduler: train one network, and keep its history and its best weights.
    """
    if task:
        overrides = (*overrides, f"task={task}")
    settings, workspace = read_settings(params, overrides)
    if scheduler is None:
        return _run_step("train", settings, workspace)
    from components.single_run import single_run

    click.echo(single_run(settings, workspace, scheduler, peak_lr, seed, out))


@cli.command("retrain")
@settings_options
def retrain_command(params: Path, overrides: tuple[str, ...]) -> None:
    """Refit the LODE on all histories there are; it replaces the champion only if it is better.

    What the nightly flow does. Nothing new since the last time: it says so and stops. Killed, it
    goes on where it was.
    """
    from components.lock import only_one
    from components.retraining import retrain

    settings, workspace = read_settings(params, overrides)
    with only_one(workspace):
        result = retrain(settings, workspace)
    click.echo(f"retrain {settings.task}: {result.summary} ({result.seconds:.1f} s)")


@cli.command("rollback")
@settings_options
@click.option("--to", type=int, help="A version.  [default: the champion before this one]")
@click.option("--why", default="", help="Kept on the version that is left.")
def rollback_command(params: Path, overrides: tuple[str, ...], to: int | None, why: str) -> None:
    """Make a former version of the LODE the champion again; nothing is deleted."""
    import getpass

    from components.registry import rollback
    from components.steps import tracking_uri

    settings, workspace = read_settings(params, overrides)
    left, now = rollback(
        settings.task, tracking_uri=tracking_uri(settings, workspace), who=getpass.getuser(),
        why=why, to=to,
    )  # fmt: skip
    click.echo(f"lode-{settings.task}: champion is version {now} again, it was {left}")


@cli.command("versions")
@settings_options
def versions_command(params: Path, overrides: tuple[str, ...]) -> None:
    """List the registered versions of the LODE: aliases, the gate's decision, what they saw."""
    from components.registry import list_versions
    from components.steps import tracking_uri

    settings, workspace = read_settings(params, overrides)
    found = list_versions(settings.task, tracking_uri=tracking_uri(settings, workspace))
    if not found:
        click.echo(f"no version of lode-{settings.task} is registered; run `lode register`")
    for version in found:
        tags = version.tags
        said = tags.get("decision", "registered")
        click.echo(
            f"{version.version:4}  {version.created:%Y-%m-%d %H:%M}  {said:10}  "
            f"histories {tags.get('histories_digest', '?')[:12]}  "
            f"data {tags.get('data_revision', 'none'):12}  {', '.join(version.aliases)}"
        )


@cli.command("histories")
@settings_options
@click.option("--out", type=click.Path(file_okay=False, path_type=Path),
              help="Folder to write to.  [default: histories-REVISION]")  # fmt: skip
@click.argument("at", required=False, type=click.Choice(["at"]), metavar="[at REVISION]")
@click.argument("revision", required=False, metavar="")
def histories_command(
    params: Path, overrides: tuple[str, ...], out: Path | None, at: str | None, revision: str | None
) -> None:  # fmt: skip
    """List the versions of what LODEs learned from; `lode histories at REVISION` brings one back.

    Versions are commits on the branch lode-histories, their data is in DVC's remote.
    """
    from components.versioning import bring_back, versions

    settings, workspace = read_settings(params, overrides)
    if at and not revision:
        raise click.UsageError("at what? `lode histories` lists the revisions")
    if revision:
        folder = out or Path(f"histories-{revision}")
        count = bring_back(workspace, settings.task, revision, folder)
        click.echo(f"{count} histories of {settings.task} at {revision} in {folder}")
        return
    found = versions(workspace, settings.task)
    if not found:
        click.echo("no versions yet; `lode retrain` makes one in a git repository with DVC")
    for version in found:
        click.echo(
            f"{version.revision}  {version.when[:16]}  {version.runs:5} runs  "
            f"digest {version.digest[:12]}  {version.message}"
        )


@cli.command("tasks")
def tasks_command() -> None:
    """List the tasks of the catalog."""
    from components.tasks.catalog import TASKS as CATALOG

    for task in CATALOG.values():
        click.echo(f"{task.name:20} {task.title}, batch {task.batch_size}")


@cli.command("plot")
@click.argument("histories", nargs=-1, required=True,
                type=click.Path(dir_okay=False, path_type=Path))  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("runs.svg"),
              show_default=True, help="The picture.")  # fmt: skip
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
    from components.steps import result_table

    click.echo(result_table(*read_settings(params, overrides)))


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
