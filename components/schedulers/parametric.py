"""The parametric schedules a sweep learns from: the paper's four, with the semantics of optax, and
two that training of language models made common; three of them also after a warm-up, as people use
them.

One pure function of the update index t = 0..N-1 per schedule; N is the number of updates, P the
peak (or initial) learning rate; the rate of every update executed is positive. Differences to
torch's own classes (OneCycleLR ends one update early and cycles the momentum, ConstantLR is not
constant) are why these are written out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from components.training.scheduler import Scheduler

ONECYCLE_WARMUP = 0.3  # share of N spent rising to the peak
ONECYCLE_DIV = 25.0  # initial lr = P / 25
ONECYCLE_FINAL_DIV = 1e4  # final lr = initial lr / 1e4
DECAY_STAIRS = 3  # exp-decay halves the lr every N // 3 updates
DECAY_RATE = 0.5

WARMUP = 0.05  # share of N spent rising before a schedule that has no warm-up: a twentieth

WSD_WARMUP = 0.02  # share of N; enough for AdamW's second moment to settle, little lost to it
WSD_DECAY = 0.2  # share of N; Hägele et al.: at 20 % the loss is that of a tuned cosine


Schedule = Callable[[int, int, float], float]  # of update t, N and P


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


def linear(step: int, updates: int, peak_lr: float) -> float:
    """s(t) = P · (1 − min(t, N)/N); the last update has P/N (Defazio et al. 2023)."""
    return peak_lr * (1 - min(step, updates) / updates)


def warmup_stable_decay(step: int, updates: int, peak_lr: float) -> float:
    """Rise over W = 2 % of N, hold P, fall to 0 over the last D = 20 % (Hägele et al. 2024).

    s(t) = P · (t + 1)/W for t < W; P · (1 − √((t − (N − D))/D)) for t ≥ N − D, the `1-sqrt` form
    that did best there; P in between. W and D are at least one update.
    """
    warmup, decay = (max(int(share * updates), 1) for share in (WSD_WARMUP, WSD_DECAY))
    if step < warmup:
        return peak_lr * (step + 1) / warmup
    into_decay = max(step - (updates - decay), 0) / decay
    return peak_lr * (1 - math.sqrt(min(into_decay, 1.0)))


def warmed_up(schedule: Schedule) -> Schedule:
    """Rise over W = 5 % of N, P · (t + 1)/W, then the whole of `schedule` in what is left of N.

    W is at least one update, which has P, as without a warm-up.
    """

    def after_warmup(step: int, updates: int, peak_lr: float) -> float:
        rise = max(int(WARMUP * updates), 1)
        if step < rise:
            return peak_lr * (step + 1) / rise
        return schedule(step - rise, max(updates - rise, 1), peak_lr)

    return after_warmup


PARAMETRIC: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "onecycle": onecycle,
    "exp-decay": exp_decay,
    "linear": linear,
    "warmup-stable-decay": warmup_stable_decay,
    "warmup-cosine": warmed_up(cosine),
    "warmup-linear": warmed_up(linear),
    "warmup-exp-decay": warmed_up(exp_decay),
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
