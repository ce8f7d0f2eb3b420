"""PPO against closed forms, and on a problem whose answer is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from components.schedulers.ppo import PPO, Episode, advantages, clipped_objective, update


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6))
def test_advantages_are_the_sum_of_the_definition(
    length: int, discount: float, trace: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, length, generator=generator, dtype=torch.float64)
    after = [*values.tolist()[1:], 0.0]
    errors = [r + discount * v1 - v for r, v, v1 in zip(rewards, values, after, strict=True)]
    direct = [
        sum((discount * trace) ** k * errors[t + k] for k in range(length - t))
        for t in range(length)
    ]
    found = advantages(rewards, values, discount, trace)
    assert found.tolist() == pytest.approx([float(x) for x in direct])


def test_with_a_trace_of_one_they_are_returns_less_values() -> None:
    rewards, values = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, -1.0, 3.0])
    assert torch.equal(advantages(rewards, values, 1.0, 1.0), torch.tensor([6.5, 7.0, 1.0]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient"),
    [
        (1.0, 2.0, 2.0),
        (1.1, -3.0, -3.0),
        (1.3, 2.0, 0.0),  # already much likelier: no more of it
        (0.7, -2.0, 0.0),  # already much less likely
        (0.7, 2.0, 2.0),  # on the wrong side: pulled back in full
        (1.3, -2.0, -2.0),
    ],
)
def test_outside_the_clip_there_is_no_gradient(
    ratio: float, advantage: float, gradient: float
) -> None:
    r = torch.tensor([ratio], requires_grad=True)
    clipped_objective(r, torch.tensor([advantage]), 0.2).backward()
    assert r.grad is not None and r.grad.item() == gradient


class Bandit(nn.Module):
    """A policy that sees nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.log_std, self.value = (nn.Parameter(torch.zeros(())) for _ in range(3))

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count = len(observations)
        ones = torch.ones(count)
        return self.mean * ones, self.log_std.exp() * ones, self.value * ones


def learned(seed: int, rounds: int = 60) -> Bandit:
    bandit, generator = Bandit(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(bandit.parameters(), lr=0.03)
    settings = PPO(epochs=4, minibatches=2, discount=1.0, gradient_norm=0.5)
    for _ in range(rounds):
        episodes = []
        for _ in range(64):  # one decision each, best answered by 0.7
            with torch.no_grad():
                mean, std, value = bandit(torch.zeros(1, 1))
                action = mean + std * torch.randn(1, generator=generator)
                log_p = torch.distributions.Normal(mean, std).log_prob(action)
            episodes.append(
                Episode(torch.zeros(1, 1), action, log_p, value, -((action - 0.7) ** 2))
            )
        update(bandit, optimizer, episodes, settings, generator)
    return bandit


def test_it_learns_a_bandit_and_does_so_again() -> None:
    bandit = learned(0)
    assert bandit.mean.item() == pytest.approx(0.7, abs=0.1)
    assert bandit.log_std.item() < -0.5, "it still guesses"
    again = learned(0)
    assert all(
        torch.equal(a, b) for a, b in zip(bandit.parameters(), again.parameters(), strict=True)
    )
