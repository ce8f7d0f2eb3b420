"""Runs that differ, as they do in practice: does a LODE that sees a run beat its own plan?

Each seed draws the scale of its initial weights, so the best schedule may differ from run to run,
and the first points of a run say which kind it is. A folder for it, with such a `params.yaml`:

    task: varied-starts
    tasks: {varied-starts: {python: "components.experiments.varied_starts:TASK"}}
    training: {updates: 300, points: 100}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from components.evaluation.metric import Metric
from components.evaluation.notation import configuration
from components.evaluation.ranking import best_configuration
from components.evaluation.statistics import paired_difference, summarize
from components.evaluation.tables import Table
from components.experiments.command import PARAMS, Command, opened
from components.experiments.differences import text
from components.lode.settings import DEFAULT, PAPER
from components.runs.job import Job, RunAll
from components.runs.plan import job_of, template
from components.runs.pool import run_all as on_this_machine
from components.runs.scheduled import controller_settings, scheduled_job
from components.runs.sweep_histories import sweep_histories
from components.settings import Settings
from components.storage.workspace import Workspace
from components.tasks import digits
from components.tasks.models.mlp import digits_mlp
from components.tasks.task import Task, adamw
from components.training.history import History

FACTOR = 2.0  # the scale is log-uniform between 1 / FACTOR and FACTOR
NEVER = 1e12  # a caution that no gain is above: the plan that a run begins with is never left
PLAN = "LODE, its plan never left"
CONTROLLERS: dict[str, dict[str, Any]] = {
    "LODE, default": {"controller": DEFAULT},
    "LODE, κ = 0": {"controller": DEFAULT, "caution": 0.0},
    "LODE, paper": {"controller": PAPER},
    PLAN: {"controller": DEFAULT, "caution": NEVER},
}


def network() -> nn.Module:
    """`digits_mlp` with all weights and biases times one factor, drawn from torch's generator."""
    made = digits_mlp()
    scale = FACTOR ** (2 * torch.rand(()) - 1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


TASK = Task(
    name="varied-starts",
    title="Digits, MLP, weights that begin at another scale in every run",
    network=network,
    load=digits.load,
    optimizer=partial(adamw, weight_decay=1e-2),
    batch_size=64,
    loss=nn.CrossEntropyLoss(),
)


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
def main(params: tuple[Path, ...]) -> None:
    """Print the test metric under the LODE's controllers, and under its plan if never left.

    Reads the sweep and the LODE beside PARAMS, which `lode sweep`, `validate`, `pilot` and `fit`
    leave. Trains on evaluation.seeds; runs in data/scheduled are not repeated.

    Prints a Markdown table for each PARAMS: mean ± standard deviation, the paired difference to
    the plan that is never left with its 95 % interval, and how many decisions changed the plan.

    \b
    .venv/bin/python -m components.experiments.varied_starts varied/params.yaml
    """
    for path in params:
        settings, workspace = opened(path)
        found = runs_of(settings, workspace, on_this_machine)
        click.echo(f"{path.parent}\n\n{table_of(found).markdown()}\n")


def runs_of(settings: Settings, workspace: Workspace, run_all: RunAll) -> dict[str, list[History]]:
    """By row, the runs on every fresh seed; those that are not there yet are trained."""
    made = template(settings, workspace, workspace.scheduled(settings.task))
    best = best_configuration(sweep_histories(settings.task, workspace))
    folder, chosen = workspace.lode(settings.task), controller_settings(settings)
    seeds = settings.evaluation.seeds
    jobs: dict[str, list[Job]] = {
        row: [scheduled_job(made, folder, chosen | changes, seed) for seed in seeds]
        for row, changes in CONTROLLERS.items()
    }
    jobs[configuration(best.scheduler, best.peak_lr)] = [
        job_of(made, settings, workspace, best.scheduler, best.peak_lr, seed) for seed in seeds
    ]
    every = iter(
        run_all([job for own in jobs.values() for job in own], workers=settings.sweep.workers)
    )
    return {row: [next(every) for _ in own] for row, own in jobs.items()}


def table_of(found: Mapping[str, Sequence[History]]) -> Table:
    """A row per controller, and the sweep's best."""
    metric = Metric.of(found[PLAN])
    plan, rows = _tests(found[PLAN]), []
    for row, runs in found.items():
        own = _tests(runs)
        minus = "" if row == PLAN else text(paired_difference(own, plan), metric)
        rows.append([row, metric.spread(summarize(own.values())), minus, _left(runs)])
    return Table.of(("", f"test{metric.column}", f"minus the plan{metric.points}", "left"), rows)


def _tests(runs: Sequence[History]) -> dict[int, float | None]:
    return {int(run.meta["seed"]): run.meta["test_metric"] for run in runs}


def _left(runs: Sequence[History]) -> str:
    """`12 of 760 decisions, in 9 runs`."""
    made = [run.meta["decisions"] or [] for run in runs]
    left = Counter(i for i, own in enumerate(made) for decision in own if decision["kept"] is None)
    every = sum(map(len, made))
    return f"{left.total()} of {every} decisions, in {len(left)} runs" if every else ""


if __name__ == "__main__":
    main()
