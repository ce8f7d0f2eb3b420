"""The results of one row of the comparison on the fresh seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from components.evaluation.ranking import best_validation
from components.evaluation.results import Price, SchedulerEntry
from components.evaluation.statistics import summarize
from components.evaluation.walltime import seconds_per_epoch
from components.training.history import History


def scheduler_entry(runs: Sequence[History], price: Price) -> SchedulerEntry:
    """What the evaluation found for runs of one configuration on different seeds."""
    runs = sorted(runs, key=lambda h: h.meta["seed"])
    tests = {str(h.meta["seed"]): tested(h) for h in runs}
    completed = [h for h in runs if tested(h) is not None]
    sharpness = [found for h in completed if (found := h.meta.get("sharpness"))]
    residuals = [s["residual"] for s in sharpness if s.get("residual") is not None]
    return SchedulerEntry(
        scheduler=runs[0].meta["scheduler"],
        peak_lr=runs[0].meta["peak_lr"],
        test_by_seed=tests,
        test=summarize(tests.values()),
        validation=summarize(best_validation(h) for h in completed),
        final_validation=summarize(float(h.points["val_metric"].iloc[-1]) for h in completed),
        sharpness=summarize(s["lambda_max"] for s in sharpness),
        sharpness_residual=max(residuals, default=None),
        seconds_per_epoch=seconds_per_epoch(runs),
        diverged=len(runs) - len(completed),
        price=price,
    )


def tested(history: History) -> float | None:
    """With the weights of the best validation point; None of a run that diverged, or whose metric
    is not finite."""
    value = history.meta.get("test_metric")
    return value if history.completed and value is not None and math.isfinite(value) else None
