"""The gate: whether a challenger replaces the champion. Figures in, a decision out.

Floors that hold always: the histories passed validation, every run of the challenger completed, and
its LODE reconstructs held-out histories to within `max_error`. Then, where there is a champion:

- not worse: the mean test metric over the same seeds is no more than `tolerance` below the
  champion's, and not significantly below (paired 95 % interval); likewise the reconstruction, whose
  interval is over held-out histories, must not be significantly worse, neither on all of them nor
  on the sweep's alone: otherwise the many runs under a LODE's own schedules could vote in one that
  knows only them;
- better: in the metric named by `better_in` the mean is strictly better. A tie is not better.

All of these are monotone in the figures: who is at least as good in each is never refused where the
other is promoted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator

from components.evaluation.statistics import PairedDifference

# JSON has no infinity and no NaN: records hold null instead, which is read as NaN.
Error = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


@dataclass(frozen=True)
class Rules:
    """See `params.yaml`, section `retraining`."""

    max_error: float
    tolerance: float
    better_in: Literal["reconstruction", "test_metric"]


@dataclass(frozen=True)
class Versus:
    """The challenger beside the champion.

    Attributes:
        error, test: the champion's, as the challenger's in `Figures`.
        error_difference: challenger − champion over the held-out histories; below zero is better.
        sweep_difference: the same over the held-out histories of the sweep alone.
        test_difference: challenger − champion over the seeds; above zero is better.
    """

    error: Error
    test: float | None
    error_difference: PairedDifference
    sweep_difference: PairedDifference
    test_difference: PairedDifference


@dataclass(frozen=True)
class Figures:
    """What a night measured.

    Attributes:
        validated: the histories passed validation. runs, completed: of the challenger.
        error: mean relative MSE on held-out histories; NaN where there are none.
        test: mean test metric of the challenger's completed runs; None without any.
        champion: None where there is none yet.
    """

    validated: bool
    runs: int
    completed: int
    error: Error
    test: float | None
    champion: Versus | None = None


@dataclass(frozen=True)
class GateResult:
    """`promoted`, and the reasons: what was in the way, or what spoke for it."""

    promoted: bool
    reasons: list[str]
    figures: Figures
    rules: Rules

    @property
    def verdict(self) -> Literal["promoted", "refused"]:
        return "promoted" if self.promoted else "refused"


def gate(figures: Figures, rules: Rules) -> GateResult:
    """Decide; nothing is read or written."""
    against = _floors(figures, rules)
    if figures.champion is not None:
        against += _losses(figures.champion, rules)
        if not _is_better(figures.champion, rules):
            against.append(_lack(figures.champion, rules))
    if against:
        return GateResult(False, against, figures, rules)
    return GateResult(True, [_in_favour(figures, rules)], figures, rules)


def _floors(figures: Figures, rules: Rules) -> list[str]:
    against = []
    if not figures.validated:
        against.append("the histories did not pass validation")
    if figures.runs < 1 or figures.completed < figures.runs:
        lost = figures.runs - figures.completed
        against.append(f"{lost} of the challenger's {figures.runs} runs diverged")
    if figures.test is None or not math.isfinite(figures.test):
        against.append("the challenger has no finite test metric")
    if math.isnan(figures.error):
        against.append("its reconstruction of held-out histories could not be measured")
    elif not figures.error <= rules.max_error:
        against.append(
            f"held-out reconstruction error {figures.error:.3g} above the floor of "
            f"{rules.max_error:g} (retraining.max_error)"
        )
    return against


def _losses(champion: Versus, rules: Rules) -> list[str]:
    against = []
    test, error = champion.test_difference, champion.error_difference
    if test.mean is not None and not test.mean >= -rules.tolerance:
        against.append(
            f"test metric {test.mean:+.4f} against the champion, more than the tolerance of "
            f"{rules.tolerance:g} below"
        )
    if _is_surely_below(test.mean, test.high):
        against.append(f"test metric significantly below the champion's: {_interval(test)}")
    for difference, of in ((error, ""), (champion.sweep_difference, " of the sweep")):
        if _is_surely_below(_negative(difference.mean), _negative(difference.low)):
            against.append(f"reconstruction{of} significantly worse: {_interval(difference)}")
    return against


def _is_surely_below(mean: float | None, high: float | None) -> bool:
    """Whether a difference is below zero beyond noise. Where all differences are the same there is
    no interval (`paired_difference`): a loss that is the same everywhere is one."""
    if mean is None:  # the champion has nothing to compare with
        return False
    return not mean >= 0 if high is None else not high >= 0


def _is_better(champion: Versus, rules: Rules) -> bool:
    if rules.better_in == "reconstruction":
        mean = champion.error_difference.mean
        return mean is None or mean < 0
    mean = champion.test_difference.mean
    return mean is None or mean > 0


def _lack(champion: Versus, rules: Rules) -> str:
    if rules.better_in == "reconstruction":
        return f"reconstruction not better: error {_interval(champion.error_difference)}"
    return f"test metric not better: {_interval(champion.test_difference)}"


def _in_favour(figures: Figures, rules: Rules) -> str:
    floors = f"all floors held (reconstruction error {figures.error:.3g})"
    if figures.champion is None:
        return f"no champion yet; {floors}"
    test = _interval(figures.champion.test_difference)
    error = _interval(figures.champion.error_difference)
    return f"{floors}; against the champion: error {error}, test metric {test}"


def _interval(difference: PairedDifference) -> str:
    if difference.mean is None:
        return "nothing of the champion's to compare with"
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.4f} (n = {difference.n})"
    return (
        f"{difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}, "
        f"n = {difference.n})"
    )


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
