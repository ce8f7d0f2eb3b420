"""What a run's learning rates look like: a name for the schedule, its peak, its warm-up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.schedulers.parametric import PARAMETRIC

SAME = 1e-6  # relative: to be called by our name a schedule must be ours
PEAK = 0.99  # of the peak; a log need not have the very update that reaches it
LIKE_LOGGED = "(as logged)"  # after a name of ours that means something else there


def ours(points: pd.DataFrame, updates: int) -> tuple[str, float] | None:
    """The parametric schedule of ours that a run's rates are of, and its peak (to six digits, as
    float32 logs write 0.001 as 0.0010000000475), which none of the points need have; None: of none.
    """
    steps, rates = points["step"].to_numpy(), points["lr"].to_numpy()
    for name, rate in PARAMETRIC.items():
        unit = np.array([rate(int(step) - 1, updates, 1.0) for step in steps])
        top = float(rates[unit.argmax()] / unit.max())
        if top > 0 and np.all(np.abs(rates - top * unit) <= SAME * top * np.maximum(unit, SAME)):
            return name, float(f"{top:.6g}")
    return None


def own_name(name: str, points: pd.DataFrame, updates: int) -> str:
    """A schedule's name as its runs bear it: a name of ours only for what is ours, since the
    pipeline would run ours by it."""
    found = ours(points, updates) if name in PARAMETRIC else (name, 0.0)
    return name if found is not None and found[0] == name else f"{name} {LIKE_LOGGED}"


def described(points: pd.DataFrame, updates: int) -> str:
    """A name for what nobody has named, in per cent of the run and of the peak.

    `constant`, `cosine` (ours), or `up 2%, down from 80% to 0% (3/4 at 85%, 1/4 at 95%)`.
    """
    known = ours(points, updates)
    if known is not None:
        return known[0]
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
