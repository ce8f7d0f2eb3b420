"""How good a LODE is: the paper's Table A1 and its test of selecting the best trial (A.3).

Relative MSE: squared error over the whole series divided by the channel's variance over all
histories and points, per run; then mean ± standard deviation over runs. The train loss and the
metric are taken in their own units, the learning rate as log(lr + offset). 1 is what predicting
the channel's mean would reach.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.lode.channels import LR, METRIC, Channels
from components.lode.model import LODE

OBSERVED = (0.05, 0.5)  # shares of a run that Table A1 shows before it asks for the whole
CHANNELS = ("train_loss", "val_metric", "log_lr")


def window_points(share: float, points: int) -> int:
    """Points in the first `share` of a run; at least 2."""
    return max(2, round(share * points))


def report(lode: LODE, series: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """Both tests, JSON-able.

    Args:
        series: (R, T, 3) all completed histories in original units, fitted and held out.
        held_out: (R,) bool, true for histories the fit did not see.
    """
    return {
        "table_a1": table_a1(lode, series, held_out),
        "rank": {
            "all": selected_trial(lode, series),
            "held_out": selected_trial(lode, series[held_out]) if held_out.any() else None,
        },
    }


def table_a1(lode: LODE, series: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """`{"5%": {"fitted": {"train_loss": {"mean", "std", "runs"}, …}, "held_out": …}, "50%": …}`."""
    table: dict[str, Any] = {}
    for share in OBSERVED:
        error = relative_errors(lode, series, share)
        table[f"{share:.0%}"] = {
            name: _summary(error[mask])
            for name, mask in (("fitted", ~held_out), ("held_out", held_out))
            if mask.any()
        }
    return table


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
