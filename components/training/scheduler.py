"""What the training loop asks of a scheduler, and what a scheduler is given to look into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from components.tasks.catalog import Task
    from components.tasks.datasets import Data


@dataclass(frozen=True)
class Training:
    """What a scheduler that looks into the training is given, before update 0.

    Attributes:
        task, data: what is trained, on what; the data's device is the training's.
        network: as initialised, on that device.
        seed: of the run; what a scheduler draws, it draws from a generator of its own.
        updates, points: N and T.
    """

    task: Task
    data: Data
    network: nn.Module
    seed: int
    updates: int
    points: int


@dataclass(frozen=True)
class Price:
    """What a scheduler costs beyond the one training it schedules; the evaluation shows it.

    Attributes:
        learning_updates: network updates spent once, before, on learning to schedule this task.
        run_factor: trainings paid for one result; a population's size, else 1.
        note: what the figures leave out, in a few words, for people.
    """

    learning_updates: int = 0
    run_factor: float = 1.0
    note: str = ""


class Scheduler:
    """What the training loop asks of a scheduler; only `lr` must be written.

    The order within a run: `attach`; then for every log point `updating`, for each of its updates
    `lr` (the gradients of this update are there, the weights are still the old ones) and `updated`,
    then `evaluating` and `observe`.
    """

    price = Price()

    def attach(self, training: Training) -> Optimizer:
        """Called once, before update 0; returns the optimizer, the task's own unless overridden."""
        return training.task.optimizer(training.network.parameters())

    def lr(self, step: int) -> float | Tensor:
        """Learning rate of update `step`, 0-based; asked once per update, in order.

        It is the first parameter group's; others keep their ratios to it (tasks/rates.py).

        A 0-d tensor on the training's device is allowed, so that nothing waits for a GPU.
        """
        raise NotImplementedError

    def updated(self, step: int, loss: Tensor) -> None:
        """Told after update `step` its loss, 0-d, detached, still on the device."""

    def updating(self) -> None:
        """The network is in training mode and updates follow."""

    def evaluating(self) -> None:
        """No update will happen before the network is evaluated and copied."""

    def observe(self, point: int, train_loss: float, val_metric: float, lr: float) -> None:
        """Told after each log point 1..T what the history's row says."""
