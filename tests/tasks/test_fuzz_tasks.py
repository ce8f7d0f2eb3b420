"""Tasks that are wrong in some way: one error that names it before training, or a training that
goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, AdamW

from components.schedulers.parametric import Parametric
from components.tasks import catalog
from components.tasks.datasets import Data, Split, Stream
from components.tasks.errors import DataError
from components.tasks.task import Task
from components.training.history import DIVERGED
from components.training.loop import evaluate, train

N, VAL = 97, 33  # of 16: a last batch of one; of 8: the same
X, Y = (
    torch.randn(N + 2 * VAL, 6, generator=torch.Generator().manual_seed(0)),
    torch.arange(163) % 3,
)


def splits(x: Tensor, y: Tensor) -> Data:
    return Data(*(Split(a, b) for a, b in zip(x.split(SIZES), y.split(SIZES), strict=True)))


def data(x: Tensor = X, y: Tensor = Y) -> Callable[[Path], Data]:
    return lambda folder: splits(x.clone(), y.clone())


SIZES = [N, VAL, VAL]


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


GOOD = Task(
    name="mine",
    title="mine",
    network=plain,
    load=data(),
    optimizer=lambda p: SGD(p, lr=1.0),
    batch_size=16,
    loss=nn.CrossEntropyLoss(),
    evaluation_batch=8,
)


class Does(nn.Module):
    """A network that does something to x or to the logits, in training or evaluation."""

    def __init__(self, body: nn.Module, **does: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body, self.does = body, does

    def forward(self, x: Tensor) -> Any:
        same: Callable[[Tensor], Any] = lambda value: value  # noqa: E731
        logits = self.body(self.does.get("before", same)(x))
        return self.does.get("training" if self.training else "evaluation", same)(logits)


class Loss(nn.Module):
    reduction = "mean"

    def __init__(self, of: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.of = of

    def forward(self, logits: Tensor, y: Tensor) -> Any:
        return self.of(logits, y)


def does(**what: Callable[[Tensor], Any]) -> Callable[[], nn.Module]:
    return lambda: Does(plain(), **what)


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def changed(values: Tensor, at: int, value: float) -> Tensor:
    values = values.clone()
    values[at] = value
    return values


def fails(*_: Any) -> Any:
    raise KeyError("no such thing")


SHARED = plain()
MEAN = nn.functional.cross_entropy
INFINITE = float("inf")
# by part: name: (changes to GOOD, what the message must say)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    # the network
    "batch norm and a last batch of one": (
        {"network": normed},
        r"last batch.*97 mod 16.*1 samples",
    ),
    "no network": ({"network": lambda: None}, "network gives a NoneType"),
    "network cannot be built": ({"network": fails}, "network cannot be built: KeyError"),
    "network of another input": ({"network": lambda: nn.Linear(7, 3)}, r"\(2, 6\)"),
    "network without weights": ({"network": nn.Flatten}, "no parameter"),
    "one network for all runs": ({"network": lambda: SHARED}, "same parameters again"),
    "a tuple": ({"network": does(evaluation=lambda z: (z, z))}, "network gives a tuple"),
    "a tuple in training": ({"network": does(training=lambda z: (z, z))}, "network gives a tuple"),
    "no list in evaluation": ({"network": does(evaluation=list)}, "network gives a list"),
    "fails in training only": ({"network": does(training=fails)}, "in training.*KeyError"),
    "fails in evaluation only": ({"network": does(evaluation=fails)}, "network.*KeyError"),
    "logits not finite": ({"network": does(training=lambda z: z / 0)}, "logits.*not finite"),
    "evaluation not finite": ({"network": does(evaluation=lambda z: z.log())}, "not finite"),
    "too few logits": ({"network": lambda: nn.Linear(6, 2)}, "classes from 0 to 2"),
    "detached": ({"network": does(training=lambda z: z.detach())}, "does not depend"),
    "no dimension": ({"network": does(evaluation=lambda z: z.sum())}, "output of shape"),
    "writes to x": ({"network": does(before=lambda x: x.add_(1))}, "writes to its input"),
    "fixed batch": ({"network": does(before=lambda x: x.view(16, 6))}, "network does not take"),
    "gradient not finite": (
        {"network": does(training=lambda z: z + (z * 0).abs().sqrt())},
        "gradient of",
    ),
    # the data
    "NaN in x": ({"load": data(x=changed(X, 50, torch.nan))}, "x of train.*not finite"),
    "infinity in val": ({"load": data(x=changed(X, N + 3, INFINITE))}, "x of val.*not finite"),
    "-infinity in test": ({"load": data(x=changed(X, -1, -INFINITE))}, "x of test.*not finite"),
    "class too large": ({"load": data(y=changed(Y, 20, 3))}, "classes from 0 to 3"),
    "class too large in test": ({"load": data(y=changed(Y, -1, 99))}, "classes from 0 to 99"),
    "class below 0": ({"load": data(y=changed(Y, 90, -1))}, "classes from -1"),
    "y of floats": ({"load": data(y=Y.float())}, "loss does not take"),
    "y of int32": ({"load": data(y=Y.int())}, "loss does not take"),
    "y of another shape": ({"load": data(y=Y[:, None])}, "no place for classes"),
    "x of doubles": ({"load": data(x=X.double())}, "x of shape.*float64"),
    "nothing loaded": ({"load": lambda folder: None}, "load gives a NoneType"),
    "loading fails": ({"load": fails}, "cannot be loaded.*KeyError"),
    "no file": ({"load": lambda folder: Path("/nowhere").read_text()}, "FileNotFoundError"),
    "too few y": ({"load": lambda f: Data(*[Split(X, Y[:-1])] * 3)}, "162 y of shape"),
    "arrays": ({"load": lambda f: Data(*[Split(X.numpy(), Y)] * 3)}, "x of train is a ndarray"),
    "no training samples": (
        {"load": lambda f: Data(Split(X[:0], Y[:0]), Split(X, Y), Split(X, Y))},
        "no samples in train",
    ),
    "no validation or test": (
        {"load": lambda f: Data(Split(X, Y), Split(X[:0], Y[:0]), Split(X[:0], Y[:0]))},
        "no samples in val and test",
    ),
    "test of another width": (
        {"load": lambda f: Data(Split(X, Y), Split(X, Y), Split(X[:, :5], Y))},
        r"network.*of test.*\(3, 5\)",
    ),
    "a stream that fails": (
        {"load": lambda f: Data(*[Stream(fails, N, workers=False)] * 3)},
        "KeyError",
    ),
    "a stream that fails in training": (
        {
            "load": lambda f: Data(
                *[Stream(lambda i, seeds: fails() if seeds else (X[i], Y[i]), N, False)] * 3
            )
        },
        "batches cannot be made.*KeyError",
    ),
    "augment of another shape": ({"augment": lambda x, g: x[:, :5]}, "augment makes"),
    "augment fails": ({"augment": fails}, "augment fails.*KeyError"),
    # sizes
    "batch larger than the data": ({"batch_size": N + 1}, "batches of 98 samples.*has 97"),
    "batch of nothing": ({"batch_size": 0}, "batch_size = 0"),
    "half a batch": ({"batch_size": 2.5}, "batch_size = 2.5"),
    "evaluation of nothing": ({"evaluation_batch": -1}, "evaluation_batch = -1"),
    # the loss
    "not reduced": ({"loss": nn.CrossEntropyLoss(reduction="none")}, r"loss.*\(16,\).*reduction"),
    "one number in a list": ({"loss": Loss(lambda z, y: MEAN(z, y)[None])}, "must be one number"),
    "loss is a float": ({"loss": Loss(lambda z, y: MEAN(z, y).item())}, "must be one number"),
    "loss is None": ({"loss": Loss(lambda z, y: None)}, "NoneType.*must be one number"),
    "loss fails": ({"loss": Loss(fails)}, "loss does not take.*KeyError"),
    "loss is NaN": ({"loss": Loss(lambda z, y: MEAN(z, y) * torch.nan)}, "loss.*is nan"),
    "loss is infinite": ({"loss": Loss(lambda z, y: MEAN(z, y) / 0)}, "loss.*is inf"),
    "loss without gradient": (
        {"loss": Loss(lambda z, y: (z.argmax(1) == y).float().mean())},
        "does not depend on the network",
    ),
    "loss of nothing": (
        {"loss": Loss(lambda z, y: torch.zeros((), requires_grad=True) + 1)},
        "no weight of the network has a gradient",
    ),
    "broadcast loss": (
        {"loss": nn.MSELoss(), "network": lambda: nn.Linear(6, 1), "load": data(y=Y.float())},
        "loss does not take.*target size",
    ),
    # the metric
    "metric per sample": ({"metric": lambda z, y: z.argmax(1) == y}, r"metric.*\(8,\)"),
    "metric is a float": ({"metric": lambda z, y: 0.5}, "metric.*is 0.5"),
    "metric is None": ({"metric": lambda z, y: None}, "metric.*NoneType"),
    "metric fails": ({"metric": fails}, "metric does not take.*KeyError"),
    "metric is NaN": ({"metric": lambda z, y: z.sum() * torch.nan}, "metric.*is nan"),
    "metric of one sample is NaN": ({"metric": lambda z, y: z.std(0).sum()}, "metric.*is nan"),
    "share over 1": ({"metric": lambda z, y: (y + 9).sum(), "percent": True}, "sum of 8 shares"),
    "share below 0": ({"metric": lambda z, y: -(y + 9).sum(), "percent": True}, "sum of 8 shares"),
    # the optimizer
    "no optimizer": ({"optimizer": lambda p: None}, "optimizer gives a NoneType"),
    "optimizer cannot be built": ({"optimizer": lambda p: SGD([], lr=1.0)}, "optimizer cannot"),
    "optimizer of other weights": (
        {"optimizer": lambda p: SGD(plain().parameters(), lr=1.0)},
        "holds none of the weights",
    ),
    "optimizer asks for a closure": ({"optimizer": LBFGS}, "optimizer fails.*closure"),
    "first group's rate is 0": (
        {"optimizer": lambda p: SGD([{"params": [q], "lr": i} for i, q in enumerate(p)], lr=1.0)},
        "optimizer: its groups' learning rates are 0, 1, 2, 3; the first",
    ),
    "destroys the weights": (
        {"optimizer": lambda p: SGD(p, lr=1.0, weight_decay=INFINITE)},
        "not finite after the optimizer's first update",
    ),
}


def loaded(task: Task) -> Data:
    return catalog.load_data(task, Path("data"))


def trains(task: Task, found: Data) -> None:
    """An epoch and a bit, and the test, as a run would do it."""
    updates = 2 * (len(found.train) // task.batch_size + 1)
    scheduler = Parametric("constant", peak_lr=1e-3, updates=updates)
    outcome = train(task, found, scheduler, seed=0, updates=updates, points=2)
    assert outcome.best_point or outcome.status == DIVERGED  # a result, too
    evaluate(task, outcome.network, found.test)


def test_the_good_task_trains() -> None:
    trains(GOOD, loaded(GOOD))


@pytest.mark.filterwarnings("ignore:std")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    changes, message = WRONG[name]
    with pytest.raises(DataError, match=rf"^mine: .*{message}|^mine: {message}") as caught:
        loaded(replace(GOOD, **changes))
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_enough_of_them() -> None:
    assert len(WRONG) >= 60


@pytest.mark.parametrize("samples", [0, -3, 15, 98, 10**12])
def test_impossible_numbers_of_training_samples(samples: int) -> None:
    with pytest.raises(DataError, match=rf"train_samples = {samples} is impossible for mine"):
        catalog.load_data(GOOD, Path("data"), samples)


def test_the_last_batch_is_that_of_the_samples_asked_for() -> None:
    """353 samples in batches of 32 leave one, 352 none."""
    x, y = torch.randn(400, 6), torch.arange(400) % 3
    load = lambda folder: Data(*[Split(x, y)] * 3)  # noqa: E731
    task = replace(GOOD, network=normed, load=load, batch_size=32)
    with pytest.raises(DataError, match=r"last batch of an epoch \(353 mod 32\), 1 samples"):
        catalog.load_data(task, Path("data"), 353)
    trains(task, catalog.load_data(task, Path("data"), 352))
    trains(task, catalog.load_data(task, Path("data"), 354))


def test_a_large_network_is_tried_on_few_samples() -> None:
    sizes: list[int] = []

    def large() -> nn.Module:
        body = nn.Sequential(nn.Linear(6, 1500), nn.Linear(1500, 1500), nn.Linear(1500, 3))
        return Does(body, before=lambda x: sizes.append(len(x)) or x)

    loaded(replace(GOOD, network=large))
    assert max(sizes) == 4 and min(sizes) == 1


def test_nothing_is_left_behind() -> None:
    """Neither random states nor data nor what the task holds."""
    import random

    import numpy as np

    class Drawing(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z + 0 * (torch.rand(()) + random.random() + np.random.rand())

    loss = nn.CrossEntropyLoss(weight=torch.ones(3))
    task = replace(GOOD, loss=loss, network=lambda: nn.Sequential(plain(), Drawing()))
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    found = loaded(task)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    assert torch.equal(torch.cat([found.train.x, found.val.x, found.test.x]), X)
    assert loss.weight is not None and loss.weight.equal(torch.ones(3))


def two_groups(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    first, *others = parameters
    return AdamW([{"params": [first], "lr": 0.1}, {"params": others, "lr": 1.0}])


# Parts that are right alone, and may or may not be together; the plain ones oftener.
NETWORKS = [
    *[plain] * 6,
    normed,
    lambda: nn.Linear(6, 1),
    lambda: nn.Linear(6, 3),
    lambda: nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)),
    lambda: nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)),
    lambda: nn.Sequential(nn.Linear(6, 12), nn.Unflatten(1, (3, 4))),
    lambda: nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(18, 3)),
    lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3), nn.LogSoftmax(1)),
    lambda: nn.Sequential(nn.Conv1d(6, 3, 1)),
]
XS = [*[X] * 9, X.double(), X.abs().long() % 5, X[:, :, None], X[:, :5], 1e30 * X, X.half()]
YS = [
    *[Y] * 6,
    Y.float(),
    Y[:, None],
    Y[:, None].float(),
    Y % 2,
    torch.eye(3)[Y],
    Y - 1,
    Y[:, None] + X * 0,
]
LOSSES = [
    *[nn.CrossEntropyLoss()] * 4,
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(ignore_index=-1),
    nn.MSELoss(),
    nn.MSELoss(reduction="sum"),
    nn.L1Loss(reduction="none"),
    nn.NLLLoss(),
    nn.BCEWithLogitsLoss(),
    nn.PoissonNLLLoss(),
    nn.HuberLoss(),
]
METRICS = [
    *[GOOD.metric] * 3,
    lambda z, y: -(z - y).square().sum(),
    lambda z, y: len(y) * (1 - (z - y).square().sum() / (y - y.float().mean()).square().sum()),
    lambda z, y: -MEAN(z, y, reduction="sum"),
    lambda z, y: z.mean(),
]
OPTIMIZERS = [GOOD.optimizer, two_groups, lambda p: AdamW(p, fused=True)]


@hypothesis.settings(max_examples=400, deadline=None, derandomize=True)
@hypothesis.given(
    st.tuples(
        *map(st.sampled_from, (NETWORKS, XS, YS, LOSSES, METRICS, OPTIMIZERS)),
        st.sampled_from([1, 2, 16, 96, 97, 98]),
    )
)
def test_refused_by_name_or_trained_to_the_end(parts: tuple[Any, ...]) -> None:
    network, x, y, loss, metric, optimizer, batch = parts
    task = replace(
        GOOD,
        network=network,
        load=data(x, y),
        loss=loss,
        metric=metric,
        optimizer=optimizer,
        batch_size=batch,
    )
    try:
        found = loaded(task)
    except DataError as error:
        assert str(error).startswith("mine: ") and len(str(error)) < 600
    else:
        trains(task, found)
