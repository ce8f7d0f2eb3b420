"""The package used by hand gives the same bits; x is what is evaluated, kept and measured."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from schedulefree import AdamWScheduleFree, SGDScheduleFree
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from components.schedulers.schedule_free import ScheduleFree, ScheduleFreeError
from components.tasks.catalog import Task
from components.tasks.datasets import Data, Split
from components.training.loop import Outcome, evaluate, shuffled_batches, train
from components.training.scheduler import Training

UPDATES, POINTS, WARMUP, LR, SEED = 150, 10, 3, 0.05, 3


def clouds(count: int, seed: int) -> Split:
    """Three classes; the second feature is far from centred and large, as only batch norm likes."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=generator)
    x = torch.eye(3)[y] + 0.7 * torch.randn(count, 3, generator=generator)
    return Split(x * torch.tensor([1.0, 20.0, 1.0]) + torch.tensor([0.0, 50.0, 0.0]), y)


DATA = Data(clouds(160, 0), clouds(90, 1), clouds(90, 2))


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def normed() -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm1d(3),
        nn.Linear(3, 16),
        nn.BatchNorm1d(16, momentum=0.01),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(16, 3),
    )


TASK = Task(
    name="clouds",
    title="three clouds",
    network=plain,
    load=lambda folder: DATA,
    optimizer=partial(AdamW, lr=1.0, weight_decay=0.1, betas=(0.85, 0.99), fused=True),
    batch_size=32,
    loss=nn.CrossEntropyLoss(),
)
NORMED = replace(TASK, network=normed)
HAND = {"lr": LR, "warmup_steps": WARMUP}
PAIRS = {
    "AdamW": (TASK.optimizer, partial(AdamWScheduleFree, betas=(0.85, 0.99), weight_decay=0.1)),
    "Adam": (partial(Adam, lr=1.0), AdamWScheduleFree),
    "SGD": (partial(SGD, lr=1.0, weight_decay=0.01), partial(SGDScheduleFree, weight_decay=0.01)),
    "momentum": (partial(SGD, lr=1.0, momentum=0.7), partial(SGDScheduleFree, momentum=0.7)),
}


def run(task: Task) -> Outcome:
    scheduler = ScheduleFree(LR, updates=UPDATES)
    return train(task, DATA, scheduler, seed=SEED, updates=UPDATES, points=POINTS)


def by_hand(task: Task, make) -> tuple[nn.Module, list[dict[str, Tensor]]]:  # type: ignore[no-untyped-def]
    """The network at the end, and the weights x at every log point."""
    torch.manual_seed(SEED)
    network = task.network()
    optimizer, found = make(network.parameters(), **HAND), []
    batches = shuffled_batches(DATA.train, task.batch_size, SEED, task.augment)
    for _ in range(POINTS):
        network.train()
        optimizer.train()
        for _ in range(UPDATES // POINTS):
            x, y = next(batches)
            optimizer.zero_grad()
            task.loss(network(x), y).backward()
            optimizer.step()
        optimizer.eval()
        found.append({name: p.detach().clone() for name, p in network.named_parameters()})
    return network, found


@pytest.mark.parametrize("name", PAIRS)
def test_it_is_the_package_bit_for_bit_and_the_best_weights_are_x(name: str) -> None:
    own, package = PAIRS[name]
    task = replace(TASK, optimizer=own)
    outcome = run(task)
    _, points = by_hand(task, package)
    for key, parameter in outcome.network.named_parameters():
        assert torch.equal(parameter, points[-1][key]), f"at the end {key} is not x"
        assert torch.equal(outcome.best_weights[key], points[outcome.best_point - 1][key])
    outcome.network.load_state_dict(outcome.best_weights)
    metrics = [row["val_metric"] for row in outcome.rows]
    assert evaluate(task, outcome.network, DATA.val) == max(metrics)


def test_the_rate_logged_is_the_one_applied() -> None:
    scheduler = ScheduleFree(LR, updates=UPDATES)
    outcome = train(TASK, DATA, scheduler, seed=SEED, updates=UPDATES, points=UPDATES)
    assert [row["lr"] for row in outcome.rows[:5]] == [LR * (1 / 3), LR * (2 / 3), LR, LR, LR]
    assert scheduler._optimizer.param_groups[0]["scheduled_lr"] == LR == outcome.rows[-1]["lr"]
    assert ScheduleFree(LR, updates=5).lr(0) == LR


def statistics_at(network: nn.Module) -> list[Tensor]:
    """Mean and variance that the second norm's input has over the whole training split."""
    network.eval()
    first = network[0]  # type: ignore[index]
    x = DATA.train.x
    normal = (x - x.mean(0)) / (x.var(0) + first.eps).sqrt() * first.weight + first.bias
    inputs = network[1](normal)  # type: ignore[index]
    return [inputs.mean(0), inputs.var(0)]


def error(outcome: Outcome) -> float:
    """Largest relative error of the second norm's statistics, with x as weights."""
    norm = outcome.network[2]  # type: ignore[index]
    with torch.no_grad():
        mean, variance = statistics_at(outcome.network)
    scale = variance.sqrt()
    return max(
        ((norm.running_mean - mean) / scale).abs().max().item(),
        (norm.running_var / variance - 1).abs().max().item(),
    )


def test_batch_norm_has_the_statistics_of_x(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(NORMED)
    assert error(outcome) < 0.1
    assert [outcome.network[i].momentum for i in (0, 2)] == [0.1, 0.01]  # type: ignore[index]
    monkeypatch.setattr(ScheduleFree, "_recalibrate", lambda self: None)
    assert error(run(NORMED)) > 1, "this toy does not tell whether it is done"


def test_recalibration_leaves_the_training_as_it_was() -> None:
    """Its batches and the dropout it passes by take nothing from the training's draws."""
    outcome = run(NORMED)
    network, _ = by_hand(NORMED, PAIRS["AdamW"][1])
    for ours, theirs in zip(outcome.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_its_batches_are_augmented_and_its_price_is_told() -> None:
    seen: list[torch.Generator] = []

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(generator)
        return x

    def attached(task: Task) -> ScheduleFree:
        scheduler, network = ScheduleFree(LR, updates=UPDATES), task.network()
        scheduler.attach(Training(task, DATA, network, SEED, UPDATES, POINTS))
        scheduler.updating()
        scheduler.evaluating()
        assert network.training
        return scheduler

    assert attached(replace(NORMED, augment=augment)).price.note.startswith("50 forward passes")
    assert len(seen) == 50 and len(set(map(id, seen))) == 1
    assert attached(replace(TASK, augment=augment)).price.note == "" and len(seen) == 50


def test_another_optimizer_is_refused() -> None:
    with pytest.raises(ScheduleFreeError, match=r"knows SGD, Adam and AdamW, not RMSprop"):
        run(replace(TASK, optimizer=torch.optim.RMSprop))
