"""What training does otherwise on a GPU: weights channels-last, forward passes in bfloat16.

Neither happens on a CPU, where results are the same bits everywhere, nor to what λ_max is measured
on: weights, gradients and optimizer stay float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from components.tasks.task import Task

DEVICES = {"cuda"}  # types of devices that are accelerated


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, where its convolutions find their weights as they like them."""
    network = network.to(device)
    if device.type in DEVICES:
        network = network.to(memory_format=torch.channels_last)
    return network


def contiguous(network: nn.Module) -> None:
    """Undo the layout of `on_device`: what flattens weights (λ_max, safetensors) refuses it."""
    network.to(memory_format=torch.contiguous_format)


def precision(task: Task, device: torch.device) -> AbstractContextManager[object]:
    """For forward pass and loss; may be entered again and again."""
    if task.bf16 and device.type in DEVICES:
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()
