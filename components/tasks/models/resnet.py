"""Residual networks (He et al. 2016), torchvision's where that is what is meant."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _small_images(channels: int, classes: int) -> nn.Module:
    """torchvision's ResNet18 with the usual stem of small images: 3 × 3, stride 1, no pooling."""
    from torchvision.models import resnet18

    network = resnet18(num_classes=classes)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    return network


def fashion_mnist_resnet18() -> nn.Module:
    """ResNet18: (n, 1, 28, 28) to logits (n, 10), 11,177,034 parameters.

    As in the authors' code, every stage begins with a projection, the first one too, where the
    standard network has an identity.
    """
    network = _small_images(channels=1, classes=10)
    projection = nn.Conv2d(64, 64, 1, bias=False)
    nn.init.kaiming_normal_(projection.weight, mode="fan_out", nonlinearity="relu")
    network.get_submodule("layer1.0").downsample = nn.Sequential(projection, nn.BatchNorm2d(64))
    return network


def cifar100_resnet18() -> nn.Module:
    """The standard ResNet18: (n, 3, 32, 32) to logits (n, 100), 11,220,132 parameters."""
    return _small_images(channels=3, classes=100)


def imagenet_resnet34() -> nn.Module:
    """torchvision's ResNet34: (n, 3, 224, 224) to logits (n, 1000), 21,797,672 parameters."""
    from torchvision.models import resnet34

    return resnet34()


def cifar100_resnet18_authors() -> nn.Module:
    """The network the authors' code trains: (n, 3, 32, 32) to logits (n, 100).

    11,247,052 parameters. Three convolutions before the first stage, swish, max-pooling between
    stages instead of strides, every residual times a scalar that starts at 0, dropout 0.3 before
    the classifier.
    """
    stages: list[nn.Module] = []
    channels = 64
    for stage, wide in enumerate((64, 128, 256, 512)):
        if stage:
            stages.append(nn.MaxPool2d(2))
        stages += [_GatedBlock(channels, wide), _GatedBlock(wide, wide)]
        channels = wide
    network = nn.Sequential(
        *_conv(3, 32),
        nn.SiLU(),
        *_conv(32, 32),
        nn.SiLU(),
        *_conv(32, 64),
        nn.SiLU(),
        *stages,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(512, 100),
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network


class _GatedBlock(nn.Module):
    """(n, channels_in, h, w) to (n, channels, h, w): swish(shortcut + γ · residual), γ = 0."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_conv(channels_in, channels), nn.SiLU(), *_conv(channels, channels)
        )
        self.shortcut = (
            nn.Identity()
            if channels_in == channels
            else nn.Sequential(*_conv(channels_in, channels, size=1))
        )
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.shortcut(x) + self.gamma * self.residual(x))


def _conv(channels_in: int, channels: int, size: int = 3) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels_in, channels, size, padding=size // 2, bias=False)
    return convolution, nn.BatchNorm2d(channels)
