"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) of one continuous action.

Small on purpose: finished episodes in, updated weights out. Who acts, in what, for what reward, is
the caller's; the actor-critic is any module that maps observations (B, …) to the mean and standard
deviation of a normal action and to the value, each (B,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.optim import Optimizer


@dataclass(frozen=True)
class PPO:
    """Settings of an update.

    Attributes:
        epochs, minibatches: passes over the transitions, and into how many parts each is cut.
        discount: γ in [0, 1]; 1 counts a reward the same whenever it comes.
        trace: λ of the advantage estimate in [0, 1]: 0 trusts the critic, 1 the returns.
        clip: how far the ratio of new to old probability may move an update from 1.
        entropy, value: weights of the entropy bonus and of half the squared value error.
        gradient_norm: gradients are scaled down to it; None: never.
    """

    epochs: int
    minibatches: int
    discount: float
    trace: float = 0.95
    clip: float = 0.2
    entropy: float = 0.0
    value: float = 1.0
    gradient_norm: float | None = None


@dataclass(frozen=True)
class Episode:
    """S decisions: observations (S, …), and actions, their log-probabilities when they were
    taken, values and rewards, each (S,). The last decision ends the episode."""

    observations: Tensor
    actions: Tensor
    log_probabilities: Tensor
    values: Tensor
    rewards: Tensor


def advantages(rewards: Tensor, values: Tensor, discount: float, trace: float) -> Tensor:
    """Generalised advantage estimates (S,) of an episode that ends (Schulman et al. 2016).

    A_t = Σ_l (γλ)^l δ_{t+l} with δ_t = r_t + γ V_{t+1} - V_t and V = 0 after the end.
    """
    following = torch.cat((values[1:], values.new_zeros(1)))
    errors = rewards + discount * following - values
    found, last = torch.empty_like(errors), errors.new_zeros(())
    for t in range(len(errors) - 1, -1, -1):
        last = errors[t] + discount * trace * last
        found[t] = last
    return found


def clipped_objective(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Mean of min(r A, clip(r, 1-ε, 1+ε) A), to be maximised; ratio and advantage (B,)."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()


def update(
    actor_critic: nn.Module,
    optimizer: Optimizer,
    episodes: Sequence[Episode],
    settings: PPO,
    generator: torch.Generator,
) -> None:
    """Change the weights by what a batch of episodes has shown; `generator` cuts minibatches."""
    gains = [advantages(e.rewards, e.values, settings.discount, settings.trace) for e in episodes]
    advantage = torch.cat(gains)
    returns = advantage + torch.cat([e.values for e in episodes])
    advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
    observations = torch.cat([e.observations for e in episodes])
    actions = torch.cat([e.actions for e in episodes])
    before = torch.cat([e.log_probabilities for e in episodes])
    for _ in range(settings.epochs):
        order = torch.randperm(len(actions), generator=generator)
        for part in order.tensor_split(settings.minibatches):
            mean, std, value = actor_critic(observations[part])
            policy = Normal(mean, std)
            ratio = (policy.log_prob(actions[part]) - before[part]).exp()
            loss = (
                -clipped_objective(ratio, advantage[part], settings.clip)
                - settings.entropy * policy.entropy().mean()
                + settings.value * 0.5 * (value - returns[part]).square().mean()
            )
            optimizer.zero_grad()
            loss.backward()
            if settings.gradient_norm is not None:
                nn.utils.clip_grad_norm_(actor_critic.parameters(), settings.gradient_norm)
            optimizer.step()
