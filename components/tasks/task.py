"""What a task is, and what tasks share: metrics and optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from components.tasks.datasets import Data


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """How many of logits (n, classes) name the class y (n,): a 0-d tensor, no synchronisation."""
    return (logits.argmax(-1) == y).sum()


def correct_share(logits: Tensor, y: Tensor) -> Tensor:
    """As `correct` for several classes per sample: each sample's share of right ones, summed.

    Logits (n, classes, k), y (n, k).
    """
    return (logits.argmax(1) == y).float().mean(-1).sum()


def adamw(parameters: Iterable[nn.Parameter], weight_decay: float) -> Optimizer:
    """AdamW as the paper uses it (A.2), in one kernel on every device that settings allow.

    The lr of 1 is a placeholder: the training loop sets it before every update.
    """
    return AdamW(parameters, lr=1.0, weight_decay=weight_decay, fused=True)


def adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Adam as the paper uses it on TinyStories; otherwise as `adamw`."""
    return Adam(parameters, lr=1.0, fused=True)


def nesterov(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """SGD as the paper uses it on ImageNet (A.2): Nesterov, weight decay 1e-4.

    The paper sweeps over peak lrs 0.005, 0.01, 0.05, 0.1, 0.256. Momentum 0.9 is not stated there.
    The lr of 1 is a placeholder, as in `adamw`.
    """
    return SGD(parameters, lr=1.0, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True)


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        name, title: for files and settings; for people.
        network: builds the network, initialised from torch's global generator.
        load: the data from a folder, see `load_data`.
        optimizer: builds the optimizer of some parameters. Its lr is a placeholder; groups of
            different ones keep their ratios to the first group's, whose rate is the scheduler's.
        batch_size: samples per update.
        loss: mean loss of (logits, y); a module, whose `reduction` sharpness asks for.
        metric: the sum of (logits, y) over the samples, so that chunks add up; higher is better.
        metric_name: what `metric` divided by the number of samples is called, wherever it is shown.
        percent: whether it is a share in [0, 1], shown in per cent; None: only where the metric is
            one of this file's. Any other is shown in its own unit.
        evaluation_batch: samples evaluated at a time; bounds the activations of a wide network,
            costs a small one little.
        bf16: on a GPU, forward passes under bfloat16 autocast: for a network wide enough to gain.
        augment: maps a batch of x on its device to another of the same shape, or None.
    """

    name: str
    title: str
    network: Callable[[], nn.Module]
    load: Callable[[Path], Data]
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    batch_size: int
    loss: nn.Module
    metric: Callable[[Tensor, Tensor], Tensor] = correct
    metric_name: str = "accuracy"
    percent: bool | None = None
    evaluation_batch: int = 512
    bf16: bool = False
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None

    @property
    def in_percent(self) -> bool:
        """`percent`, decided where it was left open."""
        return self.metric in (correct, correct_share) if self.percent is None else self.percent
