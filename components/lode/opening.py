"""What a run begins with, before anything is observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.lode.errors import LODEError
from components.schedulers.parametric import PARAMETRIC, learning_rate
from components.schedulers.plan import interpolate, parametric_table
from components.training.run import log_steps


@dataclass(frozen=True)
class Opening:
    """Learning rates for a whole run; of the three the first that is not empty.

    Attributes:
        table: at log points 0 … T, linear in between: a plan that pilots confirmed.
        schedule: name and peak lr of a parametric schedule, followed to the bit, so that a run
            which never leaves it ties with the sweep's.
        held: one for each of T log intervals, held over it: a history's, as the paper's controller
            follows it.

    Tables are stretched to runs of another T than their own.
    """

    table: tuple[float, ...] = ()
    schedule: tuple[()] | tuple[str, float] = ()
    held: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """
        Raises:
            LODEError: a rate is not a finite number, or negative (those of 0 become `lowest`); a
                schedule that is needed is no parametric one, or has no positive peak.
        """
        for name, rates in (("plan", self.table), ("initial schedule", self.held)):
            if len(rates) and not (min(rates) >= 0 and np.isfinite(rates).all()):
                raise LODEError(
                    f"the {name} has rates from {min(rates):g} to {max(rates):g}; they must be "
                    "finite and not negative"
                )
        if self.schedule and not self.table:
            name, peak = self.schedule
            if name not in PARAMETRIC or not 0 < peak < np.inf:
                raise LODEError(
                    f"the plan is schedule {name[:40]!r} with peak {peak:g}; known, with a finite "
                    f"and positive peak: {', '.join(PARAMETRIC)}"
                )

    def __bool__(self) -> bool:
        """Whether there is anything to begin with."""
        return bool(self.table or self.schedule or self.held)

    @property
    def linear(self) -> Opening:
        """The held rates as a table: linear between the points at which they were logged."""
        return Opening(table=tuple(map(float, with_start(np.array(self.held)))))

    def plan(self, updates: int, points: int, lowest: float = 0.0) -> np.ndarray:
        """The rates of a run of N updates and T points, none below `lowest`.

        Returns:
            (T + 1,) at the log points, or, of held rates, (T,) of the intervals.
        """
        if not self.table and self.schedule:
            plan = parametric_table(*self.schedule, updates, points)
        elif not self.table:
            held = np.asarray(self.held, dtype=np.float64)
            plan = held[np.arange(points) * len(held) // points]
        else:
            own = np.linspace(0, 1, len(self.table))
            plan = np.interp(np.linspace(0, 1, points + 1), own, self.table)
        return np.maximum(plan, lowest)

    def rates(self, updates: int, points: int, lowest: float = 0.0) -> np.ndarray:
        """(N,) rates of every update; `lowest` does not bound a parametric schedule."""
        if not self.table and self.schedule:
            name, peak = self.schedule
            return np.array([learning_rate(name, step, updates, peak) for step in range(updates)])
        return every_update(self.plan(updates, points, lowest), updates, points)


def every_update(
    plan: np.ndarray, updates: int, points: int, ends: Sequence[int] | None = None
) -> np.ndarray:
    """(N,) rates of a plan: of (T + 1,) at the log points linear in between, (T,) are held.

    Args:
        ends: updates done at each log point; None: evenly spread.
    """
    ends = log_steps(updates, points) if ends is None else ends
    if len(plan) == points:
        return plan[np.searchsorted(ends, np.arange(updates), "right")]
    return interpolate(plan, np.arange(updates), updates, ends)


def with_start(lrs: np.ndarray) -> np.ndarray:
    """A history's rates (…, T) and, before them, the one at point 0, continued linearly."""
    first = np.maximum(2 * lrs[..., :1] - lrs[..., 1:2], 0.0)
    return np.concatenate([first, lrs], -1)
