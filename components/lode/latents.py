"""Where the LODE finds runs to be as they go: encoder states over time (paper, Figure A1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from components.evaluation.latent_space import LatentSpace
from components.lode.model import LODE
from components.lode.settings import window_points
from components.lode.table_a1 import OBSERVED
from components.training.history import History
from components.training.threads import one_thread

STATES = 50  # of a run: as many as a figure can tell apart; the paper shows 10 an epoch


def latent_space(lode: LODE, runs: Sequence[History]) -> LatentSpace:
    """The state at the end of each window of 5 % of a run, from the window alone.

    The encoder's latent is the state at t = 0 of the run, whatever the window; what is shown is
    where the LODE carries it to by the window's end.

    Args:
        runs: completed, of one length; at least one.
    """
    series = np.stack([run.series() for run in runs])
    points = series.shape[1]
    length = window_points(OBSERVED[0], points)
    ends = np.unique(np.linspace(length, points, min(STATES, points - length + 1)).round()).astype(
        int
    )
    with one_thread(), torch.no_grad():
        states = np.stack([_state(lode, series, end, length) for end in ends], 1)
    return LatentSpace(
        states=states,
        progress=100 * ends / points,
        series=series[:, ends - 1],
        schedulers=tuple(str(run.meta["scheduler"]) for run in runs),
    )


def _state(lode: LODE, series: np.ndarray, end: int, length: int) -> np.ndarray:
    """(R, latent) at log point `end`, from the `length` points that end there."""
    points = series.shape[1]
    times = np.arange(end - length + 1, end + 1) / points
    z0 = lode.encode_series(times, series[:, end - length : end])
    found: np.ndarray = lode.latents(z0, times[-1:])[:, 0].double().cpu().numpy()
    return found
