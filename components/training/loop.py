"""The training loop: any task, any scheduler, any device, on one screen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from components.tasks.catalog import Task
from components.tasks.datasets import Batch, Data, Split, Stream
from components.tasks.rates import rate_shares, set_rate
from components.training.accelerated import on_device, precision
from components.training.history import COMPLETED, DIVERGED
from components.training.run import log_steps
from components.training.scheduler import Scheduler, Training


@dataclass
class Outcome:
    """What a training leaves: rows of the history, the network and its best weights."""

    rows: list[dict[str, float]]
    status: str
    network: nn.Module  # as it is after the last update
    optimizer: Optimizer  # likewise
    best_weights: dict[str, torch.Tensor]  # of the best validation point
    best_point: int  # 0: diverged before the first
    train_seconds: float  # without evaluation
    decision_seconds: float = 0.0  # of them, in which the scheduler was told of log points

    @property
    def best_metric(self) -> float:
        """Of the best validation point; there must be one."""
        return self.rows[self.best_point - 1]["val_metric"]


def train(
    task: Task,
    data: Data,
    scheduler: Scheduler,
    *,
    seed: int,
    updates: int,
    points: int,
    on_point: Callable[[dict[str, float]], None] = lambda row: None,
    look: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Train `task` for `updates` updates and log `points` points.

    The data's device is the training's device. Nothing in the step waits for the device: losses
    are summed there and read at log points. Seeds fix initialisation, data order, dropout and
    augmentation, so a run is bit-reproducible on a CPU with a given number of threads. A
    non-finite loss ends the run as `diverged`, its rows up to there kept.

    `on_point` is told each row, `look` what the training has come to: it may measure network and
    optimizer, at no cost to the clock, and must leave them and the random state as they are.
    """
    for outcome in log_points(task, data, scheduler, seed=seed, updates=updates, points=points):
        if outcome.status == DIVERGED:
            break
        on_point(outcome.rows[-1])
        look(outcome)
    return outcome


def log_points(
    task: Task, data: Data, scheduler: Scheduler, *, seed: int, updates: int, points: int
) -> Iterator[Outcome]:
    """The training of `train`, paused at every log point, with what it has come to: one object.

    Whoever asks for the next point may have changed weights, optimizer and outcome in between, as
    a population does; the clock stands still meanwhile. A diverged training goes on, without
    rows, for as long as it is asked to.
    """
    torch.manual_seed(seed)
    network, precise = on_device(task.network(), data.device), precision(task, data.device)
    optimizer = scheduler.attach(Training(task, data, network, seed, updates, points))
    shares = rate_shares(optimizer)
    batches = shuffled_batches(data.train, task.batch_size, seed, task.augment)
    per_epoch = math.ceil(len(data.train) / task.batch_size)
    outcome = Outcome([], COMPLETED, network, optimizer, _copy(network), 0, train_seconds=0.0)
    started, evaluating, step = time.perf_counter(), 0.0, 0

    for point, end in enumerate(log_steps(updates, points), start=1):
        loss_sum, first = torch.zeros((), device=data.device), step
        network.train()
        scheduler.updating()
        while step < end:
            x, y = next(batches)
            with precise:
                loss = task.loss(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            lr = scheduler.lr(step)
            set_rate(optimizer, shares, lr)
            optimizer.step()
            loss_sum += loss.detach()
            scheduler.updated(step, loss.detach())
            step += 1
        train_loss = loss_sum.item() / (step - first)
        scheduler.evaluating()
        elapsed = time.perf_counter() - started
        if not math.isfinite(train_loss):
            outcome.status = DIVERGED
        if outcome.status == COMPLETED:
            metric, lr = evaluate(task, network, data.val), float(lr)
            evaluating += time.perf_counter() - started - elapsed
            outcome.rows.append(
                dict(
                    point=point,
                    step=step,
                    epoch=step / per_epoch,
                    train_loss=train_loss,
                    val_metric=metric,
                    lr=lr,
                    elapsed_s=elapsed,
                )
            )
            if not outcome.best_point or metric > outcome.best_metric:
                outcome.best_weights, outcome.best_point = _copy(network), point
            told = time.perf_counter()  # nothing is pending on the device: the metric was read
            scheduler.observe(point, train_loss, metric, lr)
            outcome.decision_seconds += time.perf_counter() - told
        paused = time.perf_counter()
        outcome.train_seconds = paused - started - evaluating
        yield outcome
        started += time.perf_counter() - paused


def shuffled_batches(
    split: Split | Stream,
    batch_size: int,
    seed: int,
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
) -> Iterator[Batch]:
    """Endless batches, reshuffled every epoch; the last one of an epoch may be smaller."""
    order = torch.Generator(split.device).manual_seed(seed)
    while True:
        for x, y in split.shuffled(batch_size, order):
            yield (x if augment is None else augment(x, order)), y


@torch.no_grad()
def evaluate(task: Task, network: nn.Module, split: Split | Stream) -> float:
    """The task's metric over a split, network in evaluation mode (and left there)."""
    network.eval()
    batches = split.ordered(task.evaluation_batch)
    with precision(task, split.device):
        return sum(task.metric(network(x), y) for x, y in batches).item() / len(split)  # type: ignore[union-attr]


def _copy(network: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
