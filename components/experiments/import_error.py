"""How well an import tells what happened: runs of ours, logged more or less often, and resampled.

    python -m components.experiments.import_error --task mnist1d-cnn

Every run is trained once and every update recorded; its own history has the truth at the log
points. Then it is logged as scripts do, at every so many updates, and comes back through
`components.training.resampled`. The errors are root mean squares over log points and runs, as
shares of the spread (standard deviation) that the column has among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd
from torch import Tensor

from components.experiments.command import Command
from components.schedulers.names import PAPER_SCHEDULERS
from components.schedulers.parametric import Parametric
from components.tasks.catalog import TASKS
from components.training.loop import train
from components.training.resampled import resampled
from components.training.run import SERIES

PEAKS = (0.01, 0.05)
# Updates between two rows with loss and rate, and between two evaluations; 0: at every log point.
LOGGED = ((1, 0), (5, 25), (10, 50), (50, 50), (50, 100))


@dataclass(frozen=True)
class Recorded:
    """A run: what it logged at every update, and its log points (with columns of `SERIES`)."""

    every: pd.DataFrame
    points: pd.DataFrame


class _Recording(Parametric):
    """A parametric schedule that keeps what happens at every update."""

    def __init__(self, name: str, *, peak_lr: float, updates: int) -> None:
        super().__init__(name, peak_lr=peak_lr, updates=updates)
        self.rates: list[float] = []
        self.losses: list[Tensor] = []

    def lr(self, step: int) -> float:
        self.rates.append(super().lr(step))
        return self.rates[-1]

    def updated(self, step: int, loss: Tensor) -> None:
        self.losses.append(loss)


def recorded(
    task: str, folder: Path, scheduler: str, peak: float, *, updates: int, points: int
) -> Recorded:
    """Train once, seed 0, on the CPU."""
    of = TASKS[task]
    schedule = _Recording(scheduler, peak_lr=peak, updates=updates)
    data = of.load(folder)
    outcome = train(of, data, schedule, seed=0, updates=updates, points=points)
    steps = range(1, len(schedule.rates) + 1)
    losses = [float(loss) for loss in schedule.losses]
    every = pd.DataFrame({"step": steps, "train_loss": losses, "lr": schedule.rates})
    rows = pd.DataFrame(outcome.rows)
    return Recorded(every.merge(rows[["step", "val_metric"]], how="left"), rows)


def thinned(run: Recorded, each: int, evaluated: int) -> pd.DataFrame:
    """What a script would have logged: loss and rate at every `each`-th update, the metric at every
    `evaluated`-th, and both at the last; the loss is that of its one update."""
    log, last = run.every.copy(), run.every["step"] == len(run.every)
    log.loc[(log["step"] % each != 0) & ~last, ["train_loss", "lr"]] = np.nan
    if evaluated:
        log.loc[(log["step"] % evaluated != 0) & ~last, "val_metric"] = np.nan
    return log


def errors(runs: list[Recorded], each: int, evaluated: int) -> dict[str, float]:
    """By column, as the head of this file says."""
    updates, points = len(runs[0].every), len(runs[0].points)
    found = {name: np.empty((len(runs), points)) for name in SERIES}
    true = {name: np.stack([run.points[name].to_numpy() for run in runs]) for name in SERIES}
    for row, run in enumerate(runs):
        back = resampled(thinned(run, each, evaluated), updates=updates, points=points)
        for name in SERIES:
            found[name][row] = back[name]
    return {
        name: float(np.sqrt(np.mean((found[name] - true[name]) ** 2)) / np.std(true[name]))
        for name in SERIES
    }


@click.command(cls=Command)
@click.option("--task", type=click.Choice(list(TASKS)), default="mnist1d-cnn", show_default=True)
@click.option("--updates", type=click.IntRange(100), default=500, show_default=True)
@click.option("--points", type=click.IntRange(10), default=100, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path("data/datasets"))
def main(task: str, updates: int, points: int, data: Path) -> None:
    """Print the errors of an import by how often a run was logged."""
    runs = [
        recorded(task, data, name, peak, updates=updates, points=points)
        for name in PAPER_SCHEDULERS
        for peak in PEAKS
    ]
    click.echo(f"{task}: {len(runs)} runs, N = {updates}, T = {points}; rms error / spread\n")
    click.echo("| loss and rate every | metric every | " + " | ".join(SERIES) + " |")
    click.echo("|---|---|" + "---|" * len(SERIES))
    for each, evaluated in LOGGED:
        shares = errors(runs, each, evaluated)
        values = " | ".join(f"{100 * shares[name]:.2g} %" for name in SERIES)
        often = f"{evaluated} updates" if evaluated else "log point"
        click.echo(f"| {each} updates | {often} | {values} |")


if __name__ == "__main__":
    main()
