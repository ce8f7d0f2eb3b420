"""What a race would have chosen, replayed on finished grids, each seed being its first once.

.venv/bin/python -m components.experiments.raced M500/params.yaml F600/params.yaml …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from components.evaluation.metric import Metric
from components.evaluation.notation import NONE, configuration
from components.evaluation.ranking import Configuration, best_configuration
from components.evaluation.tables import Table
from components.experiments.command import PARAMS, Command, ExperimentError, opened
from components.runs.sweep_histories import sweep_histories
from components.settings import Settings
from components.sweep.racing import survivors
from components.training.history import History


@dataclass(frozen=True)
class Raced:
    """One replay: what the race and the grid chose, (scheduler, peak lr); the runs of the race; and
    what its choice is behind the grid's in validation, over all seeds."""

    first: int
    chosen: tuple[str, float | None]
    grid: tuple[str, float | None]
    runs: int
    behind: float


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
def main(params: tuple[Path, ...]) -> None:
    """Print how often a race chooses what the whole grid does, and what it loses where it differs.

    Reads the validated sweeps beside PARAMS (`sweep.sampler: grid`); trains nothing.

    \b
    .venv/bin/python -m components.experiments.raced M500/params.yaml F600/params.yaml
    """
    rows = []
    for path in params:
        settings, workspace = opened(path)
        sweep = sweep_histories(settings.task, workspace)
        found, metric = replay(settings, sweep), Metric.of(sweep)
        same = sum(one.chosen == one.grid for one in found)
        lost = max(one.behind for one in found)
        worst = metric.difference(-lost) if lost else NONE
        name = configuration(*found[0].grid)
        price = f"{found[0].runs} of {len(sweep)}"
        rows.append((str(path.parent), name, price, f"{same} of {len(found)}", worst))
    columns = ("sweep", "the grid's choice", "runs", "the race's is the same", "at worst")
    click.echo(Table.of(columns, rows).markdown())


def replay(settings: Settings, sweep: Sequence[History]) -> list[Raced]:
    """A race beginning with each seed of a whole grid.

    Raises:
        ExperimentError: the sweep is no whole grid of two seeds and more.
    """
    grid = [(s, p) for s in settings.sweep.schedulers for p in settings.sweep.peak_lrs]
    runs = {(*run.configuration, run.meta["seed"]): run for run in sweep}
    seeds = settings.sweep.seeds
    if len(seeds) < 2 or any((*one, seed) not in runs for one in grid for seed in seeds):
        raise ExperimentError(f"{settings.task}: it takes a whole grid of two seeds and more")
    best = best_configuration(sweep)
    found = []
    for first in seeds:
        left = survivors(grid, [runs[*one, first] for one in grid], settings.sweep.survivors)
        others = [runs[*one, seed] for one in left for seed in seeds if seed != first]
        raced = [runs[*one, first] for one in grid] + others
        chosen = best_configuration(raced)
        whole = best_configuration([r for r in sweep if r.configuration == _named(chosen)])
        behind = (best.validation.mean or 0.0) - (whole.validation.mean or 0.0)
        found.append(Raced(first, _named(chosen), _named(best), len(raced), behind))
    return found


def _named(one: Configuration) -> tuple[str, float | None]:
    return one.scheduler, one.peak_lr


if __name__ == "__main__":
    main()
