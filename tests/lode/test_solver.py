"""The solver against closed forms and against torchdiffeq's dopri5 at 1e-10."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lode import kernels
from components.lode.errors import LODEError
from components.lode.solver import dense_output, dopri5, grid_steps, local_error, rk4, rk4_nodes

ROTATION = torch.tensor([[-0.3, 2.0], [-2.0, -0.3]], dtype=torch.float64)
Z0 = torch.tensor([[1.0, 0.0], [0.5, -2.0]], dtype=torch.float64)


def exact(times: np.ndarray) -> torch.Tensor:
    """exp(A t) z0 of dz/dt = A z, A = ROTATION (a damped rotation)."""
    flows = [torch.linalg.matrix_exp(ROTATION * t) for t in times]
    return torch.stack([Z0 @ flow.t() for flow in flows], 1)


def mlp_field(width: int = 6, seed: int = 0) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(width, 9),
        torch.nn.Tanh(),
        torch.nn.Linear(9, 8),
        torch.nn.Tanh(),
        torch.nn.Linear(8, width),
    ).double()


def test_the_error_falls_with_the_fourth_power_of_the_step() -> None:
    times = np.linspace(0, 1.7, 41)  # between the nodes too, so this is also Hermite's order
    errors = [
        float((rk4(lambda z: z @ ROTATION.t(), Z0, times, steps) - exact(times)).abs().max())
        for steps in (8, 16, 32, 64)
    ]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(3.7 < order < 4.3 for order in orders), orders
    assert errors[-1] < 1e-5


def test_the_local_error_falls_with_the_fifth_power_of_the_step() -> None:
    errors = []
    for steps in (8, 16, 32, 64):
        found = local_error(*rk4_nodes(lambda z: z @ ROTATION.t(), Z0, steps, 1 / steps), 1 / steps)
        assert found.shape == (steps - 1, 2, 2)
        errors.append(float(found.abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(4.5 < order < 5.5 for order in orders), orders


def test_the_local_error_is_zero_where_simpsons_rule_is_exact() -> None:
    h, t = 0.1, torch.arange(6.0, dtype=torch.float64)[:, None, None] * 0.1
    assert local_error(t**4, 4 * t**3, h).abs().max() < 1e-15
    assert local_error(t**5, 5 * t**4, h).abs().max() > 1e-7
    assert len(local_error(t[:2], t[:2], h)) == 0, "a single step says nothing"


def test_output_at_the_nodes_is_the_nodes_themselves() -> None:
    field = mlp_field(2)
    nodes, slopes = rk4_nodes(field, Z0, 8, 1 / 8)
    at = dense_output(nodes, slopes, np.arange(9) / 8, 8)
    assert torch.equal(at, nodes.transpose(0, 1))


@settings(max_examples=25, deadline=None)
@given(
    coefficients=st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    times=st.lists(st.floats(0, 2), min_size=1, max_size=8),
)
def test_hermite_reproduces_every_cubic(coefficients: list[float], times: list[float]) -> None:
    cubic = np.polynomial.Polynomial(coefficients)
    grid = np.arange(9) / 4
    nodes, slopes = (torch.tensor(f(grid))[:, None, None] for f in (cubic, cubic.deriv()))
    at = dense_output(nodes, slopes, np.array(times), 4)[0, :, 0]
    assert np.allclose(at.numpy(), cubic(np.array(times)), atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(times=st.lists(st.floats(0, 2), min_size=2, max_size=6), seed=st.integers(0, 5))
def test_a_longer_grid_does_not_move_earlier_outputs(times: list[float], seed: int) -> None:
    field, z0 = mlp_field(2, seed), Z0
    together = rk4(field, z0, np.array(times), 8)
    alone = torch.cat([rk4(field, z0, np.array([t]), 8) for t in times], 1)
    assert torch.allclose(together, alone, atol=1e-12)


@pytest.mark.parametrize("end", [0.01, 0.5, 1.0, 1.9])
def test_values_and_gradients_agree_with_the_oracle(end: float) -> None:
    field, times = mlp_field(), np.linspace(0.01, 1, 7) * end
    z0 = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 7, 6, dtype=torch.float64)
    unknowns = [z0, *field.parameters()]
    found = []
    # 1e-10: at 1e-8 its own interpolated gradients are only good to 1e-5.
    for path in (rk4(field, z0, times, 64), dopri5(field, z0, times, tolerance=1e-10)):
        found.append([path, *torch.autograd.grad((path * weight).sum(), unknowns)])
    for mine, oracle in zip(*found, strict=True):
        assert torch.allclose(mine, oracle, atol=1e-6, rtol=1e-6)


def test_dopri5_takes_times_in_any_order_also_repeated_and_zero() -> None:
    times = np.array([0.4, 0.0, 1.3, 0.4])
    path = dopri5(lambda z: z @ ROTATION.t(), Z0, times, tolerance=1e-10)
    assert torch.allclose(path, exact(times), atol=1e-8)
    only_start = dopri5(lambda z: z @ ROTATION.t(), Z0, np.array([0.0, 0.0]))
    assert torch.equal(only_start, Z0[:, None].expand(-1, 2, -1))


@pytest.mark.parametrize("steps", [1, 3])
def test_the_fast_rk4_is_the_readable_one(steps: int) -> None:
    field = mlp_field()
    z0 = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    weights = tuple(field.parameters())
    outputs = [rk4_nodes(field, z0, steps, 0.1), kernels.rk4_mlp(z0, weights, steps, 0.1)]
    seeds = [torch.randn_like(out) for out in outputs[0]]
    found = [[*out, *torch.autograd.grad(out, [z0, *weights], seeds)] for out in outputs]
    for mine, reference in zip(*found, strict=True):
        assert torch.allclose(mine, reference, atol=1e-12)


@pytest.mark.parametrize("with_ode", [True, False])
def test_the_fast_scan_is_the_readable_one(with_ode: bool) -> None:
    torch.manual_seed(0)
    shapes = [(15, 5), (15,), (7, 5), (7,), (5, 7), (5,)]
    weights = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    drive = torch.randn(6, 4, 15, dtype=torch.float64, requires_grad=True)
    dt = -torch.rand(9, 4, 1, dtype=torch.float64) if with_ode else None
    outputs = [f(drive, dt, tuple(weights)) for f in (kernels.reference_scan, kernels.scan)]
    seed = torch.randn_like(outputs[0])
    unknowns = [drive, *(weights if with_ode else weights[:2])]
    found = [[out, *torch.autograd.grad(out, unknowns, seed)] for out in outputs]
    for reference, mine in zip(*found, strict=True):
        assert torch.allclose(mine, reference, atol=1e-12)


def test_the_reference_scan_updates_like_torchs_gru_cell() -> None:
    cell = torch.nn.GRUCell(4, 5).double()
    x, h = torch.randn(3, 2, 4, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.float64)
    for observation in x:
        h = cell(observation, h)
    drive = torch.nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
    nothing = (torch.empty(0),) * 4
    mine = kernels.reference_scan(drive, None, (cell.weight_hh, cell.bias_hh, *nothing))
    assert torch.allclose(mine, h, atol=1e-12)


@pytest.mark.parametrize("times", [[], [-0.1], [math.nan], [math.inf]])
def test_impossible_times_are_refused(times: list[float]) -> None:
    with pytest.raises(LODEError, match="output times"):
        grid_steps(np.array(times), 16)
