"""A table of learning rates, one per log point: what a LODE plans and pilots follow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from components.schedulers.parametric import learning_rate
from components.training.run import log_steps
from components.training.scheduler import Scheduler


class PlanError(ValueError):
    """A table is no plan of learning rates; the message says what is wrong with it."""


def interpolate(
    table: np.ndarray, steps: np.ndarray, updates: int, ends: Sequence[int] | None = None
) -> np.ndarray:
    """Learning rates of updates `steps` (0-based) under a table of T + 1 rates.

    Linear in between, so that the last update before log point p has exactly `table[p]`, which is
    what the history's `lr` says at p; update 0 has `table[0]` unless it is that last update.

    Args:
        ends: updates done at log points 1 … T, increasing; None: `log_steps` of the run.
    """
    ends = log_steps(updates, len(table) - 1) if ends is None else ends
    knots = np.concatenate([[0], np.asarray(ends) - 1])
    # With one update per point the first two knots coincide, and the later one is meant.
    unique = np.concatenate([knots[1:] > knots[:-1], [True]])
    return np.interp(steps, knots[unique], np.asarray(table, dtype=np.float64)[unique])


class Plan(Scheduler):
    """A fixed table of learning rates as the training loop's scheduler.

    Args:
        table: T + 1 positive rates, at log points 0 (the start) … T.
        updates, points: N and T of the run.

    Raises:
        PlanError: the table is not of that length, or has a rate that is not finite and positive.
    """

    def __init__(self, table: Sequence[float], *, updates: int, points: int) -> None:
        try:
            rates = np.asarray(table, dtype=np.float64)
        except (ValueError, TypeError):
            raise PlanError("a plan is a list of learning rates, this one is none") from None
        if rates.shape != (points + 1,) or not np.isfinite(rates).all() or rates.min() <= 0:
            raise PlanError(
                f"a plan needs {points + 1} finite, positive learning rates (log points 0 to "
                f"{points}); this one has {rates.size}, from {rates.min(initial=np.inf):g}"
            )
        self._lrs = interpolate(rates, np.arange(updates), updates)

    def lr(self, step: int) -> float:
        return float(self._lrs[min(step, len(self._lrs) - 1)])


def parametric_table(name: str, peak_lr: float, updates: int, points: int) -> np.ndarray:
    """A parametric schedule's rates at log points 0 … T, as histories log them; positive.

    Raises:
        KeyError: `name` is not a parametric schedule.
    """
    steps = [0, *(end - 1 for end in log_steps(updates, points))]
    rates = [learning_rate(name, step, updates, peak_lr) for step in steps]
    return np.maximum(rates, 1e-8 * peak_lr)


def plan_digest(table: Sequence[float]) -> str:
    """16 hex digits that name a plan in a run's spec."""
    return hashlib.sha256(np.asarray(table, dtype=np.float64).tobytes()).hexdigest()[:16]
