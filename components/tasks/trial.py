"""One update and one evaluation of a task, as training does them, before anything is trained."""

from __future__ import annotations

import copy
import logging
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from components.tasks.datasets import Data, Split, Stream
from components.tasks.errors import DataError, TaskError
from components.tasks.rates import rate_shares, set_rate

if TYPE_CHECKING:
    from components.tasks.task import Task

# On a CPU a network of more parameters than MANY is tried on FEW samples instead of a whole batch:
# an update of a ResNet takes it half a minute, and the GPU that trains it no time.
MANY, FEW = 2_000_000, 4
RATE = 1e-6  # of the update: the placeholder that an optimizer is built with may be far too large

NETWORK = "change the task's network or its load"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """What training does to a network on its device.

    Attributes:
        settle: the network on the device. precision: what its forward passes and loss are done in.
    """

    settle: Callable[[nn.Module, torch.device], nn.Module] = lambda network, device: network.to(
        device
    )
    precision: Callable[[Task, torch.device], AbstractContextManager[object]] = (
        lambda task, device: nullcontext()
    )


PLAIN = Place()


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Whatever is drawn within, all global random states are afterwards what they were."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


@contextmanager
def attempt(task: Task, about: str, *, remedy: str) -> Iterator[None]:
    """An exception of the task's own code becomes one TaskError that says so."""
    try:
        yield
    except DataError:
        raise
    except torch.OutOfMemoryError:
        raise TaskError(f"{task.name}: {about}: out of memory; make its batches smaller") from None
    except Exception as error:  # whatever a stranger's code may raise
        said = (str(error).strip().splitlines() or [""])[0]
        said = said if len(said) <= 300 else said[:300] + "…"
        kind = "" if type(error) in (RuntimeError, ValueError) and said else type(error).__name__
        what = ": ".join(part for part in (kind, said) if part)
        raise TaskError(f"{task.name}: {about}: {what}; {remedy}") from error


def shown(value: Any) -> str:
    """A value in a few words: a tensor's shape and type, else its type."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} {value.dtype}"
    return repr(value) if type(value) in (int, float, bool) else f"a {type(value).__name__}"


def mean_of(loss: nn.Module, logits: Tensor, y: Tensor) -> Any:
    """The loss; what torch only warns of, (n, 1) and (n,) making n × n errors, is an error here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Using a target size")
        return loss(logits, y)


