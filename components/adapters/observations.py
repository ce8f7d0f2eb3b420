"""What a training reports, whenever it likes, as the log points that a LODE reads.

A log point is due after `round(p · N / T)` updates. Loss and metric are each linear between the
updates at which they were reported, and before their first report they are as in it. A log point is
known once both were reported at it or later: nothing is made up ahead of what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.lode.errors import LODEError
from components.training.run import SERIES, log_steps

REPORTED = SERIES[:2]  # by the training; the learning rates are known


@dataclass(frozen=True)
class Row:
    """What is known at a log point: as a history has it."""

    point: int
    train_loss: float
    val_metric: float
    lr: float


class Observations:
    """The reports of one run of N `updates` and T `points`."""

    def __init__(self, updates: int, points: int) -> None:
        self.steps = log_steps(updates, points)
        self._known = 0  # log points that were handed out
        self._applied: list[float] = []  # the last rate before each log point that has passed
        self._reports: dict[str, list[tuple[int, float]]] = {name: [] for name in REPORTED}

    def retime(self, steps: Sequence[int]) -> None:
        """The run's budget has changed: its log points from now on; those that have passed stay."""
        self.steps = list(steps)

    def passed(self, done: int, lr: float) -> None:
        """After update number `done` (from 1), which had the rate `lr`."""
        reached = len(self._applied)
        if reached < len(self.steps) and done == self.steps[reached]:
            self._applied.append(lr)

    def at_point(self, done: int) -> bool:
        """Whether update number `done`, the last that has passed, leads to a log point."""
        return bool(self._applied) and self.steps[len(self._applied) - 1] == done

    def add(self, done: int, **values: float | None) -> list[Row]:
        """A report after `done` updates; returns the log points that are known now and were not.

        Args:
            values: `train_loss`, `val_metric`; finite, or None for what was not measured.

        Raises:
            LODEError: one was reported after so many updates already.
        """
        for name, value in values.items():
            reports = self._reports[name]
            if value is not None and reports and reports[-1][0] >= done:
                raise LODEError(
                    f"{name} was reported after {reports[-1][0]} updates already, and is again "
                    f"after {done}: report it once, after scheduler.step()"
                )
        for name, value in values.items():
            if value is not None:
                self._reports[name].append((done, float(value)))
        return self._new_rows()

    def _new_rows(self) -> list[Row]:
        if not all(self._reports.values()):
            return []
        until = min(reports[-1][0] for reports in self._reports.values())
        reached = int(np.searchsorted(self.steps, until, "right"))
        first, last = self._known, min(reached, len(self._applied))
        at = self.steps[first:last]
        loss, metric = (_between(self._reports[name], at) for name in REPORTED)
        self._known = max(first, last)
        self._forget()
        lrs = self._applied[first:last]
        rows = zip(range(first + 1, last + 1), loss, metric, lrs, strict=True)
        return [Row(point, float(a), float(b), lr) for point, a, b, lr in rows]

    def _forget(self) -> None:
        """Reports that no later log point lies after, but the last of them."""
        if self._known:
            edge = self.steps[self._known - 1]
            for name, reports in self._reports.items():
                before = sum(done <= edge for done, _ in reports)
                self._reports[name] = reports[max(before - 1, 0) :]

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""
        reports = {name: [list(one) for one in found] for name, found in self._reports.items()}
        return {"known": self._known, "applied": list(self._applied), "reports": reports}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._known = int(state["known"])
        self._applied = [float(lr) for lr in state["applied"]]
        self._reports = {
            name: [(int(done), float(value)) for done, value in state["reports"][name]]
            for name in REPORTED
        }


def _between(reports: list[tuple[int, float]], steps: list[int]) -> np.ndarray:
    """Values at `steps`, linear between the reports, constant before the first."""
    done, values = np.array(reports, dtype=np.float64).T
    return np.interp(np.array(steps), done, values)


def finite(*values: float | None) -> bool:
    """Whether all that was measured is a finite number."""
    return all(value is None or math.isfinite(value) for value in values)
