"""The channel transform inverts itself over whatever it may meet."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lode.channels import LR, Channels
from components.lode.errors import LODEError
from components.storage.typed import typed


def sweep(metric_scale: float = 1.0, loss_shift: float = 0.0) -> list[np.ndarray]:
    """Cosine runs of 50 points whose lr ends near 0 and whose loss falls by decades."""
    t = np.arange(1, 51) / 50
    return [
        np.stack(
            (
                2.3 * np.exp(-9 * t * (peak * 10) ** 0.3) + loss_shift,
                metric_scale * (1 - np.exp(-3 * t)),
                peak / 2 * (1 + np.cos(np.pi * t)) + 1e-10,
            ),
            -1,
        )
        for peak in (0.001, 0.01, 0.1)
    ]


CHANNELS = Channels.measure(sweep())


@settings(max_examples=100, deadline=None)
@given(
    loss=st.floats(0, 1e6),
    metric=st.floats(-1e4, 1e4),
    lr=st.floats(0, 0.99),  # nearly ten times the largest of the histories
)
def test_inverse_undoes_forward(loss: float, metric: float, lr: float) -> None:
    x = np.array([loss, metric, lr])
    back = CHANNELS.inverse(CHANNELS.forward(x))
    assert np.allclose(back, x, rtol=1e-6, atol=1e-9)
    tensor = CHANNELS.inverse(CHANNELS.forward(torch.tensor(x)))
    assert np.allclose(tensor.numpy(), x, rtol=1e-6, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(y=st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3))
def test_inverse_is_finite_and_the_rate_in_range(y: list[float]) -> None:
    x = CHANNELS.inverse(np.array(y))
    assert np.isfinite(x).all()
    assert 0 <= x[LR] <= 10 * 0.1


def test_standardised_channels_have_mean_0_and_deviation_1_without_outliers() -> None:
    y = CHANNELS.forward(np.concatenate(sweep()))
    assert np.allclose(y.mean(0), 0, atol=1e-9)
    assert np.allclose(y.std(0), 1, atol=1e-9)
    assert np.abs(y).max() < 3  # a bare log of the cosine's last lr (1e-10) would be at 7


@pytest.mark.parametrize("scale, shift", [(1e3, 0.0), (-50.0, 0.0), (1.0, -20.0), (1.0, 5.0)])
def test_any_metric_scale_and_negative_losses_are_fine(scale: float, shift: float) -> None:
    runs = sweep(scale, shift)
    channels = Channels.measure(runs)
    for run in runs:
        assert np.allclose(channels.inverse(channels.forward(run)), run, rtol=1e-6, atol=1e-9)


def test_survives_json() -> None:
    assert typed(Channels, json.loads(json.dumps(CHANNELS.to_dict()))) == CHANNELS


def test_a_channel_that_never_moves_stays_finite() -> None:
    flat = [np.array([[1.0, 0.5, 0.1]] * 4)]
    assert np.isfinite(Channels.measure(flat).forward(flat[0])).all()


@pytest.mark.parametrize(
    "channel, value, message", [(0, np.nan, "train_loss"), (1, np.inf, "val_metric")]
)
def test_values_that_are_not_finite_are_named(channel: int, value: float, message: str) -> None:
    runs = sweep()
    runs[1][3, channel] = value
    with pytest.raises(LODEError, match=message):
        Channels.measure(runs)


def test_a_rate_that_is_never_positive_is_refused() -> None:
    runs = sweep()
    runs[0][:, LR] = 0.0
    with pytest.raises(LODEError, match="never positive"):
        Channels.measure(runs)
