"""From whatever a training logged to the T log points of a history.

A tracker or a script logs its loss every ten updates, its metric once an epoch, and some steps
twice because it was resumed. A history has one row at each of the T log points, so that all of a
task's runs can be compared. The rule, for the log point at step s, the point before it at step r:

    train_loss              the mean of all that was logged at steps r < step <= s, as in our own
                            runs; where nothing was, interpolated
    val_metric, val_loss    what was logged at step s; else interpolated
    lr                      likewise: the rate in force at step s
    elapsed_s               likewise, beginning with 0 s at step 0; 0 throughout where not logged

Interpolated means linearly in the step, between the nearest two steps that have a value: a warm-up
or a cosine comes out as it was, a rate that jumped between two logged steps as a ramp between them.
Before the first value and after the last it is held, but only so far (`HELD_AT_START`,
`HELD_AT_END`), and no gap may be longer than `LONGEST_GAP`: nothing is made up. Of values logged at
the same step the last one counts, since a resumed run logs the steps again that it had lost. A log
that has each log point comes out bit for bit.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.training.run import log_steps

# Shares of a run. A metric is often seen first after an epoch, and five epochs are a short run.
HELD_AT_START = 0.2
# What a schedule is chosen by is where the metric ends, and a cooldown takes the last fifth or so.
HELD_AT_END = 0.05
# An evaluation every epoch of a run of four; a straight line over more shows no schedule's effect.
LONGEST_GAP = 0.25

NEEDED = ("train_loss", "val_metric", "lr")
INTERPOLATED = ("val_metric", "val_loss", "lr")
_NAMES = ("step", *NEEDED, "val_loss", "elapsed_s")
_MENDED = {
    "train_loss": "log the training loss, best at every update or as a mean since the last log",
    "val_metric": "evaluate more often, and once after the last update",
    "val_loss": "evaluate more often, and once after the last update",
    "lr": "log the optimizer's learning rate with every training loss",
    "elapsed_s": "log it with every training loss, or not at all",
}


class LogError(ValueError):
    """A log from which no history follows; the message says what it lacks and how to mend it.

    `problem`: what is wrong, without the remedy.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem


def resampled(
    log: pd.DataFrame, *, updates: int, points: int, until: int | None = None
) -> pd.DataFrame:
    """The log points of a run, by the rule at the head of this file.

    Args:
        log: column `step` (updates done, 0..N; 0 is before the first update) and any of
            `train_loss, val_metric, val_loss, lr, elapsed_s`; NaN where a row does not have it.
            Rows may have a part of the columns each, repeat a step, and lie in any order but this:
            of values of one column at one step the last row's counts.
        updates, points: N and T, N >= T.
        until: of a run that ended early the last step it logged: its log points up to there.

    Returns:
        Columns `step` (int64), `train_loss, val_metric, lr, elapsed_s` and, where logged,
        `val_loss` (float64), a row for each of the T log points (or those up to `until`).

    Raises:
        LogError: a column that is needed is missing, empty, no numbers, infinite, or logged too
            seldom; a rate or time below 0; steps that are no whole numbers in 0..N.
        ValueError: fewer updates than points.
    """
    if not 1 <= points <= updates:
        raise ValueError(f"updates = {updates} must be at least points = {points} >= 1")
    rows = _by_step(log, updates)
    grid = np.array(log_steps(updates, points), dtype=np.int64)
    if until is not None:
        grid = grid[grid <= until]
    allowed = _Allowed(updates, int(max(np.diff(grid, prepend=0), default=0)), until)
    found = {"step": grid, "train_loss": _means(rows, grid, allowed)}
    for name in INTERPOLATED:
        if name in NEEDED or _logged(rows, name):
            found[name] = _interpolated(rows, name, grid, allowed)
    found["elapsed_s"] = _elapsed(rows, grid)
    order = [name for name in ("step", *NEEDED, "elapsed_s", "val_loss") if name in found]
    return pd.DataFrame({name: found[name] for name in order})


