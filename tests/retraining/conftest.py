"""A workspace in which the pipeline has registered a first champion, with seconds of training."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from components.cli.main import cli
from components.settings import Settings, load
from components.steps.pipeline import STEPS
from components.storage.workspace import Workspace
from components.training.history import History, read_histories, write_history
from tests.tiny import dotted, in_this_process

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"
TASK = "mnist1d-cnn"
TINY: dict[str, Any] = {
    "training.updates": 40,
    "training.points": 20,
    "training.train_samples": 400,
    "training.device": "cpu",
    "sweep.sampler": "grid",  # so that a seed held out has a run of each kind
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


@pytest.fixture
def clone(workspace: Workspace) -> Path:
    """The workspace as a clone: settings, DVC's configuration, one commit, new runs."""
    root = workspace.root
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key, value in TINY.items():
        section = params
        *path, last = key.split(".")
        for name in path:
            section = section[name]
        section[last] = value
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    who = ["-c", "user.name=me", "-c", "user.email=me@localhost"]
    for command in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "-m", "first"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    sweep = sorted(read_histories(workspace.histories(TASK)), key=lambda h: h.run_id)
    bring([variant(history, number) for number, history in enumerate(sweep[:5])], workspace)
    return root


def lode(*arguments: str, root: Path) -> str:
    """In this process: what is under test is what the commands say."""
    done = CliRunner().invoke(
        cli, [*arguments, "--params", str(root / "params.yaml")], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output
