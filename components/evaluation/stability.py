"""The edge of stability: how large η·λ_max may be before an optimizer's steps grow on a quadratic.

Of gradient descent it is 2 (Cohen et al., *Gradient descent on neural networks typically occurs at
the edge of stability*, 2021). Momentum moves it; adaptive optimizers see the Hessian through their
preconditioner P, as P^-½ H P^-½ (Cohen et al., *Adaptive gradient methods at the edge of
stability*, 2022). Weight decay is left out: it adds to λ less than the rates of a sweep differ by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

# Of the package schedulefree, which is not asked: importing it takes half a second.
SCHEDULE_FREE = ("SGDScheduleFree", "AdamWScheduleFree")


@dataclass(frozen=True)
class Stability:
    """What an optimizer makes of a Hessian.

    Attributes:
        threshold: η·λ_max at the edge, η being the first group's rate and λ_max that of
            P^-½ H P^-½; None of an optimizer that is not known here.
        scaling: of each parameter asked for the diagonal of P^-½ in its shape; None: P is 1.
    """

    threshold: float | None
    scaling: list[Tensor] | None


def stability(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> Stability:
    """Of an optimizer as it is after an update."""
    thresholds = {_threshold(optimizer, group) for group in optimizer.param_groups}
    if None in thresholds or len(thresholds) > 1:  # groups of other momenta have no common edge
        return Stability(None, None)
    first = float(optimizer.param_groups[0]["lr"])
    shares = [float(group["lr"]) / first if first else 1.0 for group in optimizer.param_groups]
    if not _is_adaptive(optimizer) and set(shares) == {1.0}:
        return Stability(thresholds.pop(), None)
    scales: dict[nn.Parameter, Tensor] = {}
    for group, share in zip(optimizer.param_groups, shares, strict=True):
        for p in group["params"]:
            scales[p] = (share * _inverse(optimizer, group, p)).sqrt()
    none = torch.zeros(())
    return Stability(thresholds.pop(), [scales.get(p, none.to(p)).expand_as(p) for p in parameters])


def _threshold(optimizer: Optimizer, group: dict[str, Any]) -> float | None:
    """η·λ at which an update's linear recursion has a root of modulus 1; `β` as the group says."""
    if type(optimizer).__name__ in SCHEDULE_FREE:
        # z ← z − η λ ((1 − β) z + β x), while the average x hardly moves any more
        beta = group["betas"][0] if "betas" in group else group["momentum"]
        return 2 / (1 - beta)
    if isinstance(optimizer, Adam):  # AdamW is one; momentum is an average: Cohen 2022, 38 at .9
        beta = group["betas"][0]
        return (2 + 2 * beta) / (1 - beta)
    if isinstance(optimizer, SGD):
        beta = group["momentum"]
        if group["nesterov"]:
            return (2 + 2 * beta) / (1 + 2 * beta)  # Cohen 2021, equation 1
        return 2 * (1 + beta) / (1 - group["dampening"] if beta else 1)
    return None


def _is_adaptive(optimizer: Optimizer) -> bool:
    return isinstance(optimizer, Adam) or type(optimizer).__name__ == "AdamWScheduleFree"


def _inverse(optimizer: Optimizer, group: dict[str, Any], p: nn.Parameter) -> Tensor:
    """The diagonal of P^-1; 0 of a parameter that was never updated."""
    if not _is_adaptive(optimizer):
        return torch.ones_like(p)
    state = optimizer.state.get(p, {})
    if "exp_avg_sq" not in state:
        return torch.zeros_like(p)
    first, second = group["betas"]
    if isinstance(optimizer, Adam):
        step = float(state["step"])
        corrected = 1 - first**step  # of the average of gradients: P takes it (Cohen 2022)
    else:
        step, corrected = group["k"], 1.0
    squares = state["max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"]
    root = (squares.detach().float() / (1 - second**step)).sqrt()
    inverse = 1 / (corrected * (root + group["eps"]))
    return inverse.nan_to_num(posinf=0.0)  # ε = 0, and never a gradient
