"""The four parametric schedules a sweep learns from, with the semantics of optax.

One pure function of the update index t = 0..N-1 per schedule; N is the number of updates, P the
peak (or initial) learning rate. Differences to torch's own classes (OneCycleLR ends one update
early and cycles the momentum, ConstantLR is not constant) are why these are written out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from components.schedulers import Scheduler

ONECYCLE_WARMUP = 0.3  # share of N spent rising to the peak
ONECYCLE_DIV = 25.0  # initial lr = P / 25
ONECYCLE_FINAL_DIV = 1e4  # final lr = initial lr / 1e4
DECAY_STAIRS = 3  # exp-decay halves the lr every N // 3 updates
DECAY_RATE = 0.5


def _cosine_between(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))


def constant(step: int, updates: int, peak_lr: float) -> float:
    """s(t) = P."""
    return peak_lr


def cosine(step: int, updates: int, peak_lr: float) -> float:
    """s(t) = P/2 · (1 + cos(π · min(t, N)/N)); decays to 0 and stays there."""
    return _cosine_between(peak_lr, 0.0, min(step, updates) / updates)


def onecycle(step: int, updates: int, peak_lr: float) -> float:
    """Cosine-OneCycle (Smith & Topin 2017): P/25 up to P at 30 % of N, down to P/250,000."""
    low, turn = peak_lr / ONECYCLE_DIV, int(ONECYCLE_WARMUP * updates)
    final = low / ONECYCLE_FINAL_DIV
    if step < turn:
        return _cosine_between(low, peak_lr, step / turn)
    if step < updates:
        return _cosine_between(peak_lr, final, (step - turn) / (updates - turn))
    return final


def exp_decay(step: int, updates: int, peak_lr: float) -> float:
    """Staircase s(t) = P · 0.5^floor(t / (N // 3)), the paper's step decay."""
    return peak_lr * DECAY_RATE ** (step // max(updates // DECAY_STAIRS, 1))


PARAMETRIC: dict[str, Callable[[int, int, float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "onecycle": onecycle,
    "exp-decay": exp_decay,
}


def learning_rate(name: str, step: int, updates: int, peak_lr: float) -> float:
    """Learning rate of update `step` (0-based) of `updates` under schedule `name`.

    Raises:
        KeyError: `name` is not a parametric schedule.
    """
    return PARAMETRIC[name](step, updates, peak_lr)


class Parametric(Scheduler):
    """A parametric schedule as the training loop's scheduler: it ignores what it observes."""

    def __init__(self, name: str, *, peak_lr: float, updates: int) -> None:
        self._schedule = PARAMETRIC[name]
        self._peak_lr, self._updates = peak_lr, updates

    def lr(self, step: int) -> float:
        return self._schedule(step, self._updates, self._peak_lr)
