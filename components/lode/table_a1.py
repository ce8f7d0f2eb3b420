"""How good a LODE is: the paper's Table A1 and its test of selecting the best trial (A.3).

Relative MSE: squared error over the whole series divided by the channel's variance over all
histories and points, per run; then mean ± standard deviation over runs. The train loss and the
metric are taken in their own units, the learning rate as log(lr + offset). 1 is what predicting
the channel's mean would reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.lode.channels import LR, METRIC, Channels
from components.lode.model import LODE
from components.lode.settings import window_points

OBSERVED = (0.05, 0.5)  # shares of a run that Table A1 shows before it asks for the whole
CHANNELS = ("train_loss", "val_metric", "log_lr")


def report(
    lode: LODE, series: np.ndarray, held_out: np.ndarray, schedulers: np.ndarray
) -> dict[str, Any]:
    """Both tests, JSON-able; the first over all runs, and over those of each scheduler.

    Args:
        series: (R, T, 3) all completed histories in original units, fitted and held out.
        held_out: (R,) bool, true for histories the fit did not see.
        schedulers: (R,) their names.
    """
    errors = {f"{share:.0%}": relative_errors(lode, series, share) for share in OBSERVED}
    return {
        "table_a1": table_a1(errors, held_out),
        "by_scheduler": {
            str(name): table_a1(errors, held_out, schedulers == name)
            for name in sorted(set(schedulers))
        },
        "rank": {
            "all": selected_trial(lode, series),
            "held_out": selected_trial(lode, series[held_out]) if held_out.any() else None,
        },
    }


def table_a1(
    errors: Mapping[str, np.ndarray], held_out: np.ndarray, of: np.ndarray | None = None
) -> dict[str, Any]:
    """`{"5%": {"fitted": {"train_loss": {"mean", "std", "runs"}, …}, "held_out": …}, "50%": …}`.

    Args:
        errors: by share seen, (R, 3), as `relative_errors` returns. of: (R,) bool, the runs that
            count; None: all.
    """
    parts = {"fitted": ~held_out, "held_out": held_out}
    masks = {name: part if of is None else part & of for name, part in parts.items()}
    return {
        share: {name: _summary(error[mask]) for name, mask in masks.items() if mask.any()}
        for share, error in errors.items()
    }


def relative_errors(
    lode: LODE, series: np.ndarray, share: float, units: Channels | None = None
) -> np.ndarray:
    """Relative MSE of every run and channel, (R, 3), when the first `share` of it is observed.

    Args:
        series: (R, T, 3) in original units; the channels' variances are taken over all of it.
        units: whose transform of the learning rate to measure in; None: the LODE's own. Two LODEs
            are only to be compared in the same.
    """
    units = units or lode.config.channels
    points = series.shape[1]
    times, seen = np.arange(1, points + 1) / points, window_points(share, points)
    truth = _in_units(units, series)
    variance = truth.var((0, 1))
    variance = np.where(variance > 0, variance, 1.0)
    predicted = _in_units(units, lode.predict(times[:seen], series[:, :seen], times))
    errors: np.ndarray = ((predicted - truth) ** 2).mean(1) / variance
    return errors


def selected_trial(lode: LODE, series: np.ndarray) -> dict[str, Any]:
    """Show the first 5 % of every run, pick the one with the largest predicted final metric.

    Returns:
        `rank` of the pick by its true final metric (1 is best; ties share the better rank),
        `of` how many, its true `metric` and the `best` there is.
    """
    points = series.shape[1]
    seen = window_points(OBSERVED[0], points)
    times = np.arange(1, seen + 1) / points
    predicted = lode.predict(times, series[:, :seen], np.array([1.0]))[:, 0, METRIC]
    final = series[:, -1, METRIC]
    picked = final[int(predicted.argmax())]
    return {
        "rank": int((final > picked).sum()) + 1,
        "of": len(final),
        "metric": float(picked),
        "best": float(final.max()),
    }


def _in_units(units: Channels, series: np.ndarray) -> np.ndarray:
    """Loss and metric as they are, the learning rate in log."""
    out = np.array(series, dtype=np.float64)
    out[..., LR] = units.warp_lr(out[..., LR])
    return out


def _summary(error: np.ndarray) -> dict[str, dict[str, float]]:
    return {
        name: {"mean": float(e.mean()), "std": float(e.std()), "runs": len(e)}
        for name, e in zip(CHANNELS, error.T, strict=True)
    }
