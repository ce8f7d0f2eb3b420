"""The LODE's states over a run: what a window that ends there tells, carried to its end."""

from __future__ import annotations

import numpy as np
import torch

from components.lode.channels import Channels
from components.lode.latents import STATES, latent_space
from components.lode.model import LODE, LODEConfig
from tests.evaluation import synthetic

RUNS = [synthetic.history("onecycle", 0.05, seed) for seed in range(3)]


def lode() -> LODE:
    torch.manual_seed(0)
    series = np.stack([run.series() for run in RUNS])
    return LODE(LODEConfig(Channels.measure(series), points=series.shape[1])).eval()


def test_each_state_is_that_of_its_own_window_alone() -> None:
    model = lode()
    points = len(RUNS[0].points)
    length = max(2, round(0.05 * points))
    space = latent_space(model, RUNS)
    ends = (space.progress * points / 100).round().astype(int)
    assert ends[0] == length and ends[-1] == points and len(ends) <= STATES
    assert space.states.shape == (3, len(ends), model.config.latent)
    assert space.schedulers == ("onecycle",) * 3
    for i in (0, len(ends) // 2, len(ends) - 1):
        end = int(ends[i])
        window = RUNS[1].series()[None, end - length : end]
        times = np.arange(end - length + 1, end + 1) / points
        with torch.no_grad():
            z = model.latents(model.encode_series(times, window), times[-1:])[0, 0]
        assert np.allclose(space.states[1, i], z.double().numpy(), atol=1e-5)
        assert np.array_equal(space.series[1, i], RUNS[1].series()[end - 1])
