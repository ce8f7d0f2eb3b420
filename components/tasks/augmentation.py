"""Random changes of whole batches of images, on whatever device they are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

PADDING = 4


def crop_and_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to 4 pixels, black where nothing is left, and mirrored or not.

    The usual augmentation of CIFAR (He et al. 2016, 4.2): zero-pad by 4, crop at random to the
    former size, flip horizontally with probability 1/2. x (n, c, h, w), as is the result.
    """
    n, channels, height, width = x.shape
    down, right = torch.randint(2 * PADDING + 1, (2, n, 1), generator=generator, device=x.device)
    rows = down + torch.arange(height, device=x.device)
    columns = right + torch.arange(width, device=x.device)
    mirrored = torch.rand(n, 1, generator=generator, device=x.device) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    padded = pad(x, 4 * (PADDING,))
    image = torch.arange(n, device=x.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=x.device).view(1, -1, 1, 1)
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def colour_jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation of each RGB image (n, 3, h, w) in [0, 1], as is the result.

    As the authors' code changes them, in this order, which torchvision's ColorJitter does not:
    adds U(-0.2, 0.2); stretches by U(0.8, 1.2) about each channel's mean; multiplies HSV saturation
    by U(0.8, 1.2). Cut to [0, 1] after each, since the authors' images are bytes.
    """
    n = len(x)
    draws = torch.rand(3, n, 1, 1, 1, generator=generator, device=x.device)
    brightness, contrast, saturation = 0.4 * draws - 0.2
    x = (x + brightness).clamp(0, 1)
    mean = x.mean((2, 3), keepdim=True)
    x = (mean + (1 + contrast) * (x - mean)).clamp(0, 1)
    # With hue and value V kept, V - c of every channel c is proportional to saturation S; S ≤ 1.
    value, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    most = value / (value - least).clamp_min(1e-6)  # 1 / S
    return (value - (value - x) * torch.minimum(1 + saturation, most)).clamp(0, 1)


def crop_flip_and_jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    """`crop_and_flip`, then `colour_jitter`: all that the authors' code does to CIFAR images."""
    return colour_jitter(crop_and_flip(x, generator), generator)
