"""The rate's own gradient: golden runs, finite differences, and what must never move it."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from components.schedulers.hypergradient import BETA, Hypergradient, HypergradientError
from components.tasks.catalog import Task
from components.tasks.datasets import Data, Split
from components.training.loop import train
from components.training.scheduler import Training

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
EMPTY = Data(*(Split(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)) for _ in range(3)))
TASK = Task(
    name="toy",
    title="toy",
    network=lambda: nn.Linear(3, 2),
    load=lambda folder: EMPTY,
    optimizer=partial(SGD, lr=1.0),
    batch_size=4,
    loss=nn.CrossEntropyLoss(),
)
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "SGD": partial(SGD, lr=1.0, weight_decay=0.1),
    "heavy ball": partial(SGD, lr=1.0, momentum=0.9, weight_decay=0.1),
    "dampened": partial(SGD, lr=1.0, momentum=0.9, dampening=0.3),
    "Nesterov": partial(SGD, lr=1.0, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": partial(Adam, lr=1.0, weight_decay=0.1, eps=1e-3),
    "AdamW": partial(AdamW, lr=1.0, weight_decay=0.5, eps=1e-3),
    "fused AdamW": partial(AdamW, lr=1.0, weight_decay=0.5, eps=1e-3, fused=True),
}


class Run:
    """Updates by hand, as the training loop does them; `loss` is of the list of parameters."""

    def __init__(
        self,
        scheduler: Hypergradient,
        optimizer: MakeOptimizer,
        start: list[list[float]],
        loss: Callable[[list[Tensor]], Tensor],
    ) -> None:
        tensors = [torch.tensor(values, dtype=torch.float64) for values in start]
        self.network, self.loss = nn.ParameterList(tensors), loss
        self.scheduler, self.rates = scheduler, list[float]()
        task = replace(TASK, optimizer=optimizer)
        self.optimizer = scheduler.attach(Training(task, EMPTY, self.network, 0, 10, 10))

    def loss_now(self) -> float:
        return self.loss(list(self.network)).item()

    def update(self, rate: float | None = None) -> float:
        """One update, with `rate` instead of the scheduler's if given."""
        self.optimizer.zero_grad()
        self.loss(list(self.network)).backward()
        asked = float(self.scheduler.lr(len(self.rates)))
        self.rates.append(asked if rate is None else rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[-1]
        self.optimizer.step()
        return self.rates[-1]


def quadratic(parameters: list[Tensor]) -> Tensor:
    scales = (torch.tensor(values, dtype=torch.float64) for values in ([3.0, 1.0], [0.2]))
    return sum((a * p**2).sum() / 2 for a, p in zip(scales, parameters, strict=True))  # type: ignore[return-value]


def curved(parameters: list[Tensor]) -> Tensor:
    x, y = parameters
    return (x.sin() * y).sum() + (x**2).sum() * y.exp().sum() / 10 + (y**4).sum() / 50


@pytest.mark.parametrize(
    ("optimizer", "lr", "fifth", "tenth"),
    [
        (partial(SGD, lr=1.0), 0.01, 0.0543865863, 0.0771986948),
        (partial(SGD, lr=1.0, momentum=0.9, nesterov=True), 0.01, 0.0756278204, 0.0756704686),
        (partial(Adam, lr=1.0), 0.01, 0.0317348268, 0.0555827991),
        (partial(AdamW, lr=1.0, weight_decay=0.0, fused=True), 0.01, 0.0317348268, 0.0555827991),
    ],
    ids=["SGD-HD", "SGDN-HD", "Adam-HD", "AdamW-HD"],
)
def test_golden_run(optimizer: MakeOptimizer, lr: float, fifth: float, tenth: float) -> None:
    """Computed by an independent implementation, to the digits it printed."""
    scheduler = Hypergradient(lr, beta=1e-3, additive=True)
    run = Run(scheduler, optimizer, [[1.0, 2.0], [3.0]], quadratic)
    rates = [run.update() for _ in range(5)]
    if not isinstance(run.optimizer, SGD):
        found = torch.cat([p.detach() for p in run.network])
        assert found.tolist() == pytest.approx([0.8954283, 1.8953122, 2.8952761], abs=5e-8)
    rates += [run.update() for _ in range(5)]
    assert rates[0] == lr
    assert (rates[4], rates[9]) == pytest.approx((fifth, tenth), abs=5e-11)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_the_derivative_of_the_loss_by_the_rate(name: str) -> None:
    """Central differences: the last update is done again with a rate a little larger, smaller."""
    beta, rate, shift = 1e-3, 0.05, 1e-5

    def run(last: float) -> Run:
        scheduler = Hypergradient(rate, beta=beta, additive=True)
        run = Run(scheduler, OPTIMIZERS[name], [[0.3, -0.8], [1.1, 0.4]], curved)
        for _ in range(3):
            run.update(rate)
        scheduler._lr.fill_(rate)
        run.update(last)
        return run

    up, down = (run(rate + sign * shift).loss_now() for sign in (1, -1))
    central = run(rate)
    central.scheduler._lr.fill_(rate)
    moved = central.update() - rate
    assert moved / beta == pytest.approx(-(up - down) / (2 * shift), rel=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Nesterov", "fused AdamW"])
@pytest.mark.parametrize("additive", [True, False])
def test_the_order_of_the_tensors_does_not_matter(name: str, additive: bool) -> None:
    starts = [[1.0, 2.0], [3.0]]
    runs = [
        Run(Hypergradient(0.01, beta=0.01, additive=additive), OPTIMIZERS[name], start, loss)
        for start, loss in (
            (starts, quadratic),
            (starts[::-1], lambda parameters: quadratic(parameters[::-1])),
        )
    ]
    for _ in range(8):
        forward, backward = (run.update() for run in runs)
        assert forward == pytest.approx(backward, rel=1e-12)
    assert len(set(runs[0].rates)) == 8


def test_the_scale_free_rule_by_hand_and_that_it_is_free_of_scale() -> None:
    """In one dimension the cosine is ±1; of two gradients it is known."""
    run = Run(Hypergradient(0.1), partial(SGD, lr=1.0), [[1.0]], lambda p: (p[0] ** 2).sum() / 2)
    rates = [run.update() for _ in range(4)]
    assert rates == pytest.approx([0.1 * (1 + BETA) ** k for k in range(4)])
    small, large = (
        Run(
            Hypergradient(0.1),
            partial(Adam, lr=1.0, eps=0.0),
            [[1.0, 2.0], [3.0]],
            lambda p, scale=scale: scale * quadratic(p),
        )
        for scale in (1e-4, 1e4)
    )
    assert [small.update() for _ in range(9)] == pytest.approx([large.update() for _ in range(9)])
    g1 = torch.tensor([3.0, 2.0, 0.6])
    g2 = g1 * (1 - 0.1 * torch.tensor([3.0, 1.0, 0.2]))
    run = Run(Hypergradient(0.1), partial(SGD, lr=1.0), [[1.0, 2.0], [3.0]], quadratic)
    run.update()
    cosine = nn.functional.cosine_similarity(g1, g2, dim=0).item()
    assert run.update() == pytest.approx(0.1 * (1 + BETA * cosine))


def test_the_scale_free_rule_lowers_a_rate_that_overshoots() -> None:
    """A step 1.5 times too long turns the gradient round at every update: the cosine is -1."""
    run = Run(
        Hypergradient(0.5), partial(SGD, lr=1.0), [[1.0]], lambda p: 3 * (p[0] ** 2).sum() / 2
    )
    rates = [run.update() for _ in range(4)]
    assert rates == pytest.approx([0.5 * (1 - BETA) ** k for k in range(4)])


def test_the_rate_stays_within_its_range() -> None:
    def rates(sign: float) -> list[float]:
        """Rates under a loss whose slope keeps its sign, or changes it at every update."""
        scheduler = Hypergradient(0.01, beta=10.0, additive=True)
        slopes = iter([1.0, sign] * 4)
        run = Run(scheduler, partial(SGD, lr=1.0), [[0.0]], lambda p: next(slopes) * p[0].sum())
        return [run.update() for _ in range(6)]

    assert rates(1.0)[1:] == [1.0] * 5
    assert rates(-1.0)[1:] == [1e-7] * 5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("additive", [True, False])
def test_a_gradient_that_is_not_finite_leaves_the_rate(bad: float, additive: bool) -> None:
    factors = iter([1.0, 1.0, bad])
    scheduler = Hypergradient(0.01, beta=0.01, additive=additive)
    run = Run(
        scheduler, partial(SGD, lr=1.0), [[1.0, 1.0], [1.0]], lambda p: next(factors) * quadratic(p)
    )
    first, second, third = (run.update() for _ in range(3))
    assert first < second == third
    zero = Run(Hypergradient(0.01), partial(SGD, lr=1.0), [[1.0]], lambda p: 0 * p[0].sum())
    assert [zero.update() for _ in range(3)] == [0.01] * 3


def test_a_divergence_is_one_and_the_rate_remains_a_number() -> None:
    class Exploding(nn.Module):
        calls = 0

        def forward(self, logits: Tensor, y: Tensor) -> Tensor:
            self.calls += 1
            loss = nn.functional.cross_entropy(logits, y)
            return loss * (math.inf if self.calls > 6 else 1.0)

    scheduler = Hypergradient(0.01)
    task = replace(TASK, loss=Exploding(), optimizer=partial(AdamW, lr=1.0, fused=True))
    outcome = train(task, EMPTY, scheduler, seed=0, updates=12, points=4)
    assert outcome.status == "diverged" and len(outcome.rows) == 2
    assert 1e-7 <= float(scheduler._lr) <= 1


def test_what_it_cannot_do_it_refuses() -> None:
    for lr in (0.0, -1.0, 2.0, math.nan):
        with pytest.raises(HypergradientError, match="its range is 1e-07 to 1"):
            Hypergradient(lr)
    others: list[MakeOptimizer] = [
        torch.optim.RMSprop,
        partial(AdamW, amsgrad=True),
        partial(SGD, lr=1.0, maximize=True),
    ]
    for optimizer in others:
        with pytest.raises(HypergradientError, match="knows SGD, Adam and AdamW"):
            Run(Hypergradient(0.01), optimizer, [[1.0]], quadratic)
