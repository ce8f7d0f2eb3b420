"""The Multi-Power Law: what the loss will be under a schedule (Luo et al. 2025, arXiv 2503.12811).

With rates η_k of the updates and S(t) = Σ_{k ≤ t} η_k,

    L(t) = L₀ + A · S(t)^(−α) − B · Σ_{k ≤ t} (η_{k−1} − η_k) · G(η_k^(−γ) · (S(t) − S(k))),
    G(x) = 1 − (1 + C·x)^(−β).

The first two terms are the loss at a constant rate, the sum is what annealing gains; a rise costs,
from 0 to the first rate, too, so that schedules with and without warm-up can be compared. Here
rates are known at nodes, linear in between: a fall between two nodes counts at the middle of its
interval, at the mean of the two rates. Rates are in multiples of the largest fitted rate and sums
in multiples of the largest fitted sum, so that all seven parameters are of order one; the law's
form does not change with these units.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from components.training.threads import one_thread

# Of the residual of log L; the authors' 0.001. What is beyond counts linearly, so that the first
# points of a run, which no law follows, do not decide.
HUBER = 1e-3
# Rates and losses below it would have no logarithm.
TINY = 1e-9
# Start values the fit is tried from, all combinations: steepness C, and the exponents β and γ (the
# authors': "of order .5 to 2").
STEEPNESS, SATURATION, LAG = (2.0, 20.0), (0.5,), (0.5, 1.0)
# Of the logarithms of the parameters, so that a law of a few odd curves stays finite: sizes within
# a factor of 1e4 of what they start at, exponents and steepness where a power still is one.
SIZES, EXPONENTS, STEEPNESSES = (-9.2, 9.2), (-3.0, 1.6), (-7.0, 9.2)
WARMUP = 0.05  # share of an optimal schedule that rises: a twentieth, as before other schedules
LOWEST = 0.04  # of the peak, where it begins to rise: OneCycle's
FLAT = -4.0  # where the search begins: falls of 2 % between nodes (softplus), nearly constant
PARAMETERS = ("base", "amplitude", "exponent", "drop", "steepness", "saturation", "lag")
ITERATIONS = 300  # of L-BFGS from each start; on the authors' curves 60 to 200 suffice


class LawError(ValueError):
    """No law can be fitted; the message says what is missing."""


@dataclass(frozen=True)
class Curves:
    """Runs that were logged at the same updates.

    Attributes:
        steps: (K,) ascending update numbers, from 0. rates: (R, K) learning rates there, ≥ 0.
        losses: (R, K) positive; NaN where none is known.
    """

    steps: np.ndarray
    rates: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class MultiPowerLaw:
    """The seven parameters, in units of `rate` and `total` (see the module).

    Attributes:
        base, amplitude, exponent: L₀, A, α. drop, steepness, saturation, lag: B, C, β, γ.
        rate, total: the largest rate and the largest sum of rates of the fitted curves.
        error: rms of the relative error of the fitted losses.
    """

    base: float
    amplitude: float
    exponent: float
    drop: float
    steepness: float
    saturation: float
    lag: float
    rate: float = 1.0
    total: float = 1.0
    error: float = 0.0

    def losses(self, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """(R, K): the loss at every node of schedules (R, K); infinite at a node without a past."""
        sums = _Sums.of(steps, rates, self.rate, self.total)
        with torch.no_grad():
            return _law(self.logarithms, sums).numpy()

    @property
    def logarithms(self) -> torch.Tensor:
        """(7,): of the parameters, in the order of `PARAMETERS`."""
        own = [getattr(self, name) for name in PARAMETERS]
        return torch.tensor(own, dtype=torch.float64).log()


@dataclass(frozen=True)
class _Sums:
    """What of the curves the parameters do not change: S (R, K), the falls before each node and the
    rates there (R, K), and S(t) - S(k) (R, K, K), zero where k is not before t."""

    total: torch.Tensor
    fall: torch.Tensor
    middle: torch.Tensor
    since: torch.Tensor

    @classmethod
    def of(cls, steps: np.ndarray, rates: np.ndarray, rate: float, total: float) -> _Sums:
        scaled = torch.as_tensor(np.asarray(rates, dtype=np.float64) / rate)
        return cls.between(steps, scaled, rate, total)

    @classmethod
    def between(cls, steps: np.ndarray, scaled: torch.Tensor, rate: float, total: float) -> _Sums:
        """Of rates in multiples of `rate`."""
        width = torch.as_tensor(np.diff(steps).astype(np.float64)) * rate / total
        middle = (scaled[:, 1:] + scaled[:, :-1]) / 2
        total_at = torch.nn.functional.pad((middle * width).cumsum(1), (1, 0))
        half = (total_at[:, 1:] + total_at[:, :-1]) / 2
        changed_at = torch.nn.functional.pad(half, (1, 0))  # the first rise is before all else
        return cls(
            total_at,
            torch.cat((-scaled[:, :1], scaled[:, :-1] - scaled[:, 1:]), 1),
            torch.cat((scaled[:, :1], middle), 1).clamp(min=TINY),
            (total_at[:, :, None] - changed_at[:, None, :]).clamp(min=0.0),
        )


def _law(logarithms: torch.Tensor, sums: _Sums) -> torch.Tensor:
    base, amplitude, exponent, drop, steepness, saturation, lag = logarithms.exp()
    x = sums.middle.pow(-lag)[:, None] * sums.since
    gained = torch.einsum("rk,rtk->rt", sums.fall, 1 - (1 + steepness * x).pow(-saturation))
    reached = torch.where(sums.total > 0, sums.total, 1.0)  # not 0, whose power has no gradient
    constant = base + amplitude * reached.pow(-exponent)
    return torch.where(sums.total > 0, constant - drop * gained, torch.inf)


def fit_law(curves: Sequence[Curves]) -> MultiPowerLaw:
    """Fit all seven parameters by a Huber loss of log L, from several starts; the best is kept.

    The same curves give the same law. Whether it fits is for the caller to say, by its `error`.

    Raises:
        LawError: fewer known losses than parameters, a loss that is not positive, or no fall of any
            rate, so that annealing cannot be learned.
    """
    known = np.concatenate(
        [one.losses[np.isfinite(one.losses)] for one in curves] or [np.array([])]
    )
    if len(known) < 8:
        raise LawError(f"a law of seven parameters needs at least 8 losses; there are {len(known)}")
    if known.min() <= 0:
        raise LawError(f"the law is of positive losses; the smallest is {known.min():g}")
    if not any((np.diff(one.rates) < 0).any() for one in curves):
        raise LawError("no schedule lowers its rate, so what annealing gains cannot be learned")
    rate = max(float(one.rates.max()) for one in curves)
    total = max(float(np.trapezoid(one.rates, one.steps).max()) for one in curves)
    with one_thread():
        problem = _Problem(curves, rate, total)
        found = [_minimum(problem, start, _bounds(start)) for start in _starts(known)]
        best = min(found, key=lambda one: one.fun)
        error = problem.error(best.x)
    named = dict(zip(PARAMETERS, np.exp(best.x).tolist(), strict=True))
    return MultiPowerLaw(**named, rate=rate, total=total, error=error)


def _minimum(
    problem: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    bounds: list[tuple[float, float]] | None = None,
) -> Any:
    """Where L-BFGS ends (scipy's `OptimizeResult`) on a value with its gradient."""
    from scipy.optimize import minimize  # not on a bare GPU box, which needs the rest of this room

    options = {"maxiter": ITERATIONS}
    return minimize(problem, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def _starts(known: np.ndarray) -> list[np.ndarray]:
    low, high = np.quantile(known, [0.0, 0.9])
    span = max(float(high - low), 1e-3 * float(low))
    return [
        np.log([0.9 * low, 0.5 * span, 0.5, 0.3 * span, steepness, saturation, lag])
        for steepness, saturation, lag in itertools.product(STEEPNESS, SATURATION, LAG)
    ]


def _bounds(start: np.ndarray) -> list[tuple[float, float]]:
    near = {
        name: (at + SIZES[0], at + SIZES[1]) for name, at in zip(PARAMETERS, start, strict=True)
    }
    fixed = dict.fromkeys(("exponent", "saturation", "lag"), EXPONENTS) | {"steepness": STEEPNESSES}
    return [fixed.get(name, near[name]) for name in PARAMETERS]


class _Problem:
    """The mean Huber loss and its gradient, of the logarithms of the parameters."""

    def __init__(self, curves: Sequence[Curves], rate: float, total: float) -> None:
        self.sums = [_Sums.of(one.steps, one.rates, rate, total) for one in curves]
        self.known = [
            torch.as_tensor(np.isfinite(one.losses)) & (sums.total > 0)
            for one, sums in zip(curves, self.sums, strict=True)
        ]
        self.logs = [
            torch.as_tensor(one.losses, dtype=torch.float64)[known].log()
            for one, known in zip(curves, self.known, strict=True)
        ]

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        logarithms = torch.tensor(x, requires_grad=True)
        residual = self._residual(logarithms)
        loss = torch.nn.functional.huber_loss(residual, torch.zeros_like(residual), delta=HUBER)
        loss = loss / HUBER**2  # of order one, as L-BFGS's tolerances suppose
        loss.backward()
        assert logarithms.grad is not None
        return loss.item(), logarithms.grad.numpy()

    def error(self, x: np.ndarray) -> float:
        with torch.no_grad():
            return float(self._residual(torch.tensor(x)).square().mean().sqrt())

    def _residual(self, logarithms: torch.Tensor) -> torch.Tensor:
        return torch.cat(
            [
                _law(logarithms, sums)[known].clamp(min=TINY).log() - logs
                for sums, known, logs in zip(self.sums, self.known, self.logs, strict=True)
            ]
        )


def optimal_schedule(
    law: MultiPowerLaw, steps: np.ndarray, peaks: tuple[float, float]
) -> np.ndarray:
    """The schedule of least final loss under a law, by gradient, as the authors' (section 5).

    A linear rise over a twentieth of the run, then rates that never rise.

    Args:
        steps: (K,) ascending update numbers, from 0, at which the schedule has its nodes.
        peaks: smallest and largest peak that may be chosen: of runs that were fitted and learned,
            since a law knows no divergence.

    Returns:
        (K,) learning rates there, positive.
    """
    with one_thread():
        shaping = _Shaping(law, steps, peaks)
        start = np.append(0.0, np.full(len(steps) - 1, FLAT))
        found = _minimum(shaping, start)
        with torch.no_grad():
            rates: np.ndarray = shaping.rates(torch.tensor(found.x)).numpy() * law.rate
    return rates


class _Shaping:
    """The law's final loss and its gradient, of a peak and the falls between nodes, unbounded."""

    def __init__(self, law: MultiPowerLaw, steps: np.ndarray, peaks: tuple[float, float]) -> None:
        self.law, self.steps = law, steps
        self.low, self.high = (float(np.log(peak / law.rate)) for peak in peaks)
        self.rise = torch.as_tensor(np.clip(steps / (WARMUP * steps[-1]), LOWEST, 1.0))

    def rates(self, x: torch.Tensor) -> torch.Tensor:
        peak = (self.low + (self.high - self.low) * x[0].sigmoid()).exp()
        falls = torch.nn.functional.softplus(x[1:]) * (self.rise[:-1] == 1.0)
        fallen = torch.nn.functional.pad(falls.cumsum(0), (1, 0))
        return (peak * self.rise * (-fallen).exp()).clamp(min=TINY)

    def __call__(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.tensor(values, requires_grad=True)
        sums = _Sums.between(self.steps, self.rates(x)[None], self.law.rate, self.law.total)
        loss = _law(self.law.logarithms, sums)[0, -1]
        loss.backward()
        assert x.grad is not None
        return loss.item(), x.grad.numpy()