class _Allowed:
    """How far apart values may be, in updates; a coarse grid of log points asks for no more than
    itself."""

    def __init__(self, updates: int, spacing: int, until: int | None) -> None:
        self.end = updates if until is None else min(until, updates)
        self.start = max(HELD_AT_START * updates, spacing)
        self.gap = max(LONGEST_GAP * updates, spacing)
        # One that ended early is not chosen by where it ended.
        self.after = max(HELD_AT_END * updates, spacing if until is not None else 0)

    def check(self, name: str, steps: np.ndarray) -> None:
        """
        Raises:
            LogError: values at these steps leave too much of the run open.
        """
        first, last = int(steps[0]), int(steps[-1])
        if first > self.start:
            self._refuse(name, f"is first logged at step {first}", self.start, HELD_AT_START)
        if self.end - last > self.after:
            self._refuse(name, f"is last logged at step {last}", self.after, HELD_AT_END)
        gaps = np.diff(steps)
        if len(gaps) and gaps.max() > self.gap:
            at = int(gaps.argmax())
            where = f"is not logged between steps {int(steps[at])} and {int(steps[at + 1])}"
            self._refuse(name, where, self.gap, LONGEST_GAP)

    def _refuse(self, name: str, what: str, most: float, share: float) -> None:
        raise LogError(
            f"{name} {what} of {self.end}, and at most {int(most)} steps ({share:.0%} of a run) "
            "are filled in",
            _MENDED[name],
        )


def _by_step(log: pd.DataFrame, updates: int) -> pd.DataFrame:
    """One row per step in order, of every column the last value that was logged."""
    if "step" not in log.columns:
        raise LogError("no column step", "log the number of updates done with every row")
    known = [name for name in _NAMES if name in log.columns]
    rows = pd.DataFrame({name: _numbers(log[name], name) for name in known})
    if not len(rows):
        raise LogError("nothing is logged", f"log {', '.join(NEEDED)} with their step")
    steps = rows["step"].to_numpy()
    whole = np.isfinite(steps) & (steps == np.round(steps))
    if not whole.all():
        row = int((~whole).argmax())
        raise LogError(
            f"step {steps[row]:g} in row {row + 1} is no whole number",
            "log the number of updates done, not epochs or seconds",
        )
    if steps.min() < 0 or steps.max() > updates:
        astray = int(steps.min() if steps.min() < 0 else steps.max())
        raise LogError(
            f"step {astray} lies outside 0..{updates}",
            f"log the number of updates done, 1 to {updates}, or give the run's true length",
        )
    rows["step"] = steps.astype(np.int64)
    for name in ("lr", "elapsed_s"):
        if name in rows and (rows[name] < 0).any():
            raise LogError(f"{name} is below 0", _MENDED[name])
    return rows.groupby("step", sort=True).last()  # per column, NaN left out


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    try:
        values = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        raise LogError(f"{name} is not all numbers", "leave a cell empty that has none") from None
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise LogError(
            f"{name} is infinite in row {row + 1}", "a run that diverged teaches no schedule"
        )
    return values


def _logged(rows: pd.DataFrame, name: str) -> bool:
    return name in rows and bool(rows[name].notna().any())


def _values(rows: pd.DataFrame, name: str, allowed: _Allowed) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values where it was logged, often enough."""
    if not _logged(rows, name):
        raise LogError(f"{name} is never logged", _MENDED[name])
    values = rows[name].dropna()
    if allowed.end > 0:
        allowed.check(name, values.index.to_numpy())
    return values.index.to_numpy(), values.to_numpy()


def _interpolated(rows: pd.DataFrame, name: str, grid: np.ndarray, allowed: _Allowed) -> np.ndarray:
    steps, values = _values(rows, name, allowed)
    return np.interp(grid, steps, values)  # at a step that was logged: its value, exactly


def _means(rows: pd.DataFrame, grid: np.ndarray, allowed: _Allowed) -> np.ndarray:
    steps, values = _values(rows, "train_loss", allowed)
    found = np.interp(grid, steps, values)
    inside = (steps > 0) & (steps <= (grid[-1] if len(grid) else 0))
    interval = pd.Series(np.searchsorted(grid, steps[inside]))  # of r < step <= s
    means = pd.Series(values[inside]).groupby(interval).mean()
    found[means.index.to_numpy(dtype=np.int64)] = means.to_numpy()
    return found


def _elapsed(rows: pd.DataFrame, grid: np.ndarray) -> np.ndarray:
    """Never running backwards: a resumed run's clock may begin anew."""
    if not _logged(rows, "elapsed_s"):
        return np.zeros(len(grid))
    seconds = rows["elapsed_s"].dropna()
    steps, values = seconds.index.to_numpy(), np.maximum.accumulate(seconds.to_numpy())
    if steps[0] > 0:
        steps, values = np.insert(steps, 0, 0), np.insert(values, 0, 0.0)
    return np.interp(grid, steps, values)
