"""When a run's budget changes on the way: its log points from then on, and a new plan for the rest.

What is done stays: the log points that have passed, their rates, what was seen. Log points keep
their distance in updates, so a shorter run has fewer of them and a longer one more.

The judge goes on counting in *updates*: what a rate does to the weights in one update does not
depend on how many will follow, and its field knows no time. So a run of 70 % of the length that was
fitted is 0.7 of its unit of time, one of 150 % is 1.5 units, of which it has seen one. The LODE,
which knows only whole runs, reads the run in *shares* of the new length, as in a run that began
with another length than the fit's; what it proposes is the judge's to value.

The plan in force, stretched over what is left, is kept unless the judge can be believed that
another gains, as at a decision (`control`). Without that guard the rest was planned worse than
stretched on one of two settings (docs/research/scheduler.md, entry 24).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

from components.lode.algorithm1 import Model, best_samples, encode, propose
from components.lode.control import believed, candidates, continued
from components.lode.errors import LODEError
from components.lode.judge import Judge
from components.storage.shown import shown
from components.training.threads import one_thread

# Times the length that a run began with: far beyond it nothing that was fitted holds, and log
# points, which keep their distance, would be too many for the LODE to read.
LONGEST = 10
# The last parts of the rest over which the rate in force may fall to the least, after having been
# held: from cosine's habit (at once) to that of warmup-stable-decay (the last fifth).
DECAYS = (1.0, 0.5, 0.2)

STRETCHED, AGAIN, DECAY, PROPOSED = "stretched", "opening", "decay", "LODE"
Count = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Change:
    """A change of a run's budget.

    Attributes:
        done: updates done by then. updates: N from then on.
        decisions: how many were made before.
        chosen: where the new plan is from: `stretched`, the plan in force, over what is left;
            `opening`, what a run of the new length would begin with; `decay`, the rate in force,
            held and lowered; `LODE`, its proposals.
        expected, spread: mean and standard deviation over the judge's members of the final metric
            under it; None where nobody judged. gain: of the best of the others over the stretched
            plan, believed or not.
    """

    done: Count
    updates: Annotated[int, Ge(1)]
    decisions: Count = 0
    chosen: str = STRETCHED
    expected: float | None = None
    spread: float | None = None
    gain: float | None = None


def check_budget(steps: Any, done: int, updates: int, began_with: int) -> None:
    """
    Args:
        steps: the budget asked for. done: updates done. updates: the budget so far. began_with:
            the first one.

    Raises:
        LODEError: `steps` is no whole number, is done already, or is too far from what the run
            began with; or the run has ended.
    """
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise LODEError(f"total steps = {shown(steps)}: the updates of the run, a whole number")
    if done >= updates:
        raise LODEError(
            f"all {updates} updates of the run are done, so that {steps} come too late: begin a "
            "new run, or say so before the last update"
        )
    if steps <= done:
        raise LODEError(
            f"total steps = {steps}, and {done} updates are done already: give more than these, "
            "or stop the training here"
        )
    if steps > LONGEST * began_with:
        raise LODEError(
            f"total steps = {steps} is more than {LONGEST} times the {began_with} that the run "
            "began with, of which the LODE knows nothing: begin a new run"
        )


def log_steps_after(
    ends: Sequence[int], done: int, updates: int, every: float
) -> tuple[int, list[int]]:
    """How many log points have passed, and the updates done at each of the new run's.

    Args:
        ends: of the run so far. every: updates between log points, 1 or more.

    Returns:
        (p, ends'): the first p are the old ones up to `done`, the others lie evenly after it, up to
        the new budget, at about the old distance.
    """
    passed = [end for end in ends if end <= done]
    start = passed[-1] if passed else 0
    count = max(1, round((updates - start) / every))
    while start + round((updates - start) / count) <= done:
        count -= 1  # of one, the point is the end, which is not done
    ahead = [start + round(k * (updates - start) / count) for k in range(1, count + 1)]
    return len(passed), passed + ahead


def stretched(plan: np.ndarray, points: int, passed: int, new: int) -> np.ndarray:
    """What `plan` has after `passed` of its T = `points` log points, over the rest of `new`.

    Args:
        plan: (T + 1,) rates at the log points, or (T,) of the intervals, which are held.

    Returns:
        Likewise of `new` points; the rates up to `passed` are the plan's.
    """
    if len(plan) == points:
        rest = plan[passed:]
        return np.append(plan[:passed], rest[np.arange(new - passed) * len(rest) // (new - passed)])
    ahead = np.linspace(passed, points, new - passed + 1)[1:]
    return np.append(plan[: passed + 1], np.interp(ahead, np.arange(points + 1), plan))


def decays(now: float, lowest: float, length: int) -> np.ndarray:
    """(3, length) rates that begin at `now`, hold it, and fall along half a cosine to `lowest` over
    the last part of each of `DECAYS`."""
    x = np.linspace(0, 1, length)
    done = np.clip([(x - (1 - share)) / share for share in DECAYS], 0, 1)
    falling: np.ndarray = lowest + (now - lowest) * (1 + np.cos(np.pi * done)) / 2
    return falling


def replan(
    lode: Model,
    judge: Judge,
    observed: np.ndarray,
    plan: np.ndarray,
    again: np.ndarray,
    *,
    passed: int,
    mu: int,
    n: int,
    sigma: float,
    caution: float,
    rng: np.random.Generator,
    state: torch.Tensor | None,
    unit: int,
) -> tuple[np.ndarray, dict[str, Any]]:
    """A plan for the rest, and what to say of it (`Change`): the stretched one, unless the judge is
    believed that another gains.

    The others are the opening of the new length, decays from the rate in force, the LODE's
    proposals as at a decision, and the average of the best three of these; all begin at the rate
    in force. As at a decision, the best is that with the largest mean − caution · std over the
    members of the gain, and is believed above caution · √(error² + std²).

    Args:
        observed: (t, 3), what was logged, finite; t may be 0, or less than `passed`.
        plan: (T + 1,) stretched. again: (T + 1,) the opening of the new length.
        state: the judge's at t; None where t is 0. unit: log points in the length that was fitted.
    """
    point, points = len(observed), len(plan) - 1
    low, high = lode.config.channels.lowest_lr, max(lode.config.channels.lr_range[1], plan.max())
    now, length = float(plan[passed]), points - passed + 1

    def joined(ahead: np.ndarray) -> np.ndarray:
        start = np.zeros(len(ahead), dtype=int)
        smooth = np.clip(continued(ahead, start, now, length, mu), low, high)
        return np.concatenate([np.tile(plan[:passed], (len(ahead), 1)), smooth], 1)

    with one_thread(), torch.inference_mode():
        tables = [plan[None], joined(again[None, passed:]), joined(decays(now, low, length))]
        others = 1 + 1 + len(DECAYS)
        if point:
            z = propose(encode(lode, observed, point, points), n, sigma, rng)
            tables.append(joined(candidates(lode, observed, plan, mu, z)[2][:, passed:]))
        every = np.concatenate(tables)
        final = judge.final_metric(every, state, point, unit)
        best = others + best_samples(_worth(final, caution)[others:])
        if len(best):
            every = np.append(every, every[best].mean(0)[None], 0)
            final = np.append(final, judge.final_metric(every[-1:], state, point, unit), 1)
    chosen = 1 + int(_worth(final, caution)[1:].argmax())
    gain = final[:, chosen] - final[:, 0]
    if not believed(gain[:, None], judge.config.error, caution).all():
        chosen = 0
    return every[chosen], {
        "chosen": [STRETCHED, AGAIN, *[DECAY] * len(DECAYS), PROPOSED][min(chosen, others)],
        "expected": float(final[:, chosen].mean()),
        "spread": float(final[:, chosen].std()),
        "gain": float(gain.mean()),
    }


def _worth(final: np.ndarray, caution: float) -> np.ndarray:
    """(n,) of judged finals (members, n): gains over the first, less doubt; -inf: no number."""
    gain = final - final[:, :1]
    with np.errstate(invalid="ignore"):  # infinite caution of no doubt
        worth = gain.mean(0) - caution * gain.std(0)
    return np.where(np.isfinite(worth), worth, -np.inf)
