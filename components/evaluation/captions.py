"""What stands under the page's figures and above its tables."""

from __future__ import annotations

from dataclasses import dataclass

from components.evaluation.notation import with_peak
from components.evaluation.order import LINES, SHOWN, ranked, shown_first
from components.evaluation.results import Evaluation
from components.evaluation.shared import named, together
from components.schedulers.names import LODE, label

ERRORS = (
    "Error of the LODE's predictions over whole runs after seeing the first 5 % or 50 %: mean "
    "squared error relative to the channel's variance (1 is what predicting the mean would reach), "
    "mean ± standard deviation over runs."
)
SHARPNESS = (
    "Eigenvalues of the training loss's Hessian, mean ± standard deviation over the seeds, at so "
    "much of the training. Highest η·λₘₐₓ: of the plain Hessian, where plain gradient descent's "
    "edge is 2. Of the edge: η·λₘₐₓ of the Hessian that the optimizer sees, in multiples of its "
    "own edge, median of the measurements. A population is measured at its end only."
)


ERRORS_BY_SCHEDULER = (
    "The same errors over the runs of each scheduler, relative to the variance over all of them."
)


@dataclass(frozen=True)
class Caption:
    """Title and text under a figure, and what is read out instead of it."""

    title: str
    text: str
    alternative: str


def results(evaluation: Evaluation) -> str:
    name, metric = evaluation.metric, evaluation.shown
    seeds = max(entry.test.n for entry in evaluation.schedulers.values())
    spread = f"Mean ± standard deviation over {seeds} seeds" if seeds > 1 else "One seed, no spread"
    unit = ", in percentage points" if evaluation.percent else ""
    return (
        f"{spread}, test {name} at the best validation point; {metric.better}. Bold: the best "
        f"mean. Behind the best: paired difference{unit}; ≈: the paired t test cannot tell it from "
        "zero (p ≥ 0.05, adjusted for all rows by Holm's method). Peak learning rates were chosen "
        f"by validation {name} on the sweep's seeds. Cost: trainings spent before, on choosing a "
        "peak learning rate or on what the LODE learned from; one a run comes on top unless said. "
        "Seconds per epoch are wall time without validation."
    )


def comparisons(evaluation: Evaluation) -> str:
    unit = ", in percentage points" if evaluation.percent else ""
    n = sum(pair.p_value is not None for pair in evaluation.comparisons[LODE].values())
    return (
        f"Paired differences of test {evaluation.metric} on the seeds both completed{unit}, with "
        "Student's 95 % interval of each alone. p: two-sided paired t test, adjusted for the "
        f"{n} comparisons of this table by Holm's method."
    )


def learning_rates(evaluation: Evaluation) -> Caption:
    best, n = label(evaluation.best_baseline), evaluation.schedulers[LODE].test.n
    same = together(evaluation).get(LODE, (LODE,))
    if evaluation.best_baseline in same:
        text = f"One line: LODE's runs are {best}'s to the bit, on every seed."
    else:
        asked = evaluation.lode.decisions
        moved = asked.total - sum(asked.kept.values())
        text = "Each LODE run chooses its own, a thin line each." if moved else ""
        text = text or "All LODE runs kept to the plan they began with, hence one line."
        text += f" {best} is the best baseline on validation."
    alternative = f"Learning rate of the {n} LODE runs and of {best} over training, log scale."
    return Caption("Learning rate over training", text, alternative)


def train_loss(evaluation: Evaluation) -> Caption:
    return Caption(
        "Training loss",
        f"Geometric mean over seeds, log axis; band of LODE: ± 1 standard deviation of the "
        f"logarithm.{_limits(evaluation, LINES)}",
        "Training loss of each scheduler over training, log scale.",
    )


def val_metric(evaluation: Evaluation) -> Caption:
    name = evaluation.metric
    return Caption(
        f"Validation {name}",
        f"Mean over seeds, {evaluation.shown.better}; band of LODE: ± 1 standard deviation. "
        f"The first quarter of the training may lie outside.{_limits(evaluation, LINES)}",
        f"Validation {name} of each scheduler over training.",
    )


def sharpness_over_training(evaluation: Evaluation) -> Caption:
    return Caption(
        "Sharpness over training",
        "Largest and, dotted, negated smallest eigenvalue of the training loss's Hessian, and "
        "η·λₘₐₓ in multiples of the optimizer's edge of stability: geometric mean over the seeds, "
        f"band ± 1 standard deviation of the logarithm.{_limits(evaluation, LINES)}",
        "Largest and smallest eigenvalue of the Hessian, and η times the largest relative to the "
        "edge of stability, of each scheduler over training, log scale.",
    )


