"""A training that takes no time: its loss and metric follow the rates it was given."""

from __future__ import annotations

import math

import torch
from torch import nn

from components.adapters.rate_scheduler import RateScheduler

POINTS = 20  # of the LODE of tests/registry
UPDATES = 10 * POINTS
MU = 4


class Training:
    """Updates under a scheduler, reported every `every` updates."""

    def __init__(
        self, scheduler: RateScheduler, optimizer: torch.optim.Optimizer, every: int = 10
    ) -> None:
        self.scheduler, self.optimizer, self.every = scheduler, optimizer, every
        self.spent, self.done = 0.0, 0
        self.rates: list[list[float]] = []

    def go(self, until: int) -> list[list[float]]:
        while self.done < until:
            self.rates.append([float(group["lr"]) for group in self.optimizer.param_groups])
            self.optimizer.step()
            self.scheduler.step()
            self.done += 1
            self.spent += self.rates[-1][0]
            if self.done % self.every == 0:
                self.scheduler.observe(*self.measured())
        return self.rates

    def measured(self) -> tuple[float, float]:
        """Train loss and validation metric, as those of the fitted runs."""
        lr, work = self.rates[-1][0], 1 - math.exp(-4 * self.spent / POINTS)
        return 2.3 * (1 - work) + 2 * lr + 0.1, 0.1 + 0.8 * work - 2 * lr


def an_optimizer(*ratios: float, kind: type = torch.optim.SGD, **given: object) -> object:
    """One with a parameter group for each ratio, one if none is given; its gradients are 0."""
    groups = []
    for ratio in ratios or (1.0,):
        parameter = nn.Parameter(torch.zeros(2))
        parameter.grad = torch.zeros(2)
        groups.append({"params": [parameter], "lr": 0.1 * ratio})
    return kind(groups, lr=0.1, **given)
