"""The edge of stability, by optimizers themselves on a quadratic ½ λ θ²: below it steps shrink,
above it they grow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from schedulefree import AdamWScheduleFree, SGDScheduleFree
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from components.evaluation.stability import Stability, stability

LAMBDA, STEPS = 3.0, 1500
Make = Callable[..., Optimizer]

AVERAGED = {"betas": (0.9, 1 - 1e-15)}  # squares as they are: P stays, and λ is P^-½ λ P^-½
OPTIMIZERS: dict[str, tuple[Make, float]] = {
    "SGD": (SGD, 2.0),
    "heavy ball": (partial(SGD, momentum=0.9), 3.8),
    "dampened": (partial(SGD, momentum=0.9, dampening=0.5), 7.6),
    "Nesterov": (partial(SGD, momentum=0.9, nesterov=True), 3.8 / 2.8),
    "Adam": (partial(Adam, **AVERAGED), 38.0),
    "AdamW": (partial(AdamW, weight_decay=0.0, **AVERAGED), 38.0),
    "AMSGrad": (partial(Adam, amsgrad=True, **AVERAGED), 38.0),
    "schedule-free SGD": (partial(SGDScheduleFree, momentum=0.9), 20.0),
    "schedule-free AdamW": (partial(AdamWScheduleFree, **AVERAGED), 20.0),
}


def started(make: Make, square: float = 0.25) -> tuple[nn.Parameter, Optimizer]:
    """A parameter, and its optimizer as after very many updates of such squared gradients."""
    theta = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = make([theta], lr=0.0)
    step(theta, optimizer)
    theta.data.fill_(1.0)
    state: dict[str, Any] = optimizer.state[theta]
    if "exp_avg_sq" in state:
        long_ago = 1e18  # 1 − β₂^t is 1
        state["exp_avg_sq"].fill_(square)
        if "max_exp_avg_sq" in state:
            state["max_exp_avg_sq"].fill_(square)
        if "step" in state:
            state["step"].fill_(long_ago)
        optimizer.param_groups[0]["k"] = int(long_ago)
    for buffer in ("momentum_buffer", "exp_avg"):
        if buffer in state:
            state[buffer].zero_()
    return theta, optimizer


def step(theta: nn.Parameter, optimizer: Optimizer) -> None:
    if hasattr(optimizer, "train"):
        optimizer.train()
    optimizer.zero_grad()
    (0.5 * LAMBDA * theta**2).backward()
    optimizer.step()


def reaches(far: float, theta: nn.Parameter, optimizer: Optimizer) -> bool:
    step(theta, optimizer)
    return abs(theta.item()) > far


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("of_edge", "grows"), [(0.97, False), (1.03, True)])
def test_steps_grow_beyond_the_edge_and_only_there(name: str, of_edge: float, grows: bool) -> None:
    make, expected = OPTIMIZERS[name]
    theta, optimizer = started(make)
    edge = stability(optimizer, [theta])
    assert edge.threshold == pytest.approx(expected)
    seen = LAMBDA if edge.scaling is None else LAMBDA * float(edge.scaling[0]) ** 2
    lr = of_edge * expected / seen
    # weight_sum: schedule-free has averaged a while; its first steps have no average to hold to
    optimizer.param_groups[0] |= {"lr": lr, "weight_sum": 1000 * lr**2}
    assert any(reaches(100, theta, optimizer) for _ in range(STEPS)) == grows


def test_adams_preconditioner_is_the_one_of_its_next_update() -> None:
    """θ − η P⁻¹ m, whatever the number of updates: both bias corrections are in P (Cohen 2022)."""
    torch.manual_seed(0)
    theta = nn.Parameter(torch.randn(6))
    optimizer = AdamW([theta], lr=0.1, weight_decay=0.0)
    for _ in range(4):
        optimizer.zero_grad()
        theta.pow(4).sum().backward()
        before = theta.detach().clone()
        optimizer.step()
        scaling = stability(optimizer, [theta]).scaling
        assert scaling is not None
        step = -0.1 * scaling[0] ** 2 * optimizer.state[theta]["exp_avg"]
        torch.testing.assert_close(theta - before, step)


def test_groups_of_other_rates_are_scaled_by_them() -> None:
    """η is the first group's; a parameter that never moves has no part in the Hessian."""
    slow, fast, fixed = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = SGD([{"params": [slow], "lr": 0.1}, {"params": [fast], "lr": 0.4}])
    edge = stability(optimizer, [slow, fast, fixed])
    assert edge.threshold == 2 and edge.scaling is not None
    assert [part.tolist() for part in edge.scaling] == [[1, 1], [2, 2], [0, 0]]
    assert stability(SGD([slow, fast], lr=0.1), [slow, fast]) == Stability(2.0, None)


def test_adams_parameters_that_were_never_updated_have_no_part() -> None:
    used, idle = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = Adam([used, idle], lr=0.1)
    used.sum().backward()
    optimizer.step()
    scaling = stability(optimizer, [used, idle]).scaling
    assert scaling is not None and float(scaling[0]) > 0 and float(scaling[1]) == 0


def test_an_edge_that_nobody_knows_is_none() -> None:
    theta, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    assert stability(RMSprop([theta]), [theta]) == Stability(None, None)
    groups = [{"params": [theta], "momentum": 0.9}, {"params": [other]}]
    assert stability(SGD(groups, lr=0.1), [theta, other]) == Stability(None, None)
