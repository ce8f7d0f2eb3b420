"""From what a run logged to what `resampled` takes: steps in updates, one rate, no NaN.

The rules, each for what trackers hold:

- **Where a row has no step** (a metric that was logged by itself), it is that of the row before.
- **A log that counts from 0**, as a Python loop does, has a training loss at step 0; a loss takes
  an update, so all its steps are raised by one (epochs likewise, where they are whole).
- **Epochs** become steps by the updates of one epoch.
- **A loss or metric that is no number**, to the end of the log: the run diverged there. One that
  recovers: it counts as not logged.
- **Several parameter groups**: the first one's rate, if the others keep their ratios to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from components.importers.errors import LeftOutError
from components.importers.roles import ELAPSED, EPOCH, LOSS, LR, METRIC, STEP, TEST, Columns
from components.storage.shown import cut

# Relative, of the ratio of two groups' rates: they are computed apart and logged in float32.
SAME_RATIO = 1e-2
FEWEST = 5  # rows with a loss; fewer show no training


@dataclass(frozen=True)
class Log:
    """One run's log.

    Attributes:
        rows: columns `step` (int64) and any of `train_loss, val_metric, lr, elapsed_s`.
        diverged: the step from which on loss or metric are no numbers; None: they are.
        recovered: how many values that are no numbers were followed by others.
        test_metric: the last one logged, if it is.
    """

    rows: pd.DataFrame
    diverged: int | None = None
    recovered: int = 0
    test_metric: float | None = None
    _series: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @cached_property
    def first(self) -> int:
        """The first step at which anything was logged."""
        return int(self.rows["step"].min())

    @cached_property
    def last(self) -> int:
        """The last one."""
        return int(self.rows["step"].max())

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps, strictly increasing, and values where a column was logged."""
        if name not in self._series:
            logged = self.rows[["step", name]].dropna() if name in self.rows else pd.DataFrame()
            last = logged.groupby("step")[name].last() if len(logged) else pd.Series(dtype=float)
            self._series[name] = last.index.to_numpy(), last.to_numpy(np.float64)
        return self._series[name]


def canonical(raw: pd.DataFrame, columns: Columns, epoch_updates: int | None = None) -> Log:
    """
    Args:
        raw: what the run logged, rows in order; infinite where no number was logged.
        epoch_updates: updates of one epoch, where the log counts in epochs.

    Raises:
        LeftOutError: it has not what a history needs.
    """
    rows = pd.DataFrame({"step": _steps(raw, columns, epoch_updates)})
    for role in (LOSS, METRIC, ELAPSED):
        name = columns.column(role)
        if name is not None and name in raw:
            rows[role] = raw[name].to_numpy(np.float64)
    if LR in columns.columns:
        rows[LR] = _rate(raw, columns.columns[LR])
    rows = rows[rows["step"].notna()]
    if LOSS not in rows or rows[LOSS].notna().sum() < FEWEST:
        raise LeftOutError(f"fewer than {FEWEST} rows have a train_loss")
    rows["step"] = rows["step"].astype(np.int64)
    kept = rows.drop(columns="step").notna().any(axis=1)
    rows, diverged, recovered = _finite(rows[kept].reset_index(drop=True))
    return Log(rows, diverged, recovered, _last(raw, columns.column(TEST)))


def _steps(raw: pd.DataFrame, columns: Columns, epoch_updates: int | None) -> np.ndarray:
    loss = raw.get(columns.column(LOSS), pd.Series(np.nan, raw.index)).notna()
    step = columns.column(STEP)
    if step is not None:
        if step not in raw or not raw[step].notna().any():
            raise LeftOutError(f"it did not log {cut(step, 60)}")
        steps = _filled(raw[step])
        return steps + 1.0 if (loss & (steps == 0)).any() else steps
    epoch = columns.column(EPOCH)
    if epoch not in raw or not raw[epoch].notna().any():
        raise LeftOutError(f"it did not log {cut(str(epoch), 60)}")
    epochs = _filled(raw[epoch])
    whole = np.all(np.round(epochs[np.isfinite(epochs)]) == epochs[np.isfinite(epochs)])
    if whole and (loss & (epochs == 0)).any():
        epochs = epochs + 1.0
    return np.round(epochs * (epoch_updates or 1))


def _filled(column: pd.Series) -> np.ndarray:
    """Of a row without a step the step of the row before; before the first: step 0, or nothing
    where nothing says so."""
    steps = column.astype(np.float64).ffill().to_numpy(copy=True)
    if np.isinf(steps).any():
        raise LeftOutError("a step is no number")
    if (steps[np.isfinite(steps)] < 0).any():
        raise LeftOutError("a step is below 0")
    if (np.abs(steps[np.isfinite(steps)]) > 2**53).any():
        raise LeftOutError("a step is larger than 2^53")
    return steps


def _rate(raw: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    there = [name for name in names if name in raw and raw[name].notna().any()]
    if not there:
        raise LeftOutError("it did not log a learning rate")
    first = raw[there[0]].to_numpy(np.float64)
    for name in there[1:]:
        other = raw[name].to_numpy(np.float64)
        both = np.isfinite(first) & np.isfinite(other) & (first > 0)
        ratios = other[both] / first[both]
        if len(ratios) and np.ptp(ratios) > SAME_RATIO * np.abs(ratios).max():
            raise LeftOutError(
                f"the rates of its parameter groups {cut(there[0], 60)} and {cut(name, 60)} do not "
                "keep their ratio; choose one with --map lr=…"
            )
    return first


def _finite(rows: pd.DataFrame) -> tuple[pd.DataFrame, int | None, int]:
    """Without what is no number; from which step on there is nothing else; how many recovered."""
    diverged, bad = None, 0
    for role in (LOSS, METRIC):
        if role not in rows:
            continue
        infinite = np.isinf(rows[role].to_numpy())
        finite = np.isfinite(rows[role].to_numpy())
        bad += int(infinite.sum())
        if infinite.any():
            end = rows.loc[finite, "step"].max() if finite.any() else -1
            after = infinite & (rows["step"].to_numpy() > end)
            if after.any():
                at = int(rows.loc[after, "step"].min())
                diverged = at if diverged is None else min(diverged, at)
                bad -= int(after.sum())
        rows.loc[infinite, role] = np.nan
    if diverged is not None:
        rows = rows[rows["step"] < diverged].reset_index(drop=True)
    return rows, diverged, bad


def _last(raw: pd.DataFrame, name: str | None) -> float | None:
    if name is None or name not in raw:
        return None
    values = raw[name].dropna()
    finite = values[np.isfinite(values)]
    return float(finite.iloc[-1]) if len(finite) else None
