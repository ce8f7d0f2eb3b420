"""The results of one row of the comparison on the fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.ranking import best_validation
from components.evaluation.results import Price, SchedulerEntry
from components.evaluation.statistics import Summary, summarize
from components.evaluation.walltime import relative_cost, seconds_per_epoch
from components.training.history import History


def scheduler_entry(runs: Sequence[History], reference: Summary, price: Price) -> SchedulerEntry:
    """What the evaluation found for runs of one configuration on different seeds.

    Args:
        reference: seconds per epoch of what the cost is relative to.
    """
    runs = sorted(runs, key=lambda h: h.meta["seed"])
    completed = [h for h in runs if h.completed]
    tests = {str(h.meta["seed"]): h.meta.get("test_metric") if h.completed else None for h in runs}
    sharpness = [found for h in completed if (found := h.meta.get("sharpness"))]
    residuals = [s["residual"] for s in sharpness if s.get("residual") is not None]
    seconds = seconds_per_epoch(runs)
    return SchedulerEntry(
        scheduler=runs[0].meta["scheduler"],
        peak_lr=runs[0].meta["peak_lr"],
        test_by_seed=tests,
        test=summarize(tests.values()),
        validation=summarize(best_validation(h) for h in completed),
        final_validation=summarize(float(h.points["val_metric"].iloc[-1]) for h in completed),
        sharpness=summarize(s["lambda_max"] for s in sharpness),
        sharpness_residual=max(residuals, default=None),
        seconds_per_epoch=seconds,
        diverged=len(runs) - len(completed),
        relative_cost=relative_cost(seconds, reference),
        price=price,
    )
