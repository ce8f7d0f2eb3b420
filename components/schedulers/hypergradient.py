"""Hypergradient descent: the learning rate follows the gradient of the loss with respect to itself.

Baydin, Cornish, Martínez Rubio, Schmidt & Wood, *Online learning rate adaptation with hypergradient
descent*, ICLR 2018. Update t is θ_t = θ_{t−1} − a_t d_t, so the loss at θ_{t−1}, whose gradient
g_t is at hand before update t, changes with the rate of the update before by −⟨g_t, d_{t−1}⟩: where
that is negative, a longer step would have been better, and the rate grows.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from components.tasks.rates import rate_shares
from components.training.scheduler import Scheduler, Training

# Upstream has no bounds. A rate below 0 would climb, one of 0 could never grow again by a factor;
# above 1, AdamW moves a weight by more than the weights are large.
LOWEST, HIGHEST = 1e-7, 1.0
# Makes a rate cross a decade in some 120 updates that agree on the direction, and lets the noise of
# one batch move it by 2 % at most.
BETA = 0.02


class HypergradientError(ValueError):
    """No hypergradient for this optimizer, or from this rate; the message says what there is."""


class Hypergradient(Scheduler):
    """SGD-HD, SGDN-HD or Adam-HD, by the task's optimizer, with one rate for all parameters.

    Where the optimizer's groups have different ones, group i's is r_i a, of fixed ratios r_i, and
    the gradient with respect to a counts that: d below is then r_i d_i in group i. The range is
    that of a, the first group's rate.

    d is what the optimizer multiplies by the rate: gradient (SGD), velocity (heavy ball), gradient
    + μ · velocity (Nesterov), m̂/(√v̂ + ε) (Adam), m̂/(√v̂ + ε) + λθ (AdamW). So weight decay counts,
    being part of the update; g stays the gradient of the loss alone. The dot product runs over all
    parameters before the rate moves (the authors' Adam moves it tensor by tensor).

    Args:
        lr: a_1, in [1e-7, 1]; the rates to try are those of a constant schedule, or one smaller.
        beta: how far a rate follows, > 0. Without `additive`, the largest relative change in one
            update: 0.01 to 0.02 for some thousand updates, less for longer runs.
        additive: the paper's rule a_t = a_{t−1} + β⟨g_t, d_{t−1}⟩ instead of the scale-free
            a_t = a_{t−1}(1 + β cos(g_t, d_{t−1})). Its β has to be searched for every network (the
            paper's are 1e-3 for SGD, 1e-8 to 1e-7 for Adam), because the product grows with the
            number of parameters; with the cosine, one β serves all tasks.

    Raises:
        HypergradientError: `lr` out of its range, or (by `attach`) an optimizer other than these.
    """

    def __init__(self, lr: float, *, beta: float = BETA, additive: bool = False) -> None:
        if not LOWEST <= lr <= HIGHEST:
            raise HypergradientError(
                f"hypergradient cannot start at a learning rate of {lr:g}: its range is "
                f"{LOWEST:g} to {HIGHEST:g}"
            )
        self._initial, self._beta, self._additive = lr, beta, additive

    def attach(self, training: Training) -> Optimizer:
        self._optimizer = super().attach(training)
        _refuse_others(self._optimizer)
        # A fused optimizer reads a float32 on its GPU without waiting for it. On a CPU nobody
        # waits, and float64 keeps additive changes that are much smaller than the rate.
        device = training.data.device
        self._dtype = torch.float64 if device.type == "cpu" else torch.float32
        self._lr = torch.tensor(self._initial, dtype=self._dtype, device=device)
        self._shares = rate_shares(self._optimizer)
        self._decayed: list[list[Tensor]] = []  # of SGD's update before, by group
        return self._optimizer

    @torch.no_grad()
    def lr(self, step: int) -> float | Tensor:
        if step > 0:
            self._move(step)
        if isinstance(self._optimizer, SGD):
            self._decayed = [_decayed_gradients(g) for g in self._optimizer.param_groups]
        return self._lr.item() if self._lr.device.type == "cpu" else self._lr

    def _move(self, done: int) -> None:
        """One step of the rate, after `done` updates; none where it would not be finite."""
        product, g_square, d_square = (torch.zeros_like(self._lr) for _ in range(3))
        for i, group in enumerate(self._optimizer.param_groups):
            gradients = _gradients(group)
            if not gradients:  # a group of frozen layers
                continue
            direction, factor = self._direction(i, done)
            factor = self._shares[i] * factor
            product += factor * self._dot(gradients, direction)
            g_square += self._dot(gradients, gradients)
            d_square += factor**2 * self._dot(direction, direction)
        if self._additive:
            moved = self._lr + self._beta * product
        else:
            moved = self._lr * (1 + self._beta * product / (g_square.sqrt() * d_square.sqrt()))
        finite = torch.isfinite(moved)
        self._lr = torch.where(finite, moved.clamp(LOWEST, HIGHEST), self._lr)

    def _direction(self, i: int, done: int) -> tuple[list[Tensor], float | Tensor]:
        """d of the update before in group `i`, as tensors and a common factor.

        It is put together from what the optimizer keeps, which is still of that update.
        """
        group = self._optimizer.param_groups[i]
        states = [self._optimizer.state[p] for p in _trained(group)]
        if isinstance(self._optimizer, Adam):
            return self._adam_direction(group, states, done, self._lr * self._shares[i])
        if not group["momentum"]:
            return self._decayed[i], 1.0
        velocities = [state["momentum_buffer"] for state in states]
        if not group["nesterov"]:
            return velocities, 1.0
        return torch._foreach_add(self._decayed[i], velocities, alpha=group["momentum"]), 1.0  # type: ignore[return-value]

    def _adam_direction(
        self, group: dict[str, Any], states: list[dict[str, Tensor]], done: int, lr: Tensor
    ) -> tuple[list[Tensor], float | Tensor]:
        beta1, beta2 = group["betas"]
        denominators = torch._foreach_sqrt([state["exp_avg_sq"] for state in states])
        torch._foreach_div_(denominators, math.sqrt(1 - beta2**done))
        torch._foreach_add_(denominators, group["eps"])
        direction = torch._foreach_div([state["exp_avg"] for state in states], denominators)
        torch._foreach_div_(direction, 1 - beta1**done)
        decay = group["weight_decay"]
        if not (group["decoupled_weight_decay"] and decay):
            return direction, 1.0  # type: ignore[return-value]
        # The weights before that update are gone, but θ = θ_old − a(adam + λ θ_old) gives
        # d = adam + λ θ_old = (adam + λ θ) / (1 − aλ).
        torch._foreach_add_(direction, _trained(group), alpha=decay)
        return direction, 1 / (1 - lr * decay)  # type: ignore[return-value]

    def _dot(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """⟨a, b⟩ over all tensors, without waiting for the device."""
        parts = [torch.dot(x.flatten(), y.flatten()) for x, y in zip(a, b, strict=True)]
        return torch.stack(parts).sum(dtype=self._dtype)


def _trained(group: dict[str, Any]) -> list[Tensor]:
    return [p for p in group["params"] if p.grad is not None]


def _gradients(group: dict[str, Any]) -> list[Tensor]:
    return [p.grad for p in group["params"] if p.grad is not None]


def _decayed_gradients(group: dict[str, Any]) -> list[Tensor]:
    """What SGD makes of the gradients, as new tensors: the loop's may be written over."""
    if not _trained(group):
        return []
    return torch._foreach_add(_gradients(group), _trained(group), alpha=group["weight_decay"])  # type: ignore[return-value]


def _refuse_others(optimizer: Optimizer) -> None:
    known = isinstance(optimizer, SGD | Adam)  # AdamW is an Adam
    if not known or any(g.get("amsgrad") or g["maximize"] for g in optimizer.param_groups):
        raise HypergradientError(
            f"scheduler hypergradient knows SGD, Adam and AdamW as they are by default, not "
            f"{type(optimizer).__name__} with these options; choose another scheduler for this task"
        )
