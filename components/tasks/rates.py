"""One learning rate for an optimizer whose parameter groups were built with several."""

from __future__ import annotations

import math

from torch import Tensor
from torch.optim import Optimizer

from components.tasks.errors import TaskError


class RateError(TaskError):
    """The rates that an optimizer was built with say nothing of its groups' ratios."""


def rate_shares(optimizer: Optimizer) -> list[float]:
    """By parameter group, its rate in multiples of the first group's, as the optimizer was built;
    `shares_of` says how, and what is refused."""
    return shares_of([float(group["lr"]) for group in optimizer.param_groups])


def shares_of(built: list[float]) -> list[float]:
    """Rates that parameter groups were built with, in multiples of the first group's.

    All are exactly 1 where the groups were built with one rate, whatever it is: a placeholder.

    Raises:
        RateError: a rate is negative or not finite, or the first is 0 and another is not.
    """
    shown = ", ".join(f"{rate:g}" for rate in built[:5]) + (", …" if len(built) > 5 else "")
    if any(not math.isfinite(rate) or rate < 0 for rate in built):
        raise RateError(
            f"optimizer: its groups' learning rates are {shown}; build it with finite ones, not "
            "below 0"
        )
    if len(set(built)) == 1:
        return [1.0] * len(built)
    if built[0] == 0:
        raise RateError(
            f"optimizer: its groups' learning rates are {shown}; the first, which the scheduler "
            "sets and the others are multiples of, must not be 0"
        )
    return [rate / built[0] for rate in built]


def set_rate(optimizer: Optimizer, shares: list[float], lr: float | Tensor) -> None:
    """Give the first group `lr` and every other its multiple of it (`rate_shares`)."""
    for group, share in zip(optimizer.param_groups, shares, strict=True):
        group["lr"] = lr if share == 1 else lr * share
