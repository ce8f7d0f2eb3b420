"""The schedule that the Multi-Power Law calls best, from the train losses of a sweep.

A law is fitted for each peak, as its authors do, on the mean curves over the seeds; where it fits,
the best schedule of that peak is computed under it; the peak whose law foretells the least loss is
taken. One law of all peaks does not know that a rate can be too high: it takes the largest one
(docs/research/scheduler.md, entry 22). It is used only where no two schedules of the sweep share a
peak, as where TPE has drawn the peaks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from components.schedulers.multi_power_law import (
    TINY,
    Curves,
    LawError,
    MultiPowerLaw,
    fit_law,
    optimal_schedule,
)
from components.schedulers.plan import parametric_table
from components.training.history import History
from components.training.run import log_steps

# Of the loss that runs begin with: one that ends above it has not learned, and follows no law.
LEARNED = 0.7
NODES = 25  # of a run that a law is fitted on: its price grows with their square
# Of the variance of the fitted log losses, what a law may leave unexplained; their mean alone
# leaves 1. A challenger LODE is held to the same (`retraining.max_error`).
UNEXPLAINED = 0.5


@dataclass(frozen=True)
class LawSchedule:
    """What a law calls best.

    Attributes:
        table: T + 1 learning rates at log points 0 … T. foretold: the train loss at its end.
        unexplained: share of the variance of the fitted log losses that the law does not explain.
        curves: how many it was fitted on.
    """

    table: tuple[float, ...]
    foretold: float
    unexplained: float
    curves: int


def learned(losses: np.ndarray) -> np.ndarray:
    """(R,) which runs of train losses (R, T) have learned at all.

    What they begin with is the median of the first losses: at a rate far too high the loss has
    risen before the first log point, and a run that falls from there to chance has learned nothing.
    """
    found: np.ndarray = losses[:, -1] < LEARNED * np.median(losses[:, 0])
    return found


def nodes(points: int) -> np.ndarray:
    """Of the log points 0 … T those that a law is fitted at, first and last among them."""
    return np.unique(np.linspace(0, points, min(points, NODES) + 1).round().astype(int))


def law_schedule(sweep: Sequence[History]) -> LawSchedule:
    """The best schedule by the laws of a sweep of parametric schedules.

    The same histories give the same schedule, to the bit on one machine.

    Raises:
        LawError: a loss is negative, no run learned, or no law can be fitted, or none fits; the
            message says which.
    """
    done = [run for run in sweep if run.completed]
    least = min((float(_losses(run).min()) for run in done), default=0.0)
    if least < 0:
        raise LawError(f"the law is of positive losses; the smallest of the sweep is {least:g}")
    kept = learned(np.array([_losses(run) for run in done])) if done else np.array([])
    runs = [run for run, one in zip(done, kept, strict=True) if one]
    if not runs:
        raise LawError(f"none of the {len(sweep)} runs of the sweep has learned")
    found, reasons = [], []
    for group in _by_peak(runs):
        try:
            found.append(_best_of(group))
        except LawError as error:
            reasons.append(f"{_named(group)} {error}")
    if not found:
        more = f" (and {len(reasons) - 1} other laws)" if len(reasons) > 1 else ""
        raise LawError(f"{reasons[0]}{more}")
    return min(found, key=lambda one: one.foretold)


def _losses(run: History) -> np.ndarray:
    return run.points["train_loss"].to_numpy(np.float64)


def _by_peak(runs: Iterable[History]) -> list[list[History]]:
    """The runs of each peak that several schedules were run at; all of them if there is none."""
    groups: dict[float, list[History]] = defaultdict(list)
    for run in runs:
        groups[run.meta["peak_lr"]].append(run)
    several = [
        groups[peak]
        for peak in sorted(groups)
        if len({run.meta["scheduler"] for run in groups[peak]}) > 1
    ]
    return several or [[run for group in groups.values() for run in group]]


def _named(runs: Sequence[History]) -> str:
    low, high = _peaks(runs)
    return f"of the runs at peak lr {low:g}" + ("" if low == high else f" to {high:g}") + ":"


def _peaks(runs: Sequence[History]) -> tuple[float, float]:
    peaks = [run.meta["peak_lr"] for run in runs]
    return min(peaks), max(peaks)


def _best_of(runs: Sequence[History]) -> LawSchedule:
    """Under one law of these runs.

    Raises:
        LawError: it cannot be fitted, or does not fit.
    """
    curves, meta = _curves(runs), runs[0].meta
    law = fit_law([curves])
    left = unexplained(law, curves)
    if left > UNEXPLAINED:
        raise LawError(
            f"the law leaves {left:.0%} of the variance of the log losses unexplained, more than "
            f"{UNEXPLAINED:.0%}"
        )
    steps = np.array([0.0, *log_steps(meta["updates"], meta["points"])])
    table = optimal_schedule(law, steps, _peaks(runs))
    foretold = float(law.losses(steps, table[None])[0, -1])
    if foretold <= 0:
        raise LawError(f"the law foretells a loss of {foretold:.3g}, which there is not")
    return LawSchedule(tuple(table.tolist()), foretold, left, len(curves.rates))


def _curves(runs: Sequence[History]) -> Curves:
    """The mean curve of each configuration, at its nodes."""
    configurations: dict[tuple[str, float | None], list[np.ndarray]] = defaultdict(list)
    for run in runs:
        configurations[run.configuration].append(_losses(run))
    updates, points = runs[0].meta["updates"], runs[0].meta["points"]
    at = nodes(points)
    steps = np.array([0.0, *log_steps(updates, points)])[at]
    rates = [parametric_table(name, peak or 0.0, updates, points) for name, peak in configurations]
    means = np.array([np.mean(own, 0) for own in configurations.values()])
    means = np.where(means == 0, np.nan, means)  # rounded to nothing: no logarithm
    losses = np.concatenate([np.full((len(means), 1), np.nan), means], 1)
    return Curves(steps, np.array(rates)[:, at], losses[:, at])


def unexplained(law: MultiPowerLaw, curves: Curves) -> float:
    """Share of the variance of the known log losses that a law does not explain."""
    known = np.isfinite(curves.losses)
    logs = np.log(curves.losses[known])
    foretold = np.log(np.maximum(law.losses(curves.steps, curves.rates)[known], TINY))
    return float(np.square(foretold - logs).mean() / logs.var())
