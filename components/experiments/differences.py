"""LODE minus another row of the comparison: by seed, as text, and which row is the sweep's best."""

from __future__ import annotations

from components.evaluation.metric import Metric
from components.evaluation.notation import NONE
from components.evaluation.results import Evaluation
from components.evaluation.statistics import PairedDifference, paired_difference
from components.experiments.command import ExperimentError
from components.schedulers.names import LODE

Differences = dict[str, float]  # by seed, or by what else they are paired over; as the metric is


def sweeps_best(evaluation: Evaluation, folder: str) -> str:
    """The row of the sweep's best configuration. A baseline tuned beside the sweep may be better.

    Raises:
        ExperimentError: such a one is, and there were no pilots to say what was the sweep's own.
    """
    swept = {one.scheduler for one in evaluation.sweep.configurations}
    if evaluation.best_baseline in swept:
        return evaluation.best_baseline
    if evaluation.pilots and evaluation.pilots.baseline:
        return evaluation.pilots.baseline.scheduler
    raise ExperimentError(
        f"{folder}: its best baseline, {evaluation.best_baseline}, is not of the sweep; take it "
        f"out of baselines.schedulers and run `lode evaluate --params {folder}/params.yaml`"
    )


def minus(evaluation: Evaluation, row: str) -> Differences:
    """Test metric of LODE minus a row's, on the seeds that both completed."""
    ours, theirs = (evaluation.schedulers[name].test_by_seed for name in (LODE, row))
    return {
        seed: one - other
        for seed, one in ours.items()
        if one is not None and (other := theirs.get(seed)) is not None
    }


def above_zero(differences: Differences) -> PairedDifference:
    """Their mean with Student's interval."""
    return paired_difference(differences, dict.fromkeys(differences, 0.0))


def text(pair: PairedDifference | None, metric: Metric) -> str:
    """`+0.28 (+0.13 to +0.43)`, bold where the interval excludes 0."""
    if pair is None or pair.mean is None:
        return NONE
    if pair.mean == pair.low == pair.high == 0:
        return "exact tie"
    mean, reach = metric.difference(pair.mean), metric.interval(pair)
    mean = mean if reach == NONE else f"{mean} ({reach})"
    return f"**{mean}**" if pair.significant else mean
