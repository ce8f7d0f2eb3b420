"""Regret of ways to choose a schedule, after so many runs paid, replayed on pools of runs.

    .venv/bin/python -m components.experiments.replay M500/params.yaml F600/params.yaml …

For each pool (`components.experiments.pool` builds it) every strategy plays so many games; in each
the runs of a schedule come in another order. Regret is the test metric, on twenty seeds of its own,
of the best schedule known, less that of the schedule that the strategy would take by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path

import click
import numpy as np

from components.evaluation.tables import Table
from components.experiments.command import PARAMS, Command, opened
from components.experiments.curves import Curve, table
from components.experiments.game import play, regret
from components.experiments.on_judge import process_on_judge
from components.experiments.on_law import ON_LAW
from components.experiments.pool import Pool, read
from components.experiments.replay_figure import draw
from components.experiments.strategies import STRATEGIES
from components.runs.processes import processes
from components.storage.files import atomic_path

DIED = "a worker process was killed (out of memory?); start again, with fewer --workers"
PLAYERS = STRATEGIES | ON_LAW | {"process-on-judge": process_on_judge}
# A game of these takes a minute or more of a core, that of another seconds.
FEWER = {"law": 2, "judge": 4, "judge-on-law": 4, "process-on-judge": 4}


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
@click.option("--only", multiple=True, type=click.Choice(list(PLAYERS)), help="May be repeated.")
@click.option(
    "--games", default=20, show_default=True, help="Replays; of slow ones 2 or 4 at most."
)
@click.option("--budget", default=50, show_default=True, help="Runs that each may pay.")
@click.option("--workers", default=2, show_default=True, help="Processes.")
@click.option("--figure", type=PARAMS, help="Write an SVG of the regrets, a panel a pool.")
@click.option("--table", "csv", type=PARAMS, help="Write the table of all pools as CSV.")
def main(
    params: tuple[Path, ...],
    only: tuple[str, ...],
    games: int,
    budget: int,
    workers: int,
    figure: Path | None,
    csv: Path | None,
) -> None:
    """Print each strategy's mean regret, in units of the metric."""
    panels: dict[str, list[Curve]] = {}
    tables: dict[str, Table] = {}
    with processes(workers, DIED) as executor:
        for path in params:
            pool, name = _pool(path), str(path.parent)
            panels[name] = replay(path, only or tuple(PLAYERS), games, budget, executor)
            tables[name] = table(panels[name], budget)
            print(f"{name}: best {pool.best:.4f}, the grid's choice {pool.baseline:.4f}")
            print(tables[name].text())
    if figure is not None:
        draw(panels, "units of the metric", figure)
    if csv is not None:
        write_table(tables, csv)


def write_table(tables: dict[str, Table], path: Path) -> None:
    """Tables of one head as one, the first column saying of which pool a row is."""
    rows = [(name, *row) for name, one in tables.items() for row in one.rows]
    head = next(iter(tables.values())).columns
    with atomic_path(path) as temporary:
        temporary.write_text(Table.of(("pool", *head), rows).csv(), encoding="utf-8")


def replay(
    path: Path, strategies: Sequence[str], games: int, budget: int, executor: Executor
) -> list[Curve]:
    """Every strategy's games on one pool."""
    futures = {
        name: [executor.submit(one_game, path, name, budget, seed) for seed in seeds(name, games)]
        for name in strategies
    }
    return [
        Curve(name, np.array([one.result() for one in played])) for name, played in futures.items()
    ]


def seeds(strategy: str, games: int) -> range:
    """Of a strategy's games."""
    return range(min(games, FEWER.get(strategy, games)))


def one_game(path: Path, strategy: str, budget: int, seed: int) -> np.ndarray:
    """Regrets (budget,) of one game."""
    pool = _pool(path)
    return regret(pool, play(PLAYERS[strategy], pool, budget, seed), np.arange(1.0, budget + 1))


@lru_cache(maxsize=1)  # a pool is read once in every process
def _pool(path: Path) -> Pool:
    return read(*opened(path))


if __name__ == "__main__":
    main()
