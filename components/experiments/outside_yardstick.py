"""Regret of ways to choose a schedule on public runs of a 124M-parameter language model.

    .venv/bin/python -m components.experiments.outside_yardstick ../shared/data/llama-schedules

The runs are those of `llama_schedules`, one seed each; a strategy pays for them one after another.
Regret is the final validation loss of what it would take by then, less the least there is, in
nats. Two runs of one configuration differ by .0012 nats.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from components.evaluation.tables import Table
from components.experiments.command import Command
from components.experiments.curves import Curve, table
from components.experiments.game import play, regret
from components.experiments.llama_schedules import HORIZONS, pool
from components.experiments.replay import PLAYERS, seeds, write_table
from components.experiments.replay_figure import draw

LOOKS = (4, 7, 14, 20, 30)
# No grid among them, and none to prune: schedules whose runs are all good from the beginning.
OWN = (
    "random",
    "tpe",
    "gaussian-process",
    "law",
    "peak-law",
    "process-on-law",
    "judge",
    "judge-on-law",
)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Command)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", multiple=True, type=click.Choice(OWN), help="May be repeated.")
@click.option(
    "--games", default=20, show_default=True, help="Replays; of slow ones 2 or 4 at most."
)
@click.option("--figure", type=FILE, help="Write an SVG of the regrets, a panel a horizon.")
@click.option("--table", "csv", type=FILE, help="Write the tables as one CSV.")
def main(
    folder: Path, only: tuple[str, ...], games: int, figure: Path | None, csv: Path | None
) -> None:
    """Print each strategy's mean regret in nats at 4, 7, 14, 20 and 30 runs paid.

    FOLDER has runs.csv and points.csv.gz of llama-schedules.
    """
    panels: dict[str, list[Curve]] = {}
    tables: dict[str, Table] = {}
    for horizon in HORIZONS:
        title = f"{horizon:,} updates"
        curves = [curve(folder, horizon, name, games) for name in only or OWN]
        panels[title], tables[title] = curves, table(curves, max(LOOKS), LOOKS)
        own = pool(folder, horizon)
        click.echo(
            f"\n{title}: {len(own.plans)} schedules, the best {-own.best:.4f} nats, "
            f"the best cosine {-own.baseline:.4f}\n\n{tables[title].markdown()}"
        )
    if figure is not None:
        draw(panels, "nats", figure)
    if csv is not None:
        write_table(tables, csv)


def curve(folder: Path, horizon: int, strategy: str, games: int) -> Curve:
    """One strategy's games on one horizon, until it has paid 30 runs or all that there are."""
    own = pool(folder, horizon)
    budget = min(max(LOOKS), sum(map(len, own.runs)))
    spent = np.arange(1.0, budget + 1)
    played = [play(PLAYERS[strategy], own, budget, seed) for seed in seeds(strategy, games)]
    return Curve(strategy, np.array([regret(own, choices, spent) for choices in played]))


if __name__ == "__main__":
    main()
