"""The loop on a toy task: what it logs, what it keeps, what makes it repeatable."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from components.schedulers.parametric import Parametric
from components.tasks.datasets import Data, Split
from components.tasks.task import Task, correct
from components.training import loop
from components.training.loop import evaluate, shuffled_batches, train


def blobs(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=generator)
    centres = torch.eye(3)[y]
    return Split(centres + 0.3 * torch.randn(count, 3, generator=generator), y)


DATA = Data(blobs(130, 0), blobs(60, 1), blobs(60, 2))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


TASK = Task(
    name="blobs",
    title="three blobs",
    network=network,
    load=lambda folder: DATA,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    batch_size=32,
    loss=nn.CrossEntropyLoss(),
    metric=correct,
)


class Recorder(Parametric):
    def __init__(self, **kwargs: float) -> None:
        super().__init__("onecycle", **kwargs)  # type: ignore[arg-type]
        self.asked: list[int] = []
        self.seen: list[tuple[int, float, float, float]] = []

    def lr(self, step: int) -> float:
        self.asked.append(step)
        return super().lr(step)

    def observe(self, point: int, train_loss: float, val_metric: float, lr: float) -> None:
        self.seen.append((point, train_loss, val_metric, lr))


def run(task: Task = TASK, peak: float = 0.5, seed: int = 0, **kwargs: int):  # type: ignore[no-untyped-def]
    budget = {"updates": 60, "points": 12, **kwargs}
    scheduler = Recorder(peak_lr=peak, updates=budget["updates"])
    return train(task, DATA, scheduler, seed=seed, **budget), scheduler


def test_the_log_is_what_happened() -> None:
    outcome, scheduler = run()
    assert scheduler.asked == list(range(60))
    assert [row["point"] for row in outcome.rows] == list(range(1, 13))
    assert [row["step"] for row in outcome.rows] == list(range(5, 61, 5))
    closed_form = Parametric("onecycle", peak_lr=0.5, updates=60)
    for row in outcome.rows:
        assert row["lr"] == closed_form.lr(int(row["step"]) - 1)  # the last one applied
        assert row["epoch"] == pytest.approx(row["step"] / 5)  # 130 / 32 → 5 batches
    assert scheduler.seen == [
        (row["point"], row["train_loss"], row["val_metric"], row["lr"]) for row in outcome.rows
    ]
    times = [row["elapsed_s"] for row in outcome.rows]
    assert times == sorted(times) and 0 < outcome.train_seconds <= times[-1] + 1
    assert outcome.rows[-1]["val_metric"] > 0.8, "it did not learn"


def test_what_a_scheduler_takes_to_decide_is_measured_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock that only deciding and evaluating move."""
    now = [0.0]

    class Slow(Recorder):
        def observe(self, *row: float) -> None:
            now[0] += 2.0

    def evaluate(*what: object) -> float:
        now[0] += 100.0
        return 0.5

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(loop, "evaluate", evaluate)
    outcome = train(TASK, DATA, Slow(peak_lr=0.5, updates=60), seed=0, updates=60, points=12)
    assert (outcome.decision_seconds, outcome.train_seconds) == (24.0, 24.0)


def test_the_logged_loss_is_the_mean_over_the_updates_since_the_last_point() -> None:
    every, _ = run(points=60)
    fifth, _ = run(points=12)
    losses = torch.tensor([row["train_loss"] for row in every.rows]).view(12, 5).mean(1)
    assert torch.allclose(losses, torch.tensor([row["train_loss"] for row in fifth.rows]))


def test_best_weights_are_those_of_the_best_validation_point() -> None:
    outcome, _ = run(peak=3.0)
    metrics = [row["val_metric"] for row in outcome.rows]
    assert outcome.best_point == metrics.index(max(metrics)) + 1
    outcome.network.load_state_dict(outcome.best_weights)
    assert evaluate(TASK, outcome.network, DATA.val) == max(metrics)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    def facts(seed: int) -> list[tuple[float, float]]:
        outcome, _ = run(seed=seed)
        return [(row["train_loss"], row["val_metric"]) for row in outcome.rows]

    torch.rand(7)  # whatever the process drew before
    first = facts(1)
    torch.rand(3)
    assert facts(1) == first
    assert facts(2) != first


def test_a_divergence_ends_the_run_and_keeps_its_history() -> None:
    class Exploding(nn.Module):
        def forward(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            factor = float("inf") if self.calls > 33 else 1.0
            return nn.functional.cross_entropy(logits, y) * factor

    outcome, scheduler = run(replace(TASK, loss=Exploding()))
    assert outcome.status == "diverged"
    assert len(outcome.rows) == 6 and len(scheduler.seen) == 6
    assert all(torch.isfinite(torch.tensor(row["train_loss"])) for row in outcome.rows)


def test_every_sample_is_seen_once_an_epoch() -> None:
    batches = shuffled_batches(DATA.train, 32, seed=0)
    epochs = [torch.cat([next(batches)[0] for _ in range(5)]) for _ in range(2)]
    for epoch in epochs:
        assert torch.equal(epoch.sort(0).values, DATA.train.x.sort(0).values)
    assert not torch.equal(*epochs)


def test_augmentation_is_batched_and_follows_the_seed() -> None:
    def noise(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        assert x.shape[1:] == (3,)
        return x + 0.1 * torch.randn(x.shape, generator=generator)

    def facts() -> list[float]:
        outcome, _ = run(replace(TASK, augment=noise))
        return [row["train_loss"] for row in outcome.rows]

    assert facts() == facts()
    assert facts() != [row["train_loss"] for row in run()[0].rows]


def test_evaluation_is_deterministic_in_spite_of_dropout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = network().train()
    assert len({evaluate(TASK, model, DATA.test) for _ in range(3)}) == 1
