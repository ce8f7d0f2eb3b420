"""Own tasks whose metrics are no shares of right answers go through every step to the report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from components.runs.execute import load_data
from components.settings import whole as settings_of
from components.steps.pipeline import STEPS
from components.steps.table import result_table
from components.storage.workspace import Workspace
from components.tasks import catalog
from components.tasks.datasets import Data, Split
from components.tasks.task import Task
from components.training.history import read_histories
from tests.tiny import in_this_process, tiny

NAME = "mine"
STEPS_TO_THE_REPORT = ("sweep", "validate", "pilot", "fit", "baselines", "train", "evaluate")


def regression(folder: Path) -> Data:
    """A noisy sine of two inputs, errors in the hundreds."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 2, generator=generator)
    y = 3 * torch.sin(x[:, :1]) + x[:, 1:] + 0.3 * torch.randn(400, 1, generator=generator)
    return Data(*(Split(a, b) for a, b in zip(x.split(SIZES), y.split(SIZES), strict=True)))


def classes(folder: Path) -> Data:
    """Two classes, one of them rare."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 2, generator=generator)
    y = (x.sum(1) + 0.5 * torch.randn(400, generator=generator) > 1).long()
    return Data(*(Split(a, b) for a, b in zip(x.split(SIZES), y.split(SIZES), strict=True)))


SIZES = [200, 100, 100]


def network(outputs: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, outputs))


def minus_squares(z: Tensor, y: Tensor) -> Tensor:
    return -(z - y).square().sum()


def r_squared(z: Tensor, y: Tensor) -> Tensor:
    return len(y) * (1 - (z - y).square().sum() / (y - y.mean()).square().sum())


def f1(z: Tensor, y: Tensor) -> Tensor:
    found = z.argmax(1)
    right = (found & y).sum()
    return len(y) * 2 * right / (found.sum() + y.sum()).clamp(min=1)


def sensitivity(z: Tensor, y: Tensor) -> Tensor:
    return len(y) * (z.argmax(1) & y).sum() / y.sum().clamp(min=1)


def minus_perplexity(z: Tensor, y: Tensor) -> Tensor:
    return -len(y) * nn.functional.cross_entropy(z, y).exp()


def two_groups(parameters: Iterable[nn.Parameter]) -> Optimizer:
    body, head = (list(pair) for pair in zip(*[iter(parameters)] * 2, strict=True))
    groups = [{"params": body, "lr": 0.1}, {"params": head, "lr": 0.2}]
    return AdamW(groups, weight_decay=1e-2)


BASE = Task(
    name=NAME,
    title="mine",
    network=network(1),
    load=regression,
    optimizer=lambda parameters: SGD(parameters, lr=1.0, momentum=0.5),
    batch_size=32,
    loss=nn.MSELoss(),
    metric=minus_squares,
    metric_name="−MSE",
)
OF_CLASSES = replace(BASE, network=network(2), load=classes, loss=nn.CrossEntropyLoss())
TASKS = {
    "−MSE": replace(BASE, optimizer=two_groups),
    "R²": replace(BASE, metric=r_squared, metric_name="R²"),
    "F1": replace(OF_CLASSES, metric=f1, metric_name="F1"),
    "−perplexity": replace(OF_CLASSES, metric=minus_perplexity, metric_name="−perplexity"),
    "sensitivity": replace(OF_CLASSES, metric=sensitivity, metric_name="sensitivity", percent=True),
}


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One of the tasks, under its name in the catalog."""
    monkeypatch.setitem(catalog.TASKS, NAME, TASKS[request.param])
    monkeypatch.setattr(settings_of, "TASKS", (*settings_of.TASKS, NAME))
    load_data.cache_clear()
    yield TASKS[request.param]
    load_data.cache_clear()


@pytest.mark.slow
def test_from_the_sweep_to_the_report(task: Task, tmp_path: Path) -> None:
    settings = tiny(
        task=NAME,
        training__points=20,
        baselines__schedulers=["linear", "hypergradient"],
        lode__fit__updates=20,
    )
    workspace = Workspace(tmp_path)
    for name in STEPS_TO_THE_REPORT:
        assert STEPS[name](settings, workspace, in_this_process).ran, name
    for history in read_histories(workspace.histories(NAME)):
        assert history.meta["metric_name"] == task.metric_name
        assert history.meta["metric_percent"] == task.in_percent
    page = workspace.page(NAME).read_text(encoding="utf-8")
    shown = [re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)]
    shown.append(result_table(settings, workspace))
    drawn = "".join(p.read_text(encoding="utf-8") for p in workspace.figures(NAME).glob("*.svg"))
    for text in (*shown, drawn):
        assert "accuracy" not in text and task.metric_name in text
    found = json.loads(workspace.evaluation(NAME).read_text(encoding="utf-8"))
    assert (found["metric"], found["percent"]) == (task.metric_name, task.in_percent)
    mean = found["schedulers"]["lode"]["test"]["mean"]
    assert -1000 < mean <= 1
    if task.in_percent:
        assert f"Test {task.metric_name} (%)" in shown[0]
    else:
        # intervals, shares of a run and of the latents' variance
        others = r"95\s%|5\s%|50\s%|100\s%|% of updates|PC \d \(\d+\s%\)|training \(%\)"
        assert "%" not in re.sub(others, "", "".join(shown))
        assert "points of" not in shown[0] and "Difference (points)" not in shown[0]
        assert f"{mean:.2f}".lstrip("-")[:3] in shown[0]
