"""Do a task's network, data, loss, metric and optimizer fit each other? Asked before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from components.tasks.datasets import Data, Split
from components.tasks.errors import DataError, TaskError
from components.tasks.trial import PLAIN, Place, Trial, attempt, mean_of, shown, untouched

if TYPE_CHECKING:
    from components.tasks.task import Task

REMEDY = "change the task's network or its load"
# Of these a y that has no place in the logits, or is none of their classes, is a fault for sure.
OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)


def check_agreement(task: Task, data: Data, place: Place = PLAIN) -> None:
    """Try two samples with an untrained network, then one update and one evaluation of the task.

    Everything is tried on copies; torch's, numpy's and Python's random states are left as they
    were. `Trial` says on which batches.

    Args:
        data: on the device of the training. place: what the training does to a network there.

    Raises:
        DataError: what does not fit, is not finite or out of its range. The message names the
            task, the part, shapes and the remedy. It is a TaskError where the part is not the data.
    """
    check_splits(task, data)
    check_training(task, data, place)


def check_training(task: Task, data: Data, place: Place = PLAIN) -> None:
    """The second half of `check_agreement`, for data whose splits are in order."""
    with untouched(data.device):
        network = _network(task).to(data.device)
        with attempt(task, "the data's samples cannot be made", remedy="change the task's load"):
            x, y = (part.clone() for part in data.train.sample(2))
        logits = _output(task, network, x)
        if y.dtype == torch.int64:
            for split in (data.train, data.val, data.test):
                _check_classes(task, logits, split.y if isinstance(split, Split) else y)
        _check_loss_takes(task, logits, y)
        trial = Trial(task, data, place, network)
        trial.update()
        trial.evaluate()


def check_splits(task: Task, data: Data) -> None:
    """Sizes, and for splits in memory shapes and that every number is finite."""
    if not isinstance(data, Data):
        raise DataError(f"{task.name}: load gives {shown(data)}, not a Data of three splits")
    for name in ("batch_size", "evaluation_batch"):
        value = getattr(task, name)
        if type(value) is not int or value < 1:
            raise TaskError(f"{task.name}: {name} = {shown(value)}, must be a whole number >= 1")
    splits = {"train": data.train, "val": data.val, "test": data.test}
    for name, split in splits.items():
        if isinstance(split, Split):
            _check_in_memory(task, name, split)
    empty = [name for name, size in data.sizes.items() if not size]
    if empty:
        raise DataError(f"{task.name}: no samples in {' and '.join(empty)}; change the task's load")
    if len(data.train) < task.batch_size:
        raise DataError(
            f"{task.name}: batches of {task.batch_size} samples, but the training split has "
            f"{len(data.train)}; make the task's batch_size smaller or its data larger"
        )


def _check_in_memory(task: Task, name: str, split: Split) -> None:
    for letter, part in (("x", split.x), ("y", split.y)):
        if not isinstance(part, Tensor) or part.ndim < 1:
            raise DataError(
                f"{task.name}: {letter} of {name} is {shown(part)}, not a tensor of samples; "
                "change the task's load"
            )
    if len(split.x) != len(split.y):
        raise DataError(
            f"{task.name}: {name} has {len(split.x)} samples x of shape {tuple(split.x.shape)}, "
            f"but {len(split.y)} y of shape {tuple(split.y.shape)}; change the task's load"
        )
    for letter, part in (("x", split.x), ("y", split.y)):
        if part.is_floating_point() and part.numel():
            low, high = (float(value) for value in part.aminmax())  # a NaN is both
            if not (-torch.inf < low <= high < torch.inf):
                raise DataError(
                    f"{task.name}: {letter} of {name}, of shape {tuple(part.shape)}, is not finite "
                    "everywhere (NaN or infinity); change the task's load"
                )


def _network(task: Task) -> nn.Module:
    """A new network, which shares nothing with the next one."""
    made = []
    for _ in range(2):
        with attempt(task, "the network cannot be built", remedy="change the task's network"):
            made.append(task.network())
    network, other = made
    if not isinstance(network, nn.Module):
        raise TaskError(f"{task.name}: network gives {shown(network)}, not a torch.nn.Module")
    if not any(p.requires_grad for p in network.parameters()):
        raise TaskError(f"{task.name}: the network has no parameter to train; {REMEDY}")
    if {id(p) for p in network.parameters()} & {id(p) for p in other.parameters()}:
        raise TaskError(
            f"{task.name}: network gives the same parameters again, so that a run would go on "
            "where another has ended; it must build a new network at every call"
        )
    return network


@torch.no_grad()
def _output(task: Task, network: nn.Module, x: Tensor) -> Tensor:
    """Logits of two training samples."""
    about = f"the network does not take the data, x of shape {tuple(x.shape)} {x.dtype}"
    with attempt(task, about, remedy=REMEDY):
        logits = network.eval()(x)
    if not isinstance(logits, Tensor):
        raise TaskError(f"{task.name}: the network gives {shown(logits)}, not a tensor; {REMEDY}")
    return logits


def _check_loss_takes(task: Task, logits: Tensor, y: Tensor) -> None:
    about = (
        f"the loss does not take the network's output of shape {tuple(logits.shape)} with y of "
        f"shape {tuple(y.shape)} {y.dtype}"
    )
    with attempt(task, about, remedy=REMEDY):
        mean_of(task.loss, logits, y)


def _check_classes(task: Task, logits: Tensor, y: Tensor) -> None:
    of_classes = isinstance(task.loss, OF_CLASSES)
    if logits.ndim != y.ndim + 1 or logits.shape[2:] != y.shape[1:]:
        if not of_classes:
            return  # what it makes of them is its own affair
        raise DataError(
            f"{task.name}: the network's output of shape {tuple(logits.shape)} has no place for "
            f"classes y of shape {tuple(y[:2].shape)}, which must be (n, classes, …) "
            f"and (n, …); {REMEDY}"
        )
    if y.is_floating_point() or (logits.shape[1] == 1 and not of_classes):
        return
    ignored = getattr(task.loss, "ignore_index", None)
    if ignored is not None and not 0 <= ignored < logits.shape[1]:
        y = y[y != ignored]
    if y.numel() and not 0 <= y.min() <= y.max() < logits.shape[1]:
        raise DataError(
            f"{task.name}: classes from {int(y.min())} to {int(y.max())}, but the network's output "
            f"of shape {tuple(logits.shape)} has 0 to {logits.shape[1] - 1}; {REMEDY}"
        )
