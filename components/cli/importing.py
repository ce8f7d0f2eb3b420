"""`lode import`: runs that exist already, from files and trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.cli.options import read_settings, settings_options
from components.storage.lock import only_one
from components.storage.shown import cut

if TYPE_CHECKING:
    from components.importers.request import Request, Target
    from components.importers.source import Source
    from components.settings import Settings
    from components.storage.workspace import Workspace

PAIRS = ("--map", "--match")  # which take several KEY=VALUE at once


class _Pairs(click.Command):
    """`--map A=B C=D` is `--map A=B --map C=D`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        option = None
        for word in args:
            if word.startswith("-"):
                option = word if word in PAIRS else None
            elif option is not None and "=" in word and spread[-1] != option:
                spread.append(option)
            elif option is not None and "=" not in word:
                option = None
            spread.append(word)
        return super().parse_args(ctx, spread)


_OPTIONS = (
    click.option("--task", help="Whose runs they are: of `tasks`.  [default: params.yaml's]"),
    click.option(
        "--map",
        "named",
        multiple=True,
        metavar="ROLE=COLUMN …",
        help="Which column is step, epoch, train_loss, val_metric, lr, elapsed_s, test_metric; "
        "guessed and shown where names are usual.",
    ),
    click.option(
        "--match",
        multiple=True,
        metavar="KEY=PATTERN …",
        help="Only runs whose parameters (or name) are so; * and ? stand for anything.",
    ),
    click.option(
        "--group",
        multiple=True,
        metavar="COLUMNS",
        help="Parameters that tell configurations apart beside the peak rate, with commas.",
    ),
    click.option("--seed", metavar="COLUMN", help="The parameter that is the seed."),
    click.option(
        "--resumed-from",
        metavar="COLUMN",
        help="The parameter that names, or only says, that a run went on from another: it is "
        "joined to its beginning.",
    ),
    click.option(
        "--horizon", metavar="COLUMN", help="The parameter that says how many updates it has."
    ),
    click.option(
        "--updates",
        type=click.IntRange(1),
        help="N: take the runs of this length.  [default: the commonest]",
    ),
    click.option(
        "--epoch-updates", type=click.IntRange(1), help="Updates of an epoch, for logs in epochs."
    ),
    click.option(
        "--lr-schedule",
        metavar="NAME|COLUMN",
        help="Where no rate was logged: cosine, … or the parameter that says so.",
    ),
    click.option("--peak-lr", metavar="RATE|COLUMN", help="The peak rate, or its parameter."),
    click.option("--warmup", metavar="UPDATES|COLUMN", help="Of --lr-schedule: linear, before it."),
    click.option("--points", type=click.IntRange(2), help="T.  [default: params.yaml's]"),
    click.option("--dry-run", is_flag=True, help="Show what would come in, write nothing."),
)


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return settings_options(command)


@click.group("import")
def import_group() -> None:
    """Bring in runs that exist already, as histories of a task of `tasks` in params.yaml.

    docs/guides/use-the-runs-you-have.md says what becomes of gaps, restarts and other scales.
    """


@import_group.command("csv", cls=_Pairs)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--run", metavar="COLUMN", help="Says which run a row is of; else a file is a run.")
@click.option(
    "--runs",
    "table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with a row for every run, joined by --run.",
)
@_common
def csv_command(source: Path, run: str | None, table: Path | None, **options: Any) -> None:
    """SOURCE: a CSV or JSON-lines file, or a folder of them, compressed or not."""
    from components.importers.csv import CsvSource  # pandas

    _check_there(source)
    _import(lambda: nullcontext(CsvSource(source, run=run, table=table)), **options)


@import_group.command("mlflow", cls=_Pairs)
@click.argument("source")
@click.option(
    "--experiment",
    "experiments",
    multiple=True,
    help="Its name; may be repeated.  [default: the only one]",
)
@_common
def mlflow_command(source: str, experiments: tuple[str, ...], **options: Any) -> None:
    """SOURCE: the tracking URI of a server (http://…), a database (sqlite:///…) or a folder."""
    from components.importers.mlflow import mlflow_source  # pandas

    _import(lambda: mlflow_source(source, experiments), **options)


