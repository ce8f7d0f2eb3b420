"""Data as tensors, in a fixed train/validation/test split.

Everything is in memory: an epoch is an index permutation, not a stream of samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Of the splits: a constant, so that no run can be validated on what another was trained on.
SPLIT_SEED = 20240

Device = torch.device | str


class DataError(ValueError):
    """A data set cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Split:
    """Samples `x` (n, …) as the network takes them, and classes `y` int64.

    Mostly x is float32 and y (n,). Where every sample has several classes to be predicted, as in
    text, y is (n, k); x may be int64.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: Device) -> Split:
        return Split(self.x.to(device), self.y.to(device))

    def first(self, count: int) -> Split:
        return Split(self.x[:count], self.y[:count])


@dataclass(frozen=True)
class Data:
    """Three disjoint splits. `test` is for the very end of a run."""

    train: Split
    val: Split
    test: Split

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}

    def to(self, device: Device) -> Data:
        """The same data resident on `device`."""
        return Data(self.train.to(device), self.val.to(device), self.test.to(device))


def shuffled(count: int) -> Tensor:
    """(count,) int64: the same permutation of 0 … count-1 on every machine and version.

    Not torch's generator, whose stream may change between versions; numpy's legacy one is frozen.
    """
    return torch.from_numpy(np.random.RandomState(SPLIT_SEED).permutation(count))
