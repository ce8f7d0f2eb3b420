"""Regret of ways to choose a schedule, after so many runs paid, replayed on pools of runs.

    .venv/bin/python -m components.experiments.replay M500/params.yaml F600/params.yaml …

For each pool (`components.experiments.pool` builds it) every strategy plays so many games; in each
the runs of a schedule come in another order. Regret is the test metric, on twenty seeds of its own,
of the best schedule known, less that of the schedule that the strategy would take by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import click
import numpy as np

from components.evaluation.tables import Table
from components.experiments.command import PARAMS, Command, opened
from components.experiments.game import play, regret
from components.experiments.pool import Pool, read
from components.experiments.strategies import STRATEGIES
from components.runs.processes import processes

DIED = "a worker process was killed (out of memory?); start again, with fewer --workers"
LOOKS = (7, 14, 25, 50, 100)  # run-equivalents at which the table looks


@dataclass(frozen=True)
class Curve:
    """Regret (games, budget) of a strategy after 1, 2, … run-equivalents."""

    strategy: str
    regrets: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        found: np.ndarray = np.nanmean(self.regrets, 0)
        return found

    @property
    def error(self) -> np.ndarray:
        """Standard error over the games, which share one pool."""
        found: np.ndarray = np.nanstd(self.regrets, 0, ddof=1) / np.sqrt(len(self.regrets))
        return found


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
@click.option("--only", multiple=True, type=click.Choice(list(STRATEGIES)), help="May be repeated.")
@click.option("--games", default=20, show_default=True, help="Replays of each strategy.")
@click.option("--budget", default=50, show_default=True, help="Runs that each may pay.")
@click.option("--workers", default=2, show_default=True, help="Processes.")
def main(
    params: tuple[Path, ...], only: tuple[str, ...], games: int, budget: int, workers: int
) -> None:
    """Print each strategy's mean regret, in units of the metric."""
    with processes(workers, DIED) as executor:
        for path in params:
            pool = _pool(path)
            curves = replay(path, only or tuple(STRATEGIES), games, budget, executor)
            print(f"{path.parent}: best {pool.best:.4f}, the grid's choice {pool.baseline:.4f}")
            print(table(curves, budget).text())


def replay(
    path: Path, strategies: Sequence[str], games: int, budget: int, executor: Executor
) -> list[Curve]:
    """Every strategy's games on one pool."""
    futures = {
        name: [executor.submit(one_game, path, name, budget, seed) for seed in range(games)]
        for name in strategies
    }
    return [
        Curve(name, np.array([one.result() for one in played])) for name, played in futures.items()
    ]


def one_game(path: Path, strategy: str, budget: int, seed: int) -> np.ndarray:
    """Regrets (budget,) of one game."""
    pool = _pool(path)
    return regret(pool, play(STRATEGIES[strategy], pool, budget, seed), np.arange(1.0, budget + 1))


@lru_cache(maxsize=1)  # a pool is read once in every process
def _pool(path: Path) -> Pool:
    return read(*opened(path))


def table(curves: Sequence[Curve], budget: int) -> Table:
    """Mean ± standard error at `LOOKS`."""
    looks = [at for at in LOOKS if at <= budget]
    rows = [
        [
            curve.strategy,
            *(f"{curve.mean[at - 1]:.4f} ± {curve.error[at - 1]:.4f}" for at in looks),
        ]
        for curve in curves
    ]
    return Table.of(("strategy", *(f"{at} runs" for at in looks)), rows)


if __name__ == "__main__":
    main()
