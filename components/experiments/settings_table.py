"""Several settings side by side: test metric and λ_max of every row, and what the search cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click

from components.evaluation.metric import Metric
from components.evaluation.notation import NONE
from components.evaluation.results import Evaluation, SchedulerEntry
from components.evaluation.tables import Table
from components.evaluation.walltime import total_seconds
from components.experiments.command import (
    PARAMS,
    Command,
    ExperimentError,
    by_folder,
    evaluation_of,
    opened,
)
from components.lode.settings import PAPER
from components.runs.comparison import finer_jobs
from components.runs.sweep_histories import sweep_histories
from components.schedulers.names import FINER_SEARCH, LODE, ROWS, label
from components.steps.evaluate import read_histories_of

SEEDS, DEFAULT_ROW, PAPER_ROW = "fresh seeds", "LODE, default", "LODE, paper"
SWEEP_COST = "runs of search, their seconds: the sweep"
LODE_COST, FINER_COST = "LODE (sweep and pilots)", "finer search (with the sweep)"
SCHEDULERS = tuple(row.name for row in ROWS if row.name not in (LODE, FINER_SEARCH))
ORDER = (
    SEEDS,
    DEFAULT_ROW,
    PAPER_ROW,
    *map(label, (FINER_SEARCH, *SCHEDULERS)),
    SWEEP_COST,
    LODE_COST,
    FINER_COST,
)


@dataclass(frozen=True)
class Setting:
    """One column: its evaluation, the training seconds of its finer search (None: there was none),
    and the evaluation of the paper's controller on the same sweep and seeds, where there is one."""

    evaluation: Evaluation
    finer_seconds: float | None = None
    paper: Evaluation | None = None


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
def main(params: tuple[Path, ...]) -> None:
    """Print several settings side by side, a column each.

    Reads reports/<task>/evaluation.json beside every PARAMS, which `lode evaluate` leaves, and the
    histories of its finer search, if it has one. A folder with `lode.controller: paper` is no
    column: it is the row "LODE, paper" of the folder with the same sweep and fresh seeds.

    Prints a Markdown table: test metric (a share in per cent), mean ± standard deviation over the
    fresh seeds, with λ_max in brackets; then runs of search and their training seconds.

    \b
    .venv/bin/python -m components.experiments.settings_table M500/params.yaml PAPER/params.yaml
    """
    table = settings_table(with_paper(by_folder(params, read_setting)))
    click.echo(table.markdown())


def read_setting(params: Path) -> Setting:
    """One folder's.

    Raises:
        ExperimentError, WorkspaceError: as of `evaluation_of`, or runs of its finer search are
            missing.
    """
    evaluation, (settings, workspace) = evaluation_of(params), opened(params)
    if FINER_SEARCH not in evaluation.schedulers:
        return Setting(evaluation)
    jobs = finer_jobs(settings, workspace, sweep_histories(settings.task, workspace))
    finer = read_histories_of(jobs, f"lode baselines --params {params}")
    return Setting(evaluation, total_seconds(finer))


def with_paper(found: Mapping[str, Setting]) -> dict[str, Setting]:
    """The settings of the default controller, each with the paper's on its sweep and seeds.

    Raises:
        ExperimentError: one of the paper's controller is on no other's sweep and seeds.
    """
    paper = {_runs(one): one.evaluation for one in found.values() if _is_paper(one)}
    columns = {folder: one for folder, one in found.items() if not _is_paper(one)}
    shared = {_runs(one) for one in columns.values()}
    for folder, one in found.items():
        if _runs(one) not in shared:
            raise ExperimentError(
                f"{folder}: lode.controller is paper, and no other folder has its sweep and fresh "
                "seeds; name the one with the default controller too"
            )
    return {folder: replace(one, paper=paper.get(_runs(one))) for folder, one in columns.items()}


def settings_table(settings: Mapping[str, Setting]) -> Table:
    """A column per setting, named as the folder.

    Args:
        settings: by folder.
    """
    names = [Path(folder).resolve().name for folder in settings]
    if len(set(names)) < len(names):
        names = list(settings)
    columns = [_column(one) for one in settings.values()]
    shown = [name for name in ORDER if any(name in one for one in columns)]
    rows = [(name, *(one.get(name, NONE) for one in columns)) for name in shown]
    return Table.of(("", *names), rows)


def _column(setting: Setting) -> dict[str, str]:
    """The cells by row."""
    evaluation, metric = setting.evaluation, setting.evaluation.shown
    cells = {SEEDS: str(len(evaluation.setup.seeds))}
    for row, entry in evaluation.schedulers.items():
        cells[DEFAULT_ROW if row == LODE else label(row)] = _cell(entry, metric)
    if setting.paper:
        cells[PAPER_ROW] = _cell(setting.paper.schedulers[LODE], metric)
    return cells | _costs(setting)


def _cell(entry: SchedulerEntry, metric: Metric) -> str:
    """`93.57 ± 0.64 (5.43)`."""
    sharpness, lost = entry.sharpness.mean, entry.diverged
    shown = metric.spread(entry.test) + ("" if sharpness is None else f" ({sharpness:.3g})")
    return shown + (f", {lost} diverged" if lost else "")


def _costs(setting: Setting) -> dict[str, str]:
    """Runs and training seconds of each search, the sweep counted in all of them."""
    evaluation, sweep = setting.evaluation, setting.evaluation.sweep
    costs = {SWEEP_COST: (sweep.runs, sweep.seconds)}
    if pilots := evaluation.pilots:
        costs[LODE_COST] = sweep.runs + pilots.runs, sweep.seconds + pilots.seconds
    finer = evaluation.schedulers.get(FINER_SEARCH)
    if finer and setting.finer_seconds is not None:
        costs[FINER_COST] = finer.price.search, sweep.seconds + setting.finer_seconds
    return {name: f"{runs}, {seconds:.0f}" for name, (runs, seconds) in costs.items()}


def _is_paper(setting: Setting) -> bool:
    controller = setting.evaluation.lode.controller or {}
    return controller.get("controller") == PAPER


def _runs(setting: Setting) -> tuple[str, str, tuple[int, ...]]:
    """What two controllers must share to stand in one column."""
    of = setting.evaluation
    return of.task, of.provenance.sweep_digest, tuple(of.setup.seeds)


if __name__ == "__main__":
    main()
