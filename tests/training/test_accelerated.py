"""What a GPU gets, tried on the CPU as if it were one: there is none here, nor its kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from components.runs.execute import execute_and_keep, load_data, run
from components.runs.job import Job
from components.tasks import catalog
from components.training import accelerated
from components.training.run import RunSpec

SCHEDULERS = ("onecycle", "hypergradient", "schedule-free", "pbt")
SEEN: list[tuple[torch.dtype, bool]] = []


class Look(nn.Module):
    """Notes what passes."""

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append((x.dtype, x.is_contiguous(memory_format=torch.channels_last)))
        return x


def network() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        Look(),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    wide = replace(catalog.get("digits-mlp"), network=network, bf16=True)
    monkeypatch.setitem(catalog.TASKS, "digits-mlp", wide)
    SEEN.clear()
    load_data.cache_clear()
    yield
    load_data.cache_clear()


def job(folder: Path, scheduler: str = "onecycle") -> Job:
    peak = 0.01 if scheduler != "pbt" else None
    spec = RunSpec("digits-mlp", scheduler, peak, seed=0, updates=60, points=10)
    settings = {} if peak else {"lr_range": [0.001, 0.01], "members": 2}
    sharpness = {"method": "lanczos", "samples": 100}
    return Job(
        spec, folder, folder / "data", device="cpu", controller=settings, sharpness=sharpness
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_run_as_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str) -> None:
    plain = run(job(tmp_path / "plain", scheduler))[0]
    assert set(SEEN) == {(torch.float32, False)}, "a CPU is not accelerated"
    SEEN.clear()
    monkeypatch.setattr(accelerated, "DEVICES", {"cpu"})
    fast = execute_and_keep(job(tmp_path, scheduler))
    assert SEEN.count((torch.bfloat16, True)) >= 60 + 10, "updates and validations"
    weights = load_file(next(tmp_path.glob("*.safetensors")))
    assert {w.dtype for w in weights.values()} == {torch.float32, torch.int64}
    first, last = fast.points["train_loss"].iloc[[0, -1]]
    assert last < first
    assert fast.meta["test_metric"] == pytest.approx(plain.meta["test_metric"], abs=0.06)
    assert not fast.points["train_loss"].equals(plain.points["train_loss"])
    assert fast.meta["sharpness"]["lambda_max"] > 0


def test_a_task_of_small_networks_keeps_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerated, "DEVICES", {"cpu"})
    small = replace(catalog.get("digits-mlp"), bf16=False)
    monkeypatch.setitem(catalog.TASKS, "digits-mlp", small)
    run(job(tmp_path))
    assert {dtype for dtype, _ in SEEN} == {torch.float32}
