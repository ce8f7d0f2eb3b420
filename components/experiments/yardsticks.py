"""What a LODE's predictions of a run's metric are measured against: two predictors without one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from components.lode.channels import LR, METRIC
from components.training.history import History

FOLDS = 10  # of the ridge: each run is foretold by nine tenths of its configuration's
FEWEST = 3  # runs of a configuration that a ridge needs: two to fit on, one to foretell
PENALTIES = np.logspace(0, 5, 11)  # among which the ridge chooses by leaving one out


def series_of(runs: Sequence[History]) -> np.ndarray:
    """(R, T, 3): train loss, validation metric and learning rate, in original units."""
    return np.stack([run.series() for run in runs])


def mean_errors(fitted: Sequence[History], tested: Sequence[History]) -> np.ndarray:
    """(R,) mean squared errors of foretelling the metric of each tested run by the mean of its
    configuration's fitted runs."""
    known = defaultdict(list)
    for run, one in zip(fitted, series_of(fitted), strict=True):
        known[run.configuration].append(one[:, METRIC])
    mean = {configuration: np.mean(metrics, 0) for configuration, metrics in known.items()}
    foretold = np.stack([mean[run.configuration] for run in tested])
    errors: np.ndarray = ((foretold - series_of(tested)[..., METRIC]) ** 2).mean(1)
    return errors


def ridge_errors(tested: Sequence[History], seen: int) -> np.ndarray:
    """(R,) the same of a ridge regression per configuration on the first `seen` points.

    Out of fold over the tested runs, so it learns from other runs than the LODE. NaN where a
    configuration has fewer than `FEWEST`.
    """
    series, rows = series_of(tested), defaultdict(list)
    for i, run in enumerate(tested):
        rows[run.configuration].append(i)
    errors = np.full(len(tested), np.nan)
    for own in rows.values():
        if len(own) < FEWEST:
            continue
        truth = series[own, :, METRIC]
        errors[own] = ((ridge(_features(series[own, :seen]), truth) - truth) ** 2).mean(1)
    return errors


def ridge(windows: np.ndarray, whole: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """The metric (R, T) foretold from features (R, n), each run by a fit on others."""
    predicted = np.zeros_like(whole)
    for rest, part in KFold(min(folds, len(whole)), shuffle=True, random_state=0).split(whole):
        mean, model = whole[rest].mean(0), RidgeCV(PENALTIES)
        model.fit(windows[rest], whole[rest] - mean)
        predicted[part] = model.predict(windows[part]) + mean
    return predicted


def _features(window: np.ndarray) -> np.ndarray:
    """(R, n) of windows (R, points, 3): loss and metric as they are and as logs, standardised; a
    window's scale is not known beforehand."""
    flat = window[..., :LR].reshape(len(window), -1)
    both = np.concatenate((flat, np.log(np.abs(flat) + 1e-9)), 1)
    scaled: np.ndarray = (both - both.mean(0)) / (both.std(0) + 1e-9)
    return scaled
