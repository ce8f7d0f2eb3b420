"""Of an evaluation, the few numbers that are compared between experiments."""

from __future__ import annotations

from components.evaluation.results import Evaluation
from components.schedulers.names import LODE


def key_metrics(found: Evaluation) -> dict[str, float]:
    """metrics.json: at most ten numbers by name, flat; what was not measured is left out.

    `gain` is LODE's test metric less the best baseline's, with its 95 % interval.
    """
    lode, best = found.schedulers[LODE], found.schedulers[found.best_baseline]
    gain = found.comparisons[LODE][found.best_baseline]
    fit, pilots, validation = found.lode.fit, found.pilots, found.validation
    numbers: dict[str, float | None] = {
        "lode": lode.test.mean,
        "baseline": best.test.mean,
        "gain": gain.mean,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "diverged": lode.diverged,
        "sharpness": lode.sharpness.mean,
        "fit_error": fit.best_error if fit else None,
        "pilot_gain": pilots.gain.mean if pilots else None,
        "accepted": validation.accepted if validation else None,
    }
    return {name: number for name, number in numbers.items() if number is not None}
