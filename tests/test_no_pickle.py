"""A pickle runs code when it is loaded. One is planted wherever a file is read: none may run."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from components.lode.errors import LODEError
from components.lode.judge import Judge
from components.lode.model import LODE
from components.settings import load
from components.steps.pipeline import STEPS
from components.storage.workspace import Workspace
from components.training.history import HistoryError, read_histories, read_history

ROOT = Path(__file__).parents[1]
TASK = "mnist1d-cnn"


class Trap:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


def as_pickle(trap: Trap) -> bytes:
    return pickle.dumps(trap)


def as_torch(trap: Trap) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": trap}, buffer)
    return buffer.getvalue()


def as_numpy(trap: Trap) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([trap], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def as_npz(trap: Trap) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([trap], dtype=object))
    return buffer.getvalue()


@pytest.fixture(params=[as_pickle, as_torch, as_numpy, as_npz])
def planted(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], Path]:
    def plant(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request.param(Trap(tmp_path / "mark")))
        return path

    return plant


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path: Path) -> object:
    yield
    assert not (tmp_path / "mark").exists(), "a planted pickle was loaded"


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(as_pickle(Trap(tmp_path / "other")))
    assert (tmp_path / "other").exists()


def test_histories(planted: Callable[[Path], Path], tmp_path: Path) -> None:
    path = planted(tmp_path / "histories/0123456789abcdef.parquet")
    with pytest.raises(HistoryError, match=path.name):
        read_history(path)
    with pytest.raises(HistoryError, match=path.name):
        read_histories(path.parent)


@pytest.mark.parametrize("name", ["lode.safetensors", "config.json"])
def test_a_lode(name: str, planted: Callable[[Path], Path], tmp_path: Path) -> None:
    planted(tmp_path / "lode" / name)
    with pytest.raises(LODEError):
        LODE.load(tmp_path / "lode")


@pytest.mark.parametrize("name", ["judge.safetensors", "judge.json"])
def test_a_judge(name: str, planted: Callable[[Path], Path], tmp_path: Path) -> None:
    for other in {"judge.safetensors", "judge.json"} - {name}:
        (tmp_path / other).write_text("{}")
    planted(tmp_path / name)
    with pytest.raises(LODEError):
        Judge.load(tmp_path)


def test_data_sets_and_state_of_a_workspace(
    planted: Callable[[Path], Path], tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(
        f"task: {TASK}\ntraining: {{updates: 10, points: 10, train_samples: 100, device: cpu}}\n"
        "sweep: {schedulers: [constant], peak_lrs: [0.01], seeds: [0, 1]}\n"
    )
    settings, workspace = load(tmp_path / "params.yaml"), Workspace(tmp_path)
    for name in ("signals-15000.npz", "mnist1d_data.pkl"):  # the cache, and the package's own
        planted(workspace.data / "mnist1d" / name)
    planted(workspace.fit_checkpoint(TASK) / "fit.checkpoint.safetensors")
    planted(workspace.state / "pilots" / TASK / "plans.json")
    planted(workspace.state / "stamps" / TASK / "validate.json")
    assert STEPS["sweep"](settings, workspace).trained == 2


LOADERS = re.compile(
    r"pickle\.loads?\(|torch\.load\(|joblib(?! import cpu_count\b(?!,))|cloudpickle"
    r"|dill|allow_pickle=True|read_pickle|weights_only=False|yaml\.(unsafe_load|full_load|load)\("
)


@pytest.mark.parametrize(
    "line",
    [
        "import joblib",
        "from joblib import load",
        "from joblib import cpu_count, load",
        "from joblib import (",
        "joblib.load(path)",
        "from joblib import cpu_count; joblib.load(p)",
    ],
)
def test_of_joblib_only_the_number_of_cores_is_allowed(line: str) -> None:
    assert LOADERS.search(line)
    assert not LOADERS.search("        from joblib import cpu_count  # why")


def test_no_line_of_ours_loads_one() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for room in ("components", "flows", "infra")
        for path in (ROOT / room).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if LOADERS.search(line)
    ]
    assert found == []
