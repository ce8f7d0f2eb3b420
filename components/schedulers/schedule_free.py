"""Schedule-free learning: the average of the weights takes the place of a decaying rate.

Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky, *The road less scheduled*, NeurIPS 2024, by
the authors' package `schedulefree`. Gradients are taken at y, between the fast weights z and their
average x; x is what is evaluated, kept and measured.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Adam, Optimizer

from components.training.loop import shuffled_batches
from components.training.scheduler import Price, Scheduler, Training

WARMUP = 0.02  # share of the updates, as in the authors' AlgoPerf entry
RECALIBRATION = 50  # batches, as the authors advise
DEFAULT_MOMENTUM = 0.9  # of the package, for an SGD without momentum: y needs one


class ScheduleFreeError(ValueError):
    """No schedule-free form of this optimizer; the message says what there is."""


class ScheduleFree(Scheduler):
    """Schedule-free AdamW for Adam and AdamW, schedule-free SGD for SGD, by the task's optimizer.

    Weight decay, β and ε are the task's; momentum is the interpolation's here. Adam's decay becomes
    AdamW's, as the package has no other. The rate rises over the first 2 % of the updates (at least
    one) and is constant then. Parameter groups keep the ratios of their rates.

    Args:
        lr: of the plateau, > 0. The authors advise 1 to 10 times what is best with a schedule for
            AdamW, 10 to 50 times for SGD.
        updates: N.

    Raises:
        ScheduleFreeError: (by `attach`) an optimizer other than these.
    """

    def __init__(self, lr: float, *, updates: int) -> None:
        self._lr, self._warmup = lr, max(int(WARMUP * updates), 1)

    def attach(self, training: Training) -> Optimizer:
        self._network = training.network
        self._norms = [
            module
            for module in self._network.modules()
            if isinstance(module, _BatchNorm) and module.track_running_stats
        ]
        if self._norms:
            self.price = Price(note=f"{RECALIBRATION} forward passes more at every log point")
        # other batches than the training's, from a generator of their own: the training's bits
        # do not depend on how often it is evaluated
        task = training.task
        self._batches = shuffled_batches(
            training.data.train, task.batch_size, training.seed + 2**32, task.augment
        )
        self._optimizer = _schedule_free(super().attach(training))
        return self._optimizer

    def lr(self, step: int) -> float:
        """The package's warm-up, to the bit; done here, so that what is applied is logged."""
        return self._lr * min((step + 1) / self._warmup, 1.0)

    def updating(self) -> None:
        self._optimizer.train()

    def evaluating(self) -> None:
        self._optimizer.eval()
        if self._norms:
            self._recalibrate()

    @torch.no_grad()
    def _recalibrate(self) -> None:
        """Statistics of batch norm at x; those gathered in training are of y.

        A plain mean over the batches, whatever momentum a layer has. The other layers are as in
        the evaluation that follows: no dropout, and nothing drawn from torch's generator.
        """
        momenta = [norm.momentum for norm in self._norms]
        self._network.eval()
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        for _ in range(RECALIBRATION):
            self._network(next(self._batches)[0])
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.momentum = momentum
        self._network.train()


def _schedule_free(own: Optimizer) -> Any:
    """The package's optimizer for the parameters and settings of the task's own."""
    from schedulefree import AdamWScheduleFree, SGDScheduleFree

    kept: tuple[str, ...] = ("params", "weight_decay", "lr")  # lr: for the groups' ratios
    if isinstance(own, Adam):  # AdamW is one
        make, kept = AdamWScheduleFree, (*kept, "betas", "eps")
    elif isinstance(own, SGD):
        make = SGDScheduleFree
    else:
        raise ScheduleFreeError(
            f"scheduler schedule-free knows SGD, Adam and AdamW, not {type(own).__name__}; choose "
            "another scheduler for this task"
        )
    groups = [{key: group[key] for key in kept} for group in own.param_groups]
    if make is SGDScheduleFree:
        for new, group in zip(groups, own.param_groups, strict=True):
            new["momentum"] = group["momentum"] or DEFAULT_MOMENTUM
    return make(groups)
