"""Our controller: leave the plan only for a gain that the judge can be believed.

The steps are the paper's, each changed where Algorithm 1 as printed loses to its own sweep:

1. the whole history so far is encoded, not only its last μ points;
2. the ensemble of latents is the same;
3. a sample must have the run's loss *about now*, within μ log points of t_*: matched anywhere, the
   highest rate is always found mid-run, and the rate never anneals;
4. a sample's schedule is made continuous with the rate in force, and its value is not what the
   LODE that invented it says, but what the judge says of it: the gain over the plan, mean − κ · std
   over the members;
5. if the gain of any of the three best exceeds κ times the judge's error, they are averaged, and
   the average is followed if its own judged gain does too.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from components.lode.algorithm1 import (
    NOTHING_LIKE_IT,
    Decision,
    Model,
    accept,
    best_samples,
    encode,
    matching_time,
    propose,
)
from components.lode.channels import LOSS, LR
from components.lode.judge import Judge
from components.training.threads import one_thread

NO_GAIN = "no gain above the judge's error"  # why a plan stays


def near(similar: np.ndarray, point: int, mu: int) -> np.ndarray:
    """Step 3: of similar times (n, K), as `accept` returns, those within μ points of `point`."""
    k = np.arange(similar.shape[1])
    return similar & (np.abs(k - point) <= mu)


def continued(lrs: np.ndarray, t_k: np.ndarray, now: float, length: int, mu: int) -> np.ndarray:
    """Step 4: each sample's rates from its t_k on, beginning at `now`, its own after μ points.

    Args:
        lrs: (n, K), predicted at k = 0 … K - 1, K >= t_k + length, positive. now: the rate in
            force. length: how many rates are wanted.

    Returns:
        (n, length); the factor that makes it continuous falls to 1 geometrically.
    """
    rates = lrs[np.arange(len(lrs))[:, None], t_k[:, None] + np.arange(length)]
    fading = np.maximum(0.0, 1 - np.arange(length) / mu)
    return rates * (now / rates[:, :1]) ** fading


def candidates(
    lode: Model, observed: np.ndarray, plan: np.ndarray, mu: int, z: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps 3 and 4: what the latents `z` (n, latent) propose for the rest of the run.

    Returns:
        Numbers of the accepted samples (m,), their t_k (m,), and whole plans (m, T + 1) that have
        the past of `plan`, its rate at t_*, and the sample's future.
    """
    point, points = len(observed), len(plan) - 1
    first = max(0, point - mu)  # of the log points that matter
    futures = lode.decode_series(z, np.arange(first, points + mu + 1) / points, coarse=True)
    with np.errstate(over="ignore"):  # of an exploding loss the deviation may be infinite
        tolerance = 2 * float(observed[-mu:, LOSS].std())
    similar = accept(futures[..., LOSS], float(observed[-1, LOSS]), tolerance)
    channels = lode.config.channels
    low, high = channels.lowest_lr, max(channels.lr_range[1], float(plan[point]))
    lrs = np.clip(futures[..., LR], low, high)
    t_k = matching_time(near(similar, point - first, mu), lrs)
    accepted = np.flatnonzero(t_k >= 0)
    ahead = continued(lrs[accepted], t_k[accepted], float(plan[point]), points - point + 1, mu)
    past = np.tile(plan[:point], (len(ahead), 1))
    return accepted, first + t_k[accepted], np.concatenate([past, np.clip(ahead, low, high)], 1)


def improve(
    lode: Model,
    judge: Judge,
    observed: np.ndarray,
    plan: np.ndarray,
    *,
    mu: int,
    n: int,
    sigma: float,
    caution: float,
    rng: np.random.Generator,
    state: torch.Tensor | None = None,
    unit: int | None = None,
) -> Decision:
    """Whether, and how, to leave `plan` (T + 1,) at log point t_* = len(observed).

    Args:
        observed: (t_*, 3), the run's train loss, metric and lr at all its log points; finite.
        n, sigma: ensemble size and latent noise. caution: κ; 0 follows every judged gain.
        state: the judge's of this run at t_*, where it is known.
        unit: log points in the length that was fitted, where this run's budget was changed.

    Returns:
        A decision whose `lrs` hold the rates at t_*, …, T, if the plan is to be left.
    """
    point, points = len(observed), len(plan) - 1
    with one_thread(), torch.inference_mode():
        if state is None:
            state = judge.follow(observed, float(plan[0]), mu, unit or points)
        z = propose(encode(lode, observed, point, points), n, sigma, rng)
        accepted, t_k, tables = candidates(lode, observed, plan, mu, z)
        final = judge.final_metric(np.concatenate([plan[None], tables]), state, point, unit)
        expected, gain = final[:, :1], final[:, 1:] - final[:, :1]
        kept = Decision(
            point,
            len(accepted),
            predicted=float(expected.mean()),
            spread=float(expected.std()),
            samples=n,
            kept=NOTHING_LIKE_IT,
        )
        if not len(accepted):
            return kept
        best = best_samples(gain.mean(0) - caution * gain.std(0))
        chosen = replace(
            kept,
            chosen=tuple(map(int, accepted[best])),
            t_k=tuple(map(int, t_k[best])),
            gain=float(gain[:, best].mean()) if len(best) else None,
            gain_error=_error(gain[:, best], judge.config.error),
            kept=NO_GAIN,
        )
        if not believed(gain[:, best], judge.config.error, caution).any():
            return chosen
        table = tables[best].mean(0)
        gain = judge.final_metric(table[None], state, point, unit) - expected
    error = _error(gain, judge.config.error)
    chosen = replace(chosen, gain=float(gain.mean()), gain_error=error)
    if not believed(gain, judge.config.error, caution).all():
        return chosen
    return replace(chosen, kept=None, lrs=tuple(map(float, table[point:])))


def believed(gain: np.ndarray, error: float, caution: float) -> np.ndarray:
    """Step 5: which judged gains (members, n) exceed caution · sqrt(error² + spread²): (n,)."""
    with np.errstate(invalid="ignore"):  # infinite caution of a doubt of 0: not a number, not more
        return gain.mean(0) > caution * np.hypot(error, gain.std(0))


def _error(gain: np.ndarray, error: float) -> float | None:
    """Of judged gains (members, n) the doubt that `believed` holds them against, on average; None
    where it is not known."""
    doubt = float(np.hypot(error, gain.std(0)).mean()) if gain.size else math.inf
    return doubt if math.isfinite(doubt) else None