def test(evaluation: Evaluation) -> Caption:
    metric = evaluation.shown
    tests = "; ".join(
        f"{label(row)} {metric.mean(evaluation.schedulers[row].test)}{metric.unit}"
        for row in shown_first(evaluation)
    )
    return Caption(
        f"Test {metric.name} of every run",
        f"A dot per seed; diamond and bar: mean and its 95 % interval. {_sentence(metric.better)}"
        f"{_limits(evaluation)}",
        f"Test {metric.name} of every run by scheduler. Means: {tests}.",
    )


def differences(evaluation: Evaluation) -> Caption:
    name, side = evaluation.metric, "Left" if evaluation.lower else "Right"
    return Caption(
        "LODE minus each other",
        f"Mean paired difference of test {name} and its 95 % interval; filled: told from zero "
        f"after Holm's adjustment. {side} of zero LODE is better.{_limits(evaluation)}",
        f"Paired differences of test {name}, LODE minus each other scheduler, with intervals.",
    )


def sharpness(evaluation: Evaluation) -> Caption:
    return Caption(
        "Sharpness",
        "Largest eigenvalue of the training loss's Hessian after the last update; a dot per seed, "
        "diamond: mean, log axis. Lower is flatter, which alone does not make a network better."
        f"{_limits(evaluation)}",
        "Sharpness of every run by scheduler.",
    )


def sweep(evaluation: Evaluation) -> Caption:
    metric = evaluation.shown
    own = {one.runs for one in evaluation.sweep.configurations}
    fewer = " n: runs, where others have more, as after a race." if len(own) > 1 else ""
    return Caption(
        f"Validation {metric.name} of the sweep{metric.column}",
        "Mean over seeds at the best validation point; framed: the peak learning rate chosen "
        f"for each scheduler.{fewer} {_sentence(metric.better)}",
        f"Mean validation {metric.name} by scheduler and peak learning rate.",
    )


def plans(evaluation: Evaluation) -> Caption:
    return Caption(
        "The plan",
        "Finalists of the pilots (grey), the plan that LODE's runs begin with where one was "
        "adopted, and by name the best schedule of the sweep.",
        "Learning rates of the plan, the other finalists and the sweep's best schedule over "
        "training.",
    )


def expectations(evaluation: Evaluation) -> Caption:
    name = evaluation.metric
    return Caption(
        "What was expected of the plan in force",
        f"Final validation {name} as predicted at each decision, one line per seed; a "
        "dot where the plan was changed.",
        f"Predicted final validation {name} at each decision of each LODE run.",
    )


def latent_space(evaluation: Evaluation) -> Caption:
    return Caption(
        "Where the LODE finds runs to be",
        "Its state at the end of each 5 % of a run, told from these alone, in two dimensions: up "
        "to five runs of every scheduler's best configuration and of LODE's own.",
        "The LODE's states of several runs in a plane, coloured by share of training, training "
        f"loss, validation {evaluation.metric}, learning rate and scheduler.",
    )


def trajectory(evaluation: Evaluation, share: int) -> Caption:
    """Of the run whose prediction is drawn."""
    drawn = evaluation.trajectories
    text = f"The LODE sees the shaded first {share} %."
    if drawn:
        kind = "held out of the fit" if drawn.held_out else "a run of the fit"
        run = f"{with_peak(drawn.scheduler, drawn.peak_lr)}, seed {drawn.seed}"
        text = f"{run}, {kind}; the LODE sees the shaded first {share} %."
    name = evaluation.metric
    return Caption(
        f"Predicted from the first {share} %",
        text,
        f"Observed and predicted training loss, learning rate and validation {name}. {text}",
    )


def _limits(evaluation: Evaluation, most: int = SHOWN) -> str:
    """What is not drawn, and what is drawn once for two rows."""
    shown, order = shown_first(evaluation, most), ranked(evaluation)
    text = ""
    if len(shown) < len(order):
        text += f" Of {len(order)} schedulers the best {most}, and LODE and the best baseline."
    for rows in together(evaluation).values():
        if len(rows) > 1:
            text += f" {named(rows)}: the same runs, drawn once."
    return text


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
