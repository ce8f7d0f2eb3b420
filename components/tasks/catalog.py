"""The tasks by name: every network, its data, its optimizer."""

from __future__ import annotations

import difflib
from functools import partial
from pathlib import Path

from torch import nn

from components.tasks import (
    augmentation,
    cifar100,
    digits,
    fashion_mnist,
    imagenet,
    mnist1d,
    text,
    tinystories,
)
from components.tasks.agreement import check_splits, check_training
from components.tasks.datasets import Data, Device
from components.tasks.errors import DataError
from components.tasks.models import cnn, gpt, mlp, resnet
from components.tasks.task import Task, adam, adamw, correct_share, nesterov
from components.tasks.trial import PLAIN, Place, attempt


class UnknownTaskError(LookupError):
    """No task of that name; the message suggests the nearest."""


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="mnist1d-cnn",
            title="MNIST-1D, CNN",
            network=cnn.mnist1d_cnn,
            load=mnist1d.load,
            optimizer=partial(adamw, weight_decay=1e-2),
            batch_size=100,
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="digits-mlp",
            title="Digits, MLP",
            network=mlp.digits_mlp,
            load=digits.load,
            optimizer=partial(adamw, weight_decay=1e-2),
            batch_size=64,
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="fashion-mnist-small",
            title="Fashion-MNIST, 6,000 images of 14×14, CNN",
            network=cnn.fashion_mnist_small,
            load=fashion_mnist.load_small,
            optimizer=partial(adamw, weight_decay=1e-2),
            batch_size=64,
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="fashion-mnist-cnn",
            title="Fashion-MNIST, CNN",
            network=cnn.fashion_mnist_cnn,
            load=fashion_mnist.load,
            optimizer=partial(adamw, weight_decay=1e-3),
            batch_size=256,
            bf16=True,
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="fashion-mnist-resnet18",
            title="Fashion-MNIST, ResNet18",
            network=resnet.fashion_mnist_resnet18,
            load=fashion_mnist.load,
            optimizer=partial(adamw, weight_decay=1e-4),
            batch_size=256,
            bf16=True,
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="cifar100-resnet18",
            title="CIFAR-100, ResNet18",
            network=resnet.cifar100_resnet18,
            load=cifar100.load,
            optimizer=partial(adamw, weight_decay=1e-2),
            batch_size=256,
            bf16=True,
            loss=nn.CrossEntropyLoss(),
            augment=augmentation.crop_and_flip,
        ),
        Task(
            name="cifar100-resnet18-authors",
            title="CIFAR-100, the authors' variant of ResNet18",
            network=resnet.cifar100_resnet18_authors,
            load=cifar100.load,
            optimizer=partial(adamw, weight_decay=1e-2),
            batch_size=256,
            bf16=True,
            loss=nn.CrossEntropyLoss(),
            augment=augmentation.crop_flip_and_jitter,
        ),
        Task(
            name="imagenet-resnet34",
            title="ImageNet, ResNet34",
            network=resnet.imagenet_resnet34,
            load=imagenet.load,
            optimizer=nesterov,
            batch_size=256,
            bf16=True,
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="text-minigpt",
            title="Text by characters, miniGPT",
            network=gpt.text_minigpt,
            load=text.load,
            optimizer=partial(adamw, weight_decay=1e-2),
            batch_size=32,
            loss=nn.CrossEntropyLoss(),
            metric=correct_share,
            metric_name="next-token accuracy",
        ),
        Task(
            name="tinystories-minigpt",
            title="TinyStories, miniGPT",
            network=gpt.tinystories_minigpt,
            load=tinystories.load,
            optimizer=adam,
            batch_size=64,
            bf16=True,
            loss=nn.CrossEntropyLoss(),
            metric=correct_share,
            metric_name="next-token accuracy",
            evaluation_batch=64,  # its logits are 3.3 GB
        ),
    )
}


def get(name: str) -> Task:
    """The task of that name.

    Raises:
        UnknownTaskError: there is none.
    """
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownTaskError(f"unknown task {name!r}; {hint}known: {', '.join(TASKS)}")
    return TASKS[name]


def load_data(
    task: Task,
    folder: Path,
    train_samples: int | None = None,
    *,
    device: Device = "cpu",
    place: Place = PLAIN,
) -> Data:
    """The task's data on a device, and tried: the task trains on it (`check_training`).

    Args:
        task: an entry of `TASKS`.
        folder: the data folder; every data set has a folder of its own in it.
        train_samples: use only so many training samples, the same ones every time; None: all.
        device, place: of the training.

    Raises:
        DataError: data missing or corrupt, a task that cannot be trained on it, or `train_samples`
            out of range.
    """
    remedy = "mend what lies there, or the task's load"
    with attempt(task, f"its data cannot be loaded from {folder}", remedy=remedy):
        data = task.load(folder)
    check_splits(task, data)
    if train_samples is not None:
        if not task.batch_size <= train_samples <= len(data.train):
            raise DataError(
                f"training.train_samples = {train_samples} is impossible for {task.name}: from "
                f"{task.batch_size} (one batch) to {len(data.train)} (the whole training split)"
            )
        data = Data(data.train.first(train_samples), data.val, data.test)
    data = data.to(device)
    check_training(task, data, place)
    return data
