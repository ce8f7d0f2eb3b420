"""A small synthetic sweep whose runs follow a known law, so fits of seconds can learn it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.training.history import History, read_histories, write_history
from components.training.run import RunSpec

POINTS = 30


def synthetic(scheduler: str, peak: float, seed: int, points: int = POINTS) -> History:
    """Loss falls with the learning rate spent; what is left at the end costs accuracy."""
    rng = np.random.default_rng([seed, int(peak * 1e4), len(scheduler)])
    t = np.arange(1, points + 1) / points
    lr = peak / 2 * (1 + np.cos(math.pi * t)) if scheduler == "cosine" else np.full(points, peak)
    work = 1 - np.exp(-40 * np.cumsum(lr) / points)
    loss = 2.3 * (1 - work) + 2 * lr + 0.1 + 0.005 * rng.standard_normal(points)
    metric = 0.1 + 0.85 * work - 2 * lr + 0.005 * rng.standard_normal(points)
    spec = RunSpec("mnist1d-cnn", scheduler, peak, seed, 10 * points, points)
    table = pd.DataFrame(
        {
            "run_id": spec.run_id,
            "point": np.arange(1, points + 1),
            "step": 10 * np.arange(1, points + 1),
            "epoch": t,
            "train_loss": loss,
            "val_metric": metric,
            "lr": lr,
            "elapsed_s": t,
        }
    )
    meta = {
        "run_id": spec.run_id,
        "task": spec.task,
        "scheduler": scheduler,
        "peak_lr": peak,
        "seed": seed,
        "updates": spec.updates,
        "points": points,
        "status": "completed",
        "test_metric": float(metric[-1]),
    }
    return History(table, meta)


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 2 schedulers × 3 peak rates × 3 seeds."""
    folder = tmp_path_factory.mktemp("histories")
    for scheduler in ("constant", "cosine"):
        for peak in (0.01, 0.03, 0.1):
            for seed in (0, 1, 2):
                write_history(synthetic(scheduler, peak, seed), folder)
    return folder


@pytest.fixture
def histories(stored: Path) -> list[History]:
    return read_histories(stored)
