"""The results of each scheduler on the fresh seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from components.evaluation.ranking import best_validation
from components.evaluation.statistics import Summary, summarize
from components.evaluation.walltime import seconds_per_epoch
from components.schedulers.names import LODE
from components.training.history import History


@dataclass(frozen=True)
class SchedulerResult:
    """What the evaluation found for one scheduler.

    Attributes:
        peak_lr: of its chosen configuration; None where there is none to choose (LODE, PBT).
        test_by_seed: test metric at the best validation point; None where the run diverged.
        test, validation: mean ± std over the completed runs, at the best validation point.
        final_validation: the validation metric of the same runs at their last point.
        sharpness: λ_max at the end of the completed runs, `sharpness_residual` the largest
            residual of the eigenpairs.
        seconds_per_epoch: over the completed runs.
        diverged: number of runs without a result.
    """

    scheduler: str
    peak_lr: float | None
    test_by_seed: dict[int, float | None]
    test: Summary
    validation: Summary
    final_validation: Summary
    sharpness: Summary
    sharpness_residual: float | None
    seconds_per_epoch: Summary
    diverged: int


def results(runs: Sequence[History]) -> dict[str, SchedulerResult]:
    """Results by scheduler, LODE last, of runs with one configuration per scheduler."""
    groups: dict[str, list[History]] = defaultdict(list)
    for history in runs:
        groups[history.meta["scheduler"]].append(history)
    names = sorted(groups, key=lambda name: (name == LODE, name))
    return {name: _result(name, groups[name]) for name in names}


def _result(name: str, runs: list[History]) -> SchedulerResult:
    runs = sorted(runs, key=lambda h: h.meta["seed"])
    completed = [h for h in runs if h.completed]
    by_seed = {h.meta["seed"]: h.meta.get("test_metric") if h.completed else None for h in runs}
    sharpness = [found for h in completed if (found := h.meta.get("sharpness"))]
    residuals = [s["residual"] for s in sharpness if s.get("residual") is not None]
    return SchedulerResult(
        scheduler=name,
        peak_lr=runs[0].meta["peak_lr"],
        test_by_seed=by_seed,
        test=summarize(by_seed.values()),
        validation=summarize(best_validation(h) for h in completed),
        final_validation=summarize(float(h.points["val_metric"].iloc[-1]) for h in completed),
        sharpness=summarize(s["lambda_max"] for s in sharpness),
        sharpness_residual=max(residuals, default=None),
        seconds_per_epoch=seconds_per_epoch(runs),
        diverged=len(runs) - len(completed),
    )
