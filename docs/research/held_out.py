"""Table A1 on many held-out runs: a LODE fitted on some sweeps, shown the runs of others.

    .venv/bin/python docs/research/held_out.py --fit ../a/params.yaml --test ../b/params.yaml …
    .venv/bin/python docs/research/held_out.py --fit ../a/params.yaml ../b/params.yaml … --folds 5

After `lode sweep` and `lode validate` in each folder: sweeps of one setting, with other seeds. With
`--folds` every seed is held out once, by one of so many fits: where a few runs make most of the
error, one choice of seeds to test is a draw. The fit is the first settings' own (`lode.fit`, the
architecture), on the sweeps alone.

Prints the relative MSE of validation metric, train loss and learning rate (log) with 5 % and 50 %
of every run seen (of 50 points, 5 % are neither 2 nor 3: both), mean and standard error over the
test runs, the metric's median, how much of its error is that of the worst 2 % of the runs, its
error over the part that was not seen, and two yardsticks of the metric: the error of predicting
every run by the mean of its configuration's fitted runs, and that of a ridge regression per
configuration on the window (out of fold over the test runs: it learns from other runs than the
LODE).
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from components.steps.all_steps import architecture, sweep_run_ids
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from components.lode import table_a1
from components.lode.channels import METRIC
from components.lode.fit import FitConfig, fit
from components.lode.model import LODE
from components.settings import Settings, load
from components.storage.workspace import Workspace
from components.training.history import History, history_path, read_history


def runs_of(params: list[Path]) -> list[History]:
    found = []
    for path in params:
        settings, workspace = load(path), Workspace(path.resolve().parent)
        folder = workspace.histories(settings.task)
        ids = sweep_run_ids(settings.task, workspace)
        found += [read_history(history_path(folder, run_id)) for run_id in ids]
    return [history for history in found if history.completed]


def series_of(runs: list[History]) -> np.ndarray:
    return np.stack([run.series() for run in runs])


def ridge(windows: np.ndarray, whole: np.ndarray, folds: int = 10) -> np.ndarray:
    """The metric (R, T) foretold from windows (R, n), each run by a fit on the others."""
    predicted = np.zeros_like(whole)
    for rest, part in KFold(min(folds, len(whole)), shuffle=True, random_state=0).split(whole):
        mean, model = whole[rest].mean(0), RidgeCV(np.logspace(0, 5, 11))
        model.fit(windows[rest], whole[rest] - mean)
        predicted[part] = model.predict(windows[part]) + mean
    return predicted


def mean_errors(fitted: list[History], tested: list[History]) -> np.ndarray:
    """(R,) mean squared errors of foretelling the metric by the mean of the configuration's fitted
    runs."""
    known = defaultdict(list)
    for run, one in zip(fitted, series_of(fitted), strict=True):
        known[run.configuration].append(one[:, METRIC])
    mean = {configuration: np.mean(metrics, 0) for configuration, metrics in known.items()}
    foretold = np.stack([mean[run.configuration] for run in tested])
    errors: np.ndarray = ((foretold - series_of(tested)[..., METRIC]) ** 2).mean(1)
    return errors


def ridge_errors(tested: list[History], seen: int) -> np.ndarray:
    """(R,) the same of a ridge regression per configuration on the first `seen` points."""
    series, rows = series_of(tested), defaultdict(list)
    for i, run in enumerate(tested):
        rows[run.configuration].append(i)
    errors = np.zeros(len(tested))
    for shown in rows.values():
        # Loss and metric as they are and as logs: a window's scale is not known beforehand.
        window = series[shown, :seen, :2].reshape(len(shown), -1)
        window = np.concatenate((window, np.log(np.abs(window) + 1e-9)), 1)
        window = (window - window.mean(0)) / (window.std(0) + 1e-9)
        truth = series[shown, :, METRIC]
        errors[shown] = ((ridge(window, truth) - truth) ** 2).mean(1)
    return errors


@dataclass(frozen=True)
class Part:
    """A LODE, the runs that it was fitted on (not those to stop by), and those to show it."""

    lode: LODE
    fitted: list[History]
    tested: list[History]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--test", type=Path, nargs="+")
    how.add_argument("--folds", type=int, help="hold out every seed of the sweeps once instead")
    parser.add_argument("--seeds", type=int, help="fit only the sweeps' first so many seeds")
    options = parser.parse_args()
    runs = runs_of(options.fit)
    seeds = sorted({run.meta["seed"] for run in runs})[: options.seeds]
    runs = [run for run in runs if run.meta["seed"] in seeds]
    if options.test:
        taken = {run.run_id for run in runs}
        splits = [(runs, [run for run in runs_of(options.test) if run.run_id not in taken])]
    elif 2 <= options.folds <= len(seeds):
        splits = [apart(runs, set(seeds[k :: options.folds])) for k in range(options.folds)]
    else:
        parser.error(f"--folds {options.folds} must lie between 2 and the {len(seeds)} seeds")
    for fitted, tested in splits:
        known, shown = ({run.configuration for run in some} for some in (fitted, tested))
        if known != shown:
            parser.error(
                f"{len(fitted)} runs to fit and {len(tested)} to test are not of the same "
                "configurations; name sweeps of one grid, with seeds of their own to test"
            )
    settings = load(options.fit[0])
    report([fitted_part(settings, *split) for split in splits])


def apart(runs: list[History], seeds: set[int]) -> tuple[list[History], list[History]]:
    """The runs of other seeds, and those of these."""
    parts: tuple[list[History], list[History]] = ([], [])
    for run in runs:
        parts[run.meta["seed"] in seeds].append(run)
    return parts


def fitted_part(settings: Settings, fitted: list[History], tested: list[History]) -> Part:
    config = FitConfig(**settings.lode.fit.model_dump())
    with TemporaryDirectory() as folder:
        found = fit(
            fitted,
            folder=Path(folder),
            mu=settings.lode.scheduler.mu,
            settings=config,
            **architecture(settings),
        )
    print(f"fit of {config.updates} updates in {found.seconds:.0f} s", flush=True)
    seeds = sorted({run.meta["seed"] for run in fitted})
    stop_by = set(seeds[len(seeds) - config.held_out_seeds :])
    return Part(found.lode, apart(fitted, stop_by)[0], tested)


def windows(points: int) -> list[tuple[float, int]]:
    """The shares of Table A1 and points seen: two rows where a share falls between two points."""
    found = [
        (share, max(2, seen))
        for share in table_a1.OBSERVED
        for seen in (math.floor(share * points), math.ceil(share * points - 1e-9))
    ]
    return list(dict.fromkeys(found))


def report(parts: list[Part]) -> None:
    tested = [run for part in parts for run in part.tested]
    number = np.repeat(np.arange(len(parts)), [len(part.tested) for part in parts])
    series = series_of(tested)
    points = series.shape[1]
    times = np.arange(1, points + 1) / points
    variance = series[..., METRIC].var()
    by_mean = np.concatenate([mean_errors(part.fitted, part.tested) for part in parts]) / variance
    fitted = ", ".join(str(len(part.fitted)) for part in parts)
    print(f"{fitted} runs fitted, {len(tested)} held out")
    for share, seen in windows(points):
        error, off = np.zeros((len(tested), 3)), np.zeros(series.shape[:2])
        for k, part in enumerate(parts):
            mine = number == k
            # Of all, so that every part's errors are relative to the same variance.
            error[mine] = table_a1.relative_errors(part.lode, series, seen / points)[mine]
            foretold = part.lode.predict(times[:seen], series[mine, :seen], times)
            off[mine] = (foretold[..., METRIC] - series[mine][..., METRIC]) ** 2 / variance
        mean, scatter = error.mean(0), error.std(0) / len(error) ** 0.5
        largest = np.sort(error[:, METRIC])[-max(1, round(len(error) / 50)) :]
        worst = largest.sum() / error[:, METRIC].sum()
        by_ridge = ridge_errors(tested, seen) / variance
        cells = ", ".join(
            f"{name} {mean[i]:.3f} ± {scatter[i]:.3f}"
            for i, name in ((1, "metric"), (0, "train loss"), (2, "log lr"))
        )
        print(
            f"{share:.0%}, {seen} of {points} points: {cells}; metric: median "
            f"{np.median(error[:, METRIC]):.3f}, in the worst 2 % of the runs {worst:.0%}, "
            f"not seen {off[:, seen:].mean():.3f}, configuration's mean {by_mean.mean():.3f}, "
            f"ridge {by_ridge.mean():.3f}"
        )


if __name__ == "__main__":
    main()
