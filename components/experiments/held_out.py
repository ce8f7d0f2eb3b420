"""Table A1 on many held-out runs: LODEs fitted on some sweeps, shown the runs of other seeds.

Where a few runs make most of the error, one choice of seeds to test is a draw; in folds every seed
is held out once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from components.evaluation.notation import NONE
from components.evaluation.tables import Table
from components.experiments.command import PARAMS, Command, ExperimentError, opened
from components.experiments.yardsticks import mean_errors, ridge_errors, series_of
from components.lode import table_a1
from components.lode.channels import LOSS, LR, METRIC
from components.lode.fit import fit
from components.lode.model import LODE
from components.lode.settings import window_points
from components.runs.sweep_histories import sweep_histories
from components.settings import Settings
from components.training.history import History

WORST = 50  # one in so many runs: the worst 2 %
COLUMNS = (
    "share seen",
    "points",
    "metric",
    "its median",
    "in the worst 2 %",
    "not seen",
    "mean",
    "ridge",
    "train loss",
    "learning rate (log)",
)
Split = tuple[list[History], list[History]]  # to fit on, to show


@dataclass(frozen=True)
class Part:
    """A LODE, the runs that it was fitted on (not those to stop by), and those to show it."""

    lode: LODE
    fitted: list[History]
    tested: list[History]


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
@click.option("--test", multiple=True, type=PARAMS, help="A sweep to show; may be repeated.")
@click.option("--folds", type=int, help="Hold out every seed once instead, by so many fits.")
@click.option("--seeds", type=int, help="Fit on the sweeps' first so many seeds alone.")
def main(
    params: tuple[Path, ...], test: tuple[Path, ...], folds: int | None, seeds: int | None
) -> None:
    """Print the paper's Table A1 of LODEs that are shown runs of seeds they were not fitted on.

    Reads the sweeps beside PARAMS, of one setting with other seeds, which `lode sweep` and `lode
    validate` leave. The fit is the first PARAMS' own (`lode.fit`, the architecture), on the sweeps
    alone; nothing is written.

    Prints a Markdown table: relative MSE with 5 % and 50 % of every run seen (both neighbours where
    that is no whole point), mean ± standard error over the runs shown. Of the metric also the
    median, the part of the error that the worst 2 % of the runs make, the error over what was not
    seen, and two yardsticks: foretelling each run by the mean of its configuration's fitted runs,
    and by a ridge regression per configuration, out of fold over the runs shown.

    \b
    .venv/bin/python -m components.experiments.held_out A/params.yaml --test B/params.yaml
    .venv/bin/python -m components.experiments.held_out A/params.yaml B/params.yaml --folds 5
    """
    if bool(test) == (folds is not None):
        raise click.UsageError("either --test or --folds says which runs to show")
    runs = runs_of(params)
    known = sorted({run.meta["seed"] for run in runs})[:seeds]
    runs = apart(runs, known)[1]
    splits = [to_show(runs, runs_of(test))] if folds is None else in_folds(runs, folds)
    check_alike(splits)
    settings, _ = opened(params[0])
    parts = [fitted_part(settings, *split) for split in splits]
    counts = ", ".join(str(len(part.fitted)) for part in parts)
    tested = sum(len(part.tested) for part in parts)
    click.echo(f"{counts} runs fitted, {tested} held out\n\n{held_out_table(parts).markdown()}")


def runs_of(params: Iterable[Path]) -> list[History]:
    """The completed runs of every sweep.

    Raises:
        WorkspaceError: one is not validated yet. HistoryError: a run is gone.
    """
    found: list[History] = []
    for path in params:
        settings, workspace = opened(path)
        if not workspace.accepted(settings.task).exists():
            raise ExperimentError(
                f"{path.parent}: no validated sweep; run `lode sweep --params {path}`, then "
                f"`lode validate --params {path}`"
            )
        found += sweep_histories(settings.task, workspace)
    return [history for history in found if history.completed]


def apart(runs: Sequence[History], seeds: Iterable[int]) -> Split:
    """The runs of other seeds, and those of these."""
    parts: Split = ([], [])
    wanted = set(seeds)
    for run in runs:
        parts[run.meta["seed"] in wanted].append(run)
    return parts


def to_show(runs: list[History], tested: Sequence[History]) -> Split:
    """The runs, and those of `tested` that are not among them."""
    taken = {run.run_id for run in runs}
    return runs, [run for run in tested if run.run_id not in taken]


def in_folds(runs: Sequence[History], folds: int) -> list[Split]:
    """Every seed held out once."""
    seeds = sorted({run.meta["seed"] for run in runs})
    if not 2 <= folds <= len(seeds):
        raise ExperimentError(f"--folds {folds}: must lie between 2 and the {len(seeds)} seeds")
    return [apart(runs, seeds[k::folds]) for k in range(folds)]


def check_alike(splits: Sequence[Split]) -> None:
    """Raises ExperimentError where runs differ in more than their seeds."""
    for fitted, tested in splits:
        for name in ("task", "updates", "points"):
            values = sorted({str(run.meta[name]) for run in (*fitted, *tested)})
            if len(values) > 1:
                raise ExperimentError(
                    f"the sweeps differ in {name} ({', '.join(values)}); name those of one setting"
                )
        known, shown = ({run.configuration for run in some} for some in (fitted, tested))
        if known != shown:
            raise ExperimentError(
                f"{len(fitted)} runs to fit and {len(tested)} to show are not of the same "
                "configurations; name sweeps of one grid, with seeds of their own to show"
            )


def fitted_part(settings: Settings, fitted: list[History], tested: list[History]) -> Part:
    """Fit a LODE on the sweeps' runs alone, and say how long it took."""
    config = settings.lode.fit
    with TemporaryDirectory() as folder:
        found = fit(
            fitted,
            folder=Path(folder),
            mu=window_points(settings.lode.scheduler.mu, int(fitted[0].meta["points"])),
            settings=config,
            architecture=settings.lode.architecture,
        )
    click.echo(f"fit of {config.updates} updates in {found.seconds:.0f} s")
    seeds = sorted({run.meta["seed"] for run in fitted})
    return Part(found.lode, apart(fitted, seeds[len(seeds) - config.held_out_seeds :])[0], tested)


