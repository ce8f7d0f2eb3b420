"""Table A1 on many held-out runs: a LODE fitted on some sweeps, shown the runs of others.

    .venv/bin/python docs/research/held_out.py --fit ../a/params.yaml --test ../b/params.yaml …

After `lode sweep` and `lode validate` in each folder: sweeps of one setting, with other seeds. The
fit is the first settings' own (`lode.fit`, default architecture), on the sweeps alone. Prints the
relative MSE of validation metric, train loss and learning rate (log) with 5 % and 50 % of every run
seen (of 50 points, 5 % are neither 2 nor 3: both), mean and standard error over the test runs, the
metric's median, how much of its error is that of the worst 2 % of the runs, its error over the part
that was not seen, and two yardsticks of the metric: the error of predicting every run by
the mean of its configuration's fitted runs, and that of a ridge regression per configuration on
the window (out of fold over the test runs: it learns from other runs than the LODE).
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from components.lode import quality
from components.lode.channels import METRIC, NAMES
from components.lode.fit import FitConfig, fit
from components.lode.model import LODE
from components.settings import load
from components.steps import sweep_run_ids
from components.training.history import History, history_path, read_history
from components.workspace import Workspace


def runs_of(params: list[Path]) -> list[History]:
    found = []
    for path in params:
        settings, workspace = load(path), Workspace(path.resolve().parent)
        folder = workspace.histories(settings.task)
        ids = sweep_run_ids(settings.task, workspace)
        found += [read_history(history_path(folder, run_id)) for run_id in ids]
    return [history for history in found if history.completed]


def series_of(runs: list[History]) -> np.ndarray:
    return np.stack([run.points[list(NAMES)].to_numpy(np.float64) for run in runs])


def ridge(windows: np.ndarray, whole: np.ndarray, folds: int = 10) -> np.ndarray:
    """The metric (R, T) foretold from windows (R, n), each run by a fit on the others."""
    predicted = np.zeros_like(whole)
    for rest, part in KFold(min(folds, len(whole)), shuffle=True, random_state=0).split(whole):
        mean, model = whole[rest].mean(0), RidgeCV(np.logspace(0, 5, 11))
        model.fit(windows[rest], whole[rest] - mean)
        predicted[part] = model.predict(windows[part]) + mean
    return predicted


def yardsticks(fitted: list[History], tested: list[History], seen: int) -> tuple[float, float]:
    """Errors of the configuration's mean, and of a ridge regression on the first `seen` points."""
    mine, theirs = series_of(fitted), series_of(tested)
    rows: dict[tuple[str, float | None], tuple[list[int], list[int]]] = defaultdict(
        lambda: ([], [])
    )
    for which, runs in enumerate((fitted, tested)):
        for i, run in enumerate(runs):
            rows[run.configuration][which].append(i)
    by_mean, by_ridge = np.zeros(len(tested)), np.zeros(len(tested))
    for known, shown in rows.values():
        truth = theirs[shown, :, METRIC]
        by_mean[shown] = ((mine[known, :, METRIC].mean(0) - truth) ** 2).mean(1)
        # Loss and metric as they are and as logs: a window's scale is not known beforehand.
        window = theirs[shown, :seen, :2].reshape(len(shown), -1)
        window = np.concatenate((window, np.log(np.abs(window) + 1e-9)), 1)
        window = (window - window.mean(0)) / (window.std(0) + 1e-9)
        by_ridge[shown] = ((ridge(window, truth) - truth) ** 2).mean(1)
    variance = theirs[..., METRIC].var()
    return float(by_mean.mean() / variance), float(by_ridge.mean() / variance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, help="fit only the sweeps' first so many seeds")
    options = parser.parse_args()
    fitted, tested = runs_of(options.fit), runs_of(options.test)
    seeds = sorted({run.meta["seed"] for run in fitted})[: options.seeds]
    fitted = [run for run in fitted if run.meta["seed"] in seeds]
    taken = {run.run_id for run in fitted}
    tested = [run for run in tested if run.run_id not in taken]
    settings = load(options.fit[0]).lode
    known, shown = ({run.configuration for run in runs} for runs in (fitted, tested))
    if known != shown:
        parser.error(
            f"{len(fitted)} runs to fit and {len(tested)} to test are not of the same "
            "configurations; name sweeps of one grid, with seeds of their own to test"
        )
    with TemporaryDirectory() as folder:
        found = fit(
            fitted,
            folder=Path(folder),
            mu=settings.scheduler.mu,
            settings=FitConfig(**settings.fit.model_dump()),
        )
    print(f"fit of {settings.fit.updates} updates in {found.seconds:.0f} s")
    stop_by = seeds[len(seeds) - settings.fit.held_out_seeds :]
    kept = [run for run in fitted if run.meta["seed"] not in stop_by]
    report(found.lode, kept, tested)


def windows(points: int) -> list[tuple[float, int]]:
    """The shares of Table A1 and points seen: two rows where a share falls between two points."""
    found = [
        (share, max(2, seen))
        for share in quality.OBSERVED
        for seen in (math.floor(share * points), math.ceil(share * points - 1e-9))
    ]
    return list(dict.fromkeys(found))


def report(lode: LODE, fitted: list[History], tested: list[History]) -> None:
    series = series_of(tested)
    points = series.shape[1]
    times = np.arange(1, points + 1) / points
    print(f"{len(fitted)} runs fitted, {len(tested)} held out")
    for share, seen in windows(points):
        error = quality.relative_errors(lode, series, seen / points)
        mean, scatter = error.mean(0), error.std(0) / len(error) ** 0.5
        largest = np.sort(error[:, METRIC])[-max(1, round(len(error) / 50)) :]
        worst = largest.sum() / error[:, METRIC].sum()
        metric = series[..., METRIC]
        off = (lode.predict(times[:seen], series[:, :seen], times)[..., METRIC] - metric) ** 2
        ahead = off[:, seen:].mean() / metric.var()
        by_mean, by_ridge = yardsticks(fitted, tested, seen)
        cells = ", ".join(
            f"{name} {mean[i]:.3f} ± {scatter[i]:.3f}"
            for i, name in ((1, "metric"), (0, "train loss"), (2, "log lr"))
        )
        print(
            f"{share:.0%}, {seen} of {points} points: {cells}; metric: median "
            f"{np.median(error[:, METRIC]):.3f}, in the worst 2 % of the runs {worst:.0%}, "
            f"not seen {ahead:.3f}, configuration's mean {by_mean:.3f}, ridge {by_ridge:.3f}"
        )


if __name__ == "__main__":
    main()
