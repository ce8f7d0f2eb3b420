"""Ways of setting the learning rate: one file per method."""

from __future__ import annotations

from typing import Protocol


class Scheduler(Protocol):
    """What the training loop asks of a scheduler."""

    def lr(self, step: int) -> float:
        """Learning rate of update `step`, 0-based; asked once per update, in order."""

    def observe(self, point: int, train_loss: float, val_metric: float, lr: float) -> None:
        """Told after each log point 1..T what the history's row says."""
