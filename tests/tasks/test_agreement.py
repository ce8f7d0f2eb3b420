"""Network, data and loss that do not fit each other are told apart before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from components.runs import execute
from components.runs.job import Job
from components.tasks import catalog
from components.tasks.datasets import Data, Split, Stream
from components.tasks.errors import DataError
from components.tasks.task import Task
from components.training.run import RunSpec


def data(x: Tensor, y: Tensor) -> Callable[[Path], Data]:
    return lambda folder: Data(Split(x, y), Split(x, y), Split(x, y))


X, Y = torch.rand(20, 3, 8, 8), torch.arange(20) % 4
TASK = Task(
    name="mine",
    title="mine",
    network=lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4)),
    load=data(X, Y),
    optimizer=lambda p: torch.optim.SGD(p, lr=1.0),
    batch_size=8,
    loss=nn.CrossEntropyLoss(),
)

BAD = {
    "image size": (
        {"load": data(torch.rand(20, 3, 9, 9), Y)},
        r"mine: the network does not take the data, x of shape \(2, 3, 9, 9\) torch.float32: .*"
        r"2x243 and 192x4.*; change the task's network or its load",
    ),
    "type of x": ({"load": data(X.double(), Y)}, r"\(2, 3, 8, 8\) torch.float64: .*Double"),
    "a class per pixel": (
        {"load": data(X, torch.zeros(20, 8, 8).long())},
        r"output of shape \(2, 4\) has no place for classes y of shape \(2, 8, 8\)",
    ),
    "one class too many": (
        {"load": data(X, torch.arange(20) % 5)},
        r"mine: classes from 0 to 4, but the network's output of shape \(2, 4\) has 0 to 3",
    ),
    "classes from -1": ({"load": data(X, Y - 1)}, "classes from -1 to 2"),
    "loss of other shapes": (
        {"load": data(X, Y.float()), "loss": nn.BCEWithLogitsLoss()},
        r"the loss does not take the network's output of shape \(2, 4\) with y of shape \(2,\) "
        r"torch.float32",
    ),
    "no validation": (
        {"load": lambda folder: Data(Split(X, Y), Split(X[:0], Y[:0]), Split(X, Y))},
        "mine: no samples in val; change the task's load",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_disagreement_is_named(kind: str, tmp_path: Path) -> None:
    changes, message = BAD[kind]
    with pytest.raises(DataError, match=message):
        catalog.load_data(replace(TASK, **changes), tmp_path)


def test_a_stream_is_tried_too(tmp_path: Path) -> None:
    stream = Stream(lambda indices, seeds: (X[indices], Y[indices] + 4), 20, workers=False)
    with pytest.raises(DataError, match="classes from 4 to 5"):
        catalog.load_data(replace(TASK, load=lambda folder: Data(stream, stream, stream)), tmp_path)


def test_what_agrees_passes_and_torchs_random_state_is_kept(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    assert catalog.load_data(TASK, tmp_path).sizes == {"train": 20, "val": 20, "test": 20}
    regression = replace(
        TASK,
        load=data(X, torch.rand(20, 4)),
        loss=nn.MSELoss(),
        metric=lambda logits, y: -(logits - y).square().sum(),
    )
    torch.random.set_rng_state(state)
    catalog.load_data(regression, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_run_stops_before_its_first_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.TASKS, "mine", replace(TASK, load=data(X, Y + 1)))
    monkeypatch.setattr(execute, "train", lambda *_, **__: pytest.fail("training was started"))
    spec = RunSpec("mine", "constant", 0.1, 0, updates=10, points=10)
    with pytest.raises(DataError, match="mine: classes from 1 to 4"):
        execute.run(Job(spec, tmp_path, tmp_path, device="cpu"))
