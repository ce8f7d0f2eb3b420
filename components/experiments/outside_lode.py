"""Table A1 on public runs of a language model: a LODE shown the beginning of runs it was not fitted
on.

    .venv/bin/python -m components.experiments.outside_lode ../shared/data/llama-schedules

Thirds of the schedules' shapes are held out in turn, with all their peaks. Beside the LODE stands
the nearest fitted run: the one whose seen part of the metric is nearest in mean square.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from components.evaluation.tables import Table
from components.experiments.command import Command
from components.experiments.llama_schedules import HORIZONS, POINTS, pool
from components.experiments.outside_splits import FOLDER, FOLDS
from components.experiments.yardsticks import series_of
from components.lode import table_a1
from components.lode.channels import METRIC
from components.lode.fit import fit
from components.lode.settings import ControllerSettings, FitSettings, window_points
from components.training.history import History

# Of the variance of a run's loss two thirds are its first five points; what counts is the rest.
LATE = 0.2


@click.command(cls=Command)
@click.argument("folder", type=FOLDER)
@click.option("--horizon", type=click.Choice([str(one) for one in HORIZONS]), default="25000")
def main(folder: Path, horizon: str) -> None:
    """Print relative errors of the metric, 5 % and 50 % of a run seen, and on the last four fifths.

    FOLDER has runs.csv and points.csv.gz of llama-schedules.
    """
    runs = [own[0] for own in pool(folder, int(horizon)).runs]
    shapes = sorted({str(run.meta["scheduler"]) for run in runs})
    found = []
    for fold in range(FOLDS):
        away = shapes[fold::FOLDS]
        fitted = [run for run in runs if run.meta["scheduler"] not in away]
        found.append(errors(fitted, [run for run in runs if run.meta["scheduler"] in away]))
    click.echo(_table(np.concatenate(found)).markdown())


def errors(fitted: list[History], asked: list[History]) -> np.ndarray:
    """(R, shares, 4) of the asked runs: the LODE's whole and late, the nearest run's likewise,
    relative to the metric's variance over the asked runs, whole and late."""
    with TemporaryDirectory() as folder:
        window = window_points(ControllerSettings().mu, POINTS)
        lode = fit(fitted, folder=Path(folder), mu=window, settings=FitSettings()).lode
    known, series = series_of(fitted), series_of(asked)
    times, found = np.arange(1, POINTS + 1) / POINTS, []
    for share in table_a1.OBSERVED:
        seen = window_points(share, POINTS)
        by_lode = lode.predict(times[:seen], series[:, :seen], times)[..., METRIC]
        by_run = nearest(known[..., METRIC], series[..., METRIC], seen)
        parts = [relative(one, series[..., METRIC]) for one in (by_lode, by_run)]
        found.append(np.concatenate(parts, -1))
    return np.stack(found, 1)


def nearest(known: np.ndarray, metrics: np.ndarray, seen: int) -> np.ndarray:
    """(R, T): of the known metrics (K, T) the one nearest to each of `metrics` where it is seen."""
    off = ((metrics[:, None, :seen] - known[None, :, :seen]) ** 2).mean(-1)
    found: np.ndarray = known[off.argmin(1)]
    return found


def relative(foretold: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(R, 2) mean square errors over the variance, over whole runs and after `LATE`."""
    late = slice(round(LATE * true.shape[1]), None)
    return np.stack(
        [
            ((foretold - true)[:, part] ** 2).mean(1) / true[:, part].var()
            for part in (slice(None), late)
        ],
        -1,
    )


def _table(found: np.ndarray) -> Table:
    """A row for each share seen, mean ± standard error over the runs."""
    mean, scatter = found.mean(0), found.std(0) / len(found) ** 0.5
    rows = [
        (f"{share:.0%}", *(f"{a:.3f} ± {b:.3f}" for a, b in zip(mean[i], scatter[i], strict=True)))
        for i, share in enumerate(table_a1.OBSERVED)
    ]
    head = ("share seen", "LODE", "LODE, late", "nearest fitted run", "nearest, late")
    return Table.of(head, rows)


if __name__ == "__main__":
    main()
