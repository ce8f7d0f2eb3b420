"""The small convolutional networks of the catalog."""

from __future__ import annotations

from torch import nn


def mnist1d_cnn() -> nn.Module:
    """`ConvBase` of Greydanus & Kobak 2024: (n, 1, 40) to logits (n, 10), 5,210 parameters."""
    return nn.Sequential(
        nn.Conv1d(1, 25, 5, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(25, 25, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(25, 25, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(25 * 5, 10),
    )


def fashion_mnist_cnn() -> nn.Module:
    """The paper's CNN (A.1): (n, 1, 28, 28) to logits (n, 10), 1,867,466 parameters.

    Zero padding keeps the image size in every convolution, and every dropout has p = 0.25.
    """
    return nn.Sequential(
        *_block(1, 64),
        *_block(64, 128),
        nn.Flatten(),
        nn.Linear(128 * 7 * 7, 256),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(256, 10),
    )


def fashion_mnist_small() -> nn.Module:
    """For images of half the size: (n, 1, 14, 14) to logits (n, 10), 23,946 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 3 * 3, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def _block(channels_in: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
    ]
