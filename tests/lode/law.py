"""A law that says what a schedule does, to measure the judge and the controller by."""

from __future__ import annotations

import numpy as np

from components.lode.judge_fit import Runs
from components.schedulers.names import PAPER_SCHEDULERS
from components.schedulers.parametric import PARAMETRIC

POINTS = 30


def outcome(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss and metric (…, T) of rates (…, T + 1): progress saturates, and what the rate still is
    at the end costs accuracy, so a high rate pays early and a low one late."""
    rates = (table[..., 1:] + table[..., :-1]) / 2
    work = 1 - np.exp(-40 * np.cumsum(rates, -1) / rates.shape[-1])
    return 2.3 * (1 - work) + 2 * rates + 0.1, 0.1 + 0.85 * work - 2 * rates


def parametric(scheduler: str, peak: float, points: int = POINTS) -> np.ndarray:
    """A parametric schedule at log points 0 … T, one update per point."""
    return np.array([PARAMETRIC[scheduler](step, points + 1, peak) for step in range(points + 1)])


PEAKS, SEEDS = (0.005, 0.02, 0.05, 0.1), (0, 1)


def sweep(noise: float = 0.003) -> Runs:
    """4 schedulers × 4 peaks × 2 seeds under the law; a seed also has luck of its own."""
    rng = np.random.default_rng(0)
    named = [(name, peak) for name in PAPER_SCHEDULERS for peak in PEAKS]
    tables = np.repeat([parametric(*one) for one in named], len(SEEDS), 0)
    loss, metric = outcome(tables)
    seeds = np.tile(SEEDS, len(named))
    metric = metric + noise * rng.standard_normal(metric.shape) + 0.01 * seeds[:, None]
    groups = np.repeat(np.arange(len(named)), len(SEEDS))
    return Runs((tables[:, 1:] + tables[:, :-1]) / 2, loss, metric, seeds, groups)
