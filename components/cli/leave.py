"""`lode export` and `lode explain`: the schedule as a file, and why a run's rate moved."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from components.cli.options import check_folder, read_settings, settings_options

if TYPE_CHECKING:
    from components.lode.plan_file import Plan
    from components.settings import Settings
    from components.storage.workspace import Workspace

FORMATS = ("json", "csv", "svg")
KINDS = ("scheduled", "nightly", "histories", "pilots", "baselines", "imported")  # of Workspace
OUT = click.Path(dir_okay=False, path_type=Path)


@click.command("export")
@settings_options
@click.option(
    "--model",
    metavar="URI",
    help="A registered version, models:/lode-<task>@champion or /3.  [default: the folder's LODE]",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="json says all there is to say, csv has shares and rates, svg is drawn.  "
    "[default: as --out is named, or json]",
)
@click.option("--out", type=OUT, help="The file.  [default: on the terminal; plan.svg]")
def export_command(
    params: Path, overrides: tuple[str, ...], model: str | None, kind: str | None, out: Path | None
) -> None:
    """The schedule that the LODE has found, for any framework: learning rates over training.

    docs/guides/other-frameworks.md has the five lines that read it.
    """
    suffix = out.suffix.removeprefix(".") if out is not None else ""
    kind = kind or (suffix if suffix in FORMATS else "json")
    out = Path("plan.svg") if out is None and kind == "svg" else out
    if out is not None:
        check_folder(out.parent)
    settings, workspace = read_settings(params, overrides)
    plan = _registered(model, settings, workspace) if model else _here(settings, workspace)
    if kind == "svg":
        assert out is not None
        _draw(plan, out)
    elif out is None:
        click.echo(_text(plan, kind), nl=False)
    else:
        from components.storage.files import write_text

        write_text(out, _text(plan, kind))
    if out is not None:
        click.echo(out)


@click.command("explain")
@click.argument("run")
@settings_options
@click.option(
    "--out", type=OUT, default=Path("explain.svg"), show_default=True, help="The picture."
)
def explain_command(run: str, params: Path, overrides: tuple[str, ...], out: Path) -> None:
    """Why the learning rate moved in a finished run under a LODE, and why it did not.

    RUN is a history (.parquet) or the id of one in this folder. Prints its decisions: the rate μ
    log points on, before and after, and the gain that the judge expected of the change; draws the
    same.
    """
    check_folder(out.parent)
    settings, workspace = read_settings(params, overrides)
    from components.lode.explained import draw, table_of  # pandas, torch
    from components.training.history import read_history

    history = read_history(_path_of(run, settings.task, workspace))
    table = table_of(history)
    if not table.rows:
        raise click.UsageError(
            f"{history.run_id} ({history.describe()}) made no decision: only runs under a LODE do, "
            "as those of data/scheduled/<task>"
        )
    draw(history, out)
    click.echo(f"{history.meta['task']} {history.describe()}, {history.run_id}")
    click.echo(table.text())
    click.echo(out)


def _path_of(run: str, task: str, workspace: Workspace) -> Path:
    """Where a run lies: a file, or a history of the workspace or of a trial in it."""
    from components.training.history import history_path  # pandas

    if Path(run).suffix:
        return Path(run)
    folders = [getattr(one, kind)(task) for one in workspace.siblings() for kind in KINDS]
    paths = [history_path(folder, run) for folder in folders]
    found = [path for path in paths if path.exists()]
    if not found:
        raise click.UsageError(
            f"no run {run} of {task} in this folder: {', '.join(f'data/{k}' for k in KINDS)} were "
            "looked through; name its file, or another --set task=…"
        )
    return found[0]


def _here(settings: Settings, workspace: Workspace) -> Plan:
    from components.lode.names import PLAN
    from components.lode.plan_file import read_plan  # numpy
    from components.steps.files import LODE

    LODE.check_there(settings.task, workspace)
    return read_plan(workspace.lode(settings.task) / PLAN)


def _registered(uri: str, settings: Settings, workspace: Workspace) -> Plan:
    from components.lode.names import PLAN
    from components.lode.plan_file import read_plan  # numpy
    from components.registry.connection import RegistryError
    from components.registry.models import fetch  # torch, and MLflow when it is used

    with TemporaryDirectory(prefix="lode-") as scratch:
        place = workspace.database(settings.registry.tracking_uri)
        path = fetch(uri, tracking_uri=place, folder=Path(scratch)) / PLAN
        if not path.exists():
            raise RegistryError(
                f"{uri}: registered without a plan, by an earlier version; run `lode fit`, "
                "`lode register`"
            )
        return read_plan(path)


def _text(plan: Plan, kind: str) -> str:
    from components.lode.plan_file import to_csv, to_json
    from components.storage.typed import sealed

    return sealed(to_json(plan)) if kind == "json" else to_csv(plan.rates)


def _draw(plan: Plan, out: Path) -> None:
    from components.evaluation.plan_figure import plan_figure  # matplotlib

    compared = plan.compared_with
    if compared is None:
        plan_figure(plan.rates, (), "", out)
    else:
        plan_figure(plan.rates, compared.rates, compared.schedule, out)
