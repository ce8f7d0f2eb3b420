"""Whether a finalist is believed to be better than the sweep's best: paired runs, until that is so.

The baseline has run on the sweep's seeds already, so there a pair costs one run. It was chosen as
the best on these very seeds, which flatters it, not the finalist. Fresh pairs follow only while the
matter is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import norm, t

from components.evaluation.results import Gain
from components.evaluation.statistics import summarize
from components.training.history import History

# In the end a gain is believed above half a standard error. With none an expected loss would count
# like a gain, with a half it counts 3.5 times as much, with one 13 times: then seven pairs refused
# three finalists of three that were better (docs/research/scheduler.md, entries 12 and 25). Few
# pairs: Student's t at the same level.
CONFIDENCE = float(norm.cdf(0.5))
# Before the last pair it takes more to adopt, and a loss of a standard error to refuse.
EARLY, HOPELESS = 0.975, float(norm.cdf(-1.0))


def paired_gain(runs: Sequence[History], baseline: Sequence[History]) -> Gain:
    """Mean over the seeds of `runs`' best validation metric less `baseline`'s, and its standard
    error. None where a run of ours diverged; seeds on which only the baseline did are left out."""
    theirs = {h.meta["seed"]: h.meta["best_val_metric"] for h in baseline if h.completed}
    if not all(run.completed for run in runs):
        return Gain()
    found = summarize(
        run.meta["best_val_metric"] - theirs[run.meta["seed"]]
        for run in runs
        if run.meta["seed"] in theirs
    )
    if found.mean is None or found.std is None:
        return Gain(n=found.n)
    return Gain(found.mean, found.std / math.sqrt(found.n), found.n)


def verdict(gain: Gain, left: int) -> bool | None:
    """Whether a plan with this gain is followed; None: that is for the next of `left` pairs to say.

    Without an estimate a diverged finalist is refused, and one with too few pairs waits for more.
    """
    if gain.mean is None or gain.error is None:
        return None if left and gain.n else False
    better = _confidence(gain.mean, gain.error, gain.n)
    if not left:
        return better > CONFIDENCE
    if better > EARLY:
        return True
    return False if better < HOPELESS else None


def _confidence(mean: float, error: float, n: int) -> float:
    """That the true gain is above 0; pairs that all agree to the bit say what they say."""
    if error == 0:
        return 0.5 + 0.5 * ((mean > 0) - (mean < 0))
    return float(t.cdf(mean / error, n - 1))
