"""What a run's learning rates look like: a name for the schedule, its peak, its warm-up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.schedulers.parametric import PARAMETRIC

SAME = 1e-6  # relative: to be called by our name a schedule must be ours
PEAK = 0.99  # of the peak; a log need not have the very update that reaches it
LIKE_LOGGED = "(as logged)"  # after a name of ours that means something else there


def peak(points: pd.DataFrame) -> float:
    """The largest rate, to six digits: float32 logs write 0.001 as 0.0010000000475."""
    return float(f"{points['lr'].max():.6g}")


def ours(points: pd.DataFrame, updates: int) -> str | None:
    """The name of our parametric schedule that a run's rates are of; None: of none."""
    top = peak(points)
    steps, rates = points["step"].to_numpy(), points["lr"].to_numpy()
    for name, rate in PARAMETRIC.items():
        expected = np.array([rate(int(step) - 1, updates, top) for step in steps])
        if np.all(np.abs(rates - expected) <= SAME * np.maximum(np.abs(expected), SAME * top)):
            return name
    return None


def own_name(name: str, points: pd.DataFrame, updates: int) -> str:
    """A schedule's name as its runs bear it: a name of ours only for what is ours, since the
    pipeline would run ours by it."""
    if name in PARAMETRIC and ours(points, updates) != name:
        return f"{name} {LIKE_LOGGED}"
    return name


def described(points: pd.DataFrame, updates: int) -> str:
    """A name for what nobody has named, in per cent of the run and of the peak.

    `constant`, `cosine` (ours), or `up 2%, down from 80% to 0% (3/4 at 85%, 1/4 at 95%)`.
    """
    known = ours(points, updates)
    if known is not None:
        return known
    steps, rates = points["step"].to_numpy() / updates, points["lr"].to_numpy()
    high = np.flatnonzero(rates >= PEAK * rates.max())
    up, down = float(steps[high[0]]), float(steps[high[-1]])
    parts = [f"up {up:.0%}"] if rates[0] < PEAK * rates.max() else []
    if high[-1] + 1 < len(steps):
        tail, end = rates[high[-1] :] / rates.max(), float(rates[-1] / rates.max())
        early, late = (
            float(steps[high[-1] :][int(np.argmax(tail <= end + share * (1 - end)))])
            for share in (0.75, 0.25)
        )
        way = f"3/4 at {early:.0%}, 1/4 at {late:.0%}"
        parts.append(f"down from {down:.0%} to {end:.0%} ({way})")
    return ", ".join(parts) or "constant"


def warm_up(rows: pd.DataFrame) -> int:
    """Updates until a log's rate first reaches its peak; 0: it begins there."""
    rates = rows.loc[rows["lr"].notna(), ["step", "lr"]].sort_values("step")
    if not len(rates):
        return 0
    high = rates["lr"].to_numpy() >= PEAK * rates["lr"].max()
    first = int(np.argmax(high))
    return 0 if first == 0 else int(rates["step"].iloc[first])
