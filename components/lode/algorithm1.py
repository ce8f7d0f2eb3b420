"""Algorithm 1 of the paper, step by step, and chained by `decide`.

Indices k, t_k, t_* and Δt count log points, k = 0 being the start of the run; a log point is
1 / points of the training length. Everything is compared in original units.

A history's rate at point k, and so a sample's, is that of the interval which *ends* at k. So a run
at t_* that does as a sample did from t_k on follows its rates at t_k + 1, t_k + 2, …: the paper's
η̂(t_k + j) for j = 0, …, μ - 1 counts intervals, not the points that end them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from components.lode.channels import LOSS, LR, METRIC
from components.lode.model import LODEConfig
from components.training.threads import one_thread

BEST = 3  # samples that are averaged: the "argsort (1, 2, 3)" of the paper's listing
NOTHING_LIKE_IT = "no sample accepted"  # why a plan stays


class Model(Protocol):
    """What the algorithm needs of a LODE (`model.LODE` has it)."""

    config: LODEConfig

    def encode_series(self, times: np.ndarray, series: np.ndarray) -> torch.Tensor: ...

    def decode_series(
        self, z0: torch.Tensor, times: np.ndarray, coarse: bool = False
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Decision:
    """One pass of a controller.

    Attributes:
        point: t_*, the log point at which it was made.
        accepted: samples with a loss like the run's at some time.
        chosen: numbers of the best samples, best first; 0 is the unperturbed one; empty: none was
            accepted and the plan stays.
        t_k: the matching time of each chosen sample, in log points.
        predicted: mean over the chosen of the predicted metric at t_k + Δt; None without any.
        spread: standard deviation of the same.
        lrs: mean of the chosen samples' learning rates over the intervals that follow t_k, the
            first of them from t_k to t_k + 1; as many as are left, at least μ. The algorithm
            returns the first μ; the rest is how the plan goes on should no later sample be
            accepted. Of our controller, the rates at t_*, …, T.
        samples: how many were drawn.
        gain: of our controller, the judged gain of the final metric over the plan in force, where
            `predicted` and `spread` are that plan's: of the average of the chosen, or, where none
            of them was believed, their mean.
        gain_error: of `gain`: the judge's error and its members' spread together, √(error² + std²);
            None where the judge does not know its error.
        replaced: the rates that a change replaces, at the points that the scheduler leaves in
            `lrs`; empty where the plan stays.
        kept: why the plan stays; None: it changes to `lrs`.
    """

    point: int
    accepted: int = 0
    chosen: tuple[int, ...] = ()
    t_k: tuple[int, ...] = ()
    predicted: float | None = None
    spread: float | None = None
    lrs: tuple[float, ...] = ()
    samples: int = 0
    gain: float | None = None
    gain_error: float | None = None
    replaced: tuple[float, ...] = ()
    kept: str | None = None


def encode(lode: Model, window: np.ndarray, point: int, points: int) -> torch.Tensor:
    """Step 1: the latent (latent,) of the `window` (μ, 3) of log points that ends at t_*."""
    times = np.arange(point - len(window) + 1, point + 1) / points
    return lode.encode_series(times, window[None])[0]


def propose(z0: torch.Tensor, n: int, sigma: float, rng: np.random.Generator) -> torch.Tensor:
    """Step 2: n latents (n, latent), the first z0 itself, the others with N(0, σ²) added."""
    noise = rng.standard_normal((n, len(z0))) * sigma
    noise[0] = 0.0
    return z0 + torch.as_tensor(noise, dtype=z0.dtype, device=z0.device)


def accept(losses: np.ndarray, loss: float, tolerance: float) -> np.ndarray:
    """Step 3: where a sample's predicted loss is like the run's.

    Args:
        losses: (n, T + 1), predicted at k = 0 … T.
        loss: the run's, at t_*.
        tolerance: 2 standard deviations of the window's losses.

    Returns:
        (n, T + 1) bool: |losses - loss| < tolerance, strictly. A sample with none is rejected.
    """
    return np.abs(losses - loss) < tolerance


def matching_time(similar: np.ndarray, lrs: np.ndarray) -> np.ndarray:
    """Step 4, first part: of each sample's similar times the one with the highest learning rate.

    Args:
        similar: (n, T + 1) bool, as `accept` returns. lrs: (n, T + 1), predicted.

    Returns:
        (n,) int, t_k; the earliest of equals; -1 for rejected samples.
    """
    t_k = np.where(similar, lrs, -np.inf).argmax(1)
    return np.where(similar.any(1), t_k, -1)


def score(metrics: np.ndarray, t_k: np.ndarray, horizon: int) -> np.ndarray:
    """Step 4: the predicted metric (n,) at t_k + Δt; -inf for rejected samples.

    Args:
        metrics: (n, K), predicted at k = 0 … K - 1, K > T + Δt. t_k: as `matching_time` returns.
    """
    ahead = metrics[np.arange(len(t_k)), np.maximum(t_k, 0) + horizon]
    return np.where(t_k >= 0, ahead, -np.inf)


def best_samples(scores: np.ndarray) -> np.ndarray:
    """The (up to) three samples with the largest finite scores, best first, ties by number."""
    order = np.argsort(-scores, kind="stable")
    return order[np.isfinite(scores[order])][:BEST]


def average(lrs: np.ndarray, t_k: np.ndarray, chosen: np.ndarray, length: int) -> np.ndarray:
    """Step 5: mean over the chosen of their learning rates in the intervals that follow t_k.

    Args:
        lrs: (n, K), predicted at k = 0 … K - 1, K > t_k + length. chosen: at least one.
        length: how many intervals; the first, from t_k to t_k + 1, has the rate at t_k + 1.
    """
    return np.mean([lrs[i, t_k[i] + 1 : t_k[i] + 1 + length] for i in chosen], axis=0)


def decide(
    lode: Model,
    window: np.ndarray,
    *,
    point: int,
    points: int,
    n: int,
    sigma: float,
    horizon: int | None,
    rng: np.random.Generator,
) -> Decision:
    """Algorithm 1 at log point t_* = `point` of `points`.

    Args:
        window: (μ, 3), the run's train loss, metric and lr at its last μ log points; finite.
        n, sigma: ensemble size and latent noise.
        horizon: Δt in log points; None or more than is left: T - t_*.
    """
    left, mu = points - point, len(window)
    ahead = min(horizon or left, left)
    # As far as the plan may be followed, which is never less than the T + Δt of the paper.
    length = max(left, mu)
    with one_thread():
        z = propose(encode(lode, window, point, points), n, sigma, rng)
        futures = lode.decode_series(z, np.arange(points + length + 1) / points)
    losses, metrics, lrs = (futures[..., channel] for channel in (LOSS, METRIC, LR))
    until_end = slice(0, points + 1)
    with np.errstate(over="ignore"):  # of an exploding loss the deviation may be infinite
        tolerance = 2 * float(window[:, LOSS].std())
    similar = accept(losses[:, until_end], window[-1, LOSS], tolerance)
    t_k = matching_time(similar, lrs[:, until_end])
    scores = score(metrics, t_k, ahead)
    chosen = best_samples(scores)
    accepted = int((t_k >= 0).sum())
    if not len(chosen):
        return Decision(point, accepted, samples=n, kept=NOTHING_LIKE_IT)
    return Decision(
        point=point,
        accepted=accepted,
        chosen=tuple(int(i) for i in chosen),
        t_k=tuple(int(t_k[i]) for i in chosen),
        predicted=float(scores[chosen].mean()),
        spread=float(scores[chosen].std()),
        lrs=tuple(float(lr) for lr in average(lrs, t_k, chosen, length)),
        samples=n,
    )
