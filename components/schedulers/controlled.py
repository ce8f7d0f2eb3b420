"""A learning rate that a policy scales every k updates: what its users have in common."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.optim import Optimizer

from components.schedulers.policy import Policy, PolicyError, signature
from components.schedulers.ppo import Episode
from components.training.scheduler import Price, Scheduler, Training

DECISIONS = 100  # about so many in a run, whatever its length
VALIDATION_SAMPLES = 1000  # the first so many; bounds what a look at the validation data costs


class Controlled(Scheduler):
    """Every k-th update the policy's mean action scales the rate; in between it stays.

    k = max(1, N // 100): an episode has 100 to 199 decisions, however long the training. (The
    originals decide every 10 updates, of 1,000 in the one known case.) The policy runs on the CPU:
    at a decision, and only there, the host waits for the device.

    Attributes:
        done: updates of the run so far.

    Args:
        policy: in evaluation mode where it is frozen.
        initial_lr: of the first updates, positive.
        updates: N of the run.
        price: what the policy has cost.

    Raises:
        PolicyError: from `attach`, if the policy was learned on another network.
    """

    first = 0  # decisions come after updates first, first + k, … (0-based)

    def __init__(
        self, policy: Policy, initial_lr: float, *, updates: int, price: Price | None = None
    ) -> None:
        self.policy, self._lr, self._updates = policy, initial_lr, updates
        self.interval = max(1, updates // DECISIONS)
        self.price = price or Price()
        self.done = 0

    def attach(self, training: Training) -> Optimizer:
        if signature(training.network) != self.policy.network:
            raise PolicyError(
                f"this policy was learned on another network than {training.task.name} now has; "
                "run `lode learn` again"
            )
        self.training, self.network = training, training.network
        self.validation = training.data.val.first(VALIDATION_SAMPLES)
        self._loss_sum = torch.zeros((), device=training.data.device)
        self._losses = 0
        return super().attach(training)

    def lr(self, step: int) -> float:
        return self._lr

    def updated(self, step: int, loss: Tensor) -> None:
        self._loss_sum += loss
        self._losses += 1
        self.done = step + 1
        if self.done == self._updates:
            return self.ended()
        if step % self.interval == self.first % self.interval:
            train_loss = self._loss_sum.item() / self._losses
            self._loss_sum.zero_()
            self._losses = 0
            self._lr = self.scaled(self._lr, self.act(self.observation(train_loss, self._lr)))

    def observation(self, train_loss: float, lr: float) -> Tensor:
        """What the policy is shown, on the CPU; `train_loss`: mean since the last decision."""
        raise NotImplementedError

    def scaled(self, lr: float, action: float) -> float:
        """The rate that follows from an action."""
        raise NotImplementedError

    def act(self, observation: Tensor) -> float:
        return self.policy.act(observation)

    def ended(self) -> None:
        """The last update was done; there is nothing left to decide."""


class Record:
    """The decisions of an episode while it is explored."""

    def __init__(self, policy: Policy, generator: torch.Generator) -> None:
        self._policy, self._generator = policy, generator
        self._seen: list[Tensor] = []
        self._drawn: list[tuple[float, float, float]] = []  # action, its log-probability, value
        self.rewards: list[float] = []

    def draw(self, observation: Tensor) -> float:
        """An action from the policy as it is; its reward, 0, may be set later."""
        seen = self._policy.see(observation)
        with torch.no_grad():
            mean, std, value = self._policy(seen[None])
            action = mean + std * torch.randn(1, generator=self._generator)
            log_probability = Normal(mean, std).log_prob(action)
        self._seen.append(seen)
        self._drawn.append((float(action), float(log_probability), float(value)))
        self.rewards.append(0.0)
        return float(action)

    def episode(self) -> Episode:
        actions, log_probabilities, values = torch.tensor(self._drawn).T
        rewards = torch.tensor(self.rewards)
        return Episode(torch.stack(self._seen), actions, log_probabilities, values, rewards)


class Exploring(Controlled):
    """As it learns: actions are drawn, rewards collected.

    Attributes:
        record: of this episode; complete once `finish` was called.
    """

    def __init__(
        self, policy: Policy, initial_lr: float, *, updates: int, generator: torch.Generator
    ) -> None:
        super().__init__(policy, initial_lr, updates=updates)
        self.generator = generator
        self.record = Record(policy, generator)

    def finish(self, diverged: bool) -> None:
        """The training is over; one that diverged may have ended before its last update."""
        raise NotImplementedError
