"""The fully connected network of the catalog."""

from __future__ import annotations

from torch import nn


def digits_mlp() -> nn.Module:
    """Two hidden layers: (n, 64) to logits (n, 10), 1,482 parameters."""
    return nn.Sequential(
        nn.Linear(64, 16),
        nn.ReLU(),
        nn.Linear(16, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )
