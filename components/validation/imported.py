"""Runs of any origin: the suite's expectations that need no declared sweep.

Imported runs and those of former nights belong to no grid, and their learning rates follow no
declared schedule. What is left must hold for each: T points, strictly increasing, finite, in
range. A fault quarantines its run alone, since one bad file must not stop a night.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from components.tasks.own import OwnMetric
from components.training.history import History
from components.validation.checks import Checker
from components.validation.errors import ValidationError
from components.validation.suite import any_run_suites
from components.validation.tables import Sweep, points_table, run_rows
from components.validation.verdict import BadRun, quarantined
from components.validation.wording import listing


@dataclass(frozen=True)
class Checked:
    """`accepted` in the order given; `bad` with their reasons."""

    accepted: list[History]
    bad: list[BadRun]


def check_runs(
    histories: Sequence[History],
    *,
    task: str,
    updates: int,
    points: int,
    unreadable: Mapping[str, str] | None = None,
    max_train_loss: float | None = None,
    max_quarantined: float = 0.2,
    metric: OwnMetric | None = None,
) -> Checked:
    """Check completed runs of one task and budget with Great Expectations.

    Args:
        histories: with distinct run ids; updates, points: their N and T.
        unreadable: files that could not be read and why; they count as bad.
        max_train_loss, metric: as of `Sweep`.
        max_quarantined: stop when a larger share, in [0, 1], is bad.

    Raises:
        ValidationError: too many are bad; names the first of them.
    """
    declared = Sweep(
        task,
        (),
        (),
        (),
        updates,
        points,
        max_train_loss=max_train_loss,
        max_quarantined=max_quarantined,
        metric=metric,
    )
    frames = {"runs": pd.DataFrame(run_rows(histories)), "points": points_table(histories)}
    outcomes, checker = [], Checker()
    for table, expectations in any_run_suites(declared).items():
        if len(frames[table]):
            outcomes += checker.check(table, frames[table], expectations)
    bad = quarantined(outcomes, {history.run_id: history for history in histories})
    faults = [run.describe() for run in bad]
    faults += [f"{name}: {reason}" for name, reason in sorted((unreadable or {}).items())]
    total = len(histories) + len(unreadable or {})
    if len(faults) > max_quarantined * total:
        raise ValidationError(
            f"{len(faults)} of {total} histories of {task} are bad, more than "
            f"{max_quarantined:.0%}: {listing(faults, separator='; ')}; move them out of data/, or "
            "raise validation.max_quarantined"
        )
    names = {run.run_id for run in bad}
    return Checked([history for history in histories if history.run_id not in names], bad)
