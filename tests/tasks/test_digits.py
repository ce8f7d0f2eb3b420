"""Digits: scikit-learn's images in our split, and a network that learns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.schedulers.parametric import Parametric
from components.tasks import catalog, digits
from components.tasks.datasets import Data
from components.training.loop import train

NOWHERE = Path("/nowhere")  # the images come with scikit-learn


@pytest.fixture(scope="module")
def data() -> Data:
    return digits.load(NOWHERE)


def test_shapes(data: Data) -> None:
    assert data.sizes == {"train": 1_000, "val": 297, "test": 500}
    for split in (data.train, data.val, data.test):
        assert split.x.shape == (len(split), 64) and split.x.dtype == torch.float32
        assert split.y.shape == (len(split),) and split.y.dtype == torch.int64
        assert split.x.min() == 0 and split.x.max() == 1
        assert (torch.bincount(split.y) / len(split) - 0.1).abs().max() < 0.04


def test_splits_hold_every_image_once(data: Data) -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.cat([split.x for split in (data.train, data.val, data.test)])
    y = torch.cat([split.y for split in (data.train, data.val, data.test)])
    found = np.column_stack([x.mul(16).numpy(), y.numpy()])
    expected = np.column_stack([images, labels])
    assert len(np.unique(expected, axis=0)) == 1_797  # no image twice: the splits are disjoint
    assert np.array_equal(np.unique(found, axis=0), np.unique(expected, axis=0))


def test_every_load_is_the_same(data: Data) -> None:
    again = digits.load(NOWHERE)
    assert torch.equal(again.train.x, data.train.x) and torch.equal(again.test.y, data.test.y)
    # the split must never move, lest a run be tested on what another was trained on
    assert data.train.y[:8].tolist() == [1, 8, 9, 7, 9, 8, 9, 9] and data.test.y[:8].tolist() == [
        8,
        2,
        0,
        3,
        9,
        8,
        2,
        1,
    ]


def test_network_learns(data: Data) -> None:
    task = catalog.get("digits-mlp")
    scheduler = Parametric("onecycle", peak_lr=0.05, updates=150)
    outcome = train(task, data, scheduler, seed=0, updates=150, points=3)
    assert outcome.rows[-1]["val_metric"] > 0.9
