"""The tasks: a network, its data, its optimizer, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

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
from components.tasks.datasets import Data, DataError
from components.tasks.models import cnn, gpt, mlp, resnet


class UnknownTaskError(LookupError):
    """No task of that name; the message suggests the nearest."""


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
        optimizer: builds the optimizer of some parameters; its lr is a placeholder.
        batch_size: samples per update.
        loss: mean loss of (logits, y); a module, whose `reduction` curvlinops asks for.
        metric: the sum of (logits, y) over the samples, so that chunks add up; higher is better.
        metric_name: what `metric` divided by the number of samples is called.
        data_digest: of the user's own files in the data folder, so that other files are other runs;
            None where the data is the same for everybody.
        evaluation_batch: samples evaluated at a time; bounds the activations of a wide network,
            costs a small one little.
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
    data_digest: Callable[[Path], str | None] = lambda folder: None
    evaluation_batch: int = 512
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None


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
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="fashion-mnist-resnet18",
            title="Fashion-MNIST, ResNet18",
            network=resnet.fashion_mnist_resnet18,
            load=fashion_mnist.load,
            optimizer=partial(adamw, weight_decay=1e-4),
            batch_size=256,
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="cifar100-resnet18",
            title="CIFAR-100, ResNet18",
            network=resnet.cifar100_resnet18,
            load=cifar100.load,
            optimizer=partial(adamw, weight_decay=1e-2),
            batch_size=256,
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
            loss=nn.CrossEntropyLoss(),
            augment=augmentation.crop_flip_and_jitter,
        ),
        Task(
            name="imagenet-resnet34",
            title="ImageNet, ResNet34",
            network=resnet.imagenet_resnet34,
            load=imagenet.load,
            data_digest=imagenet.digest,
            optimizer=nesterov,
            batch_size=256,
            loss=nn.CrossEntropyLoss(),
        ),
        Task(
            name="text-minigpt",
            title="Text by characters, miniGPT",
            network=gpt.text_minigpt,
            load=text.load,
            data_digest=text.digest,
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
            data_digest=tinystories.digest,
            optimizer=adam,
            batch_size=64,
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


def load_data(task: Task, folder: Path, train_samples: int | None = None) -> Data:
    """The task's data, on the CPU.

    Args:
        task: an entry of `TASKS`.
        folder: the data folder; every data set has a folder of its own in it.
        train_samples: use only so many training samples, the same ones every time; None: all.

    Raises:
        DataError: data missing or corrupt, or `train_samples` out of range.
    """
    data = task.load(folder)
    if train_samples is None:
        return data
    if not task.batch_size <= train_samples <= len(data.train):
        raise DataError(
            f"training.train_samples = {train_samples} is impossible for {task.name}: from "
            f"{task.batch_size} (one batch) to {len(data.train)} (the whole training split)"
        )
    return Data(data.train.first(train_samples), data.val, data.test)
