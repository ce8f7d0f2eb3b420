"""Sharpness over training of a few configurations: the paper's Figure 5 without a comparison."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from components.evaluation.sharpness_figure import sharpness_over_training
from components.evaluation.sharpness_series import sharpness_series
from components.evaluation.sharpness_table import edge_of_stability, sharpness_table
from components.experiments.command import PARAMS, Command, ExperimentError, opened
from components.runs.comparison import evaluation_template
from components.runs.job import RunAll
from components.runs.plan import job_of
from components.runs.pool import run_all as on_this_machine
from components.schedulers.names import TUNED_BY_PEAK, label
from components.settings import Settings
from components.storage.shown import shown
from components.storage.workspace import Workspace
from components.training.history import History


@click.command(cls=Command)
@click.argument("configurations", nargs=-1, required=True, metavar="SCHEDULER=PEAK_LR...")
@click.option("--params", type=PARAMS, default=Path("params.yaml"), show_default=True)
@click.option("--out", type=PARAMS, default=Path("edge-of-stability.svg"), show_default=True)
def main(configurations: tuple[str, ...], params: Path, out: Path) -> None:
    """Train every configuration with each of evaluation.seeds and draw its sharpness over training.

    Runs that are in data/scheduled/<task> are not repeated. Writes an SVG; prints whether the runs
    sat at the edge of stability, and a table in Markdown.

    \b
    .venv/bin/python -m components.experiments.edge_of_stability onecycle=0.05 cosine=0.01
    """
    settings, workspace = opened(params)
    rows = measured(settings, workspace, configurations, on_this_machine)
    series = {row: found for row, runs in rows.items() if (found := sharpness_series(runs))}
    sharpness_over_training(rows, {row: label(row) for row in rows}, out)
    for sentence in edge_of_stability(series, settings.training.points):
        click.echo(f"{sentence}\n")
    click.echo(sharpness_table(series, settings.training.points).markdown())


def measured(
    settings: Settings,
    workspace: Workspace,
    configurations: tuple[str, ...],
    run_all: RunAll,
) -> dict[str, list[History]]:
    """The runs of each scheduler, by its name.

    Raises:
        ExperimentError: nothing is measured on the way, or a configuration that is none.
    """
    if settings.evaluation.sharpness_every is None or settings.evaluation.sharpness == "none":
        raise ExperimentError("nothing is measured over training; set evaluation.sharpness_every")
    made = evaluation_template(settings, workspace)
    jobs = {
        name: [
            job_of(made, settings, workspace, name, peak, seed)
            for seed in settings.evaluation.seeds
        ]
        for name, peak in map(_configuration, configurations)
    }
    every = [job for of_row in jobs.values() for job in of_row]
    histories = iter(run_all(every, workers=settings.sweep.workers))
    return {name: [next(histories) for _ in of_row] for name, of_row in jobs.items()}


def _configuration(text: str) -> tuple[str, float]:
    name, _, peak = text.partition("=")
    if name in TUNED_BY_PEAK:
        with suppress(ValueError):
            return name, float(peak)
    raise ExperimentError(
        f"{shown(text)} is no SCHEDULER=PEAK_LR, such as cosine=0.01; schedulers with a peak: "
        f"{', '.join(TUNED_BY_PEAK)}"
    )


if __name__ == "__main__":
    main()