def held_out_table(parts: Sequence[Part]) -> Table:
    """A row per window, over the shown runs of all parts."""
    tested = [run for part in parts for run in part.tested]
    variance = series_of(tested)[..., METRIC].var()
    by_mean = np.concatenate([mean_errors(part.fitted, part.tested) for part in parts]) / variance
    points, rows = int(tested[0].meta["points"]), []
    for share, seen in windows(points):
        error, unseen = errors_of(parts, seen)
        by_ridge = ridge_errors(tested, seen) / variance
        rows.append(
            (f"{share:.0%}", f"{seen} of {points}", *cells(error, unseen, by_mean, by_ridge))
        )
    return Table.of(COLUMNS, rows)


def windows(points: int) -> list[tuple[float, int]]:
    """The shares of Table A1 and points seen: two rows where a share falls between two points."""
    found = [
        (share, max(2, seen))
        for share in table_a1.OBSERVED
        for seen in (math.floor(share * points), math.ceil(share * points - 1e-9))
    ]
    return list(dict.fromkeys(found))


def errors_of(parts: Sequence[Part], seen: int) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of every shown run by its part's LODE, its first `seen` points shown.

    Relative to the variance over all parts' runs.

    Returns:
        (R, 3) of the channels over the whole run, (R,) of the metric over what was not seen.
    """
    number = np.repeat(np.arange(len(parts)), [len(part.tested) for part in parts])
    series = series_of([run for part in parts for run in part.tested])
    points, variance = series.shape[1], series[..., METRIC].var()
    times = np.arange(1, points + 1) / points
    error, unseen = np.zeros((len(series), 3)), np.zeros(len(series))
    for k, part in enumerate(parts):
        mine = number == k
        error[mine] = table_a1.relative_errors(part.lode, series, seen / points)[mine]
        foretold = part.lode.predict(times[:seen], series[mine, :seen], times)[..., METRIC]
        off = (foretold - series[mine][..., METRIC]) ** 2 / variance
        unseen[mine] = off[:, seen:].mean(1)
    return error, unseen


def cells(
    error: np.ndarray, unseen: np.ndarray, by_mean: np.ndarray, by_ridge: np.ndarray
) -> list[str]:
    """One row's, after its window; all of them errors by run, (R, 3) and (R,)."""
    mean, scatter = error.mean(0), error.std(0) / len(error) ** 0.5
    shown = [f"{a:.3f} ± {b:.3f}" for a, b in zip(mean, scatter, strict=True)]
    metric = error[:, METRIC]
    worst = np.sort(metric)[-max(1, round(len(metric) / WORST)) :].sum() / metric.sum()
    return [
        shown[METRIC],
        f"{np.median(metric):.3f}",
        f"{worst:.0%}",
        *(
            f"{one:.3f}" if math.isfinite(one) else NONE
            for one in (part.mean() for part in (unseen, by_mean, by_ridge))
        ),
        shown[LOSS],
        shown[LR],
    ]


if __name__ == "__main__":
    main()
