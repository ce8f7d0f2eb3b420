"""The Multi-Power Law with parameters that may change with the peak rate.

One set of parameters does not describe runs of several peaks: on the public runs of
`llama_schedules` its errors are ten times those of a law for each peak. Here the logarithms of the
seven parameters are linear in the logarithm of the peak, and all fourteen numbers have a normal
prior, so that a law is to be had from a few runs. `components.schedulers.multi_power_law` has the
law itself, its symbols and its units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from components.schedulers.multi_power_law import TINY, LawError

# A priori: sizes as shares of the least loss that was fitted, then exponents of order one, and how
# sure that is, in logarithms. Half as wide priors found worse schedules at 25,000 updates, as did
# slopes of .1 by the peak; up to .5 there was no difference.
BASE, AMPLITUDE, EXPONENT, DROP, STEEPNESS, SATURATION, LAG = 0.9, 0.1, 0.5, 0.1, 5.0, 0.5, 0.5
WIDTHS = 2.5 * np.array([1.0, 1.0, 0.5, 1.0, 1.0, 0.5, 0.5])
SLOPE = 0.3  # by a factor of e in the peak
ACCURACY = 3e-3  # of a run's log losses, as if they were one observation
BEGIN = 0.2  # of a run: what is before follows no law
LAST = 10.0  # weight of the final loss, by which a schedule is chosen, in those of another node
# Of the logarithms, so that a law of odd runs stays finite: sizes, and exponents and steepness as
# far as `multi_power_law` has them.
LIMITS = (
    np.array([-20.0, -20.0, -3.0, -20.0, -7.0, -3.0, -3.0]),
    np.array([20.0, 20.0, 1.6, 20.0, 9.2, 1.6, 1.6]),
)
EVALUATIONS = 60  # of the residuals; 10 to 30 suffice


@dataclass(frozen=True)
class PeakLaw:
    """
    Attributes:
        parameters: (2, 7) logarithms at peak `rate`, and their slopes by the peak's logarithm.
        rate, total: the largest rate and the largest sum of rates of the fitted runs.
        error: rms of the relative error of the fitted final losses.
    """

    parameters: np.ndarray
    rate: float
    total: float
    error: float = 0.0

    def losses(self, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """(R, K) losses at nodes (K,) of schedules (R, K); the first node has no past and none."""
        sums = _Sums.of(steps, rates, self.rate, self.total)
        found = _law(self.parameters, sums, np.arange(1, len(steps)))
        return np.concatenate([np.full((len(rates), 1), np.nan), found], 1)


def fit_peak_law(runs: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> PeakLaw:
    """Fit by least squares of the log losses; the same runs give the same law.

    Args:
        runs: steps (K,) from 0, rates (R, K) and positive losses (R, K), of which those from a
            fifth of the run on are fitted; an entry for each horizon.

    Raises:
        LawError: no run, or a loss there that is not positive and finite.
    """
    nodes = [np.flatnonzero(steps >= BEGIN * steps[-1]) for steps, _, _ in runs]
    known = [losses[:, own] for (_, _, losses), own in zip(runs, nodes, strict=True)]
    if not sum(one.size for one in known):
        raise LawError("a law needs at least one run")
    low = min(float(one.min()) for one in known)
    if not (low > 0 and all(np.isfinite(one).all() for one in known)):
        raise LawError(f"the law is of positive, finite losses; the smallest is {low:g}")
    rate = max(float(rates.max()) for _, rates, _ in runs)
    total = max(float(np.trapezoid(rates, steps).max()) for steps, rates, _ in runs)
    sums = [_Sums.of(steps, rates, rate, total) for steps, rates, _ in runs]
    centre = np.log([BASE * low, AMPLITUDE * low, EXPONENT, DROP * low, STEEPNESS, SATURATION, LAG])
    prior = np.stack([centre, np.zeros(7)])
    scale = np.stack([WIDTHS, np.full(7, SLOPE)])
    weights = [_weights(len(own)) for own in nodes]

    def off(parameters: np.ndarray) -> list[np.ndarray]:
        return [
            np.log(np.maximum(_law(parameters, one, own), TINY)) - np.log(losses)
            for one, own, losses in zip(sums, nodes, known, strict=True)
        ]

    def residuals(x: np.ndarray) -> np.ndarray:
        own = x.reshape(2, 7)
        errors = [w * one for w, one in zip(weights, off(own), strict=True)]
        return np.concatenate([*map(np.ravel, errors), ((own - prior) / scale).ravel()])

    found = least_squares(residuals, prior.ravel(), x_scale=scale.ravel(), max_nfev=EVALUATIONS)
    parameters = found.x.reshape(2, 7)
    finals = np.concatenate([one[:, -1] for one in off(parameters)])
    return PeakLaw(parameters, rate, total, float(np.sqrt(np.mean(finals**2))))


def _weights(nodes: int) -> np.ndarray:
    weights = np.append(np.ones(nodes - 1), LAST)
    scaled: np.ndarray = weights / np.linalg.norm(weights) / ACCURACY
    return scaled


@dataclass(frozen=True)
class _Sums:
    """What the parameters do not change: S (R, K), falls and rates before each node (R, K), the sum
    of rates at each fall (R, K), and log of peak / rate (R,)."""

    total: np.ndarray
    fall: np.ndarray
    middle: np.ndarray
    changed: np.ndarray
    peak: np.ndarray

    @classmethod
    def of(cls, steps: np.ndarray, rates: np.ndarray, rate: float, total: float) -> _Sums:
        scaled = np.asarray(rates, dtype=np.float64) / rate
        middle = (scaled[:, 1:] + scaled[:, :-1]) / 2
        reached = np.pad((middle * np.diff(steps) * rate / total).cumsum(1), ((0, 0), (1, 0)))
        return cls(
            np.maximum(reached, TINY),
            np.concatenate([-scaled[:, :1], -np.diff(scaled)], 1),
            np.maximum(np.concatenate([scaled[:, :1], middle], 1), TINY),
            np.pad((reached[:, 1:] + reached[:, :-1]) / 2, ((0, 0), (1, 0))),
            np.log(np.maximum(scaled.max(1), TINY)),
        )


def _law(parameters: np.ndarray, sums: _Sums, nodes: np.ndarray) -> np.ndarray:
    """(R, len(nodes)) losses."""
    own = np.exp(np.clip(parameters[0] + sums.peak[:, None] * parameters[1], *LIMITS))
    base, amplitude, exponent, drop, steepness, saturation, lag = own.T[..., None]
    since = np.maximum(sums.total[:, nodes, None] - sums.changed[:, None, :], 0.0)
    x = steepness[..., None] * (sums.middle**-lag)[:, None] * since
    gained = np.einsum("rk,rtk->rt", sums.fall, 1 - (1 + x) ** -saturation[..., None])
    found: np.ndarray = base + amplitude * sums.total[:, nodes] ** -exponent - drop * gained
    return found
