"""Digits (UCI's optical recognition test set): 1,797 images of ten classes, inside scikit-learn."""

from __future__ import annotations

from pathlib import Path

import torch

from components.tasks.datasets import Data, Split, shuffled

TRAIN, VAL, TEST = 1_000, 297, 500


def load(folder: Path) -> Data:
    """1,000 / 297 / 500 images, x (n, 64) in [0, 1]; `folder` is not needed."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(images).float().div_(16), torch.from_numpy(labels).long()
    parts = shuffled(len(y)).split([TRAIN, VAL, TEST])
    return Data(*(Split(x[part], y[part]) for part in parts))