@import_group.command("tensorboard", cls=_Pairs)
@click.argument("source", type=click.Path(path_type=Path))
@_common
def tensorboard_command(source: Path, **options: Any) -> None:
    """SOURCE: an event file, or a folder of them: what lies in one folder is one run."""
    from components.importers.tensorboard import TensorBoardSource  # pandas

    _check_there(source)
    _import(lambda: nullcontext(TensorBoardSource(source)), **options)


@import_group.command("wandb", cls=_Pairs)
@click.argument("source")
@_common
def wandb_command(source: str, **options: Any) -> None:
    """SOURCE: a folder with offline runs (wandb/), or ENTITY/PROJECT on W&B's server."""
    from components.importers.wandb import wandb_source  # pandas

    _import(lambda: nullcontext(wandb_source(source)), **options)


def _check_there(source: Path) -> None:
    """Before the workspace is locked, which leaves files in it.

    Raises:
        click.BadParameter: nothing of that name.
    """
    if not source.exists():
        raise click.BadParameter(f"{cut(str(source))}: no such file or folder", param_hint="SOURCE")


def _import(
    opened: Callable[[], AbstractContextManager[Source]],
    *,
    params: Path,
    overrides: tuple[str, ...],
    task: str | None,
    points: int | None,
    dry_run: bool,
    **asked: Any,
) -> None:
    settings, workspace = read_settings(params, overrides, task, one_run=True)
    from components.importers.importing import check_beside, read_runs, write_runs  # pandas
    from components.importers.report import report

    request = _request(points or settings.training.points, **asked)
    target, state = _target(settings, workspace), workspace.state / "import" / settings.task
    with opened() as source, only_one(workspace):  # what is not there leaves no lock
        result = read_runs(source, request, target, state)
        if dry_run:
            check_beside(result)
        else:
            write_runs(result, state)
    click.echo(report(result))
    click.echo(_next(settings, workspace, result.updates, result.points, dry_run))


def _request(
    points: int,
    *,
    named: tuple[str, ...],
    match: tuple[str, ...],
    group: tuple[str, ...],
    **others: Any,
) -> Request:
    from components.importers.match import pairs
    from components.importers.request import Request

    return Request(
        points,
        tuple(pairs(named, "--map")),
        tuple(pairs(match, "--match")),
        tuple(_names(group)),
        **others,
    )


def _names(texts: Iterable[str]) -> list[str]:
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _target(settings: Settings, workspace: Workspace) -> Target:
    """Where a task's imports go: what there is nothing else of, to its histories; of a task that
    can be run, to what the nightly retraining learns from beside its own runs."""
    from components.importers.request import Target
    from components.runs.tasks import metric_of
    from components.tasks.own import OwnMetric

    task, own, metric = settings.task, settings.own, metric_of(settings, workspace)
    only = own is not None and own.imported
    if metric is None:
        from components.tasks.catalog import TASKS  # torch

        of = TASKS[task]
        metric = OwnMetric(of.metric_name, "maximize", of.in_percent)
    return Target(task, workspace.histories(task) if only else workspace.imported(task), metric)


def _next(
    settings: Settings, workspace: Workspace, updates: int, points: int, dry_run: bool
) -> str:
    """What to do now."""
    training = settings.training
    if dry_run:
        return "next: the same without --dry-run"
    differs = (training.updates, training.points) != (updates, points)
    there = f"training: {{updates: {updates}, points: {points}}}"
    if settings.own is None or not settings.own.imported:
        told = f"set {there} in params.yaml, or they are passed over; then " if differs else ""
        return f"next: {told}`lode retrain` learns from them beside its own runs"
    from components.steps.pipeline import steps_of

    told = f"set {there} in params.yaml, then " if differs else ""
    names = ", ".join(f"`lode {step.name}`" for step in steps_of(settings))
    return f"next: {told}`make demo` (or {names})"
