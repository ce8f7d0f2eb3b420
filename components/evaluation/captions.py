"""What stands under the page's figures and above its tables."""

from __future__ import annotations

from dataclasses import dataclass

from components.evaluation.metric import Metric
from components.evaluation.notation import with_peak
from components.evaluation.result_tables import ranked
from components.evaluation.results import Evaluation, TrajectoryEntry
from components.schedulers.names import label

ERRORS = (
    "Error of the LODE's predictions over whole runs after seeing the first 5 % or 50 %: mean "
    "squared error relative to the channel's variance (1 is what predicting the mean would reach), "
    "mean ± standard deviation over runs."
)


@dataclass(frozen=True)
class Caption:
    """Title and text under a figure, and what is read out instead of it."""

    title: str
    text: str
    alternative: str


def table_captions(evaluation: Evaluation) -> dict[str, str]:
    """By table: `results`, `comparisons`, `errors`."""
    name, unit = evaluation.metric, ", in percentage points" if evaluation.percent else ""
    n, best = len(evaluation.setup.seeds), label(evaluation.best_baseline)
    results = (
        f"Mean ± standard deviation over {n} seeds, test {name} at the best validation point. "
        f"Peak learning rates were chosen by validation {name} on the sweep's seeds. Search: runs "
        "spent before, on choosing a peak learning rate or on what the LODE learned from. Seconds "
        f"per epoch are wall time without validation; cost is relative to {best}."
    )
    comparisons = (
        f"Paired differences of test {name} on the seeds both completed{unit}, with Student's t "
        "interval and two-sided paired t test, not adjusted for the number of comparisons."
    )
    return {"results": results, "comparisons": comparisons, "errors": ERRORS}


def figure_captions(evaluation: Evaluation) -> dict[str, Caption]:
    """By figure, whether it was drawn or not."""
    captions = _of_runs(evaluation) | _of_schedules(evaluation.shown)
    drawn = evaluation.trajectories
    if drawn:
        captions |= {
            f"trajectories_{share}": _trajectory(drawn, share, evaluation.metric)
            for share in (5, 50)
        }
    return captions


def _of_runs(evaluation: Evaluation) -> dict[str, Caption]:
    """Figures of the runs on the fresh seeds."""
    best, n = label(evaluation.best_baseline), len(evaluation.setup.seeds)
    metric = evaluation.shown
    tests = "; ".join(
        f"{label(row)} {metric.mean(evaluation.schedulers[row].test)}{metric.unit}"
        for row in ranked(evaluation)
    )
    return {
        "learning_rates": Caption(
            "Learning rate over training",
            f"Each LODE run chooses its own, one thin line per seed; {best} is the best baseline "
            "on validation.",
            f"Learning rate of the {n} LODE runs and of {best} over training, log scale.",
        ),
        "train_loss": Caption(
            "Training loss",
            f"Geometric mean of {n} seeds, band ± 1 standard deviation of the logarithm.",
            "Training loss of each scheduler over training, log scale.",
        ),
        "val_metric": Caption(
            f"Validation {metric.name}",
            f"Mean of {n} seeds, band ± 1 standard deviation.",
            f"Validation {metric.name} of each scheduler over training.",
        ),
        "test": Caption(
            f"Test {metric.name} of every run",
            "Diamond and bar: mean and its 95 % interval.",
            f"Test {metric.name} of every run by scheduler. Means: {tests}.",
        ),
        "sharpness": Caption(
            "Sharpness",
            "Largest eigenvalue of the training loss's Hessian after the last update; diamond: "
            "mean, log axis. Lower is flatter, which alone does not make a network better.",
            "Sharpness of every run by scheduler.",
        ),
    }


def _of_schedules(metric: Metric) -> dict[str, Caption]:
    """Figures of the sweep, the plan and the decisions."""
    return {
        "sweep": Caption(
            f"Validation {metric.name} of the sweep{metric.column}",
            "Mean over seeds at the best validation point; framed: the peak learning rate chosen "
            "for each scheduler.",
            f"Mean validation {metric.name} by scheduler and peak learning rate.",
        ),
        "plans": Caption(
            "The plan",
            "Finalists of the pilots, the plan that LODE's runs begin with, and the best schedule "
            "of the sweep.",
            "Learning rates of the plan, the other finalists and the sweep's best schedule over "
            "training.",
        ),
        "expectations": Caption(
            "What was expected of the plan in force",
            f"Final validation {metric.name} as predicted at each decision, one line per seed; a "
            "dot where the plan was changed.",
            f"Predicted final validation {metric.name} at each decision of each LODE run.",
        ),
    }


def _trajectory(drawn: TrajectoryEntry, share: int, metric: str) -> Caption:
    kind = "held out of the fit" if drawn.held_out else "a run of the fit"
    run = f"{with_peak(drawn.scheduler, drawn.peak_lr)}, seed {drawn.seed}"
    text = f"{run}, {kind}; the LODE sees the shaded first {share} %."
    return Caption(
        f"Predicted from the first {share} %",
        text,
        f"Observed and predicted training loss, learning rate and validation {metric}. {text}",
    )
