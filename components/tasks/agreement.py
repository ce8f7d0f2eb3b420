"""Do a task's network, data and loss fit each other? Asked before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.tasks.datasets import Data, DataError, Stream

if TYPE_CHECKING:
    from components.tasks.task import Task

REMEDY = "change the task's network or its load"


@torch.no_grad()
def check_agreement(task: Task, data: Data) -> None:
    """Try two training samples with an untrained network, on the data's device.

    Torch's random state on the CPU is left as it was.

    Raises:
        DataError: a split is empty, the network does not take x, the loss does not take its logits
            with y, or a class is not among the logits (in memory, every sample's; of a stream, the
            two).
    """
    empty = [name for name, size in data.sizes.items() if not size]
    if empty:
        raise DataError(f"{task.name}: no samples in {' and '.join(empty)}; change the task's load")
    x, y = data.train.sample(2)
    with torch.random.fork_rng(devices=[]):
        network = task.network().to(data.device).eval()
    try:
        logits = network(x)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"{task.name}: the network does not take the data, x of shape {tuple(x.shape)} "
            f"{x.dtype}: {str(error).strip().splitlines()[0]}; {REMEDY}"
        ) from None
    if y.dtype == torch.int64:
        for split in (data.train, data.val, data.test):
            _check_classes(task, logits, y if isinstance(split, Stream) else split.y)
    try:
        task.loss(logits, y)
    except (RuntimeError, ValueError, IndexError) as error:
        raise DataError(
            f"{task.name}: the loss does not take the network's output of shape "
            f"{tuple(logits.shape)} with y of shape {tuple(y.shape)} {y.dtype}: {error}; {REMEDY}"
        ) from None


def _check_classes(task: Task, logits: Tensor, y: Tensor) -> None:
    if logits.ndim != y.ndim + 1 or logits.shape[2:] != y.shape[1:]:
        raise DataError(
            f"{task.name}: the network's output of shape {tuple(logits.shape)} has no place for "
            f"classes y of shape {tuple(y[: len(logits)].shape)}, which must be (n, classes, …) "
            f"and (n, …); {REMEDY}"
        )
    if not 0 <= y.min() <= y.max() < logits.shape[1]:
        raise DataError(
            f"{task.name}: classes from {int(y.min())} to {int(y.max())}, but the network's output "
            f"of shape {tuple(logits.shape)} has 0 to {logits.shape[1] - 1}; {REMEDY}"
        )