class Trial:
    """One update on a whole batch and one on the last of an epoch, then an evaluation.

    The last batch has what is left of an epoch: n mod batch_size samples, may be one. Evaluated are
    a whole batch and the last one of the validation split, and the smallest of the test split.
    """

    def __init__(self, task: Task, data: Data, place: Place, network: nn.Module) -> None:
        self.task, self.data, self.device = task, data, data.device
        self.network = place.settle(network, self.device)
        self.precise = place.precision(task, self.device)
        # which may have a state, too
        self.loss, self.metric = _copied(task.loss), _copied(task.metric)
        size = sum(p.numel() for p in network.parameters())
        self.few = size > MANY and self.device.type == "cpu"
        if self.few:
            log.info("%s: tried on %d samples, as its network is large", task.name, FEW)

    def update(self) -> None:
        """Train mode, loss, backward pass, optimizer.

        Raises:
            TaskError, DataError: one of them fails, or is of a wrong shape or not finite.
        """
        task, remedy = self.task, "change the task's optimizer"
        with attempt(task, "the optimizer cannot be built", remedy=remedy):
            optimizer = task.optimizer(self.network.parameters())
        if not isinstance(optimizer, Optimizer):
            raise TaskError(f"{task.name}: optimizer gives {shown(optimizer)}; {remedy}")
        own = {id(weight) for weight in self.network.parameters()}
        if not any(id(one) in own for group in optimizer.param_groups for one in group["params"]):
            raise TaskError(f"{task.name}: the optimizer holds none of the weights; {remedy}")
        with self._named():
            shares = rate_shares(optimizer)
        for count, which in self._batches(len(self.data.train), task.batch_size):
            self.network.train()
            x, y = self._training_batch(count)
            about = f"{which}, {count} samples x of shape {tuple(x.shape)} {x.dtype}"
            optimizer.zero_grad()
            self._loss(x, y, about)
            set_rate(optimizer, shares, RATE)
            with attempt(task, f"the optimizer fails at its update on {about}", remedy=remedy):
                optimizer.step()
            self._finite_weights(about)

    def _training_batch(self, count: int) -> tuple[Tensor, Tensor]:
        task = self.task
        with attempt(task, "the data's batches cannot be made", remedy="change the task's load"):
            x, y = self.data.train.trial(count)
        if not _is_finite(x) or not _is_finite(y):
            raise DataError(f"{task.name}: the data of a batch is not finite; change its load")
        if task.augment is not None:
            made = x.shape
            about = f"augment fails on x of shape {tuple(made)}"
            with attempt(task, about, remedy="change the task's augment"):
                x = task.augment(x, torch.Generator(self.device).manual_seed(0))
            if not isinstance(x, Tensor) or x.shape != made or not _is_finite(x):
                raise TaskError(
                    f"{task.name}: augment makes {shown(x)} of x of shape {tuple(made)}; it must "
                    "give finite values of the same shape"
                )
        return x, y

    def _loss(self, x: Tensor, y: Tensor, about: str) -> None:
        """Forward and backward pass of one batch."""
        task = self.task
        with self.precise:
            remedy = _smallest(self.data, task) if len(x) < task.batch_size else NETWORK
            with attempt(task, f"the network does not take, in training, {about}", remedy=remedy):
                logits = self.network(x)
            self._finite_logits(logits, about)
            shapes = f"logits of shape {tuple(logits.shape)} and y of shape {tuple(y.shape)}"
            with attempt(
                task, f"the loss does not take {shapes} {y.dtype}, of {about}", remedy=NETWORK
            ):
                loss = mean_of(self.loss, logits, y)
        if not isinstance(loss, Tensor) or loss.ndim != 0:
            raise TaskError(
                f"{task.name}: the loss of {shapes} is {shown(loss)}, must be one number (0-d): "
                "give it reduction='mean'"
            )
        if not _is_finite(loss):
            raise TaskError(
                f"{task.name}: the loss of an untrained network is {loss.item()}, of {shapes}; "
                "change the task's loss, network or load"
            )
        if not loss.requires_grad:
            raise TaskError(
                f"{task.name}: the loss of {shapes} does not depend on the network's weights; "
                "change the task's loss or network (no detach, no argmax)"
            )
        remedy = "change the task's network or loss"
        with attempt(task, f"the loss of {shapes} has no backward pass", remedy=remedy):
            loss.backward()
        self._finite_gradients(about)

    def _finite_gradients(self, about: str) -> None:
        own = {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}
        if not own:
            raise TaskError(
                f"{self.task.name}: no weight of the network has a gradient of the loss; change "
                "the task's network or loss"
            )
        for name, gradient in own.items():
            if not _is_finite(gradient):
                raise TaskError(
                    f"{self.task.name}: the gradient of {name}, of shape "
                    f"{tuple(gradient.shape)}, is not finite at {about}; change the task's network "
                    "or loss"
                )

    def _finite_weights(self, about: str) -> None:
        for name, weight in self.network.named_parameters():
            if not _is_finite(weight):
                raise TaskError(
                    f"{self.task.name}: {name}, of shape {tuple(weight.shape)}, is not finite "
                    f"after the optimizer's first update, with a rate of {RATE:g}, on {about}; "
                    "change the task's optimizer"
                )

    def _finite_logits(self, logits: Any, about: str) -> None:
        if not isinstance(logits, Tensor):
            raise TaskError(
                f"{self.task.name}: the network gives {shown(logits)}, not a tensor, for {about}; "
                "change the task's network"
            )
        if not _is_finite(logits):
            raise TaskError(
                f"{self.task.name}: the logits of an untrained network, of shape "
                f"{tuple(logits.shape)}, are not finite for {about}; change the task's network"
            )

    @torch.no_grad()
    def evaluate(self) -> None:
        """Evaluation mode and metric.

        Raises:
            TaskError, DataError: as `update`; a metric that is not one number per batch, or one in
                per cent whose sum over n samples is not in [0, n].
        """
        self.network.eval()
        for name, split in (("val", self.data.val), ("test", self.data.test)):
            batches = list(self._batches(len(split), self.task.evaluation_batch))
            for count, which in batches if name == "val" else batches[-1:]:
                self._metric(split, count, f"{which.replace('an epoch', name)} of {name}")

    def _metric(self, split: Split | Stream, count: int, which: str) -> None:
        task = self.task
        with attempt(task, f"{which} cannot be made", remedy="change the task's load"):
            x, y = (part.clone() for part in split.sample(count))
        if not _is_finite(x) or not _is_finite(y):
            raise DataError(f"{task.name}: the data of {which} is not finite; change its load")
        about, before = f"{which}, {count} samples x of shape {tuple(x.shape)}", x.clone()
        with self.precise:
            with attempt(
                task, f"the network does not take, in evaluation, {about}", remedy=NETWORK
            ):
                logits = self.network(x)
            self._finite_logits(logits, about)
            if not torch.equal(x, before):
                raise TaskError(
                    f"{task.name}: the network writes to its input x of shape {tuple(x.shape)}, so "
                    "that every evaluation would change the data; change it, e.g. inplace=False"
                )
            shapes = f"logits of shape {tuple(logits.shape)} and y of shape {tuple(y.shape)}"
            remedy = "change the task's metric"
            with attempt(task, f"the metric does not take {shapes}, of {about}", remedy=remedy):
                total = self.metric(logits, y)
        self._check_metric(total, count, shapes)

    def _check_metric(self, total: Any, count: int, shapes: str) -> None:
        task = self.task
        if not isinstance(total, Tensor) or total.numel() != 1:
            raise TaskError(
                f"{task.name}: the metric of {shapes} is {shown(total)}, must be one number: a "
                "0-d tensor, the sum over the samples"
            )
        value = float(total)
        if not _is_finite(total):
            raise TaskError(
                f"{task.name}: the metric of {shapes} is {value}; it must be finite for an "
                "untrained network and for the last batch of an evaluation"
            )
        if task.in_percent and not 0 <= value <= count * (1 + 1e-6):
            raise TaskError(
                f"{task.name}: the metric of {shapes} is {value:g}, but the sum of {count} shares "
                f"is in [0, {count}]; change it, or give the task percent=False"
            )

    def _batches(self, samples: int, size: int) -> Iterator[tuple[int, str]]:
        """Sizes of the batches to be tried, with what they are called."""
        whole, rest = min(samples, size), samples % size
        limit = FEW if self.few else size
        yield min(whole, limit), "a batch"
        if rest and whole == size and min(rest, limit) < min(whole, limit):
            yield min(rest, limit), f"the last batch of an epoch ({samples} mod {size})"

    @contextmanager
    def _named(self) -> Iterator[None]:
        """The task's name before a message that lacks it."""
        try:
            yield
        except TaskError as error:
            raise TaskError(f"{self.task.name}: {error}") from None


def _smallest(data: Data, task: Task) -> str:
    return (
        f"change task.batch_size or training.train_samples, so that more of "
        f"{len(data.train)} samples are left for it, or the network"
    )


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # not everything that can be called can be copied
        return value


def _is_finite(values: Tensor) -> bool:
    if values.is_sparse:
        values = values.coalesce().values()
    return not values.numel() or bool(torch.isfinite(values).all())
