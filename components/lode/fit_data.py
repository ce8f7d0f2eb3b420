"""Which histories a LODE is fitted on, and what it begins a run with."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.ranking import (
    best_configuration,
    best_validation,
    configurations,
    standing,
)
from components.lode.channels import LOSS, METRIC
from components.lode.errors import LODEError
from components.training.history import History

ONE_IN = 5  # configurations is held out where no seed can be, as in the judge's parts


@dataclass(frozen=True)
class FitData:
    """Completed histories: `series` (R, T, 3) in original units, `held_out` (R,) bool, `schedulers`
    (R,) by name; `diverged` were left out."""

    series: np.ndarray
    held_out: np.ndarray
    schedulers: np.ndarray
    diverged: int

    @classmethod
    def of(
        cls, sweep: Sequence[History], pilots: Sequence[History], held_out_seeds: int
    ) -> FitData:
        """Of all completed runs, a part of the sweep's held out (`held_out_runs`).

        Raises:
            LODEError: no completed run in the sweep, several tasks, lengths or budgets, a series
                that is short or not finite, nothing left to fit, or a metric to be minimised.
        """
        completed = [history for history in sweep if history.completed]
        if not completed:
            raise LODEError(
                f"none of {len(sweep)} histories is of a completed run; run `lode sweep` first"
            )
        apart = held_out_runs(completed, held_out_seeds)
        last = {h.meta["seed"] for h in completed if h.run_id in apart}
        whole = all(h.run_id in apart for h in completed if h.meta["seed"] in last)
        completed += [history for history in pilots if history.completed]
        check(completed)
        if len(apart) == len(completed):
            raise LODEError(
                f"held_out_seeds = {held_out_seeds} leaves none of {len(completed)} runs of one "
                "configuration to fit"
            )
        held_out = [h.run_id in apart or (whole and h.meta["seed"] in last) for h in completed]
        series = np.stack([h.series() for h in completed])
        schedulers = np.array([str(h.meta["scheduler"]) for h in completed])
        lost = len(sweep) + len(pilots) - len(completed)
        return cls(series, np.array(held_out), schedulers, lost)


def held_out_runs(sweep: Sequence[History], seeds: int) -> set[str]:
    """Ids of the completed runs that choose the best weights: those of the largest `seeds` seeds.

    Where most configurations have no other seed, as in runs that others have made, one in
    `ONE_IN` configurations instead, evenly along their ranking, the best not among them.
    """
    completed = [history for history in sweep if history.completed]
    last = set(sorted({h.meta["seed"] for h in completed})[-seeds:]) if seeds else set()
    runs: dict[tuple[str, float | None], list[History]] = defaultdict(list)
    for history in completed:
        runs[history.configuration].append(history)
    both = sum(len({h.meta["seed"] in last for h in group}) == 2 for group in runs.values())
    if not last or 2 * both >= len(runs):
        return {h.run_id for h in completed if h.meta["seed"] in last}
    ranked = sorted(configurations(completed), key=standing, reverse=True)
    apart = ranked[ONE_IN // 2 :: ONE_IN] or ranked[-1:]
    return {h.run_id for one in apart for h in runs[one.scheduler, one.peak_lr]}


def initial_schedule(histories: Sequence[History]) -> tuple[float, ...]:
    """Learning rates of the best configuration; where its runs differ (learned schedulers), of its
    best run."""
    best = best_configuration(histories)
    runs = [run for run in histories if run.configuration == (best.scheduler, best.peak_lr)]
    winner = max(runs, key=lambda run: (run.completed, best_validation(run)))
    return tuple(float(lr) for lr in winner.points["lr"])


def check(histories: Sequence[History]) -> None:
    """
    Raises:
        LODEError: completed runs of several tasks, lengths or budgets, one that is short or not
            finite, or a metric to be minimised.
    """
    for key, plural in (("task", "tasks"), ("points", "lengths"), ("updates", "budgets")):
        values = sorted({str(history.meta[key]) for history in histories})
        if len(values) > 1:
            raise LODEError(f"histories of several {plural}: {', '.join(values)}; fit them apart")
    points = int(histories[0].meta["points"])
    for history in histories:
        if len(history.points) != points:
            raise LODEError(
                f"{history.describe()} ({history.run_id}) has {len(history.points)} of {points} "
                "points; quarantine it"
            )
        if not np.isfinite(history.series()).all():
            raise LODEError(
                f"{history.describe()} ({history.run_id}) has values that are not finite; "
                "quarantine it"
            )
    if len({history.meta["scheduler"] for history in histories}) == 1:
        warnings.warn(
            f"all {len(histories)} histories are of scheduler {histories[0].meta['scheduler']}: a "
            "LODE needs several kinds of schedule to learn what a learning rate does (the paper's "
            "Table 4); add others to sweep.schedulers",
            stacklevel=4,
        )
    _check_direction(np.stack([history.series() for history in histories]))


def _check_direction(series: np.ndarray) -> None:
    """A metric that is lower where the loss is lower is an error rate, not an accuracy."""
    loss, metric = series[..., LOSS].ravel(), series[..., METRIC].ravel()
    if np.ptp(metric) == 0 or np.ptp(loss) == 0:
        return
    a, b = (x.argsort(kind="stable").argsort() / len(x) - 0.5 for x in (loss, metric))
    if 12 * float(np.mean(a * b)) > 0.5:  # their rank correlation
        raise LODEError(
            "val_metric falls as the train loss falls, so lower seems to be better; everything "
            "here maximises it: log its negative (or 1 - error) instead"
        )
