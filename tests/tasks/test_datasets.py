"""Splits in memory and streams offer the same; a stream's batches follow from seeds alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from components.evaluation.sharpness import sharpness
from components.schedulers.parametric import Parametric
from components.tasks.datasets import Data, Split, Stream
from components.tasks.errors import DataError
from components.tasks.task import Task
from components.training.loop import Outcome, evaluate, shuffled_batches, train

N = 70
X = torch.randint(256, (N, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
Y = (X[:, 0] > 127).long()


@dataclass(frozen=True)
class Made:
    """Rows of X; for training with noise that follows from the sample's seed; one may be broken."""

    broken: int = -1

    def __call__(
        self, indices: list[int], seeds: list[int] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.broken in indices:
            raise DataError(f"picture-{self.broken}.jpg: does not decode; copy it again")
        x = X[indices].clone()
        for row, seed in zip(x, seeds or (), strict=False):
            row ^= torch.randint(16, (3,), generator=torch.Generator().manual_seed(seed)).byte()
        return x, Y[indices]


def stream(**kwargs: object) -> Stream:
    return Stream(**{"make": Made(), "size": N, "workers": False, **kwargs})  # type: ignore[arg-type]


MEMORY = Split(X.float() / 255, Y)
TASK = Task(
    name="rows",
    title="rows",
    network=lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.2)),
    load=lambda folder: Data(stream(), stream(), stream()),
    batch_size=32,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    loss=nn.CrossEntropyLoss(),
    evaluation_batch=16,
)


def trained(train_split: Stream, points: int = 4) -> Outcome:
    data = Data(train_split, stream(), stream())
    scheduler = Parametric("constant", peak_lr=1.0, updates=24)
    return train(TASK, data, scheduler, seed=0, updates=24, points=points)


def test_a_stream_is_evaluated_as_the_same_samples_in_memory() -> None:
    network = TASK.network().eval()
    assert evaluate(TASK, network, stream()) == evaluate(TASK, network, MEMORY)
    batches = list(stream().ordered(32))
    assert [len(y) for _, y in batches] == [32, 32, 6]
    assert torch.equal(torch.cat([x for x, _ in batches]), MEMORY.x)
    for got, expected in zip(stream().sample(9), MEMORY.sample(9), strict=True):
        assert torch.equal(got, expected)
    assert len(stream().sample(1000)[1]) == len(MEMORY.sample(1000)[1]) == N


def test_an_epoch_of_a_stream_is_every_sample_once_in_an_order_of_the_seed() -> None:
    def epochs(seed: int) -> list[torch.Tensor]:
        batches = shuffled_batches(stream(make=plain), 32, seed)
        return [torch.cat([next(batches)[0] for _ in range(3)]) for _ in range(2)]

    def plain(indices: list[int], seeds: list[int] | None) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(indices), Y[indices]

    first, second = epochs(0)
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(N))
    assert not torch.equal(first, second) and torch.equal(first, epochs(0)[0])
    assert not torch.equal(first, epochs(1)[0])


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing() -> None:
    here = trained(stream())
    for workers in (1, 2):
        torch.set_num_threads(workers)
        try:
            there = trained(stream(workers=True))
        finally:
            torch.set_num_threads(1)
        assert [r["train_loss"] for r in there.rows] == [r["train_loss"] for r in here.rows]
    assert here.rows[-1]["val_metric"] > 0.8


def test_the_samples_seeds_reach_training_alone() -> None:
    noisy = torch.cat([x for x, _ in stream().shuffled(32, torch.Generator())])
    assert (torch.cdist(noisy, MEMORY.x).min(1).values > 0).sum() > N // 2
    assert torch.equal(torch.cat([x for x, _ in stream().ordered(32)]), MEMORY.x)


def test_evaluating_a_stream_draws_nothing_that_training_would() -> None:
    rarely, often = trained(stream(), points=2), trained(stream(), points=24)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            rarely.network.state_dict().values(), often.network.state_dict().values(), strict=True
        )
    )


@pytest.mark.parametrize("workers", [False, True])
def test_a_broken_sample_is_named_in_one_line(workers: bool) -> None:
    broken = stream(make=Made(broken=40), workers=workers)
    with pytest.raises(DataError) as caught:
        trained(broken)
    assert str(caught.value) == "picture-40.jpg: does not decode; copy it again"


def test_part_of_a_stream_and_its_device() -> None:
    data = Data(stream().first(50), stream(), MEMORY)
    assert data.sizes == {"train": 50, "val": N, "test": N} and len(stream().first(1000)) == N
    assert data.device == torch.device("cpu")
    assert data.to("meta").device == data.to("meta").test.device == torch.device("meta")


def test_sharpness_of_a_network_trained_on_a_stream() -> None:
    x, y = stream().sample(20)
    network = trained(stream()).network
    found = sharpness(network, TASK.loss, x, y)
    assert found["lambda_max"] == sharpness(network, TASK.loss, MEMORY.x[:20], Y[:20])["lambda_max"]


def test_evaluation_batches_follow_the_task() -> None:
    seen: list[int] = []

    def count(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append(len(y))
        return (logits.argmax(-1) == y).sum()

    for split in (stream(), MEMORY):
        evaluate(replace(TASK, metric=count), TASK.network(), split)
    assert seen == [16, 16, 16, 16, 6] * 2
