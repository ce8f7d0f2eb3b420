"""What a fitted LODE says of a whole run before it begins, for `plan.json`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from components.evaluation.metric import Metric
from components.evaluation.ranking import best_configuration
from components.lode.judge import Judge
from components.lode.model import LODE
from components.lode.opening import Opening
from components.lode.plan_file import (
    GOALS,
    MAXIMIZE,
    Compared,
    Expected,
    Plan,
    PlanMetric,
    pairs_of,
)
from components.schedulers.names import label
from components.schedulers.parametric import PARAMETRIC
from components.training.history import History


def plan_of(
    lode: LODE, judge: Judge | None, sweep: Sequence[History], others: Sequence[History] = ()
) -> Plan:
    """The schedule that a run under this LODE begins with, and what it is worth.

    Args:
        judge: None under the controller `paper`, which expects nothing of a given schedule.
        sweep: the runs whose best configuration it is compared with. others: more that were run.
    """
    updates, points = int(sweep[0].meta["updates"]), lode.config.points
    lowest, metric = lode.config.channels.lowest_lr, metric_of(sweep)
    opening = (judge.config.opening if judge else None) or lode.config.opening
    expected = None
    if judge is not None:
        expected = _expected(judge, opening.plan(updates, points, lowest), metric)
    return Plan(
        task=str(sweep[0].meta["task"]),
        schedule=_words(opening),
        rates=pairs_of(opening.rates(updates, points, lowest), points),
        metric=metric,
        expected=expected,
        compared_with=_compared(sweep, updates, points, metric),
        runs=len(sweep) + len(others),
        updates=updates,
        points=points,
    )


def metric_of(histories: Sequence[History]) -> PlanMetric:
    """What the histories' metadata say; where they say nothing, more of the metric is better."""
    shown = Metric.of(histories)
    goal = next((h.meta["metric_goal"] for h in histories if h.meta.get("metric_goal")), MAXIMIZE)
    return PlanMetric(shown.name, goal if goal in GOALS else MAXIMIZE, shown.percent)


def _expected(judge: Judge, table: np.ndarray, metric: PlanMetric) -> Expected:
    final = judge.final_metric(table[None])[:, 0]
    error = math.hypot(judge.config.error, float(final.std()))
    mean = metric.sign * float(final.mean())
    return Expected(mean, error if math.isfinite(error) else None)


def _compared(
    sweep: Sequence[History], updates: int, points: int, metric: PlanMetric
) -> Compared | None:
    """None where the sweep's best is no parametric schedule, whose rates nobody can state."""
    best = best_configuration(sweep)
    if best.scheduler not in PARAMETRIC or best.peak_lr is None:
        return None
    opening = Opening(schedule=(best.scheduler, best.peak_lr))
    validated = best.validation
    return Compared(
        schedule=_words(opening),
        rates=pairs_of(opening.rates(updates, points), points),
        validated=None if validated.mean is None else metric.sign * validated.mean,
        std=validated.std,
        seeds=validated.n,
    )


def _words(opening: Opening) -> str:
    if opening.table:
        return "a plan that pilots confirmed"
    if opening.schedule:
        name, peak = opening.schedule
        return f"{label(name)}, peak {peak:g}"
    return "the rates of the sweep's best configuration"
