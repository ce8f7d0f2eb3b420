"""Plan a whole run before it starts: the LODE proposes, the judge decides.

A plan is a table of T + 1 learning rates at log points 0 … T. The search lives in the LODE's
latent space: it starts from the latents of the best histories, combines and perturbs them, decodes
each into a schedule, and keeps what the judge expects to end best (differential evolution).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from components.lode.channels import LR, METRIC
from components.lode.judge import Judge
from components.lode.model import LODE
from components.training.threads import one_thread

# Histories whose latents the search starts from: of five seeds a configuration they are at least
# five configurations, not only the seeds of the best.
PARENTS = 25
# A differential evolution of 25 × 48 plans, bred from the best 12, kept if among the best 24. The
# judge's error limits it, not its length: what a search finds last is where the judge errs most
# (docs/research/scheduler.md, entry 12).
ROUNDS, OFFSPRING, KEPT, ELITE = 25, 48, 24, 12
STRETCH = 0.9  # at most so much of the difference of two of the best is added to a third
# Of the parents' spread: lets the search leave the plane that few parents span, and hardly moves it
# within.
NOISE = 0.02
SETTLED = 30  # a run's end is the mean of its last T / 30 points: one point of validation is noisy


def starting_latents(lode: LODE, series: np.ndarray, count: int = PARENTS) -> np.ndarray:
    """Latents (≤ count, latent) at which a search starts: those of the single runs that end best.

    Not a choice of the best configuration (`evaluation.ranking` makes that): a lucky seed is as
    good a start as any, since what the search proposes from there is judged and tried.

    Args:
        series: (R, T, 3), whole histories in original units.
    """
    points = series.shape[1]
    last = max(1, points // SETTLED)
    order = np.argsort(-series[:, -last:, METRIC].mean(1), kind="stable")
    times = np.arange(1, points + 1) / points
    return lode.encode_series(times, series[order[:count]]).double().numpy()


def decode_plans(lode: LODE, latents: np.ndarray) -> np.ndarray:
    """Learning rates (n, T + 1) that latents (n, latent) stand for, within the fitted range."""
    points, (low, high) = lode.config.points, lode.config.channels.lr_range
    z = torch.as_tensor(latents, dtype=lode.readout.weight.dtype)
    lrs = lode.decode_series(z, np.arange(points + 1) / points, coarse=True)[..., LR]
    return np.clip(lrs, lode.config.channels.lowest_lr, max(high, low))


def search(
    decode: Callable[[np.ndarray], np.ndarray],
    worth: Callable[[np.ndarray], np.ndarray],
    parents: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """The best plan found and its worth.

    Args:
        decode: latents (n, D) to plans (n, T + 1). worth: plans to (n,), to be maximised.
        parents: (m, D), the first generation.
    """
    latents, plans = parents, decode(parents)
    values, spread = worth(plans), parents.std(0)
    for _ in range(ROUNDS):
        elite = latents[np.argsort(-values, kind="stable")[:ELITE]]
        base, plus, minus = (elite[rng.integers(len(elite), size=OFFSPRING)] for _ in range(3))
        step = rng.uniform(0, STRETCH, (OFFSPRING, 1)) * (plus - minus)
        children = base + step + NOISE * spread * rng.standard_normal(base.shape)
        born = decode(children)
        latents, plans = np.concatenate((latents, children)), np.concatenate((plans, born))
        values = np.concatenate((values, worth(born)))
        kept = np.argsort(-values, kind="stable")[:KEPT]
        latents, plans, values = latents[kept], plans[kept], values[kept]
    return plans[0], float(values[0])


def propose_plans(
    lode: LODE, judge: Judge, series: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """(count, T + 1) plans to try: the first is what all members like best on average, each other
    one what a random weighting of them likes best, so that they differ where the members do.

    Args:
        series: (R, T, 3), the histories whose latents the search starts from.
    """
    members = judge.config.members
    weights = [np.full(members, 1 / members)]
    weights += [rng.dirichlet(np.ones(members)) for _ in range(count - 1)]
    with one_thread():
        parents = starting_latents(lode, series)
        found = [
            search(
                lambda z: decode_plans(lode, z),
                lambda plans, w=w: w @ judge.final_metric(plans),  # type: ignore[misc]
                parents,
                rng,
            )[0]
            for w in weights
        ]
    return np.array(found)


def random_shapes(
    count: int, points: int, peaks: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """(count, T + 1) schedules of random shape: rise, plateau (level or falling), fall.

    They teach the judge what a grid of four shapes cannot: which part of a shape matters. Warm-up
    takes up to half of the run, the fall begins anywhere between there and 95 %; peak, first and
    last rate are log-uniform, in `peaks`, from 1/25 to 1 and from 1e-4 to 0.1 of the peak.
    """
    return np.array([_random_shape(points, peaks, rng) for _ in range(count)])


def _random_shape(points: int, peaks: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    warm = rng.uniform(0.0, 0.5)
    hold = rng.uniform(warm, 0.95)
    peak, first = log_uniform(*peaks), log_uniform(0.04, 1.0)
    tilt, last = log_uniform(0.3, 1.0), log_uniform(1e-4, 0.1)
    smooth = rng.random() < 0.5
    x = np.arange(points + 1) / points

    def ramp(start: float, end: float, a: float, b: float, smooth: bool) -> np.ndarray:
        done = np.clip((x - a) / max(b - a, 1e-9), 0, 1)
        return start + (end - start) * ((1 - np.cos(np.pi * done)) / 2 if smooth else done)

    rise = ramp(first, 1.0, 0.0, warm, smooth)
    plateau = ramp(1.0, tilt, warm, hold, False)
    fall = ramp(tilt, last, hold, 1.0, smooth)
    return peak * np.where(x < warm, rise, np.where(x < hold, plateau, fall))
