"""An optimizer of two groups with rates of their own keeps their ratio under every scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from components.schedulers.gns import GNS, GNSPolicy
from components.schedulers.hypergradient import Hypergradient
from components.schedulers.parametric import Parametric
from components.schedulers.pbt import Population, train_population
from components.schedulers.plan import Plan
from components.schedulers.rl_controller import RLController, RLPolicy
from components.schedulers.schedule_free import ScheduleFree
from components.tasks.datasets import Data, Split
from components.tasks.rates import RateError, rate_shares
from components.tasks.task import Task
from components.training.loop import Outcome, train
from components.training.scheduler import Scheduler, Training

N, T, RANGE = 40, 10, (1e-3, 0.1)


def blobs(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=generator)
    return Split(torch.eye(3)[y] + 0.3 * torch.randn(count, 3, generator=generator), y)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))


DATA = Data(blobs(130, 0), blobs(60, 1), blobs(60, 2))
TASK = Task(
    name="blobs",
    title="three blobs",
    network=network,
    load=lambda folder: DATA,
    optimizer=lambda parameters: SGD(parameters, lr=1.0),
    batch_size=32,
    loss=nn.CrossEntropyLoss(),
)
SCHEDULERS = (*("constant", "onecycle", "hypergradient", "schedule-free", "plan"), "rl", "gns")
OPTIMIZERS: dict[str, Any] = {
    "SGD": SGD,
    "momentum": lambda groups: SGD(groups, lr=1.0, momentum=0.9, weight_decay=0.1),
    "AdamW": lambda groups: AdamW(groups, lr=1.0, weight_decay=0.1),
}


def grouped(kind: str, *rates: float) -> Task:
    """TASK with a group per layer, of these rates."""

    def optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
        first, *rest = [list(pair) for pair in zip(*[iter(parameters)] * 2, strict=True)]
        groups = [{"params": p, "lr": r} for p, r in zip((first, *rest), rates, strict=True)]
        return OPTIMIZERS[kind](groups)

    return replace(TASK, optimizer=optimizer)


def scheduler(name: str) -> Scheduler:
    if name == "hypergradient":
        return Hypergradient(0.01)
    if name == "schedule-free":
        return ScheduleFree(0.01, updates=N)
    if name == "plan":
        return Plan([0.01 * (1 + i) for i in range(T + 1)], updates=N, points=T)
    if name == "rl":
        return RLController(RLPolicy.create(network(), RANGE).eval(), 0.01, updates=N)
    if name == "gns":
        return GNS(GNSPolicy.create(network(), RANGE).eval(), 0.01, updates=N)
    return Parametric(name, peak_lr=0.01, updates=N)


def run(name: str, task: Task) -> Outcome:
    torch.manual_seed(0)  # of a policy that has learned nothing
    return train(task, DATA, scheduler(name), seed=0, updates=N, points=T)


@contextmanager
def rates_of_updates() -> Iterator[list[list[float]]]:
    """The groups' rates at every update of whatever optimizer."""
    seen: list[list[float]] = []

    def note(optimizer: Optimizer, *_: Any) -> None:
        seen.append([float(group["lr"]) for group in optimizer.param_groups])

    hook = register_optimizer_step_pre_hook(note)
    try:
        yield seen
    finally:
        hook.remove()


def facts(outcome: Outcome) -> list[list[float]]:
    return [[v for k, v in row.items() if k != "elapsed_s"] for row in outcome.rows]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_ratio_stays_and_the_first_rate_is_logged(name: str, kind: str) -> None:
    with rates_of_updates() as seen:
        outcome = run(name, grouped(kind, 0.1, 1.0))
    assert len(seen) == N
    assert all(second == pytest.approx(10 * first, rel=1e-12) for first, second in seen)
    logged = [row["lr"] for row in outcome.rows]
    assert logged == [seen[int(row["step"]) - 1][0] for row in outcome.rows]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_equal_rates_are_a_placeholder_to_the_bit(name: str) -> None:
    one, other = (run(name, grouped("AdamW", rate, rate)) for rate in (1.0, 0.3))
    assert facts(one) == facts(other)
    assert facts(one) != facts(run(name, grouped("AdamW", 0.3, 3.0)))


def test_a_population_shares_the_ratio() -> None:
    population = Population(RANGE, 4)
    with rates_of_updates() as seen:
        task = grouped("momentum", 0.1, 1.0)
        outcome = train_population(task, DATA, population, seed=0, updates=N, points=T)
    assert population.population["copies"] and len(seen) == 4 * N
    assert all(second == pytest.approx(10 * first, rel=1e-12) for first, second in seen)
    assert outcome.rows[-1]["lr"] in [first for first, _ in seen]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_hypergradient_is_that_of_the_first_rate(kind: str) -> None:
    """Finite differences: the loss after an update of rates a and 10 a, by a."""
    torch.manual_seed(0)
    start = network().double().state_dict()
    task, x, y = grouped(kind, 0.1, 1.0), DATA.train.x.double(), DATA.train.y

    def loss_after(rate: float) -> tuple[float, float]:
        """The loss after one update, and the rate that follows from it."""
        net = network().double()
        net.load_state_dict(start)
        chosen = Hypergradient(rate, beta=1e-6, additive=True)
        optimizer = chosen.attach(Training(task, DATA, net, 0, N, T))
        loss = Tensor()
        for step in (0, 1):
            optimizer.zero_grad()
            loss = task.loss(net(x), y)
            loss.backward()
            followed = float(chosen.lr(step))
            if step == 0:
                for group, share in zip(optimizer.param_groups, (1, 10), strict=True):
                    group["lr"] = followed * share
                optimizer.step()
        return loss.item(), followed

    rate, reach = 0.01, 1e-6
    slope = (loss_after(rate + reach)[0] - loss_after(rate - reach)[0]) / (2 * reach)
    assert (loss_after(rate)[1] - rate) / 1e-6 == pytest.approx(-slope, rel=1e-4)


@pytest.mark.parametrize("rates", [(0.0, 1.0), (1.0, -1.0), (1.0, float("nan"))])
def test_rates_without_a_ratio_are_named(rates: tuple[float, float]) -> None:
    optimizer = SGD([{"params": [nn.Parameter(torch.zeros(1))]} for _ in rates], lr=1.0)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    with pytest.raises(RateError, match="learning rates"):
        rate_shares(optimizer)
