"""All schedulers of one setting: test metric, sharpness, price, and LODE minus each of them."""

from __future__ import annotations

from pathlib import Path

import click

from components.evaluation.order import ranked
from components.evaluation.result_tables import (
    COST,
    PEAK,
    SCHEDULER,
    SHARPNESS,
    result_table,
    test_column,
)
from components.evaluation.results import Evaluation
from components.evaluation.tables import Table
from components.experiments.command import PARAMS, Command, evaluation_of
from components.experiments.differences import text
from components.schedulers.names import LODE

FIRST = {SCHEDULER: "scheduler", PEAK: "peak lr"}
LAST = {
    SHARPNESS: "λ_max",
    COST: "search (runs)",
}
DIFFERENCE = "LODE minus it"


@click.command(cls=Command)
@click.option(
    "--params",
    type=PARAMS,
    default=Path("params.yaml"),
    show_default=True,
    help="The settings file; its folder is the workspace.",
)
def main(params: Path) -> None:
    """Print all schedulers of one setting, best test mean first.

    Reads reports/<task>/evaluation.json beside PARAMS, which `lode evaluate` leaves. What is
    compared beyond the sweep's schedules says `baselines.schedulers`.

    Prints a Markdown table: test metric (mean ± standard deviation over the fresh seeds), λ_max,
    the runs its configuration was chosen by, and LODE minus it with the paired 95 % interval, bold
    where the t test's p-value, adjusted for the number of rows (Holm), is below 0.05.

    \b
    .venv/bin/python -m components.experiments.schedulers_table --params params.yaml
    """
    click.echo(schedulers_table(evaluation_of(params)).markdown())


def schedulers_table(evaluation: Evaluation) -> Table:
    """A row per scheduler, best test mean first."""
    table, pairs = result_table(evaluation), evaluation.comparisons[LODE]
    metric = evaluation.shown
    shown = {**FIRST, test_column(metric): f"test{metric.column or f' {metric.name}'}", **LAST}
    table = table.select({name: new for name, new in shown.items() if name in table.columns})
    differences = ["" if row == LODE else text(pairs[row], metric) for row in ranked(evaluation)]
    rows = [(*cells, own) for cells, own in zip(table.rows, differences, strict=True)]
    difference = DIFFERENCE + (" (points)" if metric.percent else "")
    return Table.of((*table.columns, difference), rows)


if __name__ == "__main__":
    main()
