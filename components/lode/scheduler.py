"""Algorithm 1 of the paper: ask a LODE which learning rates lead to the best metric.

One function per step, then `decide`, which chains them, and `LODEScheduler`, which a training
loop drives. Indices k, t_k, t_* and Δt count log points, k = 0 being the start of the run; a log
point is 1 / points of the training length. Everything is compared in original units.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch

from components.lode.channels import LOSS, LR, METRIC
from components.lode.errors import LODEError
from components.lode.model import LODEConfig
from components.lode.threads import one_thread
from components.training.run import log_steps

BEST = 3  # samples that are averaged


class Model(Protocol):
    """What the algorithm needs of a LODE (`model.LODE` has it)."""

    config: LODEConfig

    def encode_series(self, times: np.ndarray, series: np.ndarray) -> torch.Tensor: ...

    def decode_series(self, z0: torch.Tensor, times: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Decision:
    """One pass of Algorithm 1.

    Attributes:
        point: t_*, the log point at which it was made.
        accepted: samples with a loss like the run's at some time.
        chosen: numbers of the best samples, best first; 0 is the unperturbed one; empty: none was
            accepted and the plan stays.
        t_k: the matching time of each chosen sample, in log points.
        predicted: mean over the chosen of the predicted metric at t_k + Δt; None without any.
        spread: standard deviation of the same.
        lrs: mean of the chosen samples' learning rates at t_k + j for j = 0 … max(points - t_*, μ)
            - 1. The algorithm returns the first μ; the rest is how the plan goes on should no
            later sample be accepted.
    """

    point: int
    accepted: int
    chosen: tuple[int, ...]
    t_k: tuple[int, ...]
    predicted: float | None
    spread: float | None
    lrs: tuple[float, ...]


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
    """Step 5: mean over the chosen of their learning rates at t_k + j, j = 0 … length - 1.

    Args:
        lrs: (n, K), predicted at k = 0 … K - 1, K >= t_k + length. chosen: at least one.
    """
    return np.mean([lrs[i, t_k[i] : t_k[i] + length] for i in chosen], axis=0)


def decide(
    lode: Model,
    window: np.ndarray,
    *,
    point: int,
    points: int,
    n: int = 30,
    sigma: float = 0.15,
    horizon: int | None = None,
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
        return Decision(point, accepted, (), (), None, None, ())
    return Decision(
        point=point,
        accepted=accepted,
        chosen=tuple(int(i) for i in chosen),
        t_k=tuple(int(t_k[i]) for i in chosen),
        predicted=float(scores[chosen].mean()),
        spread=float(scores[chosen].std()),
        lrs=tuple(float(lr) for lr in average(lrs, t_k, chosen, length)),
    )


class LODEScheduler:
    """The learning rates of one run, decided by a LODE every μ log points.

    Up to log point μ the run follows the best configuration of the sweep. A plan is always kept
    for the whole rest of the run, so when a decision accepts no sample, or the observations are
    not finite, the plan simply goes on. The learning rate planned for log point p holds for all
    updates from there to point p + 1.

    Args:
        lode: a fitted LODE with an initial schedule.
        updates, points: N and T of the run; T may differ from the fit's.
        mu, n, sigma, horizon: Algorithm 1, see `params.yaml`; lengths in log points.
        seed: of the latent noise.

    Attributes:
        decisions: JSON-able, one per decision: the fields of `Decision` with `lrs` cut to the μ
            rates that follow, and `kept`, None or the reason why the plan was kept.

    Raises:
        LODEError: impossible lengths, or a LODE without an initial schedule.
    """

    def __init__(
        self,
        lode: Model,
        *,
        updates: int,
        points: int,
        mu: int = 5,
        n: int = 30,
        sigma: float = 0.15,
        horizon: int | None = None,
        seed: int = 0,
    ) -> None:
        if not 2 <= mu <= points <= updates or n < 1 or not sigma >= 0:
            raise LODEError(
                f"mu = {mu}, points = {points}, updates = {updates}, n = {n}, sigma = {sigma}: "
                "2 <= mu <= points <= updates, n >= 1 and sigma >= 0 are needed"
            )
        if horizon is not None and not 1 <= horizon <= points:
            raise LODEError(f"horizon = {horizon} must lie between 1 and points = {points}")
        initial = np.asarray(lode.config.initial_schedule, dtype=np.float64)
        if not len(initial):
            raise LODEError("this LODE has no initial schedule; run `lode fit` again")
        self.lode = lode
        self.settings: dict[str, Any] = {
            "updates": updates,
            "points": points,
            "mu": mu,
            "n": n,
            "sigma": sigma,
            "horizon": horizon,
            "seed": seed,
        }
        self._log_steps = log_steps(updates, points)
        # By fraction of the training where the run's T is not the fit's.
        at = np.arange(points) * len(initial) // points
        self._plan = self._usable(initial[at])
        self._observed: list[list[float]] = []
        self.decisions: list[dict[str, Any]] = []

    def lr(self, step: int) -> float:
        """Learning rate of update `step` (0-based): positive and finite."""
        done = bisect_right(self._log_steps, max(step, 0))
        return float(self._plan[min(done, len(self._plan) - 1)])

    def observe(self, point: int, train_loss: float, val_metric: float, lr: float) -> None:
        """Tell what was logged at log point `point` (1 … T), in order; may change the plan.

        Raises:
            LODEError: `point` is not the one after the last.
        """
        expected = len(self._observed) + 1
        if point != expected or point > self.settings["points"]:
            raise LODEError(
                f"log point {point} observed where {expected} of {self.settings['points']} was due"
            )
        self._observed.append([float(train_loss), float(val_metric), float(lr)])
        if point % self.settings["mu"] == 0 and point < self.settings["points"]:
            self._replan(point)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; restores bit for bit. The noise of a decision follows from seed and point,
        so there is no generator to save."""
        return {
            "settings": dict(self.settings),
            "plan": [float(lr) for lr in self._plan],
            "observed": [[v if math.isfinite(v) else None for v in row] for row in self._observed],
            "decisions": [dict(decision) for decision in self.decisions],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            LODEError: the state is of a scheduler with other settings.
        """
        if state["settings"] != self.settings:
            raise LODEError(
                f"state of a scheduler with {state['settings']}, this one has {self.settings}"
            )
        self._plan = np.array(state["plan"], dtype=np.float64)
        self._observed = [[math.nan if v is None else v for v in row] for row in state["observed"]]
        self.decisions = [dict(decision) for decision in state["decisions"]]

    def _replan(self, point: int) -> None:
        settings = self.settings
        mu, points = settings["mu"], settings["points"]
        window = np.array(self._observed[-mu:])
        if not np.isfinite(window).all():
            decision = Decision(point, 0, (), (), None, None, ())
            kept: str | None = "observations not finite"
        else:
            decision = decide(
                self.lode,
                window,
                point=point,
                points=points,
                n=settings["n"],
                sigma=settings["sigma"],
                horizon=settings["horizon"],
                rng=np.random.default_rng([settings["seed"], point]),
            )
            kept = None if decision.chosen else "no sample accepted"
        if decision.lrs:
            self._plan[point:] = self._usable(decision.lrs)[: points - point]
        ahead = [float(lr) for lr in self._plan[point : point + mu]]
        fields = asdict(decision) | {"lrs": ahead, "kept": kept}
        self.decisions.append(
            {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}
        )

    def _usable(self, lrs: Sequence[float] | np.ndarray) -> np.ndarray:
        """Optimizers want positive rates; the smallest that the sweep has seen does no harm."""
        channels = self.lode.config.channels
        lowest = max(channels.lr_range[0], 1e-6 * channels.lr_offset)
        return np.maximum(np.asarray(lrs, dtype=np.float64), lowest)
