"""docs/guides/drop-in.md and other-frameworks.md: every block runs, and says the same rates."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.lode.names import PLAN
from components.lode.plan_file import read_plan
from tests.registry.made import register_champion
from tests.registry.test_models import registered

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs/guides"
N = 500


def blocks(page: str) -> dict[str, str]:
    """The Python of a page by the heading above it."""
    text = (GUIDES / page).read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    found = {}
    for heading, part in zip(parts[1::2], parts[2::2], strict=True):
        for code in re.findall(r"```python\n(.*?)```", part, re.DOTALL):
            assert heading not in found, "one block under a heading"
            found[heading] = code
    return found


@pytest.fixture
def beside(lode_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the guides suppose it: a LODE, and a plan."""
    shutil.copytree(lode_dir, tmp_path / "models/lode/my-task")
    shutil.copy(lode_dir / PLAN, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "guide"}
    exec(code, names)
    return names


def test_every_block_has_its_test() -> None:
    assert set(blocks("drop-in.md")) == {
        "PyTorch",
        "Without this project",
        "Lightning",
        "Hugging Face",
    }
    assert set(blocks("other-frameworks.md")) == {"PyTorch", "JAX, optax", "Keras"}


def test_pytorch(beside: Path) -> None:
    scheduler = run(blocks("drop-in.md")["PyTorch"])["scheduler"]
    assert scheduler.last_epoch == 200 and len(scheduler.decisions) == 9


def test_without_this_project(
    beside: Path, lode_dir: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(lode_dir, tracking_uri, register_champion, task="my-task")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    code = blocks("drop-in.md")["Without this project"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nprint(scheduler.get_last_lr(), type(scheduler).__module__)",
        ],
        cwd=beside,
        text=True,
        capture_output=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\[0\.001\] lode_core_\w+\.adapters\.", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_lightning(beside: Path) -> None:
    pytest.importorskip("lightning", reason="pip install 'lode-pipeline[lightning]'")
    callback = run(blocks("drop-in.md")["Lightning"])["callback"]
    assert callback.scheduler.last_epoch == 100 and callback.scheduler.decisions


@pytest.mark.slow
def test_hugging_face(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="pip install 'lode-pipeline[transformers]'")
    trainer = run(blocks("drop-in.md")["Hugging Face"])["trainer"]
    (callback,) = [one for one in trainer.callback_handler.callbacks if hasattr(one, "scheduler")]
    assert callback.scheduler.last_epoch == 40 and callback.scheduler.decisions


# ------------------------------------------------------------- the plan, elsewhere


def test_torch_reads_the_plan(beside: Path) -> None:
    names = run(blocks("other-frameworks.md")["PyTorch"])
    optimizer, schedule, found = names["optimizer"], names["schedule"], []
    for _ in range(N):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert found == read_plan(beside / PLAN).lrs(N).tolist()


def test_optax_reads_the_plan(beside: Path) -> None:
    # 390 MB, so that the tests' own environment does without
    pytest.importorskip("optax", reason="pip install optax 'jax[cpu]'")
    names = run(blocks("other-frameworks.md")["JAX, optax"])
    found = np.array([names["schedule"](i) for i in range(N)])
    assert np.allclose(found, read_plan(beside / PLAN).lrs(N), rtol=1e-5)


@pytest.mark.slow
def test_keras_reads_the_plan(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="pip install keras")
    plan = run(blocks("other-frameworks.md")["Keras"])["Plan"]
    found: list[float] = []

    class Watched(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            found.append(float(self.model.optimizer.learning_rate))

    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    x = np.zeros((40, 3), dtype=np.float32)
    model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[plan(), Watched()])
    assert np.allclose(found, read_plan(beside / PLAN).lrs(N)[:20], rtol=1e-6)
