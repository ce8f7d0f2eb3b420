"""A workspace in which the pipeline has registered a first champion, with seconds of training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.settings import Settings, load
from components.steps.pipeline import STEPS
from components.storage.workspace import Workspace
from components.training.history import History, write_history
from tests.tiny import dotted, in_this_process

PARAMS = Path(__file__).parents[2] / "params.yaml"
TASK = "mnist1d-cnn"
TINY: dict[str, Any] = {
    "training.updates": 40,
    "training.points": 20,
    "training.train_samples": 400,
    "training.device": "cpu",
    "sweep.schedulers": ["constant", "cosine", "onecycle"],
    "sweep.peak_lrs": [0.01, 0.05],
    "sweep.seeds": [0, 1, 2],
    "sweep.workers": 1,
    "pilots.runs": 0,
    "lode.fit.updates": 150,
    "lode.fit.batch_size": 20,
    "lode.judge.updates": 20,
    "lode.judge.members": 2,
    "lode.scheduler.n": 3,
    "retraining.seeds": 2,
    "retraining.max_error": 5.0,
    "retraining.tolerance": 1.0,
}


def tiny(**changes: Any) -> Settings:
    return load(PARAMS, TINY | dotted(changes))


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after sweep, validate, pilot, fit and register: one champion."""
    root = tmp_path_factory.mktemp("swept")
    for name in ("sweep", "validate", "pilot", "fit", "register"):
        STEPS[name](tiny(), Workspace(root), in_this_process)
    return root


@pytest.fixture
def workspace(swept: Path, tmp_path: Path) -> Workspace:  # type: ignore[override]
    """A copy of it. The registry knows its artifacts by absolute path: those stay where they are,
    and what is added lies in the copy."""
    root = tmp_path / "workspace"
    shutil.copytree(swept, root)
    return Workspace(root)


# What an import need not know; our best validation point is that of the run it was made from.
OURS = ("sharpness_method", "scheduler_digest", "best_point", "best_val_metric")


def variant(history: History, number: int, **meta: Any) -> History:
    """Another run than `history`, though a plausible one, as from elsewhere: its number is its id,
    and its metadata do not have all that ours are named after."""
    run_id = f"{number:016x}"
    rng = np.random.default_rng(number)
    points = history.points.assign(run_id=run_id)
    points["train_loss"] *= 1 + 0.01 * rng.standard_normal(len(points))
    known = {key: value for key, value in history.meta.items() if key not in OURS}
    return History(points, known | {"run_id": run_id, "seed": 1_000 + number} | meta)


def bring(histories: list[History], workspace: Workspace) -> None:
    for history in histories:
        write_history(history, workspace.imported(TASK))
