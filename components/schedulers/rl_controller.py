"""A learning rate under a controller learned by reinforcement (Xu et al. 2019, arXiv:1909.09712).

Every k updates (`controlled.py`) a small policy sees seven statistics of the training and
multiplies the rate by a factor from [1/1.05, 1.05]; it is learned by PPO on whole trainings of the
same task, rewarded with minus the validation loss at every decision. What the paper leaves open
follows the public implementation that was built on it.

Deviations, all deliberate:
- the factor is 1.05^tanh(a), so that the range is used evenly and a = 0 changes nothing (there the
  action itself is the factor, clipped, and starts far below the range);
- PPO clips ratios at 0.2 (there: practically never);
- the normalisation statistics are part of the policy (there they are lost with the learning);
- validation samples are the first 1,000 at most, always in the same order, so that the change of
  predictions is one of the same samples (there they are shuffled and all are used);
- a frozen policy takes its mean action (there it draws);
- about 30 child trainings (there 500), k scaled to about 100 decisions (there every 10 updates);
- initial rates are log-uniform on the sweep's range (there one rate with noise, and noise on every
  decision), and the rate's bounds are widened where that range goes beyond them;
- children run one after the other; a diverged one is charged the worst loss to its end.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.schedulers.controlled import Controlled, Exploring
from components.schedulers.policy import LARGEST, Moments, Policy, signature
from components.schedulers.ppo import PPO
from components.training.scheduler import Training

LOOK_BATCH = 512  # bounds the activations while it looks at the validation samples
FACTOR = 1.05
LR_BOUNDS = (1e-5, 1e-1)
HIDDEN = 32
STATISTICS = 7
WORST_LOSS = (
    10.0  # for one that is not finite or larger; an untrained network of 10 classes has 2.3
)
SETTINGS = PPO(epochs=4, minibatches=4, discount=1.0, entropy=0.1, gradient_norm=0.5)
EPISODES, EPISODES_PER_UPDATE = 32, 4


class RLPolicy(Policy):
    """Actor and critic, each 7-32-32-1 with ReLU; the action's std is one learned number.

    Args:
        network: `policy.signature` of the child.
        lr_bounds: the rate stays within them.
        observations, returns: saved statistics; None: nothing seen yet.
    """

    def __init__(
        self,
        network: str,
        lr_bounds: tuple[float, float],
        observations: dict[str, Any] | None = None,
        returns: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.lr_bounds = network, (lr_bounds[0], lr_bounds[1])
        self.observations = Moments(**observations) if observations else Moments.of(STATISTICS)
        self.returns = Moments(**returns) if returns else Moments.of(1)
        self.actor, self.critic = _mlp(), _mlp()
        self.log_std = nn.Parameter(torch.zeros(()))

    @classmethod
    def create(cls, network: nn.Module, lr_range: tuple[float, float]) -> RLPolicy:
        low, high = min(LR_BOUNDS[0], lr_range[0]), max(LR_BOUNDS[1], lr_range[1])
        return cls(signature(network), (low, high))

    def settings(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "lr_bounds": list(self.lr_bounds),
            "observations": self.observations.to_dict(),
            "returns": self.returns.to_dict(),
        }

    def see(self, observation: Tensor) -> Tensor:
        return self.observations.standardise(observation)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = self.actor(observations).squeeze(-1)
        return mean, self.log_std.exp().expand_as(mean), self.critic(observations).squeeze(-1)

    def optimizer(self) -> Optimizer:
        return Adam(self.parameters(), lr=3e-3)


def _mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(STATISTICS, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 1),
    )


class RLController(Controlled):
    """The rate under a frozen policy. Decisions come after updates k, 2k, … (counted from 1)."""

    first = -1
    policy: RLPolicy

    def attach(self, training: Training) -> Any:
        optimizer = super().attach(training)
        self._head = [p for p in training.network.parameters() if p.ndim > 1][-1]
        self._before: list[Tensor] = []
        self._look()  # so that the first decision sees how predictions have changed since the start
        return optimizer

    def observation(self, train_loss: float, lr: float) -> Tensor:
        """(7,): train loss; validation loss; variance of the logits and of their change since the
        last decision, both means over fixed batches; mean and variance of the last weight matrix
        of the network; lr."""
        head = self._head.detach()
        found = torch.cat((self._look(), torch.stack((head.mean(), head.var()))))
        return torch.cat((torch.tensor([train_loss]), found.cpu(), torch.tensor([lr])))

    def scaled(self, lr: float, action: float) -> float:
        low, high = self.policy.lr_bounds
        return min(max(lr * FACTOR ** math.tanh(action), low), high)

    @torch.no_grad()
    def _look(self) -> Tensor:
        """(3,): validation loss, variance of the logits, variance of their change."""
        self.network.eval()
        parts = list(self.validation.ordered(LOOK_BATCH))
        logits = [self.network(x) for x, _ in parts]
        self.network.train()
        losses = [
            self.training.task.loss(z, y) * len(y) for z, (_, y) in zip(logits, parts, strict=True)
        ]
        before = self._before or logits
        changes = [(now - then).var() for now, then in zip(logits, before, strict=True)]
        self._before = logits
        variances = [part.var() for part in logits]
        return torch.stack(
            [sum(losses) / len(self.validation), _mean(variances), _mean(changes)]  # type: ignore[list-item]
        )


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


class ExploringRL(Exploring, RLController):
    """While learning: the reward of a decision is minus the validation loss at the next one.

    Rewards are divided by the running std of the returns so far and cut off at ±10.
    """

    policy: RLPolicy
    _return = 0.0

    def act(self, observation: Tensor) -> float:
        self._reward(float(observation[1]))
        self.policy.observations.add(observation)
        return self.record.draw(observation)

    def ended(self) -> None:
        self._reward(float(self._look()[0]))
        self._complete = True

    def finish(self, diverged: bool) -> None:
        if diverged and not getattr(self, "_complete", False):
            missing = (self._updates - 1) // self.interval - len(self.record.rewards)
            # Without it a training would save itself losses by blowing up early.
            self.record.rewards[-1] -= (missing + 1) * WORST_LOSS / float(self.policy.returns.std)

    def _reward(self, loss: float) -> None:
        if not self.record.rewards:  # the first decision: nothing was decided before
            return
        loss = min(loss, WORST_LOSS) if math.isfinite(loss) else WORST_LOSS
        self._return -= loss
        self.policy.returns.add(torch.tensor([self._return]))
        self.record.rewards[-1] = max(-loss / float(self.policy.returns.std), -LARGEST)
