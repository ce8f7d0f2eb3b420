"""Real histories, a real (briefly fitted) LODE with its judge, and MLflow databases in temporary
folders."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.lode.fit import fit
from components.lode.judge_fit import Runs, fit_judge
from components.lode.names import PLAN
from components.lode.opening import Opening
from components.lode.plan_file import write_plan
from components.lode.planned import plan_of
from components.lode.settings import FitSettings, JudgeSettings
from components.registry.connection import connect
from components.training.history import History
from components.training.run import RunSpec

POINTS = 20


def make_history(scheduler: str = "cosine", peak: float = 0.05, seed: int = 0) -> History:
    spec = RunSpec("mnist1d-cnn", scheduler, peak, seed, 10 * POINTS, POINTS)
    t = np.arange(1, POINTS + 1) / POINTS
    noise = 0.005 * np.random.default_rng([seed, int(peak * 1e4)]).standard_normal(POINTS)
    lr = peak / 2 * (1 + np.cos(math.pi * t)) if scheduler == "cosine" else np.full(POINTS, peak)
    work = 1 - np.exp(-40 * np.cumsum(lr) / POINTS)
    rows = pd.DataFrame(
        {
            "run_id": spec.run_id,
            "point": np.arange(1, POINTS + 1),
            "step": 10 * np.arange(1, POINTS + 1),
            "epoch": t,
            "train_loss": 2.3 * (1 - work) + 2 * lr + 0.1 + noise,
            "val_metric": 0.1 + 0.8 * work - 2 * lr + noise,
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
        "points": POINTS,
        "status": "completed",
        "test_metric": 0.7,
        "best_val_metric": 0.72,
        "best_point": POINTS,
        "seconds_per_epoch": 0.1,
        "device": "cpu",
        "versions": {"torch": "2"},
    }
    return History(rows, meta)


@pytest.fixture(scope="session")
def histories() -> list[History]:
    return [
        make_history(scheduler, peak, seed)
        for scheduler in ("constant", "cosine")
        for peak in (0.01, 0.05)
        for seed in (0, 1)
    ]


@pytest.fixture(scope="session")
def lode_dir(histories: list[History], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lode")
    few = FitSettings(updates=60, batch_size=8)
    fitted = fit(histories, folder=folder, mu=4, settings=few).lode
    low = Opening((0.001,) * (POINTS + 1))  # so low that a judge will want to leave it
    judge = fit_judge(Runs.of(histories), JudgeSettings(updates=200), opening=low)
    judge.save(folder)
    write_plan(plan_of(fitted, judge, histories), folder / PLAN)
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once: a new MLflow database costs eight seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with connect(f"sqlite:///{path}") as client:
        client.search_experiments()
    return path


@pytest.fixture
def tracking_uri(empty_database: Path, tmp_path: Path) -> str:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
