"""A small sweep as `lode sweep` leaves it, written by the same code, with made-up curves."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.schedulers.parametric import learning_rate
from components.training.history import History, write_history
from components.training.run import RunSpec, log_steps

SCHEDULERS = ["constant", "onecycle"]
PEAK_LRS = [0.01, 0.05]
SEEDS = [0, 1]
N, T = 60, 12


def make_history(scheduler: str, peak_lr: float, seed: int, **changed: Any) -> History:
    """A sound run; `changed` replaces RunSpec fields (updates, points, task)."""
    fields = {"task": "mnist1d-cnn", "updates": N, "points": T} | changed
    spec = RunSpec(scheduler=scheduler, peak_lr=peak_lr, seed=seed, **fields)
    steps = np.array(log_steps(spec.updates, spec.points))
    noise = np.random.default_rng(seed).normal(0, 0.01, len(steps))
    rows = pd.DataFrame(
        {
            "run_id": spec.run_id,
            "point": np.arange(1, spec.points + 1),
            "step": steps,
            "epoch": steps / 40,
            "train_loss": 2.3 * np.exp(-steps / 30) + 0.1 + noise,
            "val_metric": 0.8 - 0.7 * np.exp(-steps / 30) + noise,
            "lr": [learning_rate(scheduler, s - 1, spec.updates, peak_lr) for s in steps],
            "elapsed_s": steps * 0.01,
        }
    )
    keys = (
        "task",
        "scheduler",
        "peak_lr",
        "seed",
        "updates",
        "points",
        "train_samples",
        "data_digest",
    )
    meta = {key: getattr(spec, key) for key in keys} | {
        "run_id": spec.run_id,
        "status": "completed",
        "test_metric": 0.7 + 0.01 * seed,
    }
    return History(rows, meta)


def write_sweep(folder: Path) -> dict[tuple[str, float, int], History]:
    histories = {}
    for cell in itertools.product(SCHEDULERS, PEAK_LRS, SEEDS):
        histories[cell] = make_history(*cell)
        write_history(histories[cell], folder)
    return histories


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "histories" / "mnist1d-cnn"


@pytest.fixture
def sweep(folder: Path) -> dict[tuple[str, float, int], History]:
    return write_sweep(folder)
