"""What stands under the page's figures and above its tables."""

from __future__ import annotations

from dataclasses import dataclass

from components.evaluation.notation import percent, with_peak
from components.evaluation.result_tables import ranked
from components.evaluation.results import Evaluation, TrajectoryEntry
from components.schedulers.names import label

COMPARISONS = (
    "Paired differences of test accuracy on the seeds both completed, in percentage points, with "
    "Student's t interval and two-sided paired t test, not adjusted for the number of comparisons."
)
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
    n, best = len(evaluation.setup.seeds), label(evaluation.best_baseline)
    results = (
        f"Mean ± standard deviation over {n} seeds, test accuracy at the best validation point. "
        "Peak learning rates were chosen by validation accuracy on the sweep's seeds. Search: runs "
        "spent before, on choosing a peak learning rate or on what the LODE learned from. Seconds "
        f"per epoch are wall time without validation; cost is relative to {best}."
    )
    return {"results": results, "comparisons": COMPARISONS, "errors": ERRORS}


def figure_captions(evaluation: Evaluation) -> dict[str, Caption]:
    """By figure, whether it was drawn or not."""
    captions = _of_runs(evaluation) | _of_schedules()
    drawn = evaluation.trajectories
    if drawn:
        captions |= {f"trajectories_{share}": _trajectory(drawn, share) for share in (5, 50)}
    return captions


def _of_runs(evaluation: Evaluation) -> dict[str, Caption]:
    """Figures of the runs on the fresh seeds."""
    best, n = label(evaluation.best_baseline), len(evaluation.setup.seeds)
    tests = "; ".join(
        f"{label(row)} {percent(evaluation.schedulers[row].test)} %" for row in ranked(evaluation)
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
            "Validation accuracy",
            f"Mean of {n} seeds, band ± 1 standard deviation.",
            "Validation accuracy of each scheduler over training.",
        ),
        "test": Caption(
            "Test accuracy of every run",
            "Diamond and bar: mean and its 95 % interval.",
            f"Test accuracy of every run by scheduler. Means: {tests}.",
        ),
        "sharpness": Caption(
            "Sharpness",
            "Largest eigenvalue of the training loss's Hessian after the last update; diamond: "
            "mean, log axis. Lower is flatter, which alone does not make a network better.",
            "Sharpness of every run by scheduler.",
        ),
    }


def _of_schedules() -> dict[str, Caption]:
    """Figures of the sweep, the plan and the decisions."""
    return {
        "sweep": Caption(
            "Validation accuracy of the sweep (%)",
            "Mean over seeds at the best validation point; framed: the peak learning rate chosen "
            "for each scheduler.",
            "Mean validation accuracy by scheduler and peak learning rate.",
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
            "Final validation accuracy as predicted at each decision, one line per seed; a dot "
            "where the plan was changed.",
            "Predicted final validation accuracy at each decision of each LODE run.",
        ),
    }


def _trajectory(drawn: TrajectoryEntry, share: int) -> Caption:
    kind = "held out of the fit" if drawn.held_out else "a run of the fit"
    run = f"{with_peak(drawn.scheduler, drawn.peak_lr)}, seed {drawn.seed}"
    text = f"{run}, {kind}; the LODE sees the shaded first {share} %."
    return Caption(
        f"Predicted from the first {share} %",
        text,
        f"Observed and predicted training loss, learning rate and validation accuracy. {text}",
    )
